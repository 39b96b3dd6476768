//! Queues, and entries that are put back: several threads at a time, what was evicted in between, and a reboot of sorts.
#![forbid(unsafe_code)]

use super::{cache, store};
use drystone::cache::{Cache, CacheOptions, ItemOptions, NewValue, Part, Queue, Side};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, SystemTime};

fn key(number: u64) -> Vec<u8> {
    format!("q-{number:015}").into_bytes()
}

fn queue() -> Queue<'static> {
    Queue::new(b"q", &key)
}

fn push(cache: &Cache, side: Side, bytes: &[u8], options: &ItemOptions) -> u64 {
    let value = NewValue { head: b"head", parts: &[Part::Bytes(bytes)] };
    cache.push(&queue(), side, value, options).expect("a push").0
}

fn pull(cache: &Cache, side: Side) -> Option<Vec<u8>> {
    let pulled = cache.pull(&queue(), side).expect("an answer");
    pulled.map(|(_, item)| item.into_bytes().into_vec())
}

#[test]
fn of_many_threads_each_pulls_another_value_and_none_is_lost() {
    let dir = tempfile::tempdir().expect("a directory");
    let cache = cache(dir.path());
    let pulled = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for seed in 0..8_u32 {
            let (cache, pulled) = (&cache, &pulled);
            scope.spawn(move || {
                let (push_to, pull_from) = match seed % 4 {
                    0 => (Side::Front, Side::Front),
                    1 => (Side::Back, Side::Back),
                    _ => (Side::Back, Side::Front),
                };
                let mut mine = Vec::new();
                for at in 0..400_u32 {
                    let value = seed << 16 | at;
                    push(cache, push_to, &value.to_le_bytes(), &ItemOptions::new());
                    // There are never fewer values than threads that are to pull one.
                    mine.push(pull(cache, pull_from).expect("a value"));
                }
                pulled.lock().expect("no panic").append(&mut mine);
            });
        }
    });
    let mut pulled = pulled.into_inner().expect("no panic");
    pulled.sort();
    let values = (0..8_u32).flat_map(|seed| (0..400_u32).map(move |at| seed << 16 | at));
    let mut wanted: Vec<Vec<u8>> = values.map(|value| value.to_le_bytes().to_vec()).collect();
    wanted.sort();
    assert_eq!(pulled, wanted);
    assert_eq!((pull(&cache, Side::Front), cache.len()), (None, 0));
}

#[test]
fn what_has_gone_in_between_is_passed_over_and_numbers_are_used_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let cache = cache(dir.path());
    let start = push(&cache, Side::Back, b"0", &ItemOptions::new());
    assert_eq!(start, 500_000_000_000_000);
    push(&cache, Side::Back, b"1", &ItemOptions::new().tag("t"));
    push(&cache, Side::Back, b"2", &ItemOptions::new().expires_in(Duration::from_nanos(1)));
    // The one that has expired already stands in nobody's way.
    assert_eq!(push(&cache, Side::Back, b"3", &ItemOptions::new()), start + 2);
    assert_eq!(push(&cache, Side::Back, b"4", &ItemOptions::new()), start + 3);
    assert!(cache.delete(key(start + 3)).expect("a removal"));
    cache.evict("t").expect("an eviction");
    assert_eq!(push(&cache, Side::Back, b"5", &ItemOptions::new()), start + 3);
    let peeked = cache.peek(&queue(), Side::Back).expect("an answer").expect("a value");
    assert_eq!(
        (peeked.0, peeked.1.bytes(), &peeked.1.head[..]),
        (start + 3, &b"5"[..], &b"head"[..])
    );
    let all: Vec<_> = std::iter::from_fn(|| pull(&cache, Side::Front)).collect();
    assert_eq!(all, [b"0", b"3", b"5"]);
    assert_eq!(push(&cache, Side::Front, b"anew", &ItemOptions::new()), start);
    cache.clear().expect("a clearing");
    assert_eq!(pull(&cache, Side::Front), None);
}

