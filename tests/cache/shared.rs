//! Several processes on one cache: what one does the others see at once, and whoever is killed holds nobody.
#![forbid(unsafe_code)]

use super::{cache, text};
use drystone::Error;
use drystone::cache::{Cache, CacheOptions, ComputeOptions, ItemOptions};
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What a process is to do; where.
const ROLE: &str = "DRYSTONE_CACHE_ROLE";
const PLACE: &str = "DRYSTONE_CACHE_PLACE";

fn start(role: &str, place: &Path) -> Child {
    Command::new(env::current_exe().expect("this program"))
        .args(["--exact", "shared::another_process", "--ignored", "--nocapture"])
        .env(ROLE, role)
        .env(PLACE, place)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process")
}

/// Waits for a line that a process says.
fn hears(child: &mut Child, line: &str) {
    let lines = BufReader::new(child.stdout.as_mut().expect("its output")).lines();
    let mut heard = lines.map_while(Result::ok);
    assert!(heard.any(|it| it.trim_end().ends_with(line)), "it never said {line}");
}

/// Runs as another process; not a test of its own.
#[test]
#[ignore = "a part of the others"]
fn another_process() {
    let (Ok(role), Ok(place)) = (env::var(ROLE), env::var(PLACE)) else { return };
    let cache = cache(Path::new(&place));
    match role.as_str() {
        "compute" => {
            let computed = cache.get_or_compute("slow", &ComputeOptions::new(), || {
                say("computing");
                std::thread::sleep(Duration::from_secs(600));
                Ok::<_, Error>(b"late".to_vec())
            });
            drop(computed);
        }
        "hammer" => {
            for at in 0_u64.. {
                let key = format!("{}", at % 97);
                cache.set(&key, vec![at as u8; (at % 3000) as usize]).expect("a setting");
                cache.incr("sum", 1, 0).expect("a sum");
                if at == 20 {
                    say("hammering");
                }
            }
        }
        "count" => {
            for _ in 0..500 {
                cache.incr("sum", 1, 0).expect("a sum");
            }
        }
        other => panic!("no such role: {other}"),
    }
}

fn say(line: &str) {
    println!("\n{line}");
    std::io::stdout().flush().expect("an output");
}

#[test]
fn what_a_killed_process_was_computing_another_computes_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    let mut child = start("compute", dir.path());
    hears(&mut child, "computing");
    assert!(cache.claim(b"slow", 1).unwrap().is_none(), "it computes");
    let killer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        child.kill().expect("a kill");
        child.wait().expect("its end");
        Instant::now()
    });
    let mut begun = None;
    let item = cache.get_or_compute("slow", &ComputeOptions::new(), || {
        begun = Some(Instant::now());
        Ok::<_, Error>(b"mine".to_vec())
    });
    let died = killer.join().expect("a thread");
    assert_eq!(item.unwrap().bytes(), b"mine");
    let waited = begun.expect("it was computed here").saturating_duration_since(died);
    assert!(waited < Duration::from_secs(5), "{waited:?}");
}

#[test]
fn sums_of_several_processes_are_right() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    let children: Vec<Child> = (0..3).map(|_| start("count", dir.path())).collect();
    for _ in 0..500 {
        cache.incr("sum", 1, 0).unwrap();
    }
    for mut child in children {
        assert!(child.wait().expect("its end").success());
    }
    assert_eq!(cache.incr("sum", 0, 0).unwrap(), 2000);
}

#[test]
fn killed_in_the_middle_of_setting_they_leave_limits_that_hold_and_a_count_that_comes_right() {
    let dir = tempfile::tempdir().unwrap();
    let limit = 60_000;
    let options = CacheOptions::new().size_limit(limit);
    let cache = Cache::on(&super::store(dir.path()), &options).unwrap();
    for round in 0..8 {
        let mut children: Vec<Child> = (0..2).map(|_| start("hammer", dir.path())).collect();
        children.iter_mut().for_each(|child| hears(child, "hammering"));
        std::thread::sleep(Duration::from_millis(20 + 7 * round));
        for child in &mut children {
            child.kill().expect("a kill");
            child.wait().expect("its end");
        }
        let sum = |cache: &Cache| -> u64 {
            let keys = cache.keys().expect("keys");
            let items = cache.get_many(&keys).expect("values");
            items.into_iter().flatten().map(|item| item.size).sum()
        };
        assert!(sum(&cache) <= cache.volume().0, "round {round}: a count that is too low");
        assert!(cache.volume().0 <= limit, "round {round}");
        cache.expire().unwrap();
        assert_eq!(sum(&cache), cache.volume().0, "round {round}");
        assert!(sum(&cache) <= limit);
    }
}

#[test]
fn what_is_told_is_never_above_the_limits_while_several_processes_set() {
    let dir = tempfile::tempdir().unwrap();
    let (limit, items) = (60_000, 40);
    let options = CacheOptions::new().size_limit(limit).item_limit(items);
    let cache = Cache::on(&super::store(dir.path()), &options).unwrap();
    let mut children: Vec<Child> = (0..3).map(|_| start("hammer", dir.path())).collect();
    children.iter_mut().for_each(|child| hears(child, "hammering"));
    let (start, mut looks, mut full) = (Instant::now(), 0_u64, 0_u64);
    while start.elapsed() < Duration::from_millis(1500) {
        for _ in 0..100 {
            let (stats, volume) = (cache.stats(), cache.volume());
            assert!(volume.0 <= limit && volume.1 <= items, "{volume:?} after {looks} looks");
            assert!(stats.bytes <= limit && stats.items <= items, "{stats:?}");
            assert!(cache.len() <= items);
            full += u64::from(volume.0 > limit - 3100 || volume.1 == items);
            looks += 1;
        }
    }
    assert!(full > looks / 10, "it was full in {full} of {looks} looks only");
    // A limit that comes down is passed until there is room.
    for child in &mut children {
        child.kill().expect("a kill");
        child.wait().expect("its end");
    }
    cache.clear().unwrap();
    for key in 0..20_u8 {
        cache.set([key], vec![key; 1500]).unwrap();
    }
    cache.expire().unwrap();
    let before = cache.volume();
    assert!(before.0 > limit / 4 && before.1 > items / 4, "{before:?}");
    cache.change_settings(&CacheOptions::new().size_limit(limit / 8)).unwrap();
    assert_eq!(cache.volume(), before, "it is told as it is");
    cache.cull().unwrap();
    assert!(cache.volume().0 <= limit / 8 && cache.volume().1 < before.1);
}

#[test]
fn what_one_handle_clears_evicts_or_sets_the_other_sees() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (cache(dir.path()), cache(dir.path()));
    one.set_with("a", b"1", &ItemOptions::new().tag("t")).unwrap();
    one.set("b", b"2").unwrap();
    assert_eq!(text(&two, "a").as_deref(), Some("1"));
    two.evict("t").unwrap();
    assert_eq!((text(&one, "a"), text(&one, "b").as_deref()), (None, Some("2")));
    one.clear().unwrap();
    assert_eq!((text(&two, "b"), two.volume()), (None, (0, 0)));
}
