//! A put of bytes whose stored copy is damaged, or whose segment is missing, puts them in again.

use super::furnished::Furnished;
use super::rig::{MIB, bytes, in_memory, options, patch, resize, segment_file};
use super::tried::{check, deep, of_kind};
use drystone::{
    BlobId, ErrorKind, FindingKind, GetOptions, HashAlgorithm, PutOptions, Store, Verify,
};
use std::fs;
use std::path::Path;

const LENGTHS: [usize; 4] = [700, 100_000, 300_000, 5 * MIB];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Blow {
    Body,
    Header,
    Cut,
    Removed,
}

/// A closed store with the bytes in it, damaged.
fn damaged(path: &Path, hash: HashAlgorithm, body: &[u8], blow: Blow) -> BlobId {
    let create = options().create(true).hash(hash).segment_bytes(256 << 10);
    let store = create.open(path).expect("a store");
    store.put(&bytes(50, 1)).expect("a put");
    let id = store.put(body).expect("a put");
    store.refs("names").set("name", id).expect("a ref");
    let stat = store.stat(&id).expect("a stat").expect("it is there");
    drop(store);
    let file = segment_file(path, stat.segment);
    match blow {
        Blow::Body => patch(&file, stat.offset + 64 + body.len() as u64 / 2, &[0x11; 9]),
        Blow::Header => patch(&file, stat.offset + 20, &[0x11; 9]),
        Blow::Cut => resize(&file, stat.offset + 100),
        Blow::Removed => fs::remove_file(&file).expect("a removal"),
    }
    id
}

#[track_caller]
fn verify(store: &Store, id: &BlobId, body: &[u8], when: &str) {
    let how = GetOptions::new().verify(Verify::Whole);
    let got = store.get_with(id, &how).unwrap_or_else(|error| panic!("{when}: {error}"));
    assert!(*got.unwrap_or_else(|| panic!("{when}: it is not there")) == *body, "{when}");
    assert!(store.stat(id).expect("a stat").expect("it").pinned, "{when}");
}

#[test]
fn a_damaged_or_missing_blob_is_mended_by_putting_it_again() {
    for (len, blow) in LENGTHS.into_iter().flat_map(|len| {
        [Blow::Body, Blow::Header, Blow::Cut, Blow::Removed].map(|blow| (len, blow))
    }) {
        for hash in [HashAlgorithm::Xxh3, HashAlgorithm::Blake3] {
            // BLAKE3 cannot collide, so what is stored is not read.
            if hash == HashAlgorithm::Blake3 && blow == Blow::Body {
                continue;
            }
            let dir = in_memory();
            let path = dir.path().join("store");
            let (body, when) = (bytes(len, 7), format!("{len} bytes, {blow:?}, {hash}"));
            let id = damaged(&path, hash, &body, blow);
            let store = options().open(&path).expect("a store");
            let again = store.put(&body).unwrap_or_else(|error| panic!("{when}: {error}"));
            assert_eq!(again, id, "{when}");
            verify(&store, &id, &body, &when);
            store.put(&body).expect("a duplicate");
            store.sync().unwrap_or_else(|error| panic!("{when}: {error}"));
            drop(store);
            verify(&options().open(&path).expect("a store"), &id, &body, &when);
            let next = options().boot_id("next").open(&path).expect("a store");
            verify(&next, &id, &body, &when);
        }
    }
}

#[test]
fn all_ways_to_put_mend() {
    type Put = fn(&Store, &[u8]) -> BlobId;
    let ways: [(&str, Put); 4] = [
        ("put_many", |store, body| store.put_many(&[body]).expect("a put")[0]),
        ("put_reader", |store, body| store.put_reader(body).expect("a put")),
        ("draft", |store, body| {
            let mut draft = store.reserve(body.len() as u64).expect("a draft");
            draft.copy_from_slice(body);
            draft.commit().expect("a commit")
        }),
        ("refs", |store, body| {
            let refs = store.refs("names");
            store.put(body).expect("a put");
            let id = refs.get("name").expect("a ref").expect("it").blob().copied();
            id.expect("a blob")
        }),
    ];
    for (way, put) in ways {
        for (len, blow) in
            LENGTHS.into_iter().flat_map(|len| [(len, Blow::Body), (len, Blow::Removed)])
        {
            if way == "refs" && blow == Blow::Removed {
                continue;
            }
            let dir = in_memory();
            let path = dir.path().join("store");
            let (body, when) = (bytes(len, 7), format!("{len} bytes, {blow:?} by {way}"));
            let id = damaged(&path, HashAlgorithm::Xxh3, &body, blow);
            let store = options().open(&path).expect("a store");
            assert_eq!(put(&store, &body), id, "{when}");
            verify(&store, &id, &body, &when);
        }
    }
}

#[test]
fn a_lost_ref_can_be_set_again() {
    let dir = in_memory();
    let path = dir.path().join("store");
    let body = bytes(700, 7);
    let id = damaged(&path, HashAlgorithm::Xxh3, &body, Blow::Removed);
    let store = options().open(&path).expect("a store");
    let lost = store.refs("names").get("name").expect_err("its segment is missing");
    assert_eq!(lost.kind(), ErrorKind::Damaged);
    store.put(&body).expect("a put");
    store.refs("names").set("name", id).expect("a ref");
    let entry = store.refs("names").get("name").expect("a ref").expect("it");
    assert_eq!(entry.blob(), Some(&id));
}

#[test]
fn after_mending_all_that_was_lost_the_index_is_sound() {
    let made = Furnished::new(HashAlgorithm::Xxh3);
    let file = super::rig::segment_files(&made.path()).remove(0);
    fs::remove_file(&file).expect("a removal");
    let store = options().open(made.path()).expect("a store");
    for (id, body, is_there) in &made.blobs {
        if *is_there {
            assert_eq!(store.put(body).expect("a put"), *id);
        }
    }
    let report = check(&made.path(), &deep());
    // What is left are words of refs, and of tombstones, that the file held.
    let blobs: Vec<_> = of_kind(&report, FindingKind::Digest);
    assert!(blobs.is_empty());
    for (id, body, is_there) in &made.blobs {
        if *is_there {
            verify(&store, id, body, "mended");
        }
    }
}

#[test]
fn a_full_store_tells_of_a_damaged_copy_whoever_may_write_the_bytes() {
    for len in LENGTHS {
        let dir = in_memory();
        let path = dir.path().join("store");
        let body = bytes(len, 7);
        let store = options().create(true).open(&path).expect("a store");
        let id = store.put(&body).expect("a put");
        drop(store);
        let full = options().size_limit(1).boot_id("full").open(&path).expect("a store");
        let stat = full.stat(&id).expect("a stat").expect("it is there");
        patch(&segment_file(&path, stat.segment), stat.offset + 64 + 300, &[0x11; 9]);
        let puts =
            [full.put(&body), full.put_racy(&body[..10], (&body[10..]).into(), &PutOptions::new())];
        for put in puts {
            let error = put.expect_err("there is no room to mend it");
            assert_eq!(error.kind(), ErrorKind::Damaged, "{len} bytes: {error}");
        }
    }
}
