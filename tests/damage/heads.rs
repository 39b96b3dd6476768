//! The head of a segment says whose it is; where it is damaged, each record says so for itself.

use super::rig::{KIB, Ledger, bytes, in_memory, options, patch, segment_file};
use drystone::{HashAlgorithm, Store};
use std::path::Path;

const BODIES: [(usize, u64); 4] = [(0, 1), (100, 2), (70 * KIB, 3), (300 * KIB, 4)];

/// A store with several segments, sealed or not, and what it owes.
fn store_in(path: &Path, is_sealed: bool) -> Ledger {
    let mut ledger = Ledger::new(HashAlgorithm::Xxh3);
    let store = options().create(true).open(path).expect("a store");
    for (len, seed) in BODIES {
        store.put(&bytes(len, seed)).expect("a put");
        ledger.put(&bytes(len, seed));
    }
    let name = ("n".to_owned(), b"k".to_vec());
    store.refs("n").set("k", "inline").expect("a ref");
    ledger.set(&name, Some("inline".into()));
    drop(store);
    if is_sealed {
        rebooted(path, "that seals");
    }
    ledger
}

fn rebooted(path: &Path, boot: &str) -> Store {
    options().boot_id(boot).open(path).expect("a recovery")
}

#[test]
fn a_flipped_byte_in_a_head_hides_nothing() {
    for is_sealed in [false, true] {
        for at in [0, 9, 20, 33, 41, 57, 63] {
            let dir = in_memory();
            let path = dir.path().join("store");
            let ledger = store_in(&path, is_sealed);
            let file = segment_file(&path, 0);
            let byte = std::fs::read(&file).expect("a segment")[at as usize];
            patch(&file, at, &[byte ^ 0x10]);
            let when = format!("byte {at}, sealed: {is_sealed}");
            let same_boot = if is_sealed { options().boot_id("that seals") } else { options() };
            ledger.check(&same_boot.open(&path).expect("the same run"), &when);
            ledger.check(&rebooted(&path, "second"), &format!("{when}, after a recovery"));
            let reader = options().read_only(true).boot_id("third").open(&path).expect("a reader");
            ledger.check(&reader, &format!("{when}, read-only"));
        }
    }
}

#[test]
fn a_store_with_a_damaged_head_is_written_to_and_recovered_again() {
    let dir = in_memory();
    let path = dir.path().join("store");
    let mut ledger = store_in(&path, false);
    patch(&segment_file(&path, 0), 0, &[0; 64]);
    for boot in 0..3 {
        let store = rebooted(&path, &format!("boot {boot}"));
        ledger.check(&store, "after a recovery");
        store.put(&bytes(50, 100 + boot)).expect("a put");
        ledger.put(&bytes(50, 100 + boot));
        store.sync().expect("a sync");
        ledger.check(&store, "after a put");
    }
}
