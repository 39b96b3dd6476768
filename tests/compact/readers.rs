//! Readers hold views across compactions, and find everything meanwhile.
#![forbid(unsafe_code)]

use crate::support::{KIB, MIB, Scratch, bytes};
use drystone::{Blob, CompactOptions, Store};
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn views_keep_their_bytes_through_compactions_that_unlink_their_segments() {
    let scratch = Scratch::new();
    let store = scratch.open(Store::options().create(true).segment_bytes(MIB as u64));
    let contents: Vec<Vec<u8>> = (0..120).map(|seed| bytes(60 * KIB, seed)).collect();
    let ids = store.put_many(&contents).unwrap();
    let other = scratch.open(Store::options());
    let views: Vec<Blob> = ids.iter().map(|id| other.get(id).unwrap().unwrap()).collect();
    let guard = store.read_guard();
    let slices: Vec<&[u8]> = ids.iter().map(|id| guard.get(id).unwrap().unwrap()).collect();
    for id in ids.iter().step_by(2) {
        store.unpin(id).unwrap();
    }
    let report = store.compact(&CompactOptions::new().all(true)).unwrap();
    assert!(report.removed_segments >= 5, "{report:?}");
    for seed in 1000..1100 {
        store.put(&bytes(60 * KIB, seed)).unwrap();
    }
    for ((view, slice), content) in views.iter().zip(&slices).zip(&contents) {
        assert!(**view == **content && *slice == &**content);
    }
    drop(guard);
    drop(store);
    assert!(views.iter().zip(&contents).all(|(view, content)| **view == **content));
    // The other opener finds what has moved.
    for (id, content) in ids.iter().zip(&contents).skip(1).step_by(2) {
        assert!(*other.get(id).unwrap().unwrap() == **content);
    }
}

struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn no_get_fails_while_everything_moves() {
    let scratch = Scratch::in_memory();
    let options = Store::options().create(true).segment_bytes(256 * KIB as u64);
    let store = scratch.open(options);
    let contents: Vec<Vec<u8>> = (0..200).map(|seed| bytes(5 * KIB, seed)).collect();
    let ids = store.put_many(&contents).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = |opener: Store| {
            let (ids, contents, done) = (&ids, &contents, &done);
            move || {
                let mut gets = 0u64;
                while !done.load(Ordering::Relaxed) {
                    for (id, content) in ids.iter().zip(contents) {
                        let view = opener.get(id).unwrap().expect("it is pinned");
                        assert!(*view == **content);
                        gets += 1;
                    }
                }
                gets
            }
        };
        let same = scope.spawn(reader(store.clone()));
        let other = scope.spawn(reader(scratch.open(Store::options())));
        let mut removed = 0;
        // Also when something below panics.
        let _done = Done(&done);
        for round in 0..30 {
            // What lies between is garbage each time, so that all of it is written anew.
            for seed in 0..100 {
                let id = store.put(&bytes(2 * KIB, 10_000 + round * 100 + seed)).unwrap();
                store.unpin(&id).unwrap();
            }
            removed += store.compact(&CompactOptions::new().all(true)).unwrap().removed_segments;
        }
        done.store(true, Ordering::Relaxed);
        assert!(same.join().unwrap() > 0 && other.join().unwrap() > 0);
        assert!(removed > 30, "{removed}");
    });
}
