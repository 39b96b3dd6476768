//! A store that was moved, copied, or copied while others wrote to it.

use super::rig::{Ledger, bytes, copy_dir, in_memory, options, run_dir};
use drystone::{BlobId, GetOptions, HashAlgorithm, Store, Value, Verify};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::time::Duration;

fn store_in(path: &Path) -> Ledger {
    let mut ledger = Ledger::new(HashAlgorithm::Xxh3);
    let store = options().create(true).open(path).expect("a store");
    for seed in 0..10 {
        store.put(&bytes(seed as usize * 20_011, seed)).expect("a put");
        ledger.put(&bytes(seed as usize * 20_011, seed));
    }
    ledger
}

#[test]
fn a_moved_store_goes_on_with_its_run() {
    let dir = in_memory();
    let (path, moved) = (dir.path().join("store"), dir.path().join("moved"));
    let ledger = store_in(&path);
    let run = run_dir(&path).file_name().map(ToOwned::to_owned);
    std::fs::rename(&path, &moved).expect("moved");
    ledger.check(&options().open(&moved).expect("it is there"), "moved");
    assert_eq!(run_dir(&moved).file_name().map(ToOwned::to_owned), run);
    assert!(options().open(&path).is_err(), "a store where none is");
}

#[test]
fn a_store_that_is_moved_while_it_is_open_goes_on() {
    let dir = in_memory();
    let (path, moved) = (dir.path().join("store"), dir.path().join("moved"));
    let mut ledger = store_in(&path);
    let store = options().open(&path).expect("a store");
    std::fs::rename(&path, &moved).expect("moved");
    store.put(&bytes(300_000, 99)).expect("a put");
    ledger.put(&bytes(300_000, 99));
    ledger.check(&store, "moved while open");
    ledger.check(&options().open(&moved).expect("it is there"), "opened where it is now");
}

#[test]
fn a_copy_goes_its_own_way() {
    let dir = in_memory();
    let (path, copy) = (dir.path().join("store"), dir.path().join("copy"));
    let ledger = store_in(&path);
    copy_dir(&path, &copy);
    let (first, second) = (options().open(&path).expect("it"), options().open(&copy).expect("it"));
    ledger.check(&second, "the copy");
    assert_ne!(run_dir(&path).file_name(), run_dir(&copy).file_name());
    let in_first = first.put(b"in the first").expect("a put");
    let in_second = second.put(b"in the second").expect("a put");
    assert!(second.get(&in_first).expect("a get").is_none());
    assert!(first.get(&in_second).expect("a get").is_none());
}

fn body(writer: u64, number: u64) -> Vec<u8> {
    bytes(1 + (number * 7919 % 60_000) as usize, writer << 32 | number)
}

fn key(writer: u64, number: u64) -> String {
    format!("{writer}/{number}")
}

/// Puts and names blobs up to `until`; `done` counts what was acknowledged.
fn write(store: &Store, writer: u64, done: &AtomicU64, until: &AtomicU64) {
    let refs = store.refs("live");
    for number in 0.. {
        while number >= until.load(Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
        if until.load(Relaxed) == u64::MAX {
            return;
        }
        let id = store.put(&body(writer, number)).expect("a put");
        refs.set(key(writer, number), id).expect("a ref");
        refs.set(format!("last of {writer}"), number.to_string().as_str()).expect("a ref");
        done.store(number + 1, SeqCst);
    }
}

/// Everything that was acknowledged before the copy began is in it; what is there besides is whole.
fn check_copy(copy: &Path, writer: u64, acknowledged: u64) {
    let store = options().open(copy).expect("a copy opens");
    let refs = store.refs("live");
    for number in 0..acknowledged + 300 {
        let entry = refs.get(key(writer, number)).expect("a ref");
        assert!(entry.is_some() || number >= acknowledged, "{number} of {acknowledged} is lost");
        let Some(Value::Blob(id)) = entry.map(|entry| entry.value) else { continue };
        assert_eq!(verified(&store, &id), body(writer, number), "{number}");
    }
    if acknowledged > 0 {
        let last = refs.get(format!("last of {writer}")).expect("a ref").expect("it was set");
        let text = std::str::from_utf8(last.bytes().expect("inline")).expect("a number");
        assert!(text.parse::<u64>().expect("a number") + 1 >= acknowledged, "{text} is older");
    }
    for stat in store.blobs() {
        verified(&store, &stat.expect("a blob").id);
    }
    store.put(b"into the copy").expect("a put");
}

fn verified(store: &Store, id: &BlobId) -> Vec<u8> {
    let blob = store.get_with(id, &GetOptions::new().verify(Verify::Whole));
    blob.expect("it is whole").expect("what is named is there").to_vec()
}

#[test]
fn a_copy_made_while_others_write_holds_what_was_acknowledged_before() {
    const WRITERS: u64 = 2;
    let dir = in_memory();
    let path = dir.path().join("store");
    let create = options().create(true).segment_bytes(1 << 20);
    let store = create.open(&path).expect("a store");
    let done: [AtomicU64; WRITERS as usize] = Default::default();
    let until = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (store, done, until) = (&store, &done, &until);
            scope.spawn(move || write(store, writer, &done[writer as usize], until));
        }
        let _over = Over(&until);
        for round in 0..8 {
            // More than they get done while the copy is made, and not more than there is room for.
            until.store(100 * (round + 1), Relaxed);
            while done.iter().any(|done| done.load(SeqCst) < 100 * round + 10) {
                std::thread::sleep(Duration::from_millis(1));
            }
            let acknowledged: Vec<u64> = done.iter().map(|done| done.load(SeqCst)).collect();
            let copy = dir.path().join(format!("copy {round}"));
            copy_dir(&path, &copy);
            for writer in 0..WRITERS {
                check_copy(&copy, writer, acknowledged[writer as usize]);
            }
            std::fs::remove_dir_all(copy).expect("removed");
        }
    });
}

/// Ends the writers, also when the test fails.
struct Over<'a>(&'a AtomicU64);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(u64::MAX, Relaxed);
    }
}
