//! The space of what nothing names comes back.
#![forbid(unsafe_code)]

use crate::support::{KIB, MIB, Scratch, bytes, each_hash, read};
use drystone::{CompactOptions, Store};

fn segment_bytes(store: &Store) -> u64 {
    store.stats().unwrap().segment_bytes
}

#[test]
fn half_of_the_blobs_unpinned_leave_a_store_of_half_the_size() {
    each_hash(|store| {
        let contents: Vec<Vec<u8>> = (0..400).map(|seed| bytes(40 * KIB, seed)).collect();
        let ids = store.put_many(&contents).unwrap();
        for id in ids.iter().step_by(2) {
            assert!(store.unpin(id).unwrap());
        }
        let report = store.compact(&CompactOptions::new()).unwrap();
        assert!(report.complete, "{report:?}");
        assert_eq!((report.collected_blobs, report.live_blobs), (200, 200));
        assert_eq!(report.bytes_after, segment_bytes(store));
        let live = 200 * 40 * KIB as u64;
        assert!(report.bytes_after <= live + live / 10, "{report:?}");
        for (at, (id, content)) in ids.iter().zip(&contents).enumerate() {
            if at % 2 == 0 {
                assert!(store.get(id).unwrap().is_none());
            } else {
                assert!(read(store, id) == *content);
            }
        }
    });
}

#[test]
fn blobs_of_every_size_survive_being_moved_and_a_reboot() {
    let scratch = Scratch::new();
    let store = scratch.open(Store::options().create(true).segment_bytes(MIB as u64));
    let lens =
        [0, 1, 64, 500, 4096, 65_535, 65_536, 65_537, 200_000, 2 * MIB, 2 * MIB + 1, 9 * MIB];
    let mut kept = Vec::new();
    for round in 0..6 {
        for len in lens {
            let content = bytes(len, round * 2);
            kept.push((store.put(&content).unwrap(), content));
            let id = store.put(&bytes(len + 7, round * 2 + 1)).unwrap();
            assert!(store.unpin(&id).unwrap());
        }
    }
    let before = segment_bytes(&store);
    let report = store.compact(&CompactOptions::new().all(true)).unwrap();
    assert!(report.copied_records > 0 && report.removed_segments > 0, "{report:?}");
    assert!(segment_bytes(&store) < before * 6 / 10);
    let check = |store: &Store| {
        for (id, content) in &kept {
            assert!(read(store, id) == *content, "{} bytes", content.len());
            assert!(store.stat(id).unwrap().unwrap().pinned);
        }
    };
    check(&store);
    check(&scratch.open(Store::options()));
    drop(store);
    check(&scratch.rebooted());
}

#[test]
fn much_that_is_unlinked_is_given_back_when_the_store_is_closed_but_for_what_is_viewed() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let content = |seed| bytes(512 * KIB, seed);
    let ids: Vec<_> = (0..96).map(|seed| store.put(&content(seed)).unwrap()).collect();
    let views: Vec<_> = ids.iter().map(|id| store.get(id).unwrap().unwrap()).collect();
    for id in ids.iter().step_by(2) {
        assert!(store.unpin(id).unwrap());
    }
    let report = store.compact(&CompactOptions::new().all(true)).unwrap();
    assert!(report.complete && report.removed_segments > 0, "{report:?}");
    for (seed, view) in views.iter().enumerate() {
        assert!(view[..] == content(seed as u64)[..], "blob {seed}");
    }
    let dir = std::fs::canonicalize(scratch.path()).unwrap();
    let mappings = || {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        maps.lines().filter(|line| line.contains(dir.to_str().unwrap())).count()
    };
    drop(store);
    assert!(mappings() > 0, "views are held");
    drop(views);
    assert_eq!(mappings(), 0, "nothing is mapped any more");
}

#[test]
fn a_second_compaction_finds_nothing_to_do() {
    let scratch = Scratch::new();
    let store = scratch.store();
    for seed in 0..100 {
        let id = store.put(&bytes(50 * KIB, seed)).unwrap();
        if seed % 3 > 0 {
            store.unpin(&id).unwrap();
        }
    }
    store.compact(&CompactOptions::new().all(true)).unwrap();
    let again = store.compact(&CompactOptions::new()).unwrap();
    assert_eq!((again.collected_blobs, again.copied_records, again.removed_segments), (0, 0, 0));
}

#[test]
fn replaced_refs_and_their_values_go() {
    let scratch = Scratch::new();
    let store = scratch.open(Store::options().create(true).segment_bytes(MIB as u64));
    let refs = store.refs("steps");
    for round in 0..50u64 {
        for key in 0..10u64 {
            refs.set(key.to_le_bytes(), bytes(20 * KIB, round * 10 + key)).unwrap();
        }
    }
    let report = store.compact(&CompactOptions::new()).unwrap();
    assert_eq!((report.collected_blobs, report.live_blobs, report.live_refs), (490, 10, 10));
    assert!(segment_bytes(&store) < 2 * MIB as u64, "{report:?}");
    for key in 0..10u64 {
        let entry = refs.get(key.to_le_bytes()).unwrap().unwrap();
        let content = read(&store, entry.blob().unwrap());
        assert!(content == bytes(20 * KIB, 490 + key));
    }
}

#[test]
fn a_dry_run_tells_and_changes_nothing() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let ids: Vec<_> = (0..40).map(|seed| store.put(&bytes(50 * KIB, seed)).unwrap()).collect();
    ids.iter().skip(10).for_each(|id| assert!(store.unpin(id).unwrap()));
    drop(store);
    // Its segment is nobody's now, and sealed by the first compaction.
    let store = scratch.store();
    store.compact(&CompactOptions::new().min_garbage(1.0)).unwrap();
    let ids: Vec<_> = (40..80).map(|seed| store.put(&bytes(50 * KIB, seed)).unwrap()).collect();
    ids.iter().skip(10).for_each(|id| assert!(store.unpin(id).unwrap()));
    let before = segment_bytes(&store);
    let told = store.compact(&CompactOptions::new().dry_run(true)).unwrap();
    assert_eq!((told.collected_blobs, told.removed_segments), (30, 0));
    assert!(told.dry_run && told.bytes_after < told.bytes_before);
    assert_eq!(segment_bytes(&store), before);
    assert!(ids.iter().all(|id| store.contains(id).unwrap()));
}
