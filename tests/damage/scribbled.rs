//! Somebody scribbles on the shared words while the store is in use: operations are done or say why not,
//! and what was acknowledged before is there after the next recovery.

use super::rig::{Ledger, bytes, in_memory, options, patch, run_dir, seed};
use drystone::{HashAlgorithm, Store};
use std::path::Path;

/// Words of the control page: those of every kind, and some that are reserved.
const CONTROL_WORDS: [u64; 22] =
    [0, 1, 2, 4, 5, 6, 8, 9, 16, 24, 32, 40, 41, 64, 65, 72, 200, 319, 320, 321, 383, 2047];
/// Words of a table: the header, its hints, and some buckets.
const TABLE_WORDS: [u64; 16] = [0, 1, 5, 6, 7, 16, 24, 32, 64, 65, 66, 70, 75, 80, 96, 160];

/// What is put in afterwards: lengths and seeds.
const NEW: [(usize, u64); 3] = [(10, 1000), (3000, 1001), (100_000, 1002)];

fn store_in(path: &Path) -> Ledger {
    let mut ledger = Ledger::new(HashAlgorithm::Xxh3);
    let store = options().create(true).open(path).expect("a store");
    for seed in 0..12 {
        store.put(&bytes(seed as usize * 997, seed)).expect("a put");
        ledger.put(&bytes(seed as usize * 997, seed));
    }
    store.refs("old").set("k", "v").expect("a ref");
    ledger.set(&("old".to_owned(), b"k".to_vec()), Some("v".into()));
    ledger
}

/// Some of everything.
fn use_it(store: &Store, ledger: &Ledger) {
    let mut new = Vec::new();
    for (len, seed) in NEW {
        let body = bytes(len, seed);
        if let Ok(id) = store.put(&body) {
            new.push((id, body));
        }
    }
    let refs = store.refs("new");
    let _ = refs.set("k", "v").and_then(|_| refs.set("k", "w"));
    let _ = refs.get("k").and_then(|_| refs.remove("k"));
    let _ = store.reserve(5000).map(|draft| draft.commit().is_ok());
    let _ = store.sync();
    for id in ledger.held() {
        if let Ok(Some(blob)) = store.get(&id) {
            assert!(*blob == *ledger.bytes_of(&id), "{id} has other bytes");
        }
        let _ = store.stat(&id);
    }
    for (id, body) in &new {
        if let Ok(Some(blob)) = store.get(id) {
            assert!(*blob == body[..], "{id} has other bytes");
        }
    }
    let _ = store.stats();
    assert!(store.blobs().take(1000).count() < 1000, "a walk that does not end");
    if let Some((id, _)) = new.first() {
        let _ = store.unpin(id).and_then(|_| store.remove(id));
    }
}

fn scribble(file: &str, word: u64, value: u64) {
    let dir = in_memory();
    let path = dir.path().join("store");
    let mut ledger = store_in(&path);
    let store = options().open(&path).expect("a store");
    patch(&run_dir(&path).join(file), word * 8, &value.to_le_bytes());
    use_it(&store, &ledger);
    drop(store);
    let when = format!("{value:#x} in word {word} of {file}");
    // What was done with an index that could not be trusted may be there, acknowledged or not.
    for (len, seed) in NEW {
        ledger.may_put(&bytes(len, seed));
    }
    ledger.may_put(&[0; 5000]);
    ledger.may_set(&("new".to_owned(), b"k".to_vec()), Some("v".into()));
    ledger.may_set(&("new".to_owned(), b"k".to_vec()), Some("w".into()));
    for boot in ["second", "third"] {
        let store = options().boot_id(boot).open(&path);
        let store = store.unwrap_or_else(|error| panic!("{when}: {error}"));
        ledger.check(&store, &when);
    }
}

fn scribble_all(file: &str, words: &[u64]) {
    for &word in words {
        for value in [0, 1, u64::MAX, u64::MAX >> 1, seed().wrapping_mul(0x9E37_79B9_7F4A_7C15)] {
            scribble(file, word, value);
        }
    }
}

#[test]
fn a_scribbled_control_page_harms_nothing_that_was_there() {
    scribble_all("control", &CONTROL_WORDS);
}

#[test]
fn a_scribbled_table_harms_nothing_that_was_there() {
    scribble_all("00000000.idx", &TABLE_WORDS);
}
