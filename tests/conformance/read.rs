//! Getting out: single, many, guarded, by copy, with verification; and what is not there.
#![forbid(unsafe_code)]

use crate::support::{HASHES, KIB, MIB, Scratch, absent_id, bytes, each_hash};
use drystone::{BlobId, ErrorKind, GetOptions, HashAlgorithm, Store, Verify};
use std::collections::HashSet;
use std::io::{Seek, SeekFrom, Write};

#[test]
fn what_is_not_there_is_none_everywhere() {
    each_hash(|store| {
        store.put(b"something").unwrap();
        let other = HASHES.into_iter().find(|&hash| hash != store.hash_algorithm()).unwrap();
        let foreign = BlobId::from_digest(other, &[7; 32][..other.digest_bytes()]).unwrap();
        for id in [absent_id(store), foreign] {
            assert!(store.get(&id).unwrap().is_none());
            let whole = GetOptions::new().verify(Verify::Whole);
            assert!(store.get_with(&id, &whole).unwrap().is_none());
            assert!(store.get_many(&[id, id]).unwrap().iter().all(Option::is_none));
            assert!(!store.contains(&id).unwrap());
            assert!(store.stat(&id).unwrap().is_none());
            assert!(store.read_into(&id, 0, &mut [0; 4]).unwrap().is_none());
            assert!(store.read_guard().get(&id).unwrap().is_none());
            assert!(store.named_by(&id).unwrap().is_empty());
            assert!(!store.remove(&id).unwrap());
            assert!(!store.unpin(&id).unwrap());
            let error = store.refs("r").set("k", id).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        }
        assert_eq!(store.stats().unwrap().blobs, 1);
    });
}

#[test]
fn an_id_that_shares_half_a_digest_is_another_blob() {
    let scratch = Scratch::new();
    let store = scratch.open(Store::options().create(true).hash(HashAlgorithm::Blake3));
    let id = store.put(b"something").unwrap();
    let mut digest: [u8; 32] = id.digest().try_into().unwrap();
    digest[20] ^= 1;
    let twin = BlobId::from_digest(HashAlgorithm::Blake3, &digest).unwrap();
    assert!(store.get(&twin).unwrap().is_none());
    assert!(store.get_many(&[twin]).unwrap()[0].is_none());
    assert!(!store.contains(&twin).unwrap());
    assert!(store.stat(&twin).unwrap().is_none());
    assert!(!store.remove(&twin).unwrap());
    assert!(!store.unpin(&twin).unwrap());
    assert_eq!(store.refs("r").set("k", twin).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(store.contains(&id).unwrap());
    assert!(store.stat(&id).unwrap().unwrap().pinned);
}

#[test]
fn many_come_in_the_order_asked_for() {
    each_hash(|store| {
        let ids: Vec<BlobId> = (0..100).map(|i| store.put(&bytes(i * 37, 1)).unwrap()).collect();
        let absent = absent_id(store);
        // Mixed, repeated, and more than any batch inside.
        let asked: Vec<usize> = (0..333).map(|i| i * 59 % 120).collect();
        let wanted: Vec<BlobId> =
            asked.iter().map(|&i| ids.get(i).copied().unwrap_or(absent)).collect();
        let views = store.get_many(&wanted).unwrap();
        let guard = store.read_guard();
        let mut slices = vec![None];
        guard.get_many(&wanted, &mut slices).unwrap();
        assert_eq!((views.len(), slices.len()), (333, 334), "slices are added behind");
        for ((&i, view), slice) in asked.iter().zip(&views).zip(&slices[1..]) {
            let expected = (i < 100).then(|| bytes(i * 37, 1));
            assert_eq!(view.as_deref(), expected.as_deref());
            assert_eq!(*slice, expected.as_deref());
        }
        assert!(store.get_many(&[]).unwrap().is_empty());
    });
}

#[test]
fn a_guard_holds_what_it_showed_and_sees_what_comes_after_it() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let first = store.put(b"first").unwrap();
    let mut guard = store.read_guard();
    let shown = guard.get(&first).unwrap().unwrap();
    let second = store.put(b"second").unwrap();
    assert!(store.remove(&first).unwrap());
    assert_eq!(guard.get(&second).unwrap(), Some(&b"second"[..]));
    assert_eq!(guard.get(&first).unwrap(), None);
    assert_eq!(shown, b"first");
    guard.repin();
    assert_eq!(guard.get(&second).unwrap(), Some(&b"second"[..]));
}

