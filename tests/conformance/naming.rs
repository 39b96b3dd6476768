//! Pins, removal, and who names what.
#![forbid(unsafe_code)]

use crate::support::{Scratch, bytes, each_hash};
use drystone::{ErrorKind, Value};

#[test]
fn pins_can_be_read_but_not_written_as_refs() {
    each_hash(|store| {
        let pins = store.refs("pins");
        let id = store.put(b"stone").unwrap();
        let entry = pins.get(id.to_string()).unwrap().expect("it is pinned");
        assert_eq!((entry.value, &*entry.namespace), (Value::Blob(id), "pins"));
        assert_eq!(entry.key, id.to_string().into_bytes());
        assert_eq!(pins.iter().count(), 1);
        let waited = pins.wait(id.to_string(), std::time::Duration::ZERO).unwrap();
        assert_eq!(waited.map(|entry| entry.version), Some(entry.version));
        for error in [
            pins.set("k", "v").unwrap_err(),
            pins.set(id.to_string(), id).unwrap_err(),
            pins.add("k", "v").unwrap_err(),
            pins.compare_and_set("k", None, "v").unwrap_err(),
            pins.remove(id.to_string()).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
            assert!(error.advice_text().is_some());
        }
        assert!(store.stat(&id).unwrap().unwrap().pinned);
    });
}

#[test]
fn unpinning_takes_the_pin_and_leaves_the_blob_for_now() {
    each_hash(|store| {
        let id = store.put(b"stone").unwrap();
        assert!(store.unpin(&id).unwrap());
        assert!(!store.unpin(&id).unwrap());
        assert!(store.refs("pins").get(id.to_string()).unwrap().is_none());
        let stat = store.stat(&id).unwrap().unwrap();
        assert_eq!((stat.pinned, stat.created), (false, None));
        assert!(store.contains(&id).unwrap(), "no collection has come by");
        assert_eq!(store.put(b"stone").unwrap(), id);
        assert!(store.stat(&id).unwrap().unwrap().pinned, "a put pins again");
    });
}

#[test]
fn removal_takes_the_blob_whoever_names_it() {
    each_hash(|store| {
        for content in [bytes(10, 1), bytes(100_000, 1), bytes(17 << 20, 1)] {
            let id = store.put(&content).unwrap();
            store.refs("names").set("k", id).unwrap();
            assert!(store.remove(&id).unwrap());
            assert!(!store.remove(&id).unwrap());
            assert!(!store.contains(&id).unwrap() && store.stat(&id).unwrap().is_none());
            assert!(store.refs("names").get("k").unwrap().is_none());
            assert!(store.refs("pins").get(id.to_string()).unwrap().is_none());
            assert!(!store.unpin(&id).unwrap(), "its pin read as absent");
            assert_eq!(store.put(&content).unwrap(), id);
            assert_eq!(*store.get(&id).unwrap().unwrap(), *content);
        }
    });
}

#[test]
fn who_names_a_blob() {
    each_hash(|store| {
        let [a, b] = [b"a", b"b"].map(|content| store.put(content).unwrap());
        store.refs("y").set("two", vec![a, b]).unwrap();
        store.refs("x").set("one", a).unwrap();
        store.refs("x").set("none", "bytes").unwrap();
        store.refs("x").set("replaced", b).unwrap();
        store.refs("x").set("replaced", "bytes").unwrap();
        let name = |namespace: &str, key: &str| (namespace.to_owned(), key.as_bytes().to_vec());
        assert_eq!(store.named_by(&a).unwrap(), [name("x", "one"), name("y", "two")]);
        assert_eq!(store.named_by(&b).unwrap(), [name("y", "two")]);
        assert!(store.unpin(&a).unwrap());
        assert_eq!(store.named_by(&a).unwrap().len(), 2, "the pin was not counted");
    });
}

#[test]
fn namespaces_are_those_with_refs() {
    each_hash(|store| {
        assert!(store.namespaces().unwrap().is_empty());
        let id = store.put(b"stone").unwrap();
        assert!(store.namespaces().unwrap().is_empty(), "pins are left out");
        for namespace in ["b", "a", "", "ä b/c"] {
            store.refs(namespace).set("k", id).unwrap();
            store.refs(namespace).set("l", "v").unwrap();
        }
        assert_eq!(store.namespaces().unwrap(), ["", "a", "b", "ä b/c"]);
        store.refs("a").remove("k").unwrap();
        store.refs("a").remove("l").unwrap();
        assert_eq!(store.namespaces().unwrap(), ["", "b", "ä b/c"]);
    });
}

#[test]
fn the_same_key_in_two_namespaces_is_two_refs() {
    let scratch = Scratch::new();
    let store = scratch.store();
    // The bounds between namespace and key are part of the name.
    let names = [("a", "bc"), ("ab", "c"), ("abc", ""), ("", "abc")];
    for (namespace, key) in names {
        store.refs(namespace).set(key, format!("{namespace}/{key}").as_str()).unwrap();
    }
    for (namespace, key) in names {
        let entry = store.refs(namespace).get(key).unwrap().unwrap();
        assert_eq!(entry.bytes(), Some(format!("{namespace}/{key}").as_bytes()));
    }
    assert_eq!(store.stats().unwrap().refs, 4);
}
