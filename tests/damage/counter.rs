//! The words that count: garbled in the control page, or forged in a record.

use super::rig::{bytes, in_memory, options, patch, refused, run_dir, segment_file};
use drystone::{Error, ErrorKind, Store};
use std::io::Read;
use std::path::Path;
use xxhash_rust::xxh3::xxh3_64_with_seed;

const SEQUENCE_WORD: u64 = 24;

fn garble_counter(path: &Path, value: u64) {
    patch(&run_dir(path).join("control"), SEQUENCE_WORD * 8, &value.to_le_bytes());
}

#[test]
fn a_garbled_sequence_counter_is_refused_in_use_and_rebuilt_by_who_opens_alone() {
    for garbled in [0, 1, 1 << 62, (1 << 63) - 1, 1 << 63, u64::MAX - 1, u64::MAX] {
        let dir = in_memory();
        let path = dir.path().join("store");
        let store = options().create(true).open(&path).expect("a store");
        let id = store.put(b"before").expect("a put");
        garble_counter(&path, garbled);
        let says = ["sequence counter", "remove its directory `run`"];
        refused(store.put(b"small"), ErrorKind::Damaged, &says);
        refused(store.put(&bytes(100_000, 1)), ErrorKind::Damaged, &says);
        refused(store.put_many(&[b"a", b"b"]), ErrorKind::Damaged, &says);
        refused(store.refs("n").set("k", "v"), ErrorKind::Damaged, &says);
        refused(store.remove(&id), ErrorKind::Damaged, &says);
        assert_eq!(*store.get(&id).expect("a get").expect("it is there"), *b"before");
        refused(options().open(&path), ErrorKind::Damaged, &says);
        drop(store);
        let alone = options().open(&path).expect("rebuilt");
        assert_eq!(*alone.get(&id).expect("a get").expect("it is there"), *b"before");
        alone.put(b"after").expect("a put");
    }
}

/// Somebody scribbles between the check and the draw: while a long put reads what it puts.
#[test]
fn a_counter_garbled_in_the_middle_of_a_put_overflows_nothing() {
    struct Scribbling<'a>(&'a Path, u64);
    impl Read for Scribbling<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            garble_counter(self.0, self.1);
            Ok(buffer.len())
        }
    }
    for garbled in [(1 << 63) - 1, u64::MAX - 2, u64::MAX - 1, u64::MAX] {
        let dir = in_memory();
        let path = dir.path().join("store");
        let store = options().create(true).open(&path).expect("a store");
        let before = store.put(b"before").expect("a put");
        // Done or not, it does not panic; and nobody goes on with that counter.
        drop(store.put_reader(Scribbling(&path, garbled).take(5 << 20)));
        refused(store.put(b"behind"), ErrorKind::Damaged, &["sequence counter"]);
        drop(store);
        let store = options().open(&path).expect("rebuilt");
        assert_eq!(*store.get(&before).expect("a get").expect("it is there"), *b"before");
    }
}

#[test]
fn a_draft_is_not_committed_on_a_garbled_counter() {
    let dir = in_memory();
    let path = dir.path().join("store");
    let store = options().create(true).open(&path).expect("a store");
    let draft = store.reserve(100).expect("a draft");
    garble_counter(&path, u64::MAX);
    let committed = draft.commit().map_err(Error::from);
    refused(committed, ErrorKind::Damaged, &["sequence counter"]);
}

/// Gives a record another number, as one would who knows how headers are sealed.
fn forge(store: &Store, path: &Path, segment: u32, offset: u64, number: u64) {
    let file = segment_file(path, segment);
    let all = std::fs::read(&file).expect("a segment");
    let mut header: [u8; 64] =
        all[offset as usize..offset as usize + 64].try_into().expect("a header");
    header[16..24].copy_from_slice(&number.to_le_bytes());
    let mut sealed = header;
    sealed[5] = 0;
    sealed[56..].fill(0);
    let place = xxh3_64_with_seed(&store.uuid(), u64::from(segment));
    let seed = place ^ offset.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    header[56..].copy_from_slice(&xxh3_64_with_seed(&sealed, seed).to_le_bytes());
    patch(&file, offset, &header);
}

#[test]
fn a_forged_sequence_number_does_not_outlive_a_recovery() {
    for number in [1 << 63, u64::MAX - 1, u64::MAX] {
        let dir = in_memory();
        let path = dir.path().join("store");
        let store = options().create(true).open(&path).expect("a store");
        let kept = store.put(b"kept").expect("a put");
        let forged = store.put(b"forged").expect("a put");
        let stat = store.stat(&forged).expect("a stat").expect("it is there");
        forge(&store, &path, stat.segment, stat.offset, number);
        let sequence = store.stats().expect("figures").sequence;
        let read = store.get(&forged).expect("a get").expect("the forgery checks");
        assert_eq!(*read, *b"forged");
        drop((store, read));
        for boot in ["second", "third"] {
            let store = options().boot_id(boot).open(&path).expect("a recovery");
            assert!(store.get(&kept).expect("a get").is_some(), "{number:#x}");
            assert!(store.stats().expect("figures").sequence < sequence + 100, "{number:#x}");
            store.put(boot.as_bytes()).expect("a put");
            store.refs("n").set("k", boot).expect("a ref");
        }
        let store = options().boot_id("fourth").open(&path).expect("a recovery");
        let entry = store.refs("n").get("k").expect("a ref").expect("it is there");
        assert_eq!(entry.bytes(), Some(&b"third"[..]), "{number:#x}: an older version is back");
    }
}

#[test]
fn a_forged_record_with_the_highest_number_leaves_a_store_that_is_read() {
    let dir = in_memory();
    let path = dir.path().join("store");
    let store = options().create(true).open(&path).expect("a store");
    let id = store.put(b"forged").expect("a put");
    let stat = store.stat(&id).expect("a stat").expect("it is there");
    forge(&store, &path, stat.segment, stat.offset, (1 << 63) - 1);
    drop(store);
    for boot in ["second", "third"] {
        let store = options().boot_id(boot).open(&path).expect("a recovery");
        assert_eq!(*store.get(&id).expect("a get").expect("it is there"), *b"forged");
        refused(store.put(b"more"), ErrorKind::Limit, &["used up", "new store"]);
    }
}
