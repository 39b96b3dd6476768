//! Refs: set, get, add, compare and set, remove, walk.
#![forbid(unsafe_code)]

use crate::support::{KIB, MIB, Scratch, absent_id, bytes, each_hash, read};
use drystone::{BlobId, ErrorKind, Value, Version};
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn a_ref_is_what_it_was_set_to_last() {
    each_hash(|store| {
        let refs = store.refs("names");
        assert_eq!(refs.namespace(), "names");
        assert!(refs.get("a").unwrap().is_none());
        let id = store.put(b"one").unwrap();
        let mut last = None;
        for value in [Value::Blob(id), Value::Bytes(b"two".to_vec()), Value::Blobs(vec![id; 2])] {
            let version = refs.set("a", value.clone()).unwrap();
            assert!(Some(version) > last, "versions grow");
            let entry = refs.get("a").unwrap().unwrap();
            assert_eq!((&entry.value, entry.version), (&value, version));
            assert_eq!((&*entry.namespace, &*entry.key), ("names", &b"a"[..]));
            last = Some(version);
        }
    });
}

#[test]
fn values_come_back_as_they_were_given() {
    each_hash(|store| {
        let refs = store.refs("values");
        let [a, b] = [b"a", b"b"].map(|content| store.put(content).unwrap());
        let values: [Value; 9] = [
            b""[..].into(),
            b"bytes".into(),
            "text".into(),
            vec![0; 4 * KIB].into(),
            a.into(),
            (&b).into(),
            vec![].into_iter().collect::<Vec<BlobId>>().into(),
            vec![a].into(),
            vec![b, a, b].into(),
        ];
        for value in values {
            refs.set("k", value.clone()).unwrap();
            let entry = refs.get("k").unwrap().unwrap();
            assert_eq!(entry.value, value);
            let (blob, blobs, bytes) = (entry.blob(), entry.blobs(), entry.bytes());
            match &value {
                Value::Bytes(given) => assert_eq!((blob, bytes), (None, Some(&given[..]))),
                Value::Blob(id) => assert_eq!((blob, blobs, bytes), (Some(id), &[*id][..], None)),
                Value::Blobs(ids) => assert_eq!((blob, blobs, bytes), (None, &ids[..], None)),
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn long_bytes_become_a_blob() {
    each_hash(|store| {
        let refs = store.refs("long");
        for len in [4 * KIB + 1, 64 * KIB, 64 * KIB + 1, 3 * MIB, 17 * MIB] {
            let content = bytes(len, 1);
            refs.set("k", content.clone()).unwrap();
            let entry = refs.get("k").unwrap().unwrap();
            let id = *entry.blob().expect("one blob");
            assert!(read(store, &id) == content);
            assert!(!store.stat(&id).unwrap().unwrap().pinned, "the ref names it, no pin does");
            assert_eq!(refs.add("k", content.clone()).unwrap(), None);
            let again = refs.compare_and_set("k", Some(entry.version), content.clone()).unwrap();
            assert!(again > Some(entry.version));
            assert_eq!(store.put(&content).unwrap(), id);
        }
    });
}

#[test]
fn add_sets_only_what_is_not_there() {
    each_hash(|store| {
        let refs = store.refs("names");
        let version = refs.add("k", "first").unwrap().expect("it was not there");
        assert_eq!(refs.add("k", "second").unwrap(), None);
        let entry = refs.get("k").unwrap().unwrap();
        assert_eq!((entry.bytes(), entry.version), (Some(&b"first"[..]), version));
        assert!(refs.remove("k").unwrap());
        assert!(refs.add("k", "third").unwrap() > Some(version));
        // A blob that is gone takes the ref with it.
        let id = store.put(b"stone").unwrap();
        assert!(refs.add("b", id).unwrap().is_some());
        store.remove(&id).unwrap();
        assert!(refs.add("b", "instead").unwrap().is_some());
    });
}

#[test]
fn compare_and_set_is_exact() {
    each_hash(|store| {
        let refs = store.refs("names");
        assert_eq!(refs.compare_and_set("k", Some(Version::from_number(1)), "x").unwrap(), None);
        assert!(refs.get("k").unwrap().is_none());
        let first = refs.compare_and_set("k", None, "first").unwrap().unwrap();
        assert_eq!(refs.compare_and_set("k", None, "x").unwrap(), None);
        let second = refs.compare_and_set("k", Some(first), "second").unwrap().unwrap();
        assert!(second > first);
        assert_eq!(refs.compare_and_set("k", Some(first), "x").unwrap(), None);
        let later = Version::from_number(second.number() + 1);
        assert_eq!(refs.compare_and_set("k", Some(later), "x").unwrap(), None);
        let entry = refs.get("k").unwrap().unwrap();
        assert_eq!((entry.bytes(), entry.version), (Some(&b"second"[..]), second));
        assert!(refs.remove("k").unwrap());
        assert_eq!(refs.compare_and_set("k", Some(second), "x").unwrap(), None);
        assert!(refs.compare_and_set("k", None, "again").unwrap() > Some(second));
    });
}

#[test]
fn of_many_who_compare_and_set_one_wins_each_time() {
    let scratch = Scratch::new();
    let stores = [scratch.store(), scratch.store(), scratch.store()];
    let each = 300;
    std::thread::scope(|scope| {
        for store in &stores {
            scope.spawn(move || {
                let refs = store.refs("counters");
                for _ in 0..each {
                    increment(&refs);
                }
            });
        }
    });
    let counted = stores[0].refs("counters").get("n").unwrap().unwrap();
    assert_eq!(counted.bytes(), Some(&(3 * each as u64).to_le_bytes()[..]));
}

fn increment(refs: &drystone::Refs) {
    loop {
        let entry = refs.get("n").unwrap();
        let bytes = entry.as_ref().and_then(|entry| entry.bytes()).unwrap_or(&[0; 8]);
        let next = u64::from_le_bytes(bytes.try_into().unwrap()) + 1;
        let expected = entry.as_ref().map(|entry| entry.version);
        if refs.compare_and_set("n", expected, next.to_le_bytes().to_vec()).unwrap().is_some() {
            return;
        }
    }
}

#[test]
fn removing_says_whether_there_was_one() {
    each_hash(|store| {
        let refs = store.refs("names");
        assert!(!refs.remove("k").unwrap());
        refs.set("k", "v").unwrap();
        assert!(!store.refs("others").remove("k").unwrap());
        assert!(refs.remove("k").unwrap());
        assert!(!refs.remove("k").unwrap());
        assert!(refs.get("k").unwrap().is_none());
        let id = store.put(b"stone").unwrap();
        refs.set("k", id).unwrap();
        assert!(refs.remove("k").unwrap());
        assert!(store.contains(&id).unwrap(), "the blob has its pin");
        refs.set("k", id).unwrap();
        store.remove(&id).unwrap();
        assert!(!refs.remove("k").unwrap(), "it read as absent");
    });
}

#[test]
fn a_ref_to_what_is_not_there_is_not_set() {
    each_hash(|store| {
        let refs = store.refs("names");
        let there = store.put(b"stone").unwrap();
        let gone = store.put(b"gone").unwrap();
        store.remove(&gone).unwrap();
        refs.set("k", "before").unwrap();
        for missing in [absent_id(store), gone] {
            let version = refs.get("k").unwrap().unwrap().version;
            for error in [
                refs.set("k", missing).unwrap_err(),
                refs.set("k", vec![there, missing]).unwrap_err(),
                refs.add("other", missing).unwrap_err(),
                refs.compare_and_set("k", Some(version), missing).unwrap_err(),
            ] {
                assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
                assert!(error.to_string().contains(&missing.to_string()), "{error}");
            }
            assert_eq!(refs.get("k").unwrap().unwrap().bytes(), Some(&b"before"[..]));
            assert!(refs.get("other").unwrap().is_none());
        }
    });
}

#[test]
fn a_ref_whose_blob_was_removed_reads_as_absent_until_it_comes_back() {
    each_hash(|store| {
        let refs = store.refs("names");
        let [a, b] = [b"a", b"b"].map(|content| store.put(content).unwrap());
        refs.set("one", a).unwrap();
        refs.set("two", vec![a, b]).unwrap();
        store.remove(&b).unwrap();
        assert!(refs.get("one").unwrap().is_some());
        assert!(refs.get("two").unwrap().is_none());
        let walked: Vec<Vec<u8>> = refs.iter().map(|entry| entry.unwrap().key).collect();
        assert_eq!(walked, [b"one".to_vec()]);
        assert_eq!(store.named_by(&a).unwrap(), [("names".to_owned(), b"one".to_vec())]);
        assert!(refs.compare_and_set("two", None, "instead").unwrap().is_some());
        assert_eq!(refs.get("two").unwrap().unwrap().bytes(), Some(&b"instead"[..]));
    });
}

#[test]
fn a_walk_gives_every_ref_of_its_namespace() {
    each_hash(|store| {
        let id = store.put(b"stone").unwrap();
        let mut expected = BTreeMap::new();
        for i in 0..700u32 {
            let key = i.to_be_bytes().to_vec();
            expected.insert(key.clone(), i % 3);
            let refs = store.refs("walked");
            match i % 3 {
                0 => refs.set(&key, id).unwrap(),
                1 => refs.set(&key, key.clone()).unwrap(),
                _ => refs.set(&key, vec![id]).unwrap(),
            };
            store.refs("other").set(&key, "x").unwrap();
        }
        store.refs("walked").remove(0u32.to_be_bytes()).unwrap();
        expected.remove(&0u32.to_be_bytes()[..]);
        let walked: BTreeMap<Vec<u8>, u32> = store
            .refs("walked")
            .iter()
            .map(|entry| {
                let entry = entry.unwrap();
                assert_eq!(entry.namespace, "walked");
                let kind = match entry.value {
                    Value::Blob(_) => 0,
                    Value::Bytes(_) => 1,
                    _ => 2,
                };
                (entry.key, kind)
            })
            .collect();
        assert_eq!(walked, expected);
        assert!(store.refs("nobody").iter().next().is_none());
    });
}

#[test]
fn a_walk_may_change_what_it_walks_over() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let refs = store.refs("walked");
    let keys: BTreeSet<Vec<u8>> = (0..500u32).map(|i| i.to_be_bytes().to_vec()).collect();
    for key in &keys {
        refs.set(key, "v").unwrap();
    }
    let mut seen = BTreeSet::new();
    for entry in refs.iter() {
        let key = entry.unwrap().key;
        if keys.contains(&key) {
            refs.remove(&key).unwrap();
            refs.set([&key[..], b"+"].concat(), "new").unwrap();
            seen.insert(key);
        }
    }
    assert_eq!(seen, keys);
    assert_eq!(refs.iter().count(), keys.len());
}

/// The walk looks ahead: what it has seen of a ref may be over when it comes to it.
#[test]
fn a_ref_that_is_set_to_another_blob_during_a_walk_is_walked_over() {
    each_hash(|store| {
        let (old, new) = (store.put(b"old").unwrap(), store.put(b"new").unwrap());
        let refs = store.refs("walked");
        let keys = ["a", "b", "c", "d"];
        keys.iter().for_each(|key| _ = refs.set(key, old).unwrap());
        let mut walk = refs.iter();
        assert_eq!(walk.next().unwrap().unwrap().blob(), Some(&old));
        keys.iter().for_each(|key| _ = refs.set(key, new).unwrap());
        assert!(store.remove(&old).unwrap());
        let rest: Vec<_> = walk.map(|entry| *entry.unwrap().blob().unwrap()).collect();
        assert_eq!(rest, [new; 3]);
    });
}
