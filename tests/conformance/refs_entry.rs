//! What a ref carries besides its value: expiry, tags, metadata, times; and the limits of all of it.
#![forbid(unsafe_code)]

use crate::support::{KIB, Scratch, bytes, each_hash, holdings};
use drystone::{ErrorKind, SetOptions, Value, Version};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[test]
fn tags_and_metadata_come_back() {
    each_hash(|store| {
        let refs = store.refs("names");
        let id = store.put(b"stone").unwrap();
        let before = SystemTime::now();
        for value in [Value::Blob(id), "bytes".into(), vec![id, id].into(), vec![7; 10_000].into()]
        {
            let options = SetOptions::new().tag("").tag("grün").tag("b").metadata(bytes(1000, 1));
            refs.set_with("k", value, &options).unwrap();
            let entry = refs.get("k").unwrap().unwrap();
            assert_eq!(entry.tags, ["", "grün", "b"]);
            assert_eq!(entry.metadata, bytes(1000, 1));
            assert_eq!(entry.expires, None);
            assert!(entry.created >= before && entry.created <= SystemTime::now());
        }
        refs.set("k", "plain").unwrap();
        let entry = refs.get("k").unwrap().unwrap();
        assert!(entry.tags.is_empty() && entry.metadata.is_empty(), "a later set has its own");
    });
}

#[test]
fn an_expired_ref_reads_as_absent() {
    each_hash(|store| {
        let refs = store.refs("names");
        let id = store.put(b"stone").unwrap();
        let soon = SystemTime::now() + Duration::from_secs(3600);
        refs.set_with("later", id, &SetOptions::new().expires_at(soon)).unwrap();
        let expires = refs.get("later").unwrap().unwrap().expires.unwrap();
        assert!(expires.duration_since(soon).unwrap_or_default() < Duration::from_micros(1));
        for past in [UNIX_EPOCH, SystemTime::now(), UNIX_EPOCH - Duration::from_secs(1)] {
            let expired = SetOptions::new().expires_at(past);
            refs.set_with("k", id, &expired).unwrap();
            assert!(refs.get("k").unwrap().is_none());
            assert!(!refs.remove("k").unwrap(), "it read as absent");
            refs.set_with("k", id, &expired).unwrap();
            assert!(refs.add("k", "instead").unwrap().is_some(), "an expired ref is no ref");
        }
        refs.set_with("walked", id, &SetOptions::new().expires_at(UNIX_EPOCH)).unwrap();
        let mut walked: Vec<_> = refs.iter().map(|entry| entry.unwrap().key).collect();
        walked.sort();
        assert_eq!(walked, [b"k".to_vec(), b"later".to_vec()]);
        assert_eq!(store.named_by(&id).unwrap(), [("names".to_owned(), b"later".to_vec())]);
    });
}

#[test]
fn a_ref_expires_while_one_looks() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let refs = store.refs("names");
    let options = SetOptions::new().expires_in(Duration::from_millis(60));
    let version = refs.set_with("k", "v", &options).unwrap();
    assert_eq!(refs.get("k").unwrap().unwrap().version, version);
    std::thread::sleep(Duration::from_millis(80));
    assert!(refs.get("k").unwrap().is_none());
    assert_eq!(refs.compare_and_set("k", Some(version), "x").unwrap(), None);
    assert!(refs.compare_and_set("k", None, "x").unwrap().is_some());
}

#[test]
fn what_never_ends_is_never() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let refs = store.refs("names");
    refs.set_with("k", "v", &SetOptions::new().expires_in(Duration::MAX)).unwrap();
    assert_eq!(refs.get("k").unwrap().unwrap().expires, None);
    let far = UNIX_EPOCH + Duration::from_secs(1 << 40);
    refs.set_with("k", "v", &SetOptions::new().expires_at(far)).unwrap();
    assert!(refs.get("k").unwrap().unwrap().expires.unwrap() > SystemTime::now());
}

