//! Putting in: what is there already is not stored again, and many at once are as one by one.
#![forbid(unsafe_code)]

use crate::support::{HASHES, KIB, MIB, Scratch, bytes, each_hash, holdings, read};
use drystone::{BlobId, Durability, ErrorKind, PutOptions, Store};
use std::collections::HashSet;

#[test]
fn a_put_of_what_is_there_adds_nothing_to_the_segments() {
    each_hash(|store| {
        for len in [0, 10, 64 * KIB, 100_000, 3 * MIB, 17 * MIB] {
            let content = bytes(len, 1);
            let id = store.put(&content).unwrap();
            let before = (holdings(store), store.stat(&id).unwrap().unwrap());
            assert_eq!(store.put(&content).unwrap(), id);
            assert_eq!(store.put_reader(&content[..]).unwrap(), id);
            assert_eq!(store.put_many(&[&content, &content]).unwrap(), [id, id]);
            let mut after = (holdings(store), store.stat(&id).unwrap().unwrap());
            // A large body is written before its id is known; the next append writes over it.
            assert!(
                after.0.segment_bytes <= before.0.segment_bytes + len as u64 + 128 * KIB as u64
            );
            after.0.segment_bytes = before.0.segment_bytes;
            assert_eq!(after, before);
        }
    });
}

#[test]
fn clones_and_threads_put_the_same_bytes_once() {
    for hash in HASHES {
        let scratch = Scratch::new();
        let store = scratch.open(Store::options().create(true).hash(hash));
        let contents: Vec<Vec<u8>> =
            [0, 1, 500, 70_000, 300_000].map(|len| bytes(len, 2)).into_iter().collect();
        let put_all = |store: Store| -> Vec<BlobId> {
            contents.iter().map(|content| store.put(content).unwrap()).collect()
        };
        let ids: Vec<Vec<BlobId>> = std::thread::scope(|scope| {
            let one = |_| {
                let store = store.clone();
                scope.spawn(|| put_all(store))
            };
            let threads: Vec<_> = (0..6).map(one).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|one| *one == ids[0]));
        let stats = store.stats().unwrap();
        assert_eq!((stats.blobs, stats.pins), (5, 5));
    }
}

#[test]
fn many_with_duplicates_inside_are_as_one_by_one() {
    each_hash(|store| {
        let mut values: Vec<Vec<u8>> = (0..3000).map(|i| bytes(i % 700, i as u64 / 2)).collect();
        values.extend([bytes(0, 0), bytes(64 * KIB, 1), bytes(64 * KIB + 1, 1), bytes(5 * MIB, 1)]);
        let again: Vec<Vec<u8>> = [3, 3000, 3001, 3002, 3003].map(|i| values[i].clone()).to_vec();
        values.extend(again);
        store.put(&values[5]).unwrap();
        store.remove(&store.put(&values[6]).unwrap()).unwrap();
        let ids = store.put_many(&values).unwrap();
        assert_eq!(ids.len(), values.len());
        for (id, value) in ids.iter().zip(&values) {
            assert_eq!(read(store, id), *value);
            assert!(store.stat(id).unwrap().unwrap().pinned);
            assert_eq!(store.put(value).unwrap(), *id);
        }
        let distinct: HashSet<&BlobId> = ids.iter().collect();
        assert_eq!(store.stats().unwrap().blobs, distinct.len() as u64);
    });
}

#[test]
fn none_at_all_are_put() {
    each_hash(|store| {
        assert_eq!(store.put_many(&[b""; 0]).unwrap(), []);
        assert_eq!(store.stats().unwrap().segments, 0, "nothing needs no segment");
    });
}

#[test]
fn many_large_ones_span_segments() {
    let scratch = Scratch::new();
    let store = scratch.open(Store::options().create(true).segment_bytes(256 * KIB as u64));
    let values: Vec<Vec<u8>> = (0..200).map(|i| bytes(9_000 + i, i as u64)).collect();
    let ids = store.put_many(&values).unwrap();
    for (id, value) in ids.iter().zip(&values) {
        assert_eq!(read(&store, id), *value);
    }
    let segments: HashSet<u32> =
        ids.iter().map(|id| store.stat(id).unwrap().unwrap().segment).collect();
    assert!(segments.len() > 1, "1.8 MB in segments of 256 KiB");
}

#[test]
fn durability_may_be_chosen_per_put() {
    each_hash(|store| {
        for len in [5, 100_000, 17 * MIB] {
            let options = PutOptions::new().durability(Durability::Synced);
            let id = store.put_with(&bytes(len, 3), &options).unwrap();
            assert_eq!(store.put_with(&bytes(len, 3), &options).unwrap(), id, "met again");
            assert_eq!(store.put(&bytes(len, 3)).unwrap(), id, "met again, buffered");
            assert_eq!(read(store, &id), bytes(len, 3));
        }
    });
}

#[test]
fn a_file_that_is_not_there_is_an_error_that_names_it() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let missing = scratch.dir().join("missing");
    let error = store.put_file(&missing).unwrap_err();
    assert!(error.to_string().contains(missing.to_str().unwrap()), "{error}");
    assert_eq!(error.raw_os_error(), Some(2), "{error}");
    let error = store.put_file(scratch.dir()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io, "a directory: {error}");
    assert_eq!(store.stats().unwrap().blobs, 0);
}
