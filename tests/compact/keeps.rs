//! What a ref names stays, whatever else happens to it.
#![forbid(unsafe_code)]

use crate::support::{KIB, Scratch, bytes, each_hash, read};
use drystone::{CompactOptions, Store};

fn all() -> CompactOptions {
    CompactOptions::new().all(true)
}

#[test]
fn one_name_of_several_is_enough() {
    each_hash(|store| {
        let refs = store.refs("names");
        let id = store.put(&bytes(70 * KIB, 1)).unwrap();
        refs.set("a", id).unwrap();
        refs.set("b", vec![id]).unwrap();
        assert!(store.unpin(&id).unwrap());
        refs.remove("a").unwrap();
        assert_eq!(store.compact(&all()).unwrap().collected_blobs, 0);
        assert!(read(store, &id) == bytes(70 * KIB, 1));
        refs.remove("b").unwrap();
        assert_eq!(store.compact(&all()).unwrap().collected_blobs, 1);
        assert!(store.get(&id).unwrap().is_none());
        // It may be put again.
        assert_eq!(store.put(&bytes(70 * KIB, 1)).unwrap(), id);
        assert_eq!(store.compact(&all()).unwrap().collected_blobs, 0);
    });
}

#[test]
fn a_removed_blob_is_named_again_when_it_comes_back_after_a_compaction() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let refs = store.refs("names");
    let id = store.put(&bytes(70 * KIB, 1)).unwrap();
    refs.set("a", id).unwrap();
    assert!(store.remove(&id).unwrap());
    store.compact(&all()).unwrap();
    assert!(refs.get("a").unwrap().is_none());
    store.put(&bytes(70 * KIB, 1)).unwrap();
    assert!(store.unpin(&id).unwrap());
    store.compact(&all()).unwrap();
    assert_eq!(refs.get("a").unwrap().unwrap().blob(), Some(&id));
    drop((store, refs));
    let store = scratch.rebooted();
    assert_eq!(store.refs("names").get("a").unwrap().unwrap().blob(), Some(&id));
}

#[test]
fn what_was_removed_stays_removed_after_compactions_and_reboots() {
    let scratch = Scratch::new();
    let mut store = scratch.open(Store::options().create(true).segment_bytes(256 << 10));
    let contents: Vec<Vec<u8>> = (0..200).map(|seed| bytes(9 * KIB, seed)).collect();
    let ids = store.put_many(&contents).unwrap();
    for round in 0..4 {
        for id in ids.iter().skip(round).step_by(4) {
            assert!(store.remove(id).unwrap());
        }
        let refs = store.refs("r");
        refs.set("key", format!("round {round}").as_bytes()).unwrap();
        store.sync().unwrap();
        store.compact(&all()).unwrap();
        drop((store, refs));
        store = scratch.rebooted();
        for (at, id) in ids.iter().enumerate() {
            assert_eq!(store.contains(id).unwrap(), at % 4 > round, "blob {at}, round {round}");
        }
        let value = store.refs("r").get("key").unwrap().unwrap();
        assert_eq!(value.bytes(), Some(format!("round {round}").as_bytes()));
    }
    store.compact(&all()).unwrap();
    let stats = store.stats().unwrap();
    assert_eq!(stats.blobs, 0);
}

#[test]
fn a_ref_to_many_blobs_keeps_all_of_them() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let contents: Vec<Vec<u8>> = (0..300).map(|seed| bytes(3 * KIB, seed)).collect();
    let ids = store.put_many(&contents).unwrap();
    store.refs("lists").set("all", ids.clone()).unwrap();
    ids.iter().for_each(|id| assert!(store.unpin(id).unwrap()));
    let report = store.compact(&all()).unwrap();
    assert_eq!((report.collected_blobs, report.live_blobs), (0, 300));
    assert!(ids.iter().zip(&contents).all(|(id, content)| read(&store, id) == *content));
}

#[test]
fn a_damaged_ref_stops_the_collection_and_nothing_is_lost() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let id = store.put(&bytes(9 * KIB, 1)).unwrap();
    store.refs("names").set("name of the blob", id).unwrap();
    store.unpin(&id).unwrap();
    let file = scratch.path().join("segments/00000000.seg");
    let mut segment = std::fs::read(&file).unwrap();
    let name = b"name of the blob";
    let at = segment.windows(name.len()).position(|bytes| bytes == name).unwrap();
    segment[at] ^= 1;
    std::fs::OpenOptions::new()
        .write(true)
        .open(&file)
        .and_then(|file| {
            std::os::unix::fs::FileExt::write_at(&file, &segment[at..at + 1], at as u64)
        })
        .unwrap();
    let error = store.compact(&all()).unwrap_err();
    assert!(error.is_damage(), "{error}");
    assert!(read(&store, &id) == bytes(9 * KIB, 1));
}
