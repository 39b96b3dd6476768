//! A removal kills the blob and leaves the refs to it, pins too, as they are: they read as absent, and
//! name the blob again when it comes back (spec/CONCURRENCY.md). A recovery sees the same.

use super::rig::{in_memory, options};
use drystone::{BlobId, Store};
use std::path::Path;

fn is_pinned(store: &Store, id: &BlobId) -> bool {
    store.stat(id).expect("a stat").is_some_and(|stat| stat.pinned)
}

/// Looks at a store now and after a reboot.
fn now_and_then(path: &Path, look: impl Fn(&Store)) {
    look(&options().open(path).expect("a store"));
    for boot in ["second", "third"] {
        look(&options().boot_id(boot).open(path).expect("a recovery"));
    }
}

#[test]
fn an_old_pin_names_the_blob_that_has_come_back() {
    let dir = in_memory();
    let path = dir.path().join("store");
    let body = vec![7; 5000];
    let store = options().create(true).open(&path).expect("a store");
    let id = store.put(&body).expect("a put");
    assert!(store.remove(&id).expect("a removal"));
    assert!(!is_pinned(&store, &id));
    // It comes back under a name, not pinned: the pin that nobody took away is there, too.
    store.refs("n").set("k", body.as_slice()).expect("a ref that stores a blob");
    drop(store);
    now_and_then(&path, |store| {
        assert!(is_pinned(store, &id));
        assert_eq!(store.refs("n").get("k").expect("a ref").expect("it").blob(), Some(&id));
    });
}

#[test]
fn a_pin_of_a_removed_blob_stays_away_while_the_blob_does() {
    let dir = in_memory();
    let path = dir.path().join("store");
    let store = options().create(true).open(&path).expect("a store");
    let id = store.put(b"gone").expect("a put");
    store.refs("n").set("k", id).expect("a ref");
    store.remove(&id).expect("a removal");
    assert!(!store.unpin(&id).expect("an unpin"), "a pin that reads as absent");
    drop(store);
    now_and_then(&path, |store| {
        assert!(store.get(&id).expect("a get").is_none());
        assert!(!is_pinned(store, &id));
        assert!(store.refs("n").get("k").expect("a ref").is_none());
        assert_eq!(store.stats().expect("figures").blobs, 0);
    });
}

#[test]
fn unpinning_what_was_removed_takes_the_old_pin_away_for_good() {
    let dir = in_memory();
    let path = dir.path().join("store");
    let body = vec![7; 5000];
    let store = options().create(true).open(&path).expect("a store");
    let id = store.put(&body).expect("a put");
    store.remove(&id).expect("a removal");
    store.unpin(&id).expect("an unpin");
    store.refs("n").set("k", body.as_slice()).expect("a ref that stores a blob");
    assert!(!is_pinned(&store, &id), "the old pin is back");
    drop(store);
    now_and_then(&path, |store| assert!(!is_pinned(store, &id), "the old pin is back"));
}
