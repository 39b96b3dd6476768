//! What is worth it is taken, and what is not is left.
#![forbid(unsafe_code)]

use crate::support::{KIB, Scratch, bytes};
use drystone::{CompactOptions, Store};

/// A store of segments of which one in `of` blobs is garbage.
fn with_garbage(of: u64) -> (Scratch, Store) {
    let scratch = Scratch::new();
    let store = scratch.open(Store::options().create(true).segment_bytes(1 << 20));
    for seed in 0..200 {
        let id = store.put(&bytes(30 * KIB, seed)).unwrap();
        if seed % of == 0 {
            store.unpin(&id).unwrap();
        }
    }
    (scratch, store)
}

#[test]
fn a_little_garbage_is_left_until_it_is_asked_for() {
    let (_scratch, store) = with_garbage(10);
    let report = store.compact(&CompactOptions::new()).unwrap();
    assert_eq!((report.collected_blobs, report.copied_records), (20, 0), "{report:?}");
    let report = store.compact(&CompactOptions::new().min_garbage(0.09)).unwrap();
    assert!(report.removed_segments >= 4, "{report:?}");
}

#[test]
fn all_takes_every_segment_with_garbage() {
    let (_scratch, store) = with_garbage(10);
    let report = store.compact(&CompactOptions::new().all(true)).unwrap();
    assert!(report.removed_segments >= 5, "{report:?}");
    assert!(report.bytes_after < 180 * 30 * 1024 * 105 / 100 + (64 << 10), "{report:?}");
}

#[test]
fn what_no_compaction_can_go_by_is_refused_at_once() {
    let (_scratch, store) = with_garbage(10);
    let shares =
        [f64::NAN, -1.0, 5.0, f64::INFINITY].map(|it| CompactOptions::new().min_garbage(it));
    for options in shares.into_iter().chain([CompactOptions::new().rate(0)]) {
        let error = store.compact(&options).unwrap_err();
        assert_eq!(error.kind(), drystone::ErrorKind::InvalidInput, "{error}");
    }
    assert!(store.compact(&CompactOptions::new().min_garbage(1.0)).unwrap().complete);
}

#[test]
fn segments_that_are_short_for_their_many_records_are_merged_once() {
    let scratch = Scratch::in_memory();
    let store = scratch.open(Store::options().create(true));
    // Sealed each time that so many records are in it; a blob and its pin are two.
    let (records, each) = (1 << 14, 1 << 13);
    for round in 0..12u64 {
        let values: Vec<_> = (0..each).map(|at| bytes(20, round << 32 | at)).collect();
        store.put_many(&values).unwrap();
    }
    let stats = store.stats().unwrap();
    assert!((12..=14).contains(&stats.segments), "{} records each: {stats:?}", records);
    // What was put while the index grew has left garbage.
    store.compact(&CompactOptions::new()).unwrap();
    let report = store.compact(&CompactOptions::new()).unwrap();
    assert_eq!((report.complete, report.copied_records), (true, 0), "so few are left: {report:?}");
    for round in 12..22u64 {
        let values: Vec<_> = (0..each).map(|at| bytes(20, round << 32 | at)).collect();
        store.put_many(&values).unwrap();
    }
    let report = store.compact(&CompactOptions::new()).unwrap();
    assert!(report.copied_records >= 15 * records && report.removed_segments >= 16, "{report:?}");
    assert!(store.stats().unwrap().segments <= 6, "{:?}", store.stats().unwrap());
    let again = store.compact(&CompactOptions::new()).unwrap();
    assert_eq!(again.copied_records, 0, "once: {again:?}");
    let id = store.put(&bytes(20, 3 << 32 | 5)).unwrap();
    assert!(*store.get(&id).unwrap().unwrap() == bytes(20, 3 << 32 | 5));
}
