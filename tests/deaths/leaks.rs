//! Ten thousand opens and closes leave no descriptor, mapping or thread behind.
#![forbid(unsafe_code)]

use crate::figures::option;
use crate::peer::{Peer, say};
use crate::support::{KIB, Scratch, bytes};
use drystone::Store;
use std::path::Path;
use std::time::Instant;

/// Opens after which what stays for good is there.
const WARM_UP: u64 = 50;

/// Descriptors, mappings and threads of this process.
fn belongings() -> [usize; 3] {
    let count = |dir: &str| std::fs::read_dir(dir).unwrap().count();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    // Those of the store alone: the allocator's come and go.
    let maps = maps.lines().filter(|line| line.contains("/store/")).count();
    [count("/proc/self/fd"), maps, count("/proc/self/task")]
}

/// The same after a while, in which the threads of closed stores end by themselves.
fn settled(is_enough: impl Fn([usize; 3]) -> bool) -> [usize; 3] {
    for _ in 0..100 {
        if is_enough(belongings()) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    belongings()
}

fn resident_kib() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4
}

/// The role: opens, uses and closes a store again and again.
pub fn open_and_close(place: &Path, times: u64) {
    let mut before = (belongings(), 0);
    for time in 0..times {
        if time == WARM_UP {
            before = (settled(|_| false), resident_kib());
        }
        let store = Store::options().threads(2).open(place).unwrap();
        let kept = use_it(&store, time);
        if time % 3 == 0 {
            // What was got from it may outlive it.
            drop(store);
            drop(kept);
        }
    }
    let after = (settled(|now| now == before.0), resident_kib());
    say(format!("{:?} {:?} {} {}", before.0, after.0, before.1, after.1).replace(", ", ","));
}

fn use_it(store: &Store, time: u64) -> Option<drystone::Blob> {
    match time % 10 {
        0 => drop(store.put(&bytes(100, time % 500)).unwrap()),
        1 => drop(store.reserve(70 * KIB as u64).unwrap()),
        2 => drop(store.refs("r").set("k", &time.to_le_bytes()).unwrap()),
        3 => drop(Store::options().read_only(true).open(store.path()).unwrap()),
        4 => drop(store.clone().read_guard()),
        5 if time % 100 == 5 => store.sync().unwrap(),
        6 => return store.get(&store.put(&bytes(300 * KIB, 1)).unwrap()).unwrap(),
        _ => {}
    }
    None
}

#[test]
#[cfg_attr(not(bug), ignore = "`cargo xtask test deaths` runs it")]
fn ten_thousand_opens_and_closes_leave_nothing_behind() {
    let (start, times) = (Instant::now(), option("DRYSTONE_OPENS").unwrap_or(10_000));
    let scratch = Scratch::in_memory();
    drop(scratch.open(Store::options().create(true).segment_bytes(1 << 20)));
    let mut peer = Peer::start("opens", &scratch.path(), times);
    let said = peer.hear();
    let fields: Vec<&str> = said.split(' ').collect();
    let [before, after, kib_before, kib_after] = fields[..] else { panic!("{said}") };
    assert_eq!(before, after, "descriptors, mappings of the store, threads");
    let grown = kib_after.parse::<u64>().unwrap().saturating_sub(kib_before.parse().unwrap());
    assert!(grown < 16 << 10, "{grown} KiB more memory after {times} opens");
    println!(
        "figure: opens and closes: {times} in {:.0} s; descriptors, mappings and threads {after} as \
         before, {grown} KiB more memory",
        start.elapsed().as_secs_f64()
    );
}
