//! A large compaction goes in two lanes, and nothing is lost between them.
#![forbid(unsafe_code)]

use crate::support::{KIB, MIB, Scratch, bytes, read};
use drystone::{BlobId, CompactOptions, CompactReport, FsckOptions, Store, fsck};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

const BLOBS: u64 = 520;
const BLOB_BYTES: usize = 400 * KIB;

/// A large store, and what is kept in it; about as much is garbage.
fn large(scratch: &Scratch) -> (Store, Vec<(BlobId, Vec<u8>)>) {
    let store = scratch.open(Store::options().create(true).segment_bytes(8 * MIB as u64));
    let mut kept = Vec::new();
    for seed in 0..BLOBS {
        let content = bytes(BLOB_BYTES, seed);
        let id = store.put(&content).unwrap();
        if seed % 2 == 0 {
            kept.push((id, content));
        } else {
            assert!(store.unpin(&id).unwrap());
        }
    }
    (store, kept)
}

/// Compacts; what was done of it, and on how many threads.
fn compact_on(store: &Store, options: CompactOptions) -> (CompactReport, usize) {
    let threads = Arc::new(Mutex::new(BTreeSet::new()));
    let told = Arc::clone(&threads);
    let options = options.on_progress(move |progress| {
        assert!(progress.done_bytes <= progress.total_bytes);
        told.lock().unwrap().insert(std::thread::current().name().map(String::from));
    });
    let report = store.compact(&options).unwrap();
    let threads = threads.lock().unwrap().len();
    (report, threads)
}

#[test]
fn two_lanes_move_everything_and_leave_one_open_segment_each() {
    let scratch = Scratch::in_memory();
    let (store, kept) = large(&scratch);
    let (report, threads) =
        compact_on(&store, CompactOptions::new().two_lanes_from(90 * MIB as u64));
    assert_eq!(threads, 2, "both lanes have done something: {report:?}");
    assert!(report.complete && !report.out_of_space, "{report:?}");
    let live = BLOBS / 2 * BLOB_BYTES as u64;
    assert!(report.copied_bytes >= live, "{report:?}");
    assert!(report.bytes_after <= live + live / 10 + 2 * 8 * MIB as u64, "{report:?}");
    for (id, content) in &kept {
        assert!(read(&store, id) == *content);
    }
    drop(store);
    let checked = fsck(scratch.path(), &FsckOptions::new().deep(true)).unwrap();
    assert!(checked.is_clean(), "{checked:?}");
    let again = scratch.rebooted();
    for (id, content) in &kept {
        assert!(read(&again, id) == *content);
    }
}

#[test]
fn where_all_cores_are_busy_a_compaction_keeps_to_one() {
    let scratch = Scratch::in_memory();
    let (store, _) = large(&scratch);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().unwrap().get() {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let (report, threads) = compact_on(&store, CompactOptions::new());
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(threads, 1, "{report:?}");
        assert!(report.complete, "{report:?}");
    });
}

fn small(scratch: &Scratch) -> Store {
    scratch.open(Store::options().create(true).segment_bytes(256 * KIB as u64).threads(2))
}

fn in_lanes() -> CompactOptions {
    CompactOptions::new().all(true).two_lanes_from(1)
}

#[test]
fn each_lane_deals_with_nominees_of_its_own() {
    let scratch = Scratch::in_memory();
    let store = small(&scratch);
    let contents: Vec<Vec<u8>> = (0..120).map(|seed| bytes(20 * KIB, seed)).collect();
    let ids = store.put_many(&contents).unwrap();
    ids.iter().skip(1).step_by(2).for_each(|id| assert!(store.unpin(id).unwrap()));
    let by_lane = Arc::new(Mutex::new(BTreeMap::<_, u64>::new()));
    let told = Arc::clone(&by_lane);
    // In one round: what it leaves of tombstones is not gone through again.
    let options = CompactOptions::new().two_lanes_from(1).on_progress(move |progress| {
        let name = std::thread::current().name().map(String::from);
        *told.lock().unwrap().entry(name).or_default() += 1;
        assert!(progress.done_bytes <= progress.total_bytes);
    });
    let report = store.compact(&options).unwrap();
    let by_lane: Vec<u64> = by_lane.lock().unwrap().values().copied().collect();
    assert!(by_lane.len() == 2 && by_lane[0].abs_diff(by_lane[1]) <= 1, "{by_lane:?} {report:?}");
    // Each once: what is live is copied once, and all that was chosen is gone.
    let live = 60 * 20 * KIB as u64;
    assert!(report.copied_records >= 60 && report.copied_bytes < live + live / 10, "{report:?}");
    assert_eq!(report.removed_segments, by_lane[0] + by_lane[1], "{report:?}");
    assert!(report.complete && report.bytes_after < live + live / 4, "{report:?}");
    let kept = |store: &Store| {
        ids.iter().zip(&contents).step_by(2).all(|(id, content)| read(store, id) == *content)
    };
    assert!(kept(&store));
    drop(store);
    assert!(kept(&scratch.rebooted()));
}

