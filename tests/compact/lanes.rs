//! A large compaction goes in two lanes, and nothing is lost between them.
#![forbid(unsafe_code)]

use crate::support::{KIB, MIB, Scratch, bytes, read};
use drystone::{CompactOptions, FsckOptions, Store, fsck};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

const BLOBS: u64 = 520;
const BLOB_BYTES: usize = 400 * KIB;

#[test]
fn two_lanes_move_everything_and_leave_one_open_segment_each() {
    let scratch = Scratch::in_memory();
    let store = scratch.open(Store::options().create(true).segment_bytes(8 * MIB as u64));
    let mut kept = Vec::new();
    for seed in 0..BLOBS {
        let content = bytes(BLOB_BYTES, seed);
        let id = store.put(&content).unwrap();
        if seed % 2 == 0 {
            kept.push((id, content));
        } else {
            assert!(store.unpin(&id).unwrap());
        }
    }
    let threads = Arc::new(Mutex::new(BTreeSet::new()));
    let told = Arc::clone(&threads);
    let options = CompactOptions::new().on_progress(move |progress| {
        assert!(progress.done_bytes <= progress.total_bytes);
        told.lock().unwrap().insert(std::thread::current().name().map(String::from));
    });
    let report = store.compact(&options).unwrap();
    assert_eq!(threads.lock().unwrap().len(), 2, "both lanes have done something: {report:?}");
    assert!(report.complete && !report.out_of_space, "{report:?}");
    let live = BLOBS / 2 * BLOB_BYTES as u64;
    assert!(report.copied_bytes >= live, "{report:?}");
    assert!(report.bytes_after <= live + live / 10 + 2 * 8 * MIB as u64, "{report:?}");
    for (id, content) in &kept {
        assert!(read(&store, id) == *content);
    }
    drop(store);
    let checked = fsck(scratch.path(), &FsckOptions::new().deep(true)).unwrap();
    assert!(checked.is_clean(), "{checked:?}");
    let again = scratch.rebooted();
    for (id, content) in &kept {
        assert!(read(&again, id) == *content);
    }
}
