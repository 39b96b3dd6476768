//! An acknowledgement under `Synced`, or of a `sync`, covers what others wrote and it relies on.
#![forbid(unsafe_code)]

use crate::parked::Parked;
use crate::power::{Medium, Survives};
use crate::support::{KIB, bytes, read};
use drystone::{BlobId, Durability, PutOptions, SetOptions, Store, Value};
use std::os::unix::fs::FileExt;

const SIZES: [usize; 4] = [0, 100, 100 * KIB, 17 << 20];

fn synced() -> PutOptions {
    PutOptions::new().durability(Durability::Synced)
}

fn set_synced() -> SetOptions {
    SetOptions::new().durability(Durability::Synced)
}

/// Looks at what is there after cuts of all kinds.
fn after_cuts(medium: &Medium, check: impl Fn(&Store)) {
    for survives in Survives::each(1) {
        check(&medium.cut(survives).open());
    }
}

#[test]
fn a_synced_put_of_what_another_process_put_buffered() {
    for len in SIZES {
        let medium = Medium::new();
        let (a, b) = (medium.open(), medium.open());
        let id = a.put(&bytes(len, 1)).unwrap();
        assert_eq!(b.put_with(&bytes(len, 1), &synced()).unwrap(), id);
        after_cuts(&medium, |store| {
            assert!(read(store, &id) == bytes(len, 1));
            assert!(store.stat(&id).unwrap().unwrap().pinned, "{len} bytes");
        });
    }
}

#[test]
fn a_pin_and_its_blob_in_the_segments_of_two_others() {
    for len in SIZES {
        let medium = Medium::new();
        let [a, b, c] = [(); 3].map(|()| medium.open());
        let id = a.put(&bytes(len, 1)).unwrap();
        assert!(a.unpin(&id).unwrap());
        b.put(&bytes(len, 1)).unwrap();
        c.put_with(&bytes(len, 1), &synced()).unwrap();
        after_cuts(&medium, |store| assert!(store.stat(&id).unwrap().unwrap().pinned));
    }
}

#[test]
fn a_synced_ref_to_what_another_process_put_buffered() {
    for len in SIZES {
        let medium = Medium::new();
        let (a, b) = (medium.open(), medium.open());
        let id = a.put(&bytes(len, 1)).unwrap();
        let other = a.put(b"other").unwrap();
        b.refs("r").set_with("one", id, &set_synced()).unwrap();
        b.refs("r").set_with("two", vec![other, id], &set_synced()).unwrap();
        let long = bytes(len.max(5000), 1);
        b.refs("r").set_with("long", long.clone(), &set_synced()).unwrap();
        after_cuts(&medium, |store| {
            let value = |key| store.refs("r").get(key).unwrap().map(|entry| entry.value);
            assert_eq!(value("one"), Some(Value::Blob(id)));
            assert_eq!(value("two"), Some(Value::Blobs(vec![other, id])));
            assert!(read(store, &id) == bytes(len, 1));
            let Some(Value::Blob(named)) = value("long") else { panic!("it was set") };
            assert!(read(store, &named) == long);
        });
    }
}

#[test]
fn a_second_removal_rests_on_the_tombstone_of_the_first() {
    for len in SIZES {
        let medium = Medium::new();
        let (a, b) = (medium.open(), medium.open());
        let id = a.put_with(&bytes(len, 1), &synced()).unwrap();
        let pinned = a.put_with(b"pinned", &synced()).unwrap();
        a.refs("r").set_with("k", "v", &set_synced()).unwrap();
        assert!(a.remove(&id).unwrap() && a.unpin(&pinned).unwrap());
        assert!(a.refs("r").remove("k").unwrap());
        let b_synced = medium.open_with(Store::options().durability(Durability::Synced));
        assert!(!b_synced.remove(&id).unwrap() && !b_synced.unpin(&pinned).unwrap());
        assert!(!b.refs("r").remove_with("k", Some(Durability::Synced)).unwrap());
        after_cuts(&medium, |store| {
            assert!(!store.contains(&id).unwrap());
            assert!(!store.stat(&pinned).unwrap().unwrap().pinned);
            assert!(store.refs("r").get("k").unwrap().is_none());
        });
    }
}

