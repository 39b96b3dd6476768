//! Views stay valid and unchanged until they are dropped, whatever happens to the store.
#![forbid(unsafe_code)]

use crate::support::{HASHES, KIB, MIB, Scratch, bytes, each_hash};
use bytes::Bytes;
use drystone::{Blob, Store};

#[test]
fn views_outlive_removal_the_store_and_its_directory() {
    for hash in HASHES {
        let scratch = Scratch::new();
        let store = scratch.open(Store::options().create(true).hash(hash));
        let lens = [0, 1, 5000, 64 * KIB + 1, 3 * MIB, 17 * MIB];
        let views: Vec<Blob> = lens
            .iter()
            .map(|&len| store.get(&store.put(&bytes(len, 1)).unwrap()).unwrap().unwrap())
            .collect();
        for view in &views {
            assert!(store.remove(&view.id()).unwrap());
            assert!(store.get(&view.id()).unwrap().is_none());
        }
        // What comes in later does not take the place of what a view shows.
        for len in lens {
            store.put(&bytes(len, 2)).unwrap();
        }
        drop(store);
        std::fs::remove_dir_all(scratch.path()).unwrap();
        for (view, &len) in views.iter().zip(&lens) {
            assert!(**view == *bytes(len, 1), "{len} bytes, {hash}");
        }
    }
}

#[test]
fn a_view_travels_between_threads_and_clones_share_it() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let id = store.put(&bytes(MIB, 1)).unwrap();
    let view = store.get(&id).unwrap().unwrap();
    let clone = view.clone();
    assert_eq!(clone.as_ptr(), view.as_ptr(), "a clone is the same memory");
    drop(view);
    let sum = std::thread::spawn(move || clone.iter().map(|&byte| u64::from(byte)).sum::<u64>());
    assert_eq!(sum.join().unwrap(), bytes(MIB, 1).iter().map(|&byte| u64::from(byte)).sum::<u64>());
}

#[test]
fn two_gets_show_the_same_memory() {
    each_hash(|store| {
        let id = store.put(&bytes(100_000, 1)).unwrap();
        let (a, b) = (store.get(&id).unwrap().unwrap(), store.get(&id).unwrap().unwrap());
        assert_eq!(a.as_ptr(), b.as_ptr());
        let guard = store.read_guard();
        assert_eq!(guard.get(&id).unwrap().unwrap().as_ptr(), a.as_ptr());
    });
}

#[test]
fn a_view_becomes_bytes_without_a_copy() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let view = store.get(&store.put(&bytes(100_000, 1)).unwrap()).unwrap().unwrap();
    let at = view.as_ptr();
    let shared: Bytes = view.into();
    let part = shared.slice(10..99_990);
    drop((shared, store, scratch));
    assert_eq!(part.as_ptr(), at.wrapping_add(10));
    assert!(part[..] == bytes(100_000, 1)[10..99_990]);
}

#[test]
fn small_views_are_aligned_to_a_cache_line_and_large_ones_to_a_page() {
    each_hash(|store| {
        for len in [1, 8, 1000, 64 * KIB - 8] {
            let view = store.get(&store.put(&bytes(len, 1)).unwrap()).unwrap().unwrap();
            assert_eq!(view.as_ptr() as usize % 64, 0, "{len} bytes");
        }
        for len in [64 * KIB, 64 * KIB + 8, 3 * MIB, 17 * MIB] {
            let view = store.get(&store.put(&bytes(len, 1)).unwrap()).unwrap().unwrap();
            assert_eq!(view.as_ptr() as usize % 4096, 0, "{len} bytes");
            assert_eq!(view.as_slice_of::<f64>().unwrap().len(), len / 8);
        }
    });
}

#[test]
fn elements_must_fit_the_length() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let view = store.get(&store.put(&bytes(24, 1)).unwrap()).unwrap().unwrap();
    assert_eq!(view.as_slice_of::<u64>().unwrap()[2].to_le_bytes(), bytes(24, 1)[16..]);
    assert!(view.as_slice_of::<[u64; 2]>().is_none());
    assert_eq!(view.as_slice_of::<u8>().unwrap(), &view[..]);
    let empty = store.get(&store.put(b"").unwrap()).unwrap().unwrap();
    assert_eq!(empty.as_slice_of::<u64>(), Some(&[][..]));
}

#[test]
fn few_mappings_suffice_for_many_segments() {
    let scratch = Scratch::new();
    let options = || Store::options().segment_bytes(256 * KIB as u64).map_limit(2);
    let store = scratch.open(options().create(true));
    let contents: Vec<Vec<u8>> = (0..30).map(|seed| bytes(200 * KIB, seed)).collect();
    let ids = store.put_many(&contents).unwrap();
    assert!(store.stats().unwrap().segments >= 15);
    let kept: Vec<Blob> = store.get_many(&ids).unwrap().into_iter().flatten().collect();
    let guard = store.read_guard();
    let mut pinned = Vec::new();
    guard.get_many(&ids, &mut pinned).unwrap();
    for ((view, slice), content) in kept.iter().zip(&pinned).zip(&contents) {
        assert!(**view == **content && slice.unwrap() == &**content);
    }
    drop(guard);
    drop(kept);
    store.get(&store.put(&bytes(200 * KIB, 100)).unwrap()).unwrap().unwrap();
    for (id, content) in ids.iter().zip(&contents) {
        assert!(*store.get(id).unwrap().unwrap() == **content);
    }
    assert!(store.stats().unwrap().mappings <= 2, "{}", store.stats().unwrap().mappings);
}

#[test]
fn a_view_of_a_growing_segment_stays_while_the_segment_is_mapped_anew() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let mut views = Vec::new();
    for seed in 0..300 {
        let id = store.put(&bytes(10_000, seed)).unwrap();
        views.push(store.get(&id).unwrap().unwrap());
    }
    assert_eq!(store.stats().unwrap().segments, 1);
    for (seed, view) in views.iter().enumerate() {
        assert!(**view == *bytes(10_000, seed as u64));
    }
}