#[test]
fn keys_of_any_bytes_and_up_to_64_kib() {
    each_hash(|store| {
        let refs = store.refs("names");
        let keys = [
            Vec::new(),
            vec![0],
            vec![0, 0],
            b"\xFF\xFE not text".to_vec(),
            bytes(4096, 1),
            vec![b'k'; 64 * KIB - 1],
            vec![b'k'; 64 * KIB],
        ];
        for (at, key) in keys.iter().enumerate() {
            refs.set(key, at.to_string().as_str()).unwrap();
        }
        for (at, key) in keys.iter().enumerate() {
            let entry = refs.get(key).unwrap().unwrap();
            assert_eq!((&entry.key, entry.bytes()), (key, Some(at.to_string().as_bytes())));
        }
        assert_eq!(refs.iter().count(), keys.len());
        for key in &keys {
            assert!(refs.remove(key).unwrap());
        }
        assert_eq!(refs.iter().count(), 0);
    });
}

#[test]
fn what_is_too_long_is_refused_and_changes_nothing() {
    each_hash(|store| {
        let refs = store.refs("names");
        let id = store.put(b"stone").unwrap();
        let key = vec![0; 64 * KIB + 1];
        let refused = |set: drystone::Result<Version>| {
            let error = set.expect_err("it is too long");
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
            assert!(error.expected_text().is_some() && error.found_text().is_some(), "{error}");
        };
        let before = holdings(store);
        refused(refs.set(&key, "v"));
        refused(refs.set(&key, id));
        refused(refs.set(&key, vec![0; 10_000]));
        refused(refs.set_with("k", "v", &SetOptions::new().metadata(vec![0; 64 * KIB + 1])));
        refused(refs.set_with("k", "v", &SetOptions::new().tag("t".repeat(256))));
        let many = (0..65).fold(SetOptions::new(), |options, _| options.tag("t"));
        refused(refs.set_with("k", "v", &many));
        refused(refs.set("k", vec![id; (1 << 16) + 1]));
        refused(store.refs(&"n".repeat(256)).set("k", "v"));
        assert_eq!(holdings(store), before);
        assert!(refs.get(&key).unwrap().is_none());
        assert!(!refs.remove(&key).unwrap());
    });
}

#[test]
fn what_is_just_not_too_long_is_kept() {
    each_hash(|store| {
        let id = store.put(b"stone").unwrap();
        let refs = store.refs(&"n".repeat(255));
        let most = (0..64).fold(SetOptions::new(), |options, _| options.tag("t".repeat(255)));
        let most = most.metadata(bytes(64 * KIB, 1));
        let key = bytes(64 * KIB, 2);
        for value in
            [Value::Blobs(vec![id; 1 << 16]), vec![1; 4 * KIB].into(), vec![2; 9999].into()]
        {
            refs.set_with(&key, value.clone(), &most).unwrap();
            let entry = refs.get(&key).unwrap().unwrap();
            assert_eq!((entry.tags.len(), entry.metadata.len()), (64, 64 * KIB));
            if !matches!(&value, Value::Bytes(bytes) if bytes.len() > 4 * KIB) {
                assert_eq!(entry.value, value);
            }
        }
        assert_eq!(refs.iter().count(), 1);
        assert_eq!(store.namespaces().unwrap(), ["n".repeat(255)]);
    });
}

#[test]
fn the_longest_refs_and_large_blobs_stand_side_by_side() {
    each_hash(|store| {
        for (at, metadata) in
            [0, 4 * KIB, 60 * KIB, 64 * KIB - 100, 64 * KIB].into_iter().enumerate()
        {
            for len in [5 * KIB, 64 * KIB, 64 * KIB + 1, 300 * KIB, 17 << 20] {
                let (refs, content) = (store.refs("names"), bytes(len, at as u64));
                let key = bytes(metadata, 2);
                let options = SetOptions::new().metadata(key.clone());
                refs.set_with(&key, content.clone(), &options).unwrap();
                let entry = refs.get(&key).unwrap().unwrap();
                assert_eq!(entry.metadata, key);
                let blob = store.get(entry.blob().unwrap()).unwrap().unwrap();
                assert!(*blob == *content, "{len} bytes, {metadata} of key and of metadata");
            }
        }
    });
}
