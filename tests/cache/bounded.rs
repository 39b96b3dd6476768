//! Limits hold at every moment, and what goes is what the policy says.
#![forbid(unsafe_code)]

use super::{store, text};
use drystone::ErrorKind;
use drystone::cache::{Cache, CacheOptions, EvictionPolicy};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

fn bounded(dir: &Path, options: CacheOptions) -> Cache {
    Cache::on(&store(dir), &options).expect("a cache")
}

fn there(cache: &Cache, keys: std::ops::Range<u32>) -> Vec<u32> {
    keys.filter(|at| cache.contains(format!("{at:04}")).unwrap()).collect()
}

#[test]
fn a_value_that_is_too_large_is_refused_and_empties_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let cache = bounded(dir.path(), CacheOptions::new().size_limit(1000));
    cache.set("k", b"1").unwrap();
    let error = cache.set("large", [0; 1000]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(error.to_string().contains("at most 1000"), "{error}");
    assert_eq!((text(&cache, "k").as_deref(), cache.volume()), (Some("1"), (2, 1)));
    cache.set("large", [0; 995]).unwrap();
    assert_eq!(cache.volume(), (1000, 1), "the other one went");
}

#[test]
fn without_a_policy_what_does_not_fit_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let options = CacheOptions::new().size_limit(100).policy(EvictionPolicy::None);
    let cache = bounded(dir.path(), options);
    for at in 0..10 {
        cache.set(format!("{at:04}"), [7; 6]).unwrap();
    }
    assert_eq!(cache.set("0010", b"").unwrap_err().kind(), ErrorKind::NoSpace);
    assert_eq!(cache.volume(), (100, 10));
    cache.set("0003", [8; 6]).unwrap();
    cache.delete("0004").unwrap();
    cache.set("0010", [9; 6]).unwrap();
    assert_eq!(cache.volume(), (100, 10));
}