#[test]
fn sync_covers_everybody() {
    let medium = Medium::new();
    let stores: Vec<Store> = (0..3).map(|_| medium.open()).collect();
    let mut ids: Vec<BlobId> = Vec::new();
    for (at, store) in stores.iter().enumerate() {
        for len in SIZES {
            ids.push(store.put(&bytes(len, at as u64)).unwrap());
        }
        ids.extend(store.put_many(&[bytes(10, at as u64), bytes(70_000, at as u64)]).unwrap());
        ids.push(store.reserve(100_000 + at as u64).unwrap().commit().unwrap());
        store.refs("r").set(at.to_string(), ids[0]).unwrap();
    }
    // Met, not written.
    stores[2].put(&bytes(100, 0)).unwrap();
    stores[2].sync().unwrap();
    after_cuts(&medium, |store| {
        for id in &ids {
            assert!(store.stat(id).unwrap().is_some_and(|stat| stat.pinned), "{id}");
        }
        assert_eq!(store.refs("r").iter().count(), 3);
    });
}

#[test]
fn sync_of_a_value_that_is_replaced_meanwhile() {
    let medium = Medium::new();
    let (a, b) = (medium.open(), medium.open());
    a.refs("r").set("k", "first").unwrap();
    b.sync().unwrap();
    a.refs("r").set("k", "second").unwrap();
    let value = |store: &Store| {
        let entry = store.refs("r").get("k").unwrap().expect("it was synced");
        entry.bytes().unwrap().to_vec()
    };
    assert_eq!(value(&medium.cut(Survives::Nothing).open()), b"first");
    assert_eq!(value(&medium.cut(Survives::Everything).open()), b"second");
    after_cuts(&medium, |store| assert!([&b"first"[..], b"second"].contains(&&*value(store))));
    b.sync().unwrap();
    after_cuts(&medium, |store| assert_eq!(value(store), b"second"));
}

/// Takes the state byte of a blob's record, and of the ref right before it, back to pending: as if its
/// process had died between the exchange in the index and that write.
fn die_before_the_state_bytes(medium: &Medium, store: &Store, id: &BlobId) {
    let stat = store.stat(id).unwrap().unwrap();
    let path = medium.path().join(format!("segments/{:08x}.seg", stat.segment));
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    for offset in [stat.offset, stat.offset - 128] {
        let mut magic = [0; 4];
        file.read_exact_at(&mut magic, offset).unwrap();
        assert_eq!(&magic, b"DRYR");
        file.write_all_at(&[0x50], offset + 5).unwrap();
    }
}

/// What another process does after the death.
type Act = fn(&Store, &[u8], &BlobId);

const ACTS: [(&str, Act); 7] = [
    ("sync", |store, _, _| store.sync().unwrap()),
    ("a synced put of the same", |store, content, _| {
        store.put_with(content, &synced()).unwrap();
    }),
    ("a synced put of something else, then a sync", |store, _, _| {
        store.put_with(b"something else", &synced()).unwrap();
        store.sync().unwrap();
    }),
    ("a large synced put of something else, then a sync", |store, _, _| {
        store.put_with(&bytes(300_000, 9), &synced()).unwrap();
        store.sync().unwrap();
    }),
    ("a synced put of something else, then of the same", |store, content, _| {
        store.put_with(b"something else", &synced()).unwrap();
        store.put_with(content, &synced()).unwrap();
    }),
    ("two syncs with puts between", |store, _, _| {
        store.put(b"something else").unwrap();
        store.sync().unwrap();
        store.put(b"and more").unwrap();
        store.sync().unwrap();
    }),
    ("a segment sealed, then a sync", |store, _, _| {
        for seed in 0..40 {
            store.put(&bytes(40_000, seed)).unwrap();
        }
        store.sync().unwrap();
    }),
];