#[test]
fn parts_are_read_by_copy() {
    each_hash(|store| {
        for len in [0, 1, 1000, 64 * KIB + 1, 3 * MIB] {
            let content = bytes(len, 1);
            let id = store.put(&content).unwrap();
            for offset in [0, 1, len / 2, len.saturating_sub(1), len, len + 1, usize::MAX] {
                for room in [0, 1, 100, len, len + 100] {
                    let mut buffer = vec![0xEE; room];
                    let how = [Verify::No, Verify::Touched, Verify::Whole][room % 3];
                    let options = GetOptions::new().verify(how);
                    let read = store.read_into_with(&id, offset as u64, &mut buffer, &options);
                    let read = read.unwrap().unwrap();
                    let expected = content.get(offset..).unwrap_or_default();
                    let expected = &expected[..expected.len().min(room)];
                    assert_eq!(read, expected.len(), "{len} from {offset} into {room}");
                    assert!(buffer[..read] == *expected);
                    assert!(buffer[read..].iter().all(|&byte| byte == 0xEE), "left alone");
                }
            }
        }
    });
}

#[test]
fn a_read_of_a_part_verifies_the_chunks_that_it_touches() {
    const CHUNK: u64 = 2 * MIB as u64;
    for hash in HASHES {
        let scratch = Scratch::new();
        let store = scratch.open(Store::options().create(true).hash(hash));
        let content = bytes(7 * MIB, 1);
        let id = store.put(&content).unwrap();
        drop(store);
        change_a_byte(&scratch, &id, 2 * CHUNK + 5);
        let store = scratch.store();
        let read = |offset: u64, len: usize, how| {
            let mut buffer = vec![0; len];
            let options = GetOptions::new().verify(how);
            store.read_into_with(&id, offset, &mut buffer, &options).map(|_| buffer)
        };
        // Beside the changed chunk, up to its first byte and from the one behind its last.
        for (offset, len) in [(0, 2 * CHUNK), (3 * CHUNK, MIB as u64), (CHUNK - 7, 100)] {
            let expected = &content[offset as usize..(offset + len) as usize];
            assert!(read(offset, len as usize, Verify::Touched).unwrap() == expected);
            let error = read(offset, len as usize, Verify::Whole).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
        }
        for (offset, len) in [(2 * CHUNK, 1), (3 * CHUNK - 1, 1), (2 * CHUNK - 1, 2), (0, 7 << 20)]
        {
            let error = read(offset, len, Verify::Touched).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
            assert!(error.to_string().contains(&id.to_string()), "{error}");
            assert!(read(offset, len, Verify::No).is_ok());
        }
        let whole = GetOptions::new().verify(Verify::Touched);
        assert_eq!(store.get_with(&id, &whole).unwrap_err().kind(), ErrorKind::Damaged);
    }
}

#[test]
fn bytes_that_the_medium_changed_are_found_where_verification_is_on() {
    for hash in HASHES {
        for len in [10, 100_000, 3 * MIB, 17 * MIB] {
            let scratch = Scratch::new();
            let store = scratch.open(Store::options().create(true).hash(hash));
            let id = store.put(&bytes(len, 1)).unwrap();
            drop(store);
            change_a_byte(&scratch, &id, len as u64 / 2);
            let lazy = scratch.store();
            let whole = GetOptions::new().verify(Verify::Whole);
            assert!(*lazy.get(&id).unwrap().unwrap() != *bytes(len, 1), "not looked at");
            assert_eq!(lazy.get_with(&id, &whole).unwrap_err().kind(), ErrorKind::Damaged);
            let strict = scratch.open(Store::options().verify(Verify::Whole));
            for error in [
                strict.get(&id).unwrap_err(),
                strict.get_many(&[id]).unwrap_err(),
                strict.read_guard().get(&id).unwrap_err(),
            ] {
                assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
                assert_eq!(error.expected_text(), Some(&*id.to_string()));
            }
            let trusting = GetOptions::new().verify(Verify::No);
            assert!(strict.get_with(&id, &trusting).unwrap().is_some());
        }
    }
}

