//! Segments that are gone, or cut short: what stood in them is an error that names the place, and
//! everything else is there.

use super::rig::{self, KIB, Ledger, refused};
use super::{furnished, goes_on};
use drystone::{BlobId, ErrorKind, Options, Store};
use std::path::{Path, PathBuf};

/// A blob in a segment of its own, which is not in the ledger.
fn with_victim(path: &Path) -> (Ledger, BlobId, PathBuf) {
    let (store, ledger) = furnished(path);
    let victim = store.put(&rig::bytes(300 * KIB, 77)).expect("a put");
    let stat = store.stat(&victim).expect("an answer").expect("it is there");
    (ledger, victim, rig::segment_file(path, stat.segment))
}

/// Every way to read the blob is refused, again and again; the others are there, and puts work.
fn only_the_victim_is_hit(store: &Store, ledger: &Ledger, victim: &BlobId, says: &[&str]) {
    for _ in 0..2 {
        let error = refused(store.get(victim), ErrorKind::Damaged, says);
        let segment = error.segment().expect("it names the segment");
        assert!(error.to_string().contains(&format!("{segment:08x}.seg")), "{error}");
        refused(store.read_into(victim, 0, &mut [0; 100]), ErrorKind::Damaged, says);
        refused(store.read_guard().get(victim).map(drop), ErrorKind::Damaged, says);
        ledger.check_blobs(store, "beside what is gone");
    }
    store.refs("names").set("key", "value").expect("a ref");
}

fn hit(says: &[&str], damage: impl Fn(&Path)) {
    for is_read_only in [false, true] {
        let place = rig::on_disk();
        let path = place.path().join("store");
        let (ledger, victim, file) = with_victim(&path);
        damage(&file);
        let open = |options: Options| options.open(&path).expect("a store");
        let store = open(rig::options().read_only(is_read_only));
        if is_read_only {
            let error = refused(store.get(&victim), ErrorKind::Damaged, says);
            assert!(error.advice_text().is_some(), "{error}");
            ledger.check_blobs(&store, "for a reader");
            continue;
        }
        only_the_victim_is_hit(&store, &ledger, &victim, says);
        drop(store);
        // A recovery looks at what is there.
        let store = open(rig::options().boot_id("next"));
        assert!(store.get(&victim).expect("an answer").is_none());
        ledger.check(&store, "after a reboot");
        let again = store.put(&rig::bytes(300 * KIB, 77)).expect("it can be put again");
        assert_eq!(again, victim);
        assert!(*store.get(&victim).unwrap().expect("it is there") == rig::bytes(300 * KIB, 77));
        store.remove(&victim).expect("a removal");
        goes_on(store, ledger);
    }
}

#[test]
fn a_segment_that_is_missing() {
    hit(&["is missing", "from a copy"], |file| std::fs::remove_file(file).expect("a file"));
}

#[test]
fn a_segment_that_was_cut_in_its_middle() {
    let says = ["shorter than the records in it", "expected at least", "found 131072 bytes"];
    hit(&says, |file| rig::resize(file, 128 << 10));
}

#[test]
fn a_segment_that_was_cut_to_nothing() {
    let says = ["shorter than the records in it", "found 0 bytes"];
    hit(&says, |file| rig::resize(file, 0));
}

#[test]
fn a_segment_of_another_store() {
    let place = rig::on_disk();
    let other = place.path().join("other");
    let (_, _, theirs) = with_victim(&other);
    hit(&["not a segment of this store", "belongs to another store"], |file| {
        std::fs::remove_file(file).expect("a file");
        std::fs::copy(&theirs, file).expect("a copy");
    });
}

#[test]
fn a_blob_whose_segment_is_missing_can_be_removed() {
    let place = rig::on_disk();
    let path = place.path().join("store");
    let (ledger, victim, file) = with_victim(&path);
    std::fs::remove_file(file).expect("a file");
    let store = rig::options().open(&path).expect("a store");
    refused(store.get(&victim), ErrorKind::Damaged, &["is missing"]);
    assert!(store.remove(&victim).expect("a removal"));
    assert!(store.get(&victim).expect("an answer").is_none());
    assert!(!store.remove(&victim).expect("an answer"), "it is gone");
    ledger.check_blobs(&store, "beside what is gone");
    let again = store.put(&rig::bytes(300 * KIB, 77)).expect("it can be put again");
    assert!(*store.get(&again).unwrap().expect("it is there") == rig::bytes(300 * KIB, 77));
    store.remove(&victim).expect("a removal");
    goes_on(store, ledger);
}
