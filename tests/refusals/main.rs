//! Bad input, limits and full disks: each is an error that says what was expected, what was found and
//! what to do, or a right result, and costs no data.
#![forbid(unsafe_code)]

mod descriptors;
mod lost_run;
mod mappings;
mod missing;
mod mounts;
mod names;
mod not_a_store;
mod numbers;
mod owners;
mod read_only;
#[path = "../faults/rig.rs"]
mod rig;
mod space;

use drystone::{HashAlgorithm, Options, Store};
use rig::{KIB, Ledger};
use std::path::Path;

/// Small segments, so that a few blobs make several.
fn options() -> Options {
    rig::options().create(true).segment_bytes(256 << 10)
}

/// A store with some blobs in it, small ones, large ones, and ones in segments of their own.
fn furnished(path: &Path) -> (Store, Ledger) {
    let store = options().open(path).expect("a store");
    let mut ledger = Ledger::new(HashAlgorithm::Xxh3);
    for (len, seed) in [(0, 1), (100, 2), (5 * KIB, 3), (60 * KIB, 4), (100 * KIB, 5)] {
        put(&store, &mut ledger, len, seed);
    }
    let key = ("names".to_owned(), b"key".to_vec());
    store.refs("names").set("key", "value").expect("a ref");
    ledger.set(&key, Some("value".into()));
    (store, ledger)
}

fn put(store: &Store, ledger: &mut Ledger, len: usize, seed: u64) {
    let bytes = rig::bytes(len, seed);
    store.put(&bytes).expect("a put");
    ledger.put(&bytes);
}

/// The next puts work, of each size, and everything is there: here, for the next process, and after a
/// reboot.
#[track_caller]
fn goes_on(store: Store, mut ledger: Ledger) {
    let path = store.path().to_path_buf();
    for len in [2000, 70 * KIB, 300 * KIB] {
        put(&store, &mut ledger, len, 900);
    }
    ledger.check(&store, "afterwards");
    drop(store);
    let next = rig::options().open(&path).expect("the store");
    ledger.check(&next, "for the next process");
    drop(next);
    let rebooted = rig::options().boot_id("another boot").open(&path).expect("the store");
    ledger.check(&rebooted, "after a reboot");
}
