//! Tombstones go when nothing needs them, and not before.
#![forbid(unsafe_code)]

use crate::support::{KIB, Scratch, bytes};
use drystone::{CompactOptions, Store};

fn all() -> CompactOptions {
    CompactOptions::new().all(true)
}

#[test]
fn an_emptied_store_keeps_no_tombstones_and_hardly_any_bytes() {
    let scratch = Scratch::new();
    let store = scratch.open(Store::options().create(true).segment_bytes(256 << 10));
    let refs = store.refs("r");
    for seed in 0..300 {
        let id = store.put(&bytes(4 * KIB, seed)).unwrap();
        refs.set(seed.to_string(), "value").unwrap();
        if seed % 2 == 0 {
            assert!(store.remove(&id).unwrap());
        }
        store.unpin(&id).unwrap();
        assert!(refs.remove(seed.to_string()).unwrap());
    }
    for _ in 0..3 {
        store.compact(&all()).unwrap();
    }
    let stats = store.stats().unwrap();
    assert_eq!((stats.blobs, stats.refs, stats.pins, stats.tombstones), (0, 0, 0, 0));
    assert!(stats.segment_bytes < 300_000, "{stats:?}");
    drop((store, refs));
    let store = scratch.rebooted();
    let stats = store.stats().unwrap();
    assert_eq!((stats.blobs, stats.refs, stats.pins), (0, 0, 0));
}

/// Makes a segment of which only what is pinned and named stays, and writes it anew.
fn stir(store: &Store, options: &CompactOptions) {
    for seed in 0..20 {
        let id = store.put(&bytes(20 * KIB, 1000 + seed)).unwrap();
        store.unpin(&id).unwrap();
    }
    assert!(store.compact(options).unwrap().removed_segments > 0);
}

#[test]
fn a_blobs_tombstone_stays_while_a_ref_names_the_blob() {
    let scratch = Scratch::new();
    let store = scratch.open(Store::options().create(true).segment_bytes(256 << 10));
    let refs = store.refs("r");
    // An older version that would come back if the newer one were passed over, in a segment that stays.
    refs.set("key", "older").unwrap();
    store.put(&bytes(245 * KIB, 7)).unwrap();
    let id = store.put(&bytes(100 * KIB, 1)).unwrap();
    refs.set("key", id).unwrap();
    store.unpin(&id).unwrap();
    assert!(store.remove(&id).unwrap());
    for _ in 0..3 {
        stir(&store, &all().min_garbage(0.3));
    }
    assert!(store.stats().unwrap().tombstones >= 1);
    drop((store, refs));
    let store = scratch.rebooted();
    assert!(store.refs("r").get("key").unwrap().is_none());
}

#[test]
fn a_tombstone_stays_while_a_segment_holds_what_it_removed() {
    let scratch = Scratch::new();
    let store = scratch.open(Store::options().create(true).segment_bytes(256 << 10));
    let ids: Vec<_> = (0..16).map(|seed| store.put(&bytes(30 * KIB, seed)).unwrap()).collect();
    // The tombstones stand among garbage, which goes, and the blob among too little of it to go.
    for seed in 0..12 {
        let id = store.put(&bytes(20 * KIB, 500 + seed)).unwrap();
        store.unpin(&id).unwrap();
    }
    assert!(store.unpin(&ids[0]).unwrap() && store.remove(&ids[0]).unwrap());
    let options = all().min_garbage(0.3);
    for _ in 0..3 {
        stir(&store, &options);
    }
    drop(store);
    let store = scratch.rebooted();
    assert!(!store.contains(&ids[0]).unwrap());
    assert!(ids[1..].iter().all(|id| store.contains(id).unwrap()));
}

#[test]
fn one_thread_drops_as_many_as_several() {
    for threads in [1, 2] {
        let scratch = Scratch::new();
        let store = scratch.open(Store::options().create(true).threads(threads));
        let values: Vec<Vec<u8>> = (0..30_000).map(|seed| bytes(16, seed)).collect();
        let values: Vec<&[u8]> = values.iter().map(|value| &value[..]).collect();
        for id in &store.put_many(&values).unwrap() {
            assert!(store.unpin(id).unwrap());
        }
        let dropped = store.compact(&CompactOptions::new()).unwrap().dropped_tombstones;
        assert!(dropped > 25_000, "{threads} threads dropped {dropped} of 30000 tombstones");
    }
}
