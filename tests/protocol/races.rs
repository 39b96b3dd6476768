//! Threads of several openings race freely on few keys; then what can be seen is synced, the power is
//! cut, and it must be what is there.
#![forbid(unsafe_code)]

use crate::oracle::{OPS, Subject};
use crate::power::{Medium, Survives};
use crate::support::{Dice, bytes, read};
use drystone::{Durability, Store};
use std::sync::Barrier;

#[test]
fn what_came_of_a_race_is_what_recovery_finds() {
    for round in 0..40 {
        let medium = Medium::new();
        let durability = [Durability::Buffered, Durability::Synced][round as usize % 2];
        let options = || Store::options().durability(durability);
        let stores: Vec<Store> = (0..3).map(|_| medium.open_with(options())).collect();
        let len = [100, 5000, 100_000][round as usize % 3];
        let subject = Subject::new(&stores[0], len, durability);
        let barrier = Barrier::new(stores.len());
        std::thread::scope(|scope| {
            for (thread, store) in stores.iter().enumerate() {
                let (subject, barrier) = (&subject, &barrier);
                let mut dice = Dice::new(round << 8 | thread as u64);
                scope.spawn(move || {
                    barrier.wait();
                    for _ in 0..40 {
                        subject.apply(store, OPS[dice.below(OPS.len() as u64) as usize]);
                    }
                });
            }
        });
        let seen = subject.seen(&stores[0]);
        if durability == Durability::Buffered {
            stores[1].sync().unwrap();
        }
        drop(stores);
        for survives in Survives::each(round) {
            let found = subject.seen(&medium.cut(survives.clone()).open());
            assert_eq!(found, seen, "round {round}, {durability:?}, {survives:?}");
        }
    }
}

#[test]
fn synced_acknowledgements_survive_a_cut_at_any_instant() {
    for round in 0..12u64 {
        let medium = Medium::new();
        let options = || Store::options().durability(Durability::Synced).segment_bytes(1 << 18);
        let stores = [medium.open_with(options()), medium.open_with(options())];
        let acknowledged = std::sync::Mutex::new(Vec::new());
        let is_over = std::sync::atomic::AtomicBool::new(false);
        let cuts = std::thread::scope(|scope| {
            for (thread, store) in (0..4u64).zip(stores.iter().cycle()) {
                let (acknowledged, is_over) = (&acknowledged, &is_over);
                scope.spawn(move || {
                    for i in 0.. {
                        let len = [50, 700, 70_000][i as usize % 3];
                        let seed = thread << 32 | i;
                        let id = store.put(&bytes(len, seed)).unwrap();
                        store.refs("r").set(seed.to_string(), id).unwrap();
                        acknowledged.lock().unwrap().push((seed, len, id));
                        if is_over.load(std::sync::atomic::Ordering::Relaxed) {
                            return;
                        }
                    }
                });
            }
            // First what was acknowledged, then what is on the medium.
            let cut = |survives| {
                std::thread::sleep(std::time::Duration::from_millis(8));
                let acknowledged = acknowledged.lock().unwrap().clone();
                (acknowledged, medium.cut(survives))
            };
            let cuts: Vec<_> = Survives::each(round).into_iter().map(cut).collect();
            is_over.store(true, std::sync::atomic::Ordering::Relaxed);
            cuts
        });
        for (acknowledged, after) in cuts {
            let store = after.open();
            for (seed, len, id) in &acknowledged {
                assert!(read(&store, id) == bytes(*len, *seed));
                let entry = store.refs("r").get(seed.to_string()).unwrap();
                assert_eq!(entry.expect("it was acknowledged").blob(), Some(id));
            }
        }
    }
}
