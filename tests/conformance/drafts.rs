//! Drafts: blobs computed in place, committed, named, dropped, and given back by what failed.
#![forbid(unsafe_code)]

use crate::support::{KIB, MIB, Scratch, bytes, each_hash, holdings, read};
use drystone::{CommitError, Error, ErrorKind, Store, Value};

/// On both sides of where a draft begins to have a segment of its own, and of a chunk.
const SIZES: [usize; 8] = [0, 1, 1000, 64 * KIB, 64 * KIB + 1, 2 * MIB, 2 * MIB + 1, 17 * MIB + 5];

fn names(scratch: &Scratch) -> Vec<String> {
    let dir = scratch.path().join("segments");
    let list = std::fs::read_dir(dir).unwrap();
    list.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_draft_is_zero_at_first_and_what_was_written_is_the_blob() {
    each_hash(|store| {
        for len in SIZES {
            let mut draft = store.reserve(len as u64).unwrap();
            assert_eq!((draft.len(), draft.is_empty()), (len, len == 0));
            assert!(draft.iter().all(|&byte| byte == 0));
            let content = bytes(len, 1);
            draft.copy_from_slice(&content);
            assert!(*draft == *content);
            let id = draft.commit().unwrap();
            assert!(read(store, &id) == content, "{len} bytes");
            assert!(store.stat(&id).unwrap().unwrap().pinned);
            assert_eq!(store.put(&content).unwrap(), id);
            assert!(draft_of_zeros_is_zeros(store, len));
        }
    });
}

fn draft_of_zeros_is_zeros(store: &Store, len: usize) -> bool {
    let id = store.reserve(len as u64).unwrap().commit().unwrap();
    read(store, &id) == vec![0; len]
}

#[test]
fn a_draft_is_computed_as_elements() {
    each_hash(|store| {
        for count in [0, 1, 100, 10_000, 300_000] {
            let mut draft = store.reserve(8 * count).unwrap();
            let elements = draft.as_mut_slice_of::<f64>().expect("whole, aligned elements");
            assert_eq!(elements.len() as u64, count);
            elements.iter_mut().enumerate().for_each(|(i, x)| *x = i as f64 / 3.0);
            assert_eq!(draft.as_slice_of::<f64>().unwrap().len() as u64, count);
            let blob = store.get(&draft.commit().unwrap()).unwrap().unwrap();
            let view = blob.as_slice_of::<f64>().unwrap();
            assert!(view.iter().enumerate().all(|(i, &x)| x == i as f64 / 3.0));
        }
        assert!(store.reserve(12).unwrap().as_mut_slice_of::<u64>().is_none());
    });
}

#[test]
fn a_dropped_draft_leaves_nothing() {
    let scratch = Scratch::new();
    let store = scratch.store();
    for len in SIZES {
        let mut draft = store.reserve(len as u64).unwrap();
        draft.fill(7);
        drop(draft);
    }
    assert_eq!(names(&scratch), Vec::<String>::new());
    assert_eq!(store.stats().unwrap().blobs, 0);
}

#[test]
fn a_draft_that_was_there_already_adds_nothing() {
    each_hash(|store| {
        for len in SIZES {
            let id = store.put(&bytes(len, 1)).unwrap();
            let before = holdings(store);
            let mut draft = store.reserve(len as u64).unwrap();
            draft.copy_from_slice(&bytes(len, 1));
            assert_eq!(draft.commit().unwrap(), id);
            assert_eq!(holdings(store), before);
        }
    });
}

#[test]
fn a_draft_may_be_named_instead_of_pinned() {
    each_hash(|store| {
        // A long key does not fit before the blob in the draft's own segment.
        let keys =
            [Vec::new(), b"key".to_vec(), bytes(3000, 1), bytes(5000, 1), bytes(64 * KIB, 1)];
        for key in &keys {
            for len in SIZES {
                let content = bytes(len, key.len() as u64);
                let mut draft = store.reserve(len as u64).unwrap();
                draft.copy_from_slice(&content);
                let refs = store.refs("drafts");
                let id = draft.commit_as(&refs, key).unwrap();
                assert!(read(store, &id) == content, "{len} bytes, a key of {}", key.len());
                let entry = refs.get(key).unwrap().expect("it was named");
                assert_eq!((&entry.key, entry.value), (key, Value::Blob(id)));
                let pinned = store.stat(&id).unwrap().unwrap().pinned;
                assert!(!pinned, "{len} bytes, a key of {}", key.len());
                store.remove(&id).unwrap();
            }
        }
    });
}

#[test]
fn naming_a_draft_leaves_the_pin_that_its_content_had() {
    each_hash(|store| {
        for (key_len, len) in [(3, 1000), (3, 100_000), (5000, 1000), (5000, 100_000)] {
            let content = bytes(len, key_len as u64);
            let id = store.put(&content).unwrap();
            let mut draft = store.reserve(len as u64).unwrap();
            draft.copy_from_slice(&content);
            assert_eq!(draft.commit_as(&store.refs("drafts"), bytes(key_len, 1)).unwrap(), id);
            let stat = store.stat(&id).unwrap().unwrap();
            assert!(stat.pinned, "a key of {key_len} bytes, a blob of {len}");
        }
    });
}

/// The draft that a failed commit gives back, and why it failed.
fn refused(failed: Result<drystone::BlobId, CommitError>) -> (drystone::Draft, Error) {
    let CommitError { draft, error } = failed.expect_err("it must be refused");
    (draft, error)
}

#[test]
fn a_commit_that_fails_gives_the_draft_back_to_be_changed_and_tried_again() {
    each_hash(|store| {
        let elsewhere = Scratch::new();
        for len in [1000, 100_000, 3 * MIB] {
            let mut draft = store.reserve(len as u64).unwrap();
            draft.copy_from_slice(&bytes(len, 1));
            let (draft, error) = refused(draft.commit_as(&elsewhere.store().refs("r"), "key"));
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "another store's refs: {error}");
            let (draft, error) = refused(draft.commit_as(&store.refs("pins"), "key"));
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "the pins: {error}");
            let key = vec![0; 64 * KIB + 1];
            let (mut draft, error) = refused(draft.commit_as(&store.refs("r"), key));
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "a long key: {error}");
            assert!(*draft == *bytes(len, 1));
            draft[len - 1] ^= 1;
            let changed = draft.to_vec();
            assert!(read(store, &draft.commit().unwrap()) == changed);
        }
    });
}

