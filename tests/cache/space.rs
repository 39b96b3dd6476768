//! What a cache gives up does not stay on the disk until its thread comes round.
#![forbid(unsafe_code)]

use super::{options, text};
use drystone::cache::{Cache, CacheOptions, ItemOptions};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

const MB: u64 = 1_000_000;
/// The thread does not come round in a test unless it is called.
const HOUR: Duration = Duration::from_secs(3600);
const DEADLINE: Duration = Duration::from_secs(60);

fn kept(dir: &Path, options_of_cache: CacheOptions) -> Cache {
    let store = options().open(dir.join("store")).expect("a store");
    Cache::on(&store, &options_of_cache.maintenance(HOUR)).expect("a cache")
}

/// A value that no other is like.
fn value(at: u64, bytes: u64) -> Vec<u8> {
    let word = at.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    word.iter().copied().cycle().take(bytes as usize).collect()
}

/// Bytes that the segments of a store take up.
fn on_disk(cache: &Cache) -> u64 {
    let segments = std::fs::read_dir(cache.store().path().join("segments")).expect("segments");
    let bytes = |entry: std::io::Result<std::fs::DirEntry>| {
        // One may have gone since it was listed.
        entry.ok().and_then(|entry| entry.metadata().ok()).map_or(0, |file| file.blocks() * 512)
    };
    segments.map(bytes).sum()
}

/// Waits until the store takes up less than so much; what it took up at last.
fn comes_below(cache: &Cache, most: u64) -> Result<u64, u64> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let bytes = on_disk(cache);
        if bytes < most {
            return Ok(bytes);
        }
        if Instant::now() > deadline {
            return Err(bytes);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_is_evicted_leaves_the_disk_soon() {
    let dir = tempfile::tempdir().unwrap();
    let limit = 20 * MB;
    let cache = kept(dir.path(), CacheOptions::new().size_limit(limit));
    let mut most = 0;
    for at in 0..200 {
        cache.set(format!("{at:04}"), value(at, 2 * MB - 4)).unwrap();
        most = most.max(on_disk(&cache));
    }
    let left = comes_below(&cache, 3 * limit);
    println!("limit {limit}, at most {most} on disk while setting, {left:?} after");
    left.expect("less than three times the limit is on disk");
    assert_eq!(cache.volume(), (limit, 10));
}

#[test]
fn what_is_replaced_or_removed_leaves_the_disk_soon() {
    let dir = tempfile::tempdir().unwrap();
    let cache = kept(dir.path(), CacheOptions::new());
    for at in 0..100 {
        cache.set("one", value(at, 2 * MB)).unwrap();
        let other = format!("{at:04}");
        cache.set(&other, value(1000 + at, 2 * MB)).unwrap();
        cache.delete(&other).unwrap();
    }
    comes_below(&cache, 60 * MB).expect("one value is left of 200");
    assert_eq!(cache.len(), 1);
}

#[test]
fn what_is_cleared_leaves_the_disk_soon() {
    let dir = tempfile::tempdir().unwrap();
    let cache = kept(dir.path(), CacheOptions::new());
    for round in 0..3 {
        for at in 0..20 {
            cache.set(format!("{at:04}"), value(100 * round + at, 2 * MB)).unwrap();
        }
        assert!(on_disk(&cache) >= 40 * MB);
        cache.clear().unwrap();
        comes_below(&cache, 8 * MB).expect("nothing is left");
    }
    assert!(cache.is_empty());
}

#[test]
fn what_had_a_tag_that_was_evicted_leaves_the_disk_soon() {
    let dir = tempfile::tempdir().unwrap();
    let cache = kept(dir.path(), CacheOptions::new());
    let tagged = ItemOptions::new().tag("t");
    cache.set("stays", b"here").unwrap();
    for at in 0..20 {
        cache.set_with(format!("{at:04}"), value(at, 2 * MB), &tagged).unwrap();
    }
    cache.evict("t").unwrap();
    comes_below(&cache, 8 * MB).expect("nothing of the tag is left");
    assert_eq!((text(&cache, "stays").as_deref(), cache.len()), (Some("here"), 1));
    for at in 0..20 {
        cache.set_with(format!("{at:04}"), value(at, 100), &tagged).unwrap();
    }
    assert_eq!(cache.evict_counted("t").unwrap(), 20, "no thread takes them out before");
}

#[test]
fn what_was_only_deleted_leaves_the_disk_in_the_next_interval() {
    let dir = tempfile::tempdir().unwrap();
    let every = Duration::from_millis(50);
    let cache = Cache::on(&super::store(dir.path()), &CacheOptions::new().maintenance(every));
    let cache = cache.expect("a cache");
    for at in 0..5 {
        cache.set(format!("{at:04}"), value(at, 2 * MB)).unwrap();
    }
    // Long enough for the settings to be an old story when the deletions come.
    std::thread::sleep(6 * every);
    for at in 0..5 {
        assert!(cache.delete(format!("{at:04}")).unwrap());
    }
    comes_below(&cache, 4 * MB).expect("nothing is left");
}
