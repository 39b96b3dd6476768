//! Reading only: beside a live writer, where there is no run, and what is refused.
#![forbid(unsafe_code)]

use crate::support::{HASHES, Scratch, another_boot, bytes, each_hash, holdings, read};
use drystone::{Durability, ErrorKind, PutOptions, Result, Store};

fn reader(scratch: &Scratch) -> Store {
    scratch.open(Store::options().read_only(true))
}

#[test]
fn a_reader_sees_what_a_live_writer_does() {
    for hash in HASHES {
        let scratch = Scratch::new();
        let writer = scratch.open(Store::options().create(true).hash(hash));
        let reader = reader(&scratch);
        assert_eq!((reader.uuid(), reader.hash_algorithm()), (writer.uuid(), hash));
        // Enough for the index to grow under the reader.
        for seed in 0..1500 {
            let id = writer.put(&bytes(50, seed)).unwrap();
            assert_eq!(read(&reader, &id), bytes(50, seed));
        }
        assert!(writer.stats().unwrap().index_generation > 0);
        let large = writer.put(&bytes(17 << 20, 1)).unwrap();
        assert!(read(&reader, &large) == bytes(17 << 20, 1));
        writer.refs("r").set("k", large).unwrap();
        assert_eq!(reader.refs("r").get("k").unwrap().unwrap().blob(), Some(&large));
        writer.remove(&large).unwrap();
        assert!(reader.get(&large).unwrap().is_none());
        assert!(reader.refs("r").get("k").unwrap().is_none());
        assert_eq!(reader.stats().unwrap().blobs, 1500);
        assert_eq!(reader.blobs().count(), 1500);
    }
}

#[test]
fn without_a_run_a_reader_builds_an_index_of_its_own() {
    for hash in HASHES {
        let scratch = Scratch::new();
        let writer = scratch.open(Store::options().create(true).hash(hash));
        let ids: Vec<_> = (0..500).map(|i| writer.put(&bytes(i * 20, 1)).unwrap()).collect();
        writer.refs("r").set("k", ids[3]).unwrap();
        writer.remove(&ids[4]).unwrap();
        drop(writer);
        let files = |scratch: &Scratch| {
            let mut names: Vec<_> = walk(&scratch.path());
            names.sort();
            names
        };
        let before = files(&scratch);
        let rebooted = Store::options().read_only(true).boot_id(another_boot());
        let reader = scratch.open(rebooted);
        for (at, id) in ids.iter().enumerate() {
            let expected = (at != 4).then(|| bytes(at * 20, 1));
            assert_eq!(reader.get(id).unwrap().as_deref(), expected.as_deref());
        }
        assert_eq!(reader.refs("r").get("k").unwrap().unwrap().blob(), Some(&ids[3]));
        assert_eq!(reader.blobs().count(), 499);
        assert_eq!(reader.stats().unwrap().blobs, 499);
        assert_eq!(files(&scratch), before, "it has written nothing");
    }
}

fn walk(dir: &std::path::Path) -> Vec<(std::path::PathBuf, u64, std::time::SystemTime)> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            let metadata = std::fs::metadata(&path).unwrap();
            let below = if metadata.is_dir() { walk(&path) } else { Vec::new() };
            let own = (path, metadata.len(), metadata.modified().unwrap());
            std::iter::once(own).chain(below)
        })
        .collect()
}

#[test]
fn a_reader_works_on_files_that_nobody_may_write() {
    let scratch = Scratch::new();
    let writer = scratch.store();
    let id = writer.put(&bytes(100_000, 1)).unwrap();
    drop(writer);
    let chmod = |mode: &str| {
        let path = scratch.path();
        std::process::Command::new("chmod").arg("-R").arg(mode).arg(path).status().unwrap()
    };
    assert!(chmod("a-w").success());
    assert!(read(&reader(&scratch), &id) == bytes(100_000, 1));
    std::fs::remove_dir_all(scratch.path().join("run")).unwrap_or_default();
    assert!(read(&reader(&scratch), &id) == bytes(100_000, 1));
    assert!(chmod("u+w").success());
}

fn must_be_refused<T>(done: Result<T>, what: &str) {
    match done {
        Ok(_) => panic!("{what} was done"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ReadOnly, "{what}: {error}"),
    }
}

#[test]
fn whatever_would_change_the_store_is_refused() {
    each_hash(|writer| {
        let id = writer.put(b"stone").unwrap();
        let refs = writer.refs("r");
        let version = refs.set("k", "v").unwrap();
        let before = holdings(writer);
        let shared = Store::options().read_only(true).open(writer.path()).unwrap();
        let private =
            Store::options().read_only(true).boot_id(another_boot()).open(writer.path()).unwrap();
        for reader in [shared, private] {
            let refs = reader.refs("r");
            let synced = PutOptions::new().durability(Durability::Synced);
            must_be_refused(reader.put(b"stone"), "a put of what is there");
            must_be_refused(reader.put(b"new"), "a put");
            must_be_refused(reader.put_with(b"new", &synced), "a synced put");
            must_be_refused(reader.put(&bytes(100_000, 1)), "a large put");
            must_be_refused(reader.put_many(&[b"new"]), "a put of many");
            must_be_refused(reader.put_reader(&b"new"[..]), "a put of a reader");
            must_be_refused(reader.put_file("/proc/self/status"), "a put of a file");
            must_be_refused(reader.reserve(10), "a draft");
            must_be_refused(reader.reserve(100_000), "a large draft");
            must_be_refused(reader.remove(&id), "a removal");
            must_be_refused(reader.unpin(&id), "an unpinning");
            must_be_refused(reader.sync(), "a sync");
            must_be_refused(refs.set("k", "w"), "a set");
            must_be_refused(refs.set("k", vec![0; 10_000]), "a set of long bytes");
            must_be_refused(refs.add("new", "w"), "an add");
            must_be_refused(refs.compare_and_set("k", Some(version), "w"), "a compare and set");
            must_be_refused(refs.remove("k"), "a removal of a ref");
            assert_eq!(read(&reader, &id), b"stone");
        }
        assert_eq!(holdings(writer), before);
    });
}

#[test]
fn there_must_be_a_store_to_read() {
    let scratch = Scratch::new();
    for options in [Store::options().read_only(true), Store::options().read_only(true).create(true)]
    {
        let error = options.open(scratch.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotAStore, "{error}");
    }
    assert!(!scratch.path().exists());
}