/// Changes a byte of a blob as it stands on the medium.
fn change_a_byte(scratch: &Scratch, id: &BlobId, at: u64) {
    let stat = scratch.store().stat(id).unwrap().unwrap();
    let path = scratch.path().join(format!("segments/{:08x}.seg", stat.segment));
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&path, mode).unwrap();
    let mut file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let offset = SeekFrom::Start(stat.offset + 64 + at);
    let mut byte = [0];
    file.seek(offset).unwrap();
    std::io::Read::read_exact(&mut file, &mut byte).unwrap();
    file.seek(offset).unwrap();
    file.write_all(&[!byte[0]]).unwrap();
}

#[test]
fn every_blob_is_walked_over() {
    each_hash(|store| {
        assert!(store.blobs().next().is_none());
        let ids: HashSet<BlobId> = (0..2000).map(|i| store.put(&bytes(i, 1)).unwrap()).collect();
        store.refs("names").set("a", ids.iter().next().unwrap()).unwrap();
        let walked: Vec<BlobId> = store.blobs().map(|stat| stat.unwrap().id).collect();
        assert_eq!(walked.iter().copied().collect::<HashSet<_>>(), ids);
        let stat = store.blobs().next().unwrap().unwrap();
        assert_eq!(store.stat(&stat.id).unwrap(), Some(stat));
    });
}

#[test]
fn a_walk_sees_what_stays_while_the_index_grows_and_others_come_and_go() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let stay: HashSet<BlobId> = (0..500u32).map(|i| store.put(&i.to_le_bytes()).unwrap()).collect();
    let mut walk = store.blobs();
    let mut walked = HashSet::new();
    for round in 0..40u32 {
        walked.extend(walk.by_ref().take(20).map(|stat| stat.unwrap().id));
        let passing: Vec<Vec<u8>> =
            (0..500u32).map(|i| [round.to_le_bytes(), i.to_le_bytes()].concat()).collect();
        let ids = store.put_many(&passing).unwrap();
        for id in ids.iter().step_by(2) {
            assert!(store.remove(id).unwrap());
        }
    }
    assert!(store.stats().unwrap().index_generation > 2, "the index has grown on the way");
    walked.extend(walk.map(|stat| stat.unwrap().id));
    assert!(stay.is_subset(&walked));
}

#[test]
fn what_is_known_about_a_blob_and_the_store() {
    each_hash(|store| {
        let before = std::time::SystemTime::now();
        let id = store.put(&bytes(5 * MIB, 1)).unwrap();
        let small = store.put(b"pebble").unwrap();
        let stat = store.stat(&id).unwrap().unwrap();
        assert_eq!((stat.id, stat.len, stat.chunks, stat.pinned), (id, 5 * MIB as u64, 3, true));
        let created = stat.created.expect("it is pinned");
        assert!(created >= before && created <= std::time::SystemTime::now());
        assert!(stat.sequence < store.stat(&small).unwrap().unwrap().sequence);
        store.refs("names").set("pebble", small).unwrap();
        store.remove(&id).unwrap();
        let stats = store.stats().unwrap();
        assert_eq!((stats.blobs, stats.refs, stats.tombstones), (1, 1, 1));
        assert_eq!(stats.hash, Some(store.hash_algorithm()));
        assert_eq!(stats.uuid, store.uuid());
        assert_eq!(stats.limit, None);
        assert!(stats.segment_bytes > stats.live_bytes && stats.live_bytes > 0);
        assert!(stats.sequence > stat.sequence && stats.free_bytes > 0);
        assert!(!stats.file_system.is_empty());
    });
}
