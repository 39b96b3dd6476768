//! A ref whose blob did not survive is passed over, and does not come back when the blob does.
#![forbid(unsafe_code)]

use crate::power::{Medium, Survives};
use crate::support::{KIB, bytes, read};
use drystone::{BlobId, Durability, PutOptions, SetOptions, Store, Value, Version};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn synced_set() -> SetOptions {
    SetOptions::new().durability(Durability::Synced)
}

/// Syncs all segments but that of a blob, and the directory, as the kernel may do at any time.
fn write_back_all_but(medium: &Medium, store: &Store, id: &BlobId) {
    let of_blob = format!("{:08x}.seg", store.stat(id).unwrap().unwrap().segment);
    let dir = medium.path().join("segments");
    for entry in std::fs::read_dir(&dir).unwrap().map(Result::unwrap) {
        if *entry.file_name() != *of_blob {
            std::fs::File::open(entry.path()).unwrap().sync_data().unwrap();
        }
    }
    std::fs::File::open(dir).unwrap().sync_all().unwrap();
}

/// Two openings, each with a segment of its own that is synced so far.
fn two_processes(medium: &Medium) -> [Store; 2] {
    let stores = [medium.open(), medium.open()];
    let [a, b] = [0u8, 1].map(|i| stores[i as usize].put(&[i; 9]).unwrap());
    stores[0].sync().unwrap();
    let segment = |id: &BlobId| stores[0].stat(id).unwrap().unwrap().segment;
    assert_ne!(segment(&a), segment(&b));
    stores
}

fn value(store: &Store, key: &str) -> Option<Value> {
    store.refs("r").get(key).unwrap().map(|entry| entry.value)
}

/// A key bound to a blob, the ref's segment being on the medium and the blob's not.
struct Dangling {
    medium: Medium,
    content: Vec<u8>,
    id: BlobId,
    version: Version,
}

fn dangling(len: usize, before: Option<&str>, bind: fn(&Store, BlobId) -> Version) -> Dangling {
    let medium = Medium::new();
    let [a, b] = two_processes(&medium);
    if let Some(before) = before {
        b.refs("r").set_with("k", before, &synced_set()).unwrap();
    }
    let content = bytes(len, 1);
    let id = a.put(&content).unwrap();
    let version = bind(&b, id);
    write_back_all_but(&medium, &a, &id);
    Dangling { medium, content, id, version }
}

type Bind = fn(&Store, BlobId) -> Version;

const BINDS: [Bind; 3] = [
    |store, id| store.refs("r").set("k", id).unwrap(),
    |store, id| store.refs("r").set("k", vec![id, id]).unwrap(),
    |store, id| {
        let current = store.refs("r").get("k").unwrap().map(|entry| entry.version);
        store.refs("r").compare_and_set("k", current, id).unwrap().expect("nobody else sets it")
    },
];

#[test]
fn a_ref_without_its_blob_is_passed_over_for_the_version_before() {
    for (bind, len) in BINDS.into_iter().flat_map(|bind| [(bind, 100), (bind, 100 * KIB)]) {
        for before in [None, Some("before")] {
            let case = dangling(len, before, bind);
            let expected = before.map(Value::from);
            let after = case.medium.cut(Survives::Nothing);
            let store = after.open();
            assert!(!store.contains(&case.id).unwrap(), "it was never synced");
            assert_eq!(value(&store, "k"), expected);
            // It does not come back with its blob, nor after the power has gone again.
            let again = PutOptions::new().durability(Durability::Synced);
            assert_eq!(store.put_with(&case.content, &again).unwrap(), case.id);
            assert_eq!(value(&store, "k"), expected);
            drop(store);
            for survives in Survives::each(len as u64) {
                let later = after.cut(survives);
                let store = later.open();
                assert_eq!(value(&store, "k"), expected, "it came back");
                assert!(read(&store, &case.id) == case.content);
                drop(store);
                assert_eq!(value(&later.cut(Survives::Nothing).open(), "k"), expected);
            }
        }
    }
}

#[test]
fn what_counts_instead_has_a_version_that_no_one_has_seen_for_another_value() {
    let case = dangling(100, Some("before"), BINDS[0]);
    let after = case.medium.cut(Survives::Nothing);
    let store = after.open();
    let version = store.refs("r").get("k").unwrap().unwrap().version;
    assert!(
        version > case.version,
        "{version:?} after {:?}: a compare_and_set from before the cut",
        case.version
    );
    let set = store.refs("r").compare_and_set("k", Some(case.version), "x").unwrap();
    assert_eq!(set, None);
    assert!(store.refs("r").set("k", "after").unwrap() > version);
}

#[test]
fn a_ref_with_its_blob_is_kept() {
    let case = dangling(100, Some("before"), BINDS[0]);
    let after = case.medium.cut(Survives::Everything);
    let store = after.open();
    let entry = store.refs("r").get("k").unwrap().unwrap();
    assert_eq!((entry.version, entry.blob()), (case.version, Some(&case.id)));
}

