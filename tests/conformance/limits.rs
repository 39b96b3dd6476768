//! A size limit: what would pass it is refused, what is there can be read, named and removed.
#![forbid(unsafe_code)]

use crate::racy::put_still;
use crate::support::{MIB, Scratch, another_boot, bytes, read};
use drystone::{ErrorKind, Result, Store};

const LIMIT: u64 = 8 * MIB as u64;

fn must_be_full<T>(done: Result<T>, what: &str) {
    match done {
        Ok(_) => panic!("{what} passed the limit"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::NoSpace, "{what}: {error}"),
    }
}

/// Puts until the limit is met; the seeds of what went in, a megabyte each.
fn fill(store: &Store) -> Vec<u64> {
    let mut seeds = Vec::new();
    for seed in 0..100 {
        match store.put(&bytes(MIB, seed)) {
            Ok(_) => seeds.push(seed),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
                assert!(error.advice_text().is_some());
                return seeds;
            }
        }
    }
    panic!("no limit in sight")
}

#[test]
fn every_way_in_keeps_the_limit() {
    let scratch = Scratch::new();
    let store = scratch.open(Store::options().create(true).size_limit(LIMIT));
    assert_eq!(store.stats().unwrap().limit, Some(LIMIT));
    let seeds = fill(&store);
    assert!((6..=8).contains(&seeds.len()), "{} MiB", seeds.len());
    let new = bytes(3 * MIB, 1000);
    must_be_full(store.put(&new), "a put");
    must_be_full(store.put_reader(&new[..]), "a reader");
    must_be_full(store.reserve(new.len() as u64).map(drop), "a draft");
    must_be_full(store.refs("r").set("k", new.clone()), "a ref to long bytes");
    must_be_full(store.put_many(&[new]), "a large one of many");
    let small: Vec<Vec<u8>> = (0..3000).map(|seed| bytes(1000, seed)).collect();
    must_be_full(store.put_many(&small), "many small ones");
    let used = store.stats().unwrap().segment_bytes;
    assert!(used <= LIMIT + MIB as u64, "{used} bytes, limit {LIMIT}");
}

#[test]
fn a_full_store_can_be_read_named_and_emptied() {
    let scratch = Scratch::new();
    let store = scratch.open(Store::options().create(true).size_limit(LIMIT));
    let seeds = fill(&store);
    for &seed in &seeds {
        let id = store.put(&bytes(MIB, seed)).expect("it is there: nothing is stored");
        assert_eq!(
            put_still(&store, &bytes(MIB, seed)),
            id,
            "nor where others may write the bytes"
        );
        assert!(read(&store, &id) == bytes(MIB, seed));
        store.refs("r").set(seed.to_string(), id).unwrap();
        assert!(store.unpin(&id).unwrap());
        assert!(store.refs("r").remove(seed.to_string()).unwrap());
        assert!(store.remove(&id).unwrap());
    }
    assert_eq!(store.stats().unwrap().blobs, 0);
}

#[test]
fn the_limit_is_that_of_the_run_and_may_be_raised_with_the_next() {
    let scratch = Scratch::new();
    let store = scratch.open(Store::options().create(true).size_limit(LIMIT));
    let seeds = fill(&store);
    let beside = scratch.open(Store::options().size_limit(100 * LIMIT));
    assert_eq!(beside.stats().unwrap().limit, Some(LIMIT), "others are at it under this one");
    must_be_full(beside.put(&bytes(MIB, 1000)), "another opener");
    drop((store, beside));
    let next = Store::options().size_limit(2 * LIMIT).boot_id(another_boot());
    let store = scratch.open(next);
    store.put(&bytes(MIB, 1000)).unwrap();
    for seed in seeds {
        store.put(&bytes(MIB, seed)).unwrap();
    }
}