#[test]
fn a_queue_lasts_as_its_store_does() {
    let dir = tempfile::tempdir().expect("a directory");
    for at in 0..30_u8 {
        let cache = Cache::on(&store(dir.path()), &CacheOptions::new()).expect("a cache");
        push(&cache, Side::Back, &[at], &ItemOptions::new());
    }
    let cache = cache(dir.path());
    cache.store().sync().expect("synced");
    let all: Vec<_> = std::iter::from_fn(|| pull(&cache, Side::Front)).collect();
    assert_eq!(all, (0..30_u8).map(|at| vec![at]).collect::<Vec<_>>());
}

#[test]
fn an_eviction_that_is_counted_takes_out_what_it_counts() {
    let dir = tempfile::tempdir().expect("a directory");
    let cache = cache(dir.path());
    let (tagged, both) = (ItemOptions::new().tag("a"), ItemOptions::new().tag("b").tag("a"));
    for at in 0..10 {
        cache.set_with(format!("a{at}"), b"x", &tagged).expect("a setting");
        cache.set_with(format!("ab{at}"), b"x", &both).expect("a setting");
        cache.set(format!("none{at}"), b"x").expect("a setting");
    }
    let soon = tagged.clone().expires_in(Duration::from_nanos(1));
    cache.set_with("expired", b"x", &soon).expect("a setting");
    assert_eq!(cache.keys_tagged("b").expect("keys").len(), 10);
    assert_eq!(cache.evict_counted("a").expect("an eviction"), 20);
    assert_eq!(cache.evict_counted("a").expect("an eviction"), 0);
    assert_eq!(cache.evict_counted("b").expect("an eviction"), 0);
    assert_eq!(
        (cache.keys().expect("keys").len(), cache.len()),
        (10, 11),
        "what has expired is counted"
    );
    cache.set_with("a0", b"new", &tagged).expect("a setting");
    assert_eq!(cache.evict_counted("a").expect("an eviction"), 1);
}

#[test]
fn what_will_have_expired_goes_at_a_later_time() {
    let dir = tempfile::tempdir().expect("a directory");
    let cache = cache(dir.path());
    let at = |seconds| SystemTime::now() + Duration::from_secs(seconds);
    for seconds in [100, 200, 300] {
        let options = ItemOptions::new().expires_at(at(seconds));
        cache.set_with(seconds.to_string(), b"x", &options).expect("a setting");
    }
    cache.set("never", b"x").expect("a setting");
    assert_eq!(cache.expire().expect("a count"), 0);
    assert_eq!(cache.expire_before(at(250)).expect("a count"), 2);
    assert_eq!(cache.keys_sorted().expect("keys"), [&b"300"[..], b"never"]);
}

#[test]
fn what_was_read_is_put_back_as_it_was_if_nobody_has_changed_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let cache = cache(dir.path());
    let options = ItemOptions::new().tag("t").expires_in(Duration::from_secs(1000));
    let (large, small) = (vec![7; 300_000], vec![8; 10_000]);
    let value = NewValue { head: b"head", parts: &[Part::Bytes(&large), Part::Bytes(&small)] };
    cache.set_value("k", value, &options).expect("a setting");
    cache.set("later", b"x").expect("a setting");
    let before = cache.snapshot("k").expect("an answer").expect("a value");
    assert!(cache.delete("k").expect("a removal"));
    let other = cache.set("k", b"other").expect("a setting");
    assert!(cache.restore("k", None, &before).expect("an answer").is_none(), "it has a value");
    assert!(!cache.remove_exactly("k", before.version).expect("an answer"));
    assert!(cache.remove_exactly("k", other).expect("an answer"));
    // Its large part has gone from the store meanwhile, and is still held.
    cache.store().compact(&drystone::CompactOptions::new().all(true)).expect("a compaction");
    assert!(cache.restore("k", None, &before).expect("an answer").is_some());
    let after = cache.snapshot("k").expect("an answer").expect("a value");
    assert_eq!(
        (&after.head, &after.tags, after.expires),
        (&before.head, &before.tags, before.expires)
    );
    assert_eq!((&after.parts[0][..], &after.parts[1][..]), (&large[..], &small[..]));
    assert_eq!(
        cache.keys_by_insertion().expect("keys"),
        [&b"k"[..], b"later"],
        "it has its old place"
    );
    let (hits, misses) = (cache.stats().hits, cache.stats().misses);
    assert_eq!((hits, misses), (0, 0), "a snapshot is no lookup");
}