#[test]
fn the_limits_hold_whatever_many_set_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let limits = CacheOptions::new().size_limit(20_000).item_limit(60);
    let caches: Vec<Cache> = (0..4).map(|_| bounded(dir.path(), limits.clone())).collect();
    thread::scope(|scope| {
        for (thread, cache) in caches.iter().enumerate() {
            scope.spawn(move || {
                for at in 0..800_usize {
                    let key = format!("{}", (at * 31 + thread * 7) % 200);
                    cache.set(&key, vec![at as u8; (at * 37) % 900]).unwrap();
                    if at % 5 == 0 {
                        cache.delete(format!("{}", at % 200)).unwrap();
                    }
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..3000 {
                let mut sum = (0, 0);
                let keys = caches[0].keys().unwrap();
                for item in caches[0].get_many(&keys).unwrap().into_iter().flatten() {
                    sum = (sum.0 + item.size, sum.1 + 1);
                }
                // Four that were read may have been replaced or evicted while they were added up.
                assert!(sum.0 <= 20_000 + 4 * 900 && sum.1 <= 60 + 4, "{sum:?}");
                if caches[0].stats().sets >= 3200 {
                    break;
                }
            }
        });
    });
    let (bytes, items) = caches[0].volume();
    assert!(bytes <= 20_000 && items <= 60, "{bytes} bytes, {items} items");
    let mut sum = (0, 0);
    for key in caches[1].keys().unwrap() {
        let item = caches[1].get(&key).unwrap().expect("nobody removes it now");
        sum = (sum.0 + item.size, sum.1 + 1);
    }
    assert_eq!(sum, (bytes, items), "what is counted is what is there");
}

#[test]
fn what_was_stored_first_goes_first() {
    let dir = tempfile::tempdir().unwrap();
    let options = CacheOptions::new().item_limit(5).policy(EvictionPolicy::LeastRecentlyStored);
    let cache = bounded(dir.path(), options);
    for at in 0..12 {
        cache.set(format!("{at:04}"), b"").unwrap();
        cache.get("0000").unwrap();
    }
    assert_eq!(there(&cache, 0..12), [7, 8, 9, 10, 11]);
    assert_eq!(cache.stats().evictions, 7);
}

#[test]
fn what_was_used_longest_ago_goes_first() {
    let dir = tempfile::tempdir().unwrap();
    let options = CacheOptions::new().item_limit(5).policy(EvictionPolicy::LeastRecentlyUsed);
    let cache = bounded(dir.path(), options);
    for at in 0..5 {
        cache.set(format!("{at:04}"), b"").unwrap();
    }
    for at in [3, 1, 0, 4, 2] {
        cache.get(format!("{at:04}")).unwrap().expect("it is there");
    }
    cache.set("0005", b"").unwrap();
    cache.set("0006", b"").unwrap();
    assert_eq!(there(&cache, 0..7), [0, 2, 4, 5, 6]);
}

#[test]
fn what_was_used_least_often_goes_first() {
    let dir = tempfile::tempdir().unwrap();
    let options = CacheOptions::new().item_limit(4).policy(EvictionPolicy::LeastFrequentlyUsed);
    let cache = bounded(dir.path(), options);
    for at in 0..4 {
        cache.set(format!("{at:04}"), b"").unwrap();
        for _ in 0..[5, 1, 3, 2][at as usize] {
            cache.get(format!("{at:04}")).unwrap().expect("it is there");
        }
    }
    cache.set("0004", b"").unwrap();
    assert_eq!(there(&cache, 0..5), [0, 2, 3, 4]);
}

const COUNT_USES: [EvictionPolicy; 2] =
    [EvictionPolicy::LeastRecentlyUsed, EvictionPolicy::LeastFrequentlyUsed];

/// A full cache is looked through once for many evictions: what was used since is not what goes.
#[test]
fn what_is_used_again_and_again_stays() {
    for (policy, hot) in COUNT_USES.into_iter().flat_map(|policy| [(policy, 1), (policy, 20)]) {
        let dir = tempfile::tempdir().unwrap();
        let cache = bounded(dir.path(), CacheOptions::new().item_limit(100).policy(policy));
        for at in 0..100 {
            cache.set(format!("{at:04}"), b"").unwrap();
        }
        for at in 100..400 {
            for key in 0..hot {
                let item = cache.get(format!("{key:04}")).unwrap();
                assert!(item.is_some(), "{policy}: {key} of {hot} went before {at}");
            }
            cache.set(format!("{at:04}"), b"").unwrap();
        }
        assert_eq!(cache.len(), 100);
    }
}

#[test]
fn what_was_only_set_goes_in_the_order_in_which_it_came() {
    for policy in COUNT_USES {
        // Two keys may share a word in one store of 200, and are then used twice.
        let is_in_order = |_| {
            let dir = tempfile::tempdir().unwrap();
            let cache = bounded(dir.path(), CacheOptions::new().item_limit(10).policy(policy));
            (0..32).all(|at| {
                cache.set(format!("{at:04}"), b"").unwrap();
                let first = (at + 1_u32).saturating_sub(10);
                there(&cache, 0..at + 1) == (first..at + 1).collect::<Vec<_>>()
            })
        };
        assert!((0..4).any(is_in_order), "{policy}");
    }
}

/// Whoever reads faster than a queue is made does not keep others from setting.
#[test]
fn a_setting_ends_while_all_is_being_read() {
    let dir = tempfile::tempdir().unwrap();
    let options = CacheOptions::new().item_limit(2).policy(EvictionPolicy::LeastRecentlyUsed);
    let (cache, is_done) = (bounded(dir.path(), options), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                for at in 0..2 {
                    cache.get(format!("{at:04}")).unwrap();
                }
            }
        });
        for at in 0..400 {
            cache.set(format!("{:04}", at % 3), b"").unwrap();
        }
        is_done.store(true, Ordering::Relaxed);
    });
    assert_eq!(cache.len(), 2);
}

