//! Opening: what is made, what is met, what is refused, and several openings side by side.
#![forbid(unsafe_code)]

use crate::support::{HASHES, KIB, Scratch, bytes, read};
use drystone::{BlobId, ErrorKind, HashAlgorithm, Store};
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_store_is_made_with_the_directories_above_it() {
    let scratch = Scratch::new();
    let path = scratch.dir().join("a/b/c");
    assert_eq!(Store::open(&path).unwrap_err().kind(), ErrorKind::NotAStore);
    assert!(!path.exists(), "a failed open makes nothing");
    let store = Store::create(&path).unwrap();
    assert_eq!(store.path(), path);
    assert_eq!(store.hash_algorithm(), HashAlgorithm::Xxh3);
    let again = Store::create(&path).unwrap();
    assert_eq!((again.uuid(), again.path()), (store.uuid(), store.path()));
    assert_ne!(store.uuid(), Store::create(scratch.path()).unwrap().uuid());
}

#[test]
fn only_the_owner_can_look_into_a_store() {
    let scratch = Scratch::new();
    let store = scratch.store();
    store.put(&bytes(100_000, 1)).unwrap();
    store.put(&bytes(17 << 20, 1)).unwrap();
    let mut open = vec![scratch.path()];
    while let Some(path) = open.pop() {
        let metadata = std::fs::metadata(&path).unwrap();
        let mode = metadata.permissions().mode() & 0o7777;
        if metadata.is_dir() {
            assert_eq!(mode, 0o700, "{}", path.display());
            open.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            assert!(mode == 0o600 || mode == 0o400, "{} {mode:o}", path.display());
        }
    }
}

#[test]
fn what_is_no_store_is_left_alone() {
    let scratch = Scratch::new();
    std::fs::write(scratch.dir().join("thesis.tex"), "years of work").unwrap();
    let error = Store::create(scratch.dir()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotAStore, "{error}");
    assert!(error.to_string().contains("thesis.tex"), "{error}");
    let file = scratch.dir().join("thesis.tex");
    assert!(Store::create(&file).is_err() && Store::open(&file).is_err());
    assert_eq!(std::fs::read_dir(scratch.dir()).unwrap().count(), 1);
}