#[test]
fn what_a_dead_process_left_visible_is_synced_by_the_living() {
    for (what, act) in ACTS {
        for len in [100, 100 * KIB] {
            let medium = Medium::new();
            let a = medium.open_with(Store::options().segment_bytes(1 << 20));
            a.put(b"before").unwrap();
            let content = bytes(len, 1);
            let id = a.put(&content).unwrap();
            die_before_the_state_bytes(&medium, &a, &id);
            drop(a);
            let b = medium.open();
            assert!(read(&b, &id) == content, "visible all the time");
            act(&b, &content, &id);
            after_cuts(&medium, |store| {
                assert!(store.contains(&id).unwrap(), "{what}, {len} bytes: the blob is lost");
                assert!(read(store, &id) == content, "{what}, {len} bytes");
                assert!(store.stat(&id).unwrap().unwrap().pinned, "{what}, {len}: the pin is lost");
            });
        }
    }
}

#[test]
fn a_synced_ref_to_what_a_dead_process_left_visible() {
    for len in [100, 100 * KIB] {
        let medium = Medium::new();
        let a = medium.open();
        let content = bytes(len, 1);
        let id = a.put(&content).unwrap();
        die_before_the_state_bytes(&medium, &a, &id);
        drop(a);
        let b = medium.open();
        b.put_with(b"something else", &synced()).unwrap();
        b.refs("r").set_with("k", id, &set_synced()).unwrap();
        after_cuts(&medium, |store| {
            let entry = store.refs("r").get("k").unwrap().expect("it was acknowledged");
            assert!(read(store, entry.blob().unwrap()) == content);
        });
    }
}

#[test]
fn synced_drafts_readers_and_many() {
    let medium = Medium::new();
    let store = medium.open_with(Store::options().durability(Durability::Synced));
    let mut draft = store.reserve(300_000).unwrap();
    draft.copy_from_slice(&bytes(300_000, 1));
    let mut ids = vec![draft.commit().unwrap()];
    ids.push(store.put_reader(&bytes(5 << 20, 1)[..]).unwrap());
    ids.extend(store.put_many(&[bytes(10, 1), bytes(20, 1), bytes(100_000, 1)]).unwrap());
    after_cuts(&medium, |store| {
        for (id, len) in ids.iter().zip([300_000, 5 << 20, 10, 20, 100_000]) {
            assert!(read(store, id) == bytes(len, 1), "{len} bytes");
        }
    });
}

#[test]
fn a_relier_sets_the_bytes_while_the_segment_is_being_sealed() {
    let mut places = 0;
    for nth in 0.. {
        let medium = Medium::new();
        let a = medium.open_with(Store::options().segment_bytes(1 << 18));
        let id = a.put(b"left visible").unwrap();
        for seed in 0..5 {
            a.put(&bytes(50_000, seed)).unwrap();
        }
        die_before_the_state_bytes(&medium, &a, &id);
        drop(a);
        // It takes the segment up, finds it full, and seals it.
        let (b, c) = (medium.open(), medium.open());
        let sealer = Parked::start(nth, move || c.put(&bytes(30_000, 9)).unwrap());
        let is_parked = sealer.is_parked;
        b.put_with(b"left visible", &synced()).unwrap();
        let check = |store: &Store| {
            let stat = store.stat(&id).unwrap().expect("it was acknowledged");
            assert!(stat.pinned, "sealing parked at {nth}");
        };
        after_cuts(&medium, check);
        let other = sealer.end();
        b.sync().unwrap();
        after_cuts(&medium, |store| {
            check(store);
            assert!(store.contains(&other).unwrap());
        });
        if !is_parked {
            break;
        }
        places += 1;
    }
    assert!(places >= 5, "two state bytes, the footer and the put itself: {places} places");
}
