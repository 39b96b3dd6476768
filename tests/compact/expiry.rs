//! Refs that have expired go with a compaction, and what only they named.
#![forbid(unsafe_code)]

use crate::support::{KIB, Scratch, bytes, read};
use drystone::{CompactOptions, SetOptions};
use std::time::{Duration, UNIX_EPOCH};

#[test]
fn expired_refs_and_their_blobs_go_and_do_not_come_back() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let refs = store.refs("cache");
    refs.set("old", "a value before").unwrap();
    let past = SetOptions::new().expires_at(UNIX_EPOCH + Duration::from_secs(1));
    let later = SetOptions::new().expires_in(Duration::from_secs(3600));
    refs.set_with("old", bytes(9 * KIB, 1), &past).unwrap();
    refs.set_with("new", bytes(9 * KIB, 2), &later).unwrap();
    let report = store.compact(&CompactOptions::new().all(true)).unwrap();
    assert_eq!((report.expired_refs, report.collected_blobs, report.live_refs), (1, 1, 1));
    assert_eq!(store.stats().unwrap().refs, 1);
    let entry = refs.get("new").unwrap().unwrap();
    assert!(read(&store, entry.blob().unwrap()) == bytes(9 * KIB, 2));
    drop((store, refs));
    let store = scratch.rebooted();
    assert!(store.refs("cache").get("old").unwrap().is_none());
    assert!(store.refs("cache").get("new").unwrap().is_some());
}
