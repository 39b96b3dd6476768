//! Every operation under `Synced`, and `sync`, on a real disk: the same results, and a reboot after.
#![forbid(unsafe_code)]

use crate::support::{MIB, Scratch, bytes, each_hash, read};
use drystone::disk::{Call, FaultDisk, OpenOptions, RealDisk};
use drystone::{Durability, PutOptions, SetOptions, Store, Value};

fn synced(scratch: &Scratch) -> Store {
    scratch.open(Store::options().create(true).durability(Durability::Synced))
}

#[test]
fn all_operations_do_the_same_when_synced() {
    let scratch = Scratch::new();
    let store = synced(&scratch);
    let (file, refs) = (scratch.dir().join("file"), store.refs("r"));
    std::fs::write(&file, bytes(300, 1)).unwrap();
    let mut ids = vec![
        store.put(&bytes(100, 1)).unwrap(),
        store.put(&bytes(100_000, 1)).unwrap(),
        store.put(&bytes(17 * MIB, 1)).unwrap(),
        store.put_reader(&bytes(200, 1)[..]).unwrap(),
        store.put_reader(&bytes(3 * MIB, 1)[..]).unwrap(),
        store.put_file(&file).unwrap(),
        store.reserve(1000).unwrap().commit().unwrap(),
        store.reserve(200_000).unwrap().commit().unwrap(),
        store.reserve(300_000).unwrap().commit_as(&refs, "draft").unwrap(),
    ];
    ids.extend(store.put_many(&[bytes(10, 1), bytes(11, 1), bytes(100_001, 1)]).unwrap());
    let first = refs.set("blob", ids[0]).unwrap();
    refs.set("bytes", "v").unwrap();
    refs.set("long", bytes(5000, 1)).unwrap();
    refs.set("longer", bytes(100_002, 1)).unwrap();
    refs.add("added", vec![ids[1], ids[2]]).unwrap().unwrap();
    refs.compare_and_set("blob", Some(first), ids[3]).unwrap().unwrap();
    assert_eq!(refs.add("added", "x").unwrap(), None);
    refs.set("removed", "v").unwrap();
    assert!(refs.remove("removed").unwrap() && !refs.remove("removed").unwrap());
    assert!(!refs.remove("never").unwrap());
    assert!(store.unpin(&ids[0]).unwrap() && !store.unpin(&ids[0]).unwrap());
    assert!(store.remove(&ids[1]).unwrap() && !store.remove(&ids[1]).unwrap());
    drop((refs, store));

    let store = scratch.rebooted();
    for (at, id) in ids.iter().enumerate() {
        assert_eq!(store.contains(id).unwrap(), at != 1, "blob {at}");
        assert_eq!(
            store.stat(id).unwrap().is_some_and(|stat| stat.pinned),
            ![0, 1, 8].contains(&at)
        );
    }
    let refs = store.refs("r");
    let value = |key: &str| refs.get(key).unwrap().map(|entry| entry.value);
    assert_eq!(value("blob"), Some(Value::Blob(ids[3])));
    assert_eq!(value("bytes"), Some("v".into()));
    assert_eq!(value("draft"), Some(Value::Blob(ids[8])));
    assert_eq!(value("added"), None, "one of its blobs was removed");
    assert_eq!(value("removed"), None);
    let long = refs.get("longer").unwrap().unwrap();
    assert!(read(&store, long.blob().unwrap()) == bytes(100_002, 1));
}

#[test]
fn single_operations_may_be_synced() {
    each_hash(|store| {
        let put = PutOptions::new().durability(Durability::Synced);
        let id = store.put_with(b"stone", &put).unwrap();
        store.put_reader_with(&bytes(3 * MIB, 1)[..], &put).unwrap();
        let set = SetOptions::new().durability(Durability::Synced).tag("t");
        let version = store.refs("r").set_with("k", id, &set).unwrap();
        let swapped = store.refs("r").compare_and_set_with("k", Some(version), "v", &set).unwrap();
        assert!(swapped > Some(version));
        assert!(store.refs("r").remove_with("k", Some(Durability::Synced)).unwrap());
    });
}

#[test]
fn synced_threads_share_their_syncs_and_each_gets_its_own_answer() {
    let scratch = Scratch::new();
    let store = synced(&scratch);
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let store = &store;
            scope.spawn(move || {
                for round in 0..20 {
                    let content = bytes(300, thread * 100 + round);
                    let id = store.put(&content).unwrap();
                    store.refs("r").set(format!("{thread}/{round}"), id).unwrap();
                    assert_eq!(read(store, &id), content);
                }
            });
        }
    });
    drop(store);
    let store = scratch.rebooted();
    for thread in 0..8u64 {
        for round in 0..20 {
            let entry = store.refs("r").get(format!("{thread}/{round}")).unwrap().unwrap();
            assert!(read(&store, entry.blob().unwrap()) == bytes(300, thread * 100 + round));
        }
    }
    assert_eq!(store.stats().unwrap().blobs, 160);
}

#[test]
fn sync_may_be_called_at_any_time() {
    each_hash(|store| {
        store.sync().unwrap();
        store.sync().unwrap();
        store.put(b"stone").unwrap();
        store.sync().unwrap();
        std::thread::scope(|scope| {
            for thread in 0..3u64 {
                scope.spawn(move || {
                    for round in 0..30 {
                        store.put(&bytes(1000, thread * 100 + round)).unwrap();
                        store.sync().unwrap();
                    }
                });
            }
        });
        let draft = store.reserve(100_000).unwrap();
        store.sync().unwrap();
        draft.commit().unwrap();
        store.sync().unwrap();
        assert_eq!(store.stats().unwrap().blobs, 92);
    });
}

#[test]
fn many_are_synced_together_also_while_the_index_grows() {
    let scratch = Scratch::in_memory();
    std::fs::create_dir(scratch.path()).unwrap();
    let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o700);
    std::fs::set_permissions(scratch.path(), mode).unwrap();
    let how = OpenOptions { writable: true, ..OpenOptions::default() };
    let disk = FaultDisk::new(RealDisk::open(&scratch.path(), &how).unwrap());
    let options = Store::options().create(true).durability(Durability::Synced);
    let store = scratch.open(options.disk(disk.clone()));
    let values: Vec<Vec<u8>> = (0..20_000).map(|seed| bytes(20, seed)).collect();
    disk.take_calls();
    let ids = store.put_many(&values).unwrap();
    let synced = disk.calls(Some(Call::Sync));
    assert!(store.stats().unwrap().index_generation > 3, "it has grown");
    assert!(synced < 60, "{synced} syncs");
    for (id, value) in ids.iter().zip(&values) {
        assert!(*store.get(id).unwrap().unwrap() == value[..]);
    }
}