#[test]
fn any_cut_leaves_one_of_the_two() {
    let case = dangling(5000, Some("before"), BINDS[0]);
    for seed in 0..40 {
        let after = case.medium.cut(Survives::any(seed));
        let store = after.open();
        match value(&store, "k").expect("it was bound durably") {
            Value::Bytes(bytes) => assert_eq!(bytes, b"before"),
            Value::Blob(id) => assert!(read(&store, &id) == case.content),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_read_only_opening_passes_over_as_well() {
    let case = dangling(100, Some("before"), BINDS[0]);
    let after = case.medium.cut(Survives::Nothing);
    let reader = Store::options().read_only(true).open(after.path()).unwrap();
    assert_eq!(value(&reader, "k"), Some("before".into()));
    assert_eq!(reader.refs("r").iter().count(), 1);
}

#[test]
fn a_pin_without_its_blob_goes() {
    for len in [100, 100 * KIB] {
        let medium = Medium::new();
        let [a, b] = two_processes(&medium);
        let id = a.put(&bytes(len, 1)).unwrap();
        assert!(a.unpin(&id).unwrap());
        b.put(&bytes(len, 1)).unwrap();
        write_back_all_but(&medium, &a, &id);
        let after = medium.cut(Survives::Nothing);
        let store = after.open();
        assert!(store.stat(&id).unwrap().is_none());
        assert!(store.refs("pins").get(id.to_string()).unwrap().is_none());
        // It comes back under a name; the old pin does not come with it.
        store.refs("r").set_with("k", bytes(len.max(5000), 1), &synced_set()).unwrap();
        let named = *store.refs("r").get("k").unwrap().unwrap().blob().unwrap();
        assert!(!store.stat(&named).unwrap().unwrap().pinned);
        drop(store);
        let later = after.cut(Survives::Nothing);
        let store = later.open();
        assert!(!store.stat(&named).unwrap().unwrap().pinned);
        assert!(store.contains(&named).unwrap());
    }
}

#[test]
fn an_old_tombstone_does_not_stand_for_the_blob_that_was_put_later() {
    for len in [100, 100 * KIB] {
        let medium = Medium::new();
        let [a, b] = two_processes(&medium);
        let content = bytes(len, 1);
        let id = a.put(&content).unwrap();
        assert!(a.remove(&id).unwrap());
        a.sync().unwrap();
        a.put(&content).unwrap();
        b.refs("r").set("k", id).unwrap();
        write_back_all_but(&medium, &a, &id);
        let after = medium.cut(Survives::Nothing);
        let store = after.open();
        assert!(!store.contains(&id).unwrap(), "the tombstone counts");
        assert_eq!(value(&store, "k"), None);
        store.put_with(&content, &PutOptions::new().durability(Durability::Synced)).unwrap();
        assert_eq!(value(&store, "k"), None, "it came back");
        drop(store);
        assert_eq!(value(&after.cut(Survives::Nothing).open(), "k"), None, "it came back");
    }
}

#[test]
fn a_ref_to_a_blob_that_was_removed_after_is_there_again_with_the_blob() {
    let medium = Medium::new();
    let [a, b] = two_processes(&medium);
    let id = a.put(b"stone").unwrap();
    b.refs("r").set("k", id).unwrap();
    a.remove(&id).unwrap();
    b.sync().unwrap();
    for survives in Survives::each(1) {
        let after = medium.cut(survives);
        let store = after.open();
        assert_eq!(value(&store, "k"), None);
        store.put(b"stone").unwrap();
        assert_eq!(value(&store, "k"), Some(Value::Blob(id)), "as in the run before the cut");
    }
}

#[test]
fn an_expired_ref_does_not_uncover_its_older_version() {
    let medium = Medium::new();
    let store = medium.open();
    let refs = store.refs("r");
    refs.set_with("past", "older", &synced_set()).unwrap();
    refs.set_with("past", "newer", &synced_set().expires_at(UNIX_EPOCH)).unwrap();
    refs.set_with("soon", "older", &synced_set()).unwrap();
    let soon = SystemTime::now() + Duration::from_millis(50);
    refs.set_with("soon", "newer", &synced_set().expires_at(soon)).unwrap();
    let id = store.put(b"stone").unwrap();
    refs.set_with("blob", "older", &synced_set()).unwrap();
    refs.set_with("blob", id, &synced_set().expires_at(UNIX_EPOCH)).unwrap();
    std::thread::sleep(Duration::from_millis(60));
    for survives in Survives::each(1) {
        let after = medium.cut(survives);
        for key in ["past", "soon", "blob"] {
            assert_eq!(value(&after.open(), key), None, "{key}");
        }
        assert_eq!(after.open().refs("r").iter().count(), 0);
    }
}

#[test]
fn numbers_start_above_all_that_were_seen_pending_ones_too() {
    let medium = Medium::new();
    let store = medium.open();
    let mut last = store.refs("r").set_with("k", "v", &synced_set()).unwrap();
    // Pending records of large numbers: puts that met their own blob in the end, refs that lost.
    for round in 0..5 {
        let id = store.put(&bytes(100, round)).unwrap();
        store.remove(&id).unwrap();
    }
    let mut medium = medium;
    for survives in Survives::each(3) {
        let after = medium.cut(survives);
        let store = after.open();
        let version = store.refs("r").set_with("k", "v", &synced_set()).unwrap();
        assert!(version > last, "{version:?} after {last:?}");
        last = version;
        medium = after;
    }
}