/// Hits of a policy over keys that are asked for as often as their rank says, with one-hit wonders between.
fn hits(policy: EvictionPolicy, trace: &[u32]) -> usize {
    let dir = tempfile::tempdir().unwrap();
    let cache = bounded(dir.path(), CacheOptions::new().item_limit(100).policy(policy));
    let ask = |key: &u32| {
        let key = key.to_le_bytes();
        let is_hit = cache.get(key).unwrap().is_some();
        if !is_hit {
            cache.set(key, b"v").unwrap();
        }
        is_hit
    };
    trace.iter().filter(|key| ask(key)).count()
}

#[test]
fn s3_fifo_keeps_what_is_asked_for_again() {
    // Zipf by rank, from a fixed sequence; every second request is for a key that never comes again.
    let (mut state, mut trace) = (88_172_645_463_325_252_u64, Vec::new());
    for at in 0..8000_u32 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let rank = (1000_f64.powf((state >> 11) as f64 / (1_u64 << 53) as f64)) as u32;
        trace.push(if at % 2 == 0 { rank } else { 100_000 + at });
    }
    let mut fifo = VecDeque::new();
    let plain = trace.iter().filter(|key| {
        let is_hit = fifo.contains(key);
        if !is_hit {
            fifo.push_back(*key);
            fifo.drain(..fifo.len().saturating_sub(100));
        }
        is_hit
    });
    let plain = plain.count();
    let stored = hits(EvictionPolicy::LeastRecentlyStored, &trace);
    let s3 = hits(EvictionPolicy::S3Fifo, &trace);
    let lru = hits(EvictionPolicy::LeastRecentlyUsed, &trace);
    println!("hits of {}: FIFO {plain}, s3-fifo {s3}, lru {lru}", trace.len());
    assert_eq!(stored, plain, "stored first is first in, first out");
    assert!(s3 * 100 > plain * 130 && s3 * 100 > lru * 115, "{s3} beside {plain} and {lru}");
}

#[test]
fn what_was_read_since_it_came_stays() {
    let dir = tempfile::tempdir().unwrap();
    let cache = bounded(dir.path(), CacheOptions::new().item_limit(40));
    for at in 0..40 {
        cache.set(format!("{at:04}"), b"").unwrap();
    }
    for at in [0, 3, 7] {
        cache.get(format!("{at:04}")).unwrap().expect("it is there");
    }
    for at in 40..60 {
        cache.set(format!("{at:04}"), b"").unwrap();
    }
    let kept = there(&cache, 0..12);
    assert_eq!(kept, [0, 3, 7], "what was read is kept, and what was not goes in its order");
}

#[test]
fn limits_that_are_lowered_hold_for_all_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) =
        (bounded(dir.path(), CacheOptions::new()), bounded(dir.path(), CacheOptions::new()));
    for at in 0..100 {
        one.set(format!("{at:04}"), [0; 6]).unwrap();
    }
    two.change_settings(&CacheOptions::new().item_limit(10)).unwrap();
    assert_eq!(two.cull().unwrap(), 90);
    one.set("0100", b"").unwrap();
    assert_eq!(one.len(), 10);
    two.change_settings(&CacheOptions::new().item_limit(None)).unwrap();
    one.set("0101", b"").unwrap();
    assert_eq!(one.len(), 11);
}

/// Counters that are put right while a value is on its way would forget what is counted for it.
#[test]
fn a_count_that_is_put_right_beside_a_setting_keeps_what_is_on_its_way() {
    let dir = tempfile::tempdir().unwrap();
    let cache = bounded(dir.path(), CacheOptions::new().size_limit(1 << 30));
    let value = vec![7; 64 << 20];
    thread::scope(|scope| {
        let setter = scope.spawn(|| cache.set("k", &value).unwrap());
        // It is counted, and takes its time to be written.
        while cache.volume().0 == 0 {
            std::hint::spin_loop();
        }
        cache.expire().unwrap();
        setter.join().unwrap();
    });
    assert_eq!(cache.volume(), (value.len() as u64 + 1, 1));
}
