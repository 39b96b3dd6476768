//! Any number may ask for a compaction: one works, the others say so.
#![forbid(unsafe_code)]

use crate::support::{KIB, Scratch, bytes, read};
use drystone::{CompactOptions, Store};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

#[test]
fn whoever_finds_a_compaction_under_way_says_so_and_does_nothing() {
    let scratch = Scratch::new();
    let store = scratch.open(Store::options().create(true).segment_bytes(256 << 10));
    for seed in 0..100 {
        let id = store.put(&bytes(20 * KIB, seed)).unwrap();
        if seed % 2 == 0 {
            store.unpin(&id).unwrap();
        }
    }
    let other = scratch.open(Store::options());
    let asked = std::sync::Arc::new(AtomicBool::new(false));
    let was_asked = asked.clone();
    let told = move |_: &drystone::CompactProgress| {
        let report = other.compact(&CompactOptions::new()).unwrap();
        assert!(report.busy && !report.complete && report.removed_segments == 0);
        was_asked.store(true, Ordering::Relaxed);
    };
    let report = store.compact(&CompactOptions::new().on_progress(told)).unwrap();
    assert!(!report.busy && report.complete && asked.load(Ordering::Relaxed));
    assert!(!store.compact(&CompactOptions::new()).unwrap().busy, "the turn is given back");
}

#[test]
fn writers_beside_compactions_lose_nothing() {
    let scratch = Scratch::in_memory();
    let store = scratch.open(Store::options().create(true).segment_bytes(256 << 10));
    let (done, compactions) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let store = scratch.open(Store::options());
            let (done, compactions) = (&done, &compactions);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let report = store.compact(&CompactOptions::new().all(true)).unwrap();
                    compactions.fetch_add(u64::from(!report.busy), Ordering::Relaxed);
                }
            });
        }
        let writer = |who: u64| {
            let store = scratch.open(Store::options());
            let compactions = &compactions;
            move || {
                let refs = store.refs("writer");
                let is_over = |round| round > 300 && compactions.load(Ordering::Relaxed) > 3;
                for round in (0u64..).take_while(|&round| !is_over(round)) {
                    // All writers and rounds share contents, which are named and unnamed again.
                    let content = bytes(5 * KIB, round % 7);
                    let key = format!("{who} {}", round % 5);
                    refs.set(&key, content.clone()).unwrap();
                    let entry = refs.get(&key).unwrap().expect("it was just set");
                    assert!(read(&store, entry.blob().unwrap()) == content);
                    let id = store.put(&content).unwrap();
                    assert!(read(&store, &id) == content);
                    if round % 3 == 0 {
                        refs.remove(&key).unwrap();
                    }
                    store.unpin(&id).unwrap();
                }
                for round in 0..5 {
                    refs.set(format!("{who} {round}"), bytes(5 * KIB, round)).unwrap();
                }
            }
        };
        let writers = [scope.spawn(writer(0)), scope.spawn(writer(1))];
        let ends = writers.map(|writer| writer.join());
        done.store(true, Ordering::Relaxed);
        ends.into_iter().for_each(|end| end.unwrap());
    });
    let check = |store: &Store| {
        for (who, round) in (0..2).flat_map(|who| (0..5).map(move |round| (who, round))) {
            let entry = store.refs("writer").get(format!("{who} {round}")).unwrap().unwrap();
            assert!(read(store, entry.blob().unwrap()) == bytes(5 * KIB, round));
        }
    };
    check(&store);
    drop(store);
    check(&scratch.rebooted());
}

#[test]
fn a_budget_ends_a_compaction_and_the_next_goes_on() {
    let scratch = Scratch::new();
    let store = scratch.open(Store::options().create(true).segment_bytes(256 << 10));
    for seed in 0..200 {
        let id = store.put(&bytes(20 * KIB, seed)).unwrap();
        if seed % 2 == 0 {
            store.unpin(&id).unwrap();
        }
    }
    let options = CompactOptions::new().budget_bytes(300 << 10);
    let mut rounds = 0;
    while !store.compact(&options).unwrap().complete {
        rounds += 1;
        assert!(rounds < 30);
    }
    assert!(rounds > 2, "{rounds}");
    let stats = store.stats().unwrap();
    assert!(stats.segment_bytes < 100 * 20 * 1024 * 12 / 10, "{stats:?}");
}

#[test]
fn a_rate_holds_a_compaction_back() {
    let scratch = Scratch::new();
    let store = scratch.open(Store::options().create(true).segment_bytes(256 << 10));
    for seed in 0..40 {
        let id = store.put(&bytes(20 * KIB, seed)).unwrap();
        if seed % 2 == 0 {
            store.unpin(&id).unwrap();
        }
    }
    let report = store.compact(&CompactOptions::new().rate(1 << 20)).unwrap();
    let due = Duration::from_secs_f64(report.copied_bytes as f64 / (1 << 20) as f64);
    assert!(report.copied_bytes > 100_000 && report.time >= due, "{report:?}");
}