#[test]
fn a_commit_that_failed_and_is_tried_again_sets_what_is_asked_for_and_no_pin() {
    each_hash(|store| {
        let elsewhere = Scratch::new();
        let (others, pins, refs) =
            (elsewhere.store().refs("r"), store.refs("pins"), store.refs("r"));
        for len in [1000, 100_000, 3 * MIB] {
            let draft = store.reserve(len as u64).unwrap();
            let (draft, _) = refused(draft.commit_as(&others, "key"));
            let (draft, _) = refused(draft.commit_as(&pins, "key"));
            let id = draft.commit_as(&refs, "key").unwrap();
            assert!(!store.stat(&id).unwrap().unwrap().pinned, "{len} bytes");
            store.remove(&id).unwrap();
            let (memory, failed) =
                store.reserve(len as u64).unwrap().commit_kept(Some((&others, b"key")));
            failed.expect_err("another store's refs");
            memory.commit(Some((&pins, b"key"))).expect_err("the pins");
            assert_eq!(store.stats().unwrap().blobs, 0, "what is refused puts nothing in");
            assert_eq!(memory.commit(Some((&refs, b"again"))).unwrap(), id);
            assert_eq!(refs.get("again").unwrap().unwrap().value, Value::Blob(id));
            assert!(!store.stat(&id).unwrap().unwrap().pinned, "{len} bytes");
            assert_eq!(memory.commit(None).unwrap(), id);
            assert!(store.stat(&id).unwrap().unwrap().pinned, "{len} bytes");
            store.remove(&id).unwrap();
        }
    });
}

#[test]
fn a_commit_error_is_an_error() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let commit = || -> Result<drystone::BlobId, Error> {
        Ok(store.reserve(10)?.commit_as(&store.refs("pins"), "key")?)
    };
    let error = commit().unwrap_err();
    let failed = store.reserve(10).unwrap().commit_as(&store.refs("pins"), "key").unwrap_err();
    assert_eq!(failed.to_string(), error.to_string());
    assert_eq!(format!("{failed:?}"), format!("{error:?}"));
}

#[test]
fn a_length_that_cannot_be_is_an_error() {
    let scratch = Scratch::new();
    let store = scratch.store();
    assert_eq!(store.reserve(u64::MAX).unwrap_err().kind(), ErrorKind::InvalidInput);
    let error = store.reserve(1 << 55).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
    assert_eq!(names(&scratch), Vec::<String>::new());
    assert!(store.put(b"still alive").is_ok());
}

#[test]
fn many_drafts_are_under_way_at_a_time() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let mut drafts: Vec<_> = (0..20).map(|_| store.reserve(100_000).unwrap()).collect();
    for (seed, draft) in drafts.iter_mut().enumerate() {
        draft.copy_from_slice(&bytes(100_000, seed as u64));
    }
    let ids: Vec<_> = drafts
        .into_iter()
        .enumerate()
        .filter(|(seed, _)| seed % 2 == 0)
        .map(|(_, draft)| draft.commit().unwrap())
        .collect();
    for (seed, id) in (0..20).step_by(2).zip(&ids) {
        assert!(read(&store, id) == bytes(100_000, seed));
    }
    assert_eq!(store.stats().unwrap().blobs, 10);
}

#[test]
fn a_draft_outlives_its_store() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let mut draft = store.reserve(100_000).unwrap();
    drop(store);
    draft.fill(3);
    let id = draft.commit().unwrap();
    assert!(read(&scratch.store(), &id) == vec![3; 100_000]);
}