#[test]
fn a_store_near_its_size_limit_is_compacted_in_one_lane() {
    for (limit, lanes) in [(0, 2), (16 * MIB as u64, 2), (3 * MIB as u64, 1)] {
        let scratch = Scratch::in_memory();
        let options = Store::options().create(true).segment_bytes(256 * KIB as u64).threads(2);
        let store = scratch.open(options.size_limit(limit));
        for seed in 0..120 {
            let id = store.put(&bytes(20 * KIB, seed)).unwrap();
            assert!(seed % 2 == 0 || store.unpin(&id).unwrap());
        }
        let threads = Arc::new(Mutex::new(BTreeSet::new()));
        let told = Arc::clone(&threads);
        let options = in_lanes().on_progress(move |_| {
            told.lock().unwrap().insert(std::thread::current().name().map(String::from));
        });
        let report = store.compact(&options).unwrap();
        assert_eq!(threads.lock().unwrap().len(), lanes, "limit {limit}: {report:?}");
        assert!(report.complete, "{report:?}");
    }
}

/// What one writer keeps of its refs, by number.
const KEYS: u64 = 12;
const ROUNDS: u64 = 500;

fn value(who: u64, round: u64) -> Vec<u8> {
    bytes(5 * KIB + (round % 9) as usize * KIB, who << 32 | round)
}

/// Sets, removes, puts and unpins, and finds what it has just done.
fn write(store: &Store, who: u64, is_over: impl Fn() -> bool) -> BTreeMap<u64, Option<u64>> {
    let (refs, mut last) = (store.refs("lanes"), BTreeMap::new());
    for round in (0..).take_while(|&round| round < ROUNDS || !is_over()) {
        let key = round % KEYS;
        if round % 5 == 4 {
            assert!(refs.remove(format!("{who} {key}")).unwrap() || last.get(&key) != Some(&None));
            last.insert(key, None);
        } else {
            refs.set(format!("{who} {key}"), value(who, round)).unwrap();
            last.insert(key, Some(round));
        }
        let id = store.put(&value(who + 10, round)).unwrap();
        assert!(read(store, &id) == value(who + 10, round));
        if round % 3 == 0 {
            assert!(store.remove(&id).unwrap());
        }
        assert!(store.unpin(&id).unwrap() || round % 3 == 0);
        check(store, who, &last);
    }
    last
}

fn check(store: &Store, who: u64, last: &BTreeMap<u64, Option<u64>>) {
    for (key, round) in last {
        let entry = store.refs("lanes").get(format!("{who} {key}")).unwrap();
        match (entry, round) {
            (Some(entry), Some(round)) => {
                assert!(read(store, entry.blob().unwrap()) == value(who, *round));
            }
            (entry, round) => assert!(entry.is_none() && round.is_none(), "{who} {key} {entry:?}"),
        }
    }
}

#[test]
fn setters_removers_and_readers_beside_two_lanes_lose_nothing() {
    let scratch = Scratch::in_memory();
    let store = small(&scratch);
    let steady: Vec<Vec<u8>> = (0..60).map(|seed| bytes(6 * KIB, 500 + seed)).collect();
    let ids = store.put_many(&steady).unwrap();
    let (by_second, is_done) = (Arc::new(AtomicU64::new(0)), AtomicBool::new(false));
    let is_over = || by_second.load(Ordering::Relaxed) > 20;
    let lasts = std::thread::scope(|scope| {
        let counted = Arc::clone(&by_second);
        let options = in_lanes().on_progress(move |_| {
            let is_second = std::thread::current().name() == Some("drystone-compact");
            counted.fetch_add(is_second.into(), Ordering::Relaxed);
        });
        let compactor = store.clone();
        let is_done = &is_done;
        scope.spawn(move || {
            while !is_done.load(Ordering::Relaxed) {
                let report = compactor.compact(&options).unwrap();
                assert!(report.complete && report.damaged_segments == 0, "{report:?}");
            }
        });
        let reader = scratch.open(Store::options());
        let (ids, steady) = (&ids, &steady);
        scope.spawn(move || {
            while !is_done.load(Ordering::Relaxed) {
                assert!(ids.iter().zip(steady).all(|(id, bytes)| read(&reader, id) == *bytes));
            }
        });
        // One through the compactor's own opener, one through another.
        let openers = [store.clone(), scratch.open(Store::options())];
        let writers = [0, 1].map(|who| {
            let (opener, is_over) = (openers[who as usize].clone(), &is_over);
            scope.spawn(move || write(&opener, who, is_over))
        });
        let ends = writers.map(|writer| writer.join());
        is_done.store(true, Ordering::Relaxed);
        ends.map(|end| end.unwrap())
    });
    let check_all = |store: &Store| {
        (0..).zip(&lasts).for_each(|(who, last)| check(store, who, last));
        assert!(ids.iter().zip(&steady).all(|(id, bytes)| read(store, id) == *bytes));
    };
    check_all(&store);
    drop(store);
    let checked = fsck(scratch.path(), &FsckOptions::new().deep(true)).unwrap();
    assert!(checked.is_clean(), "{checked:?}");
    check_all(&scratch.rebooted());
}
