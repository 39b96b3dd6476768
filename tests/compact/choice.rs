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