#[test]
fn other_properties_than_those_of_the_store_are_refused() {
    let scratch = Scratch::new();
    let made = Store::options().create(true).hash(HashAlgorithm::Blake3);
    let store = scratch.open(made.segment_bytes(1 << 20));
    let id = store.put(b"stone").unwrap();
    assert_eq!(id.algorithm(), HashAlgorithm::Blake3);
    for options in [
        Store::options().hash(HashAlgorithm::Xxh3),
        Store::options().segment_bytes(2 << 20),
        Store::options().create(true).hash(HashAlgorithm::Xxh3),
        Store::options().read_only(true).hash(HashAlgorithm::Xxh3),
    ] {
        let error = options.open(scratch.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
        assert!(error.expected_text().is_some() && error.found_text().is_some());
        assert_eq!(error.file_path(), Some(&*scratch.path()));
    }
    let same = Store::options().create(true).hash(HashAlgorithm::Blake3).segment_bytes(1 << 20);
    assert_eq!(read(&scratch.open(same), &id), b"stone");
    assert_eq!(read(&scratch.store(), &id), b"stone", "nothing asked for, anything met");
}

#[test]
fn a_segment_size_must_be_a_power_of_two_in_bounds() {
    let scratch = Scratch::new();
    for bytes in [0, 1, 128 << 10, (256 << 10) + 1, 3 << 20, 2 << 30, u64::MAX] {
        let made = Store::options().create(true).segment_bytes(bytes).open(scratch.path());
        assert_eq!(made.unwrap_err().kind(), ErrorKind::InvalidInput, "{bytes}");
    }
    assert!(!scratch.path().exists());
    for bytes in [256 << 10, 1 << 30] {
        let path = scratch.dir().join(bytes.to_string());
        Store::options().create(true).segment_bytes(bytes).open(path).unwrap();
    }
}

#[test]
fn segments_are_sealed_at_the_size_asked_for() {
    let scratch = Scratch::new();
    let store = scratch.open(Store::options().create(true).segment_bytes(256 * KIB as u64));
    for seed in 0..100 {
        store.put(&bytes(20 * KIB, seed)).unwrap();
    }
    for entry in std::fs::read_dir(scratch.path().join("segments")).unwrap() {
        let len = entry.unwrap().metadata().unwrap().len();
        assert!(len <= 320 * KIB as u64, "{len} bytes, its footer included");
    }
    assert!(store.stats().unwrap().segments >= 8);
}

#[test]
fn one_store_opened_many_times_is_one_store() {
    for hash in HASHES {
        let scratch = Scratch::new();
        let first = scratch.open(Store::options().create(true).hash(hash));
        let stores: Vec<Store> = (0..20).map(|_| scratch.store()).collect();
        let ids: Vec<BlobId> = stores
            .iter()
            .enumerate()
            .map(|(at, store)| {
                store.refs("r").set(at.to_string(), "v").unwrap();
                store.put(&bytes(at * 5000, 1)).unwrap()
            })
            .collect();
        for store in stores.iter().rev().chain([&first]) {
            for (at, id) in ids.iter().enumerate() {
                assert!(read(store, id) == bytes(at * 5000, 1));
            }
            assert_eq!(store.refs("r").iter().count(), 20);
        }
        stores[3].remove(&ids[7]).unwrap();
        assert!(!first.contains(&ids[7]).unwrap());
        drop(stores);
        assert_eq!(first.stats().unwrap().blobs, 19);
        first.put(b"after the others have gone").unwrap();
    }
}

#[test]
fn several_stores_in_one_process_are_apart() {
    let scratches: Vec<Scratch> = (0..8).map(|_| Scratch::new()).collect();
    let stores: Vec<Store> = scratches
        .iter()
        .zip(HASHES.into_iter().cycle())
        .map(|(scratch, hash)| scratch.open(Store::options().create(true).hash(hash)))
        .collect();
    std::thread::scope(|scope| {
        for (at, store) in stores.iter().enumerate() {
            scope.spawn(move || {
                for seed in 0..100 {
                    let id = store.put(&bytes(2000, seed * 100 + at as u64)).unwrap();
                    store.refs("r").set(seed.to_string(), id).unwrap();
                }
            });
        }
    });
    let other = stores[1].put(b"only here").unwrap();
    for (at, store) in stores.iter().enumerate() {
        assert_eq!(store.stats().unwrap().refs, 100);
        let entry = store.refs("r").get("42").unwrap().unwrap();
        assert!(read(store, entry.blob().unwrap()) == bytes(2000, 4200 + at as u64));
        assert_eq!(store.contains(&other).unwrap(), at == 1);
    }
}

#[test]
fn a_store_is_usable_while_it_is_opened_and_closed_all_the_time() {
    let scratch = Scratch::new();
    let keeper = scratch.store();
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let scratch = &scratch;
            scope.spawn(move || {
                for round in 0..25 {
                    let store = scratch.store();
                    let content = bytes(100, thread * 1000 + round);
                    let id = store.put(&content).unwrap();
                    assert_eq!(read(&store, &id), content);
                }
            });
        }
    });
    let stats = keeper.stats().unwrap();
    assert_eq!(stats.blobs, 100);
    assert!(stats.segments <= 5, "{} segments: closed ones are taken up", stats.segments);
}

#[test]
fn a_store_survives_being_moved_and_copied() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let id = store.put(&bytes(100_000, 1)).unwrap();
    store.refs("r").set("k", id).unwrap();
    drop(store);
    let (moved, copied) = (scratch.dir().join("moved"), scratch.dir().join("copied"));
    let copy = std::process::Command::new("cp").arg("-a").arg(scratch.path()).arg(&copied).status();
    assert!(copy.unwrap().success());
    std::fs::rename(scratch.path(), &moved).unwrap();
    for path in [moved, copied] {
        let store = Store::open(path).unwrap();
        assert!(read(&store, &id) == bytes(100_000, 1));
        assert_eq!(store.refs("r").get("k").unwrap().unwrap().blob(), Some(&id));
        store.put(b"more").unwrap();
    }
}

#[test]
fn odd_settings_are_made_the_best_of() {
    let scratch = Scratch::new();
    let store = scratch.open(Store::options().create(true).threads(0).map_limit(0));
    let id = store.put(&bytes(5 << 20, 1)).unwrap();
    assert!(read(&store, &id) == bytes(5 << 20, 1));
    drop(store);
    let store = scratch.open(Store::options().threads(1));
    assert_eq!(store.put(&bytes(5 << 20, 1)).unwrap(), id, "threads do not change ids");
}
