//! What is put in comes out, in this process and the next, whatever its size.
#![forbid(unsafe_code)]

use drystone::{BlobId, ErrorKind, HashAlgorithm, Store};

fn bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..len)
        .map(|_| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x as u8
        })
        .collect()
}

const SIZES: [usize; 14] = [
    0,
    1,
    63,
    64,
    65,
    4096,
    65_535,
    65_536,
    65_537,
    1 << 20,
    (2 << 20) - 1,
    2 << 20,
    (2 << 20) + 1,
    40 << 20,
];

#[test]
fn blobs_of_all_sizes_come_back_also_after_a_reopen_and_a_reboot() {
    for hash in [HashAlgorithm::Xxh3, HashAlgorithm::Blake3] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let store = Store::options().create(true).hash(hash).open(&path).unwrap();
        let ids: Vec<BlobId> =
            SIZES.iter().map(|&len| store.put(&bytes(len, len as u64)).unwrap()).collect();
        let check = |store: &Store| {
            for (&len, id) in SIZES.iter().zip(&ids) {
                let blob = store.get(id).unwrap().expect("it was put");
                assert!(*blob == bytes(len, len as u64)[..], "{len} bytes, {hash}");
                assert!(store.stat(id).unwrap().unwrap().pinned);
            }
        };
        check(&store);
        drop(store);
        check(&Store::open(&path).unwrap());
        check(&Store::options().boot_id("another").open(&path).unwrap());
        check(&Store::options().boot_id("third").read_only(true).open(&path).unwrap());
    }
}

#[test]
fn a_put_of_what_is_there_stores_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create(dir.path().join("store")).unwrap();
    for len in [10, 100_000, 5 << 20] {
        let id = store.put(&bytes(len, 1)).unwrap();
        let before = store.stats().unwrap();
        assert_eq!(store.put(&bytes(len, 1)).unwrap(), id);
        assert_eq!(store.stats().unwrap().live_bytes, before.live_bytes);
    }
}

#[test]
fn many_at_once_are_as_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create(dir.path().join("store")).unwrap();
    let mut values: Vec<Vec<u8>> = (0..5000).map(|i| bytes(i % 300, i as u64)).collect();
    values.push(bytes(3 << 20, 7));
    values.push(values[17].clone());
    let ids = store.put_many(&values).unwrap();
    let blobs = store.get_many(&ids).unwrap();
    for (value, blob) in values.iter().zip(blobs) {
        assert_eq!(&**blob.as_ref().unwrap(), &value[..]);
    }
    let one_by_one: Vec<BlobId> = values.iter().map(|value| store.put(value).unwrap()).collect();
    assert_eq!(ids, one_by_one);
}

#[test]
fn what_was_removed_is_gone_and_can_be_put_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = Store::create(&path).unwrap();
    let id = store.put(b"basalt").unwrap();
    let view = store.get(&id).unwrap().unwrap();
    assert!(store.remove(&id).unwrap());
    assert!(!store.remove(&id).unwrap());
    assert!(store.get(&id).unwrap().is_none());
    assert_eq!(&*view, b"basalt", "a view outlives the removal");
    let rebooted = Store::options().boot_id("another").open(&path).unwrap();
    assert!(rebooted.get(&id).unwrap().is_none());
    assert_eq!(rebooted.put(b"basalt").unwrap(), id);
    assert_eq!(&*rebooted.get(&id).unwrap().unwrap(), b"basalt");
}

#[test]
fn a_directory_that_is_no_store_is_named() {
    let dir = tempfile::tempdir().unwrap();
    for path in [dir.path().to_path_buf(), dir.path().join("missing")] {
        let error = Store::open(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotAStore, "{error}");
    }
}
