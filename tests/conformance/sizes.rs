//! A blob is the same blob whichever way it came in, at every size where the way changes.
#![forbid(unsafe_code)]

use crate::support::{HASHES, KIB, MIB, Scratch, bytes, read};
use drystone::{BlobId, GetOptions, HashAlgorithm, PutOptions, Store, Verify};
use std::io::Write;

/// Bytes at which the segments of these stores are sealed; a blob above a quarter of it gets a
/// segment of its own.
const SEGMENT: usize = MIB;

/// The edges: empty, a step, a page, small and large, a lone segment, a whole segment, a chunk, some
/// chunks.
const SIZES: [usize; 27] = [
    0,
    1,
    63,
    64,
    65,
    4 * KIB - 1,
    4 * KIB,
    4 * KIB + 1,
    64 * KIB - 1,
    64 * KIB,
    64 * KIB + 1,
    SEGMENT / 4 - 8 * KIB,
    SEGMENT / 4 - 4 * KIB,
    SEGMENT / 4 - 1,
    SEGMENT / 4,
    SEGMENT / 4 + 1,
    SEGMENT - 4 * KIB,
    SEGMENT - 1,
    SEGMENT,
    SEGMENT + 1,
    2 * MIB - 1,
    2 * MIB,
    2 * MIB + 1,
    4 * MIB - 1,
    4 * MIB,
    4 * MIB + 1,
    9 * MIB + 13,
];

fn store(scratch: &Scratch, hash: HashAlgorithm, segment: usize) -> Store {
    scratch.open(Store::options().create(true).hash(hash).segment_bytes(segment as u64))
}

/// Every way to put the same bytes in.
fn put_every_way(store: &Store, content: &[u8], way: usize, file: &std::path::Path) -> BlobId {
    match way {
        0 => store.put(content).unwrap(),
        1 => store.put_many(&[content]).unwrap()[0],
        2 => store.put_reader(content).unwrap(),
        3 => {
            std::fs::File::create(file).unwrap().write_all(content).unwrap();
            store.put_file(file).unwrap()
        }
        4 => {
            let mut draft = store.reserve(content.len() as u64).unwrap();
            draft.copy_from_slice(content);
            draft.commit().unwrap()
        }
        5 => {
            let mut draft = store.reserve(content.len() as u64).unwrap();
            draft.copy_from_slice(content);
            let id = draft.commit_as(&store.refs("drafts"), "name").unwrap();
            assert_eq!(
                store.refs("drafts").get("name").unwrap().and_then(|entry| entry.blob().copied()),
                Some(id)
            );
            store.put_with(content, &PutOptions::new()).unwrap()
        }
        _ => crate::racy::put_still(store, content),
    }
}

const WAYS: usize = 7;

fn check(store: &Store, id: &BlobId, content: &[u8], what: &str) {
    let whole = GetOptions::new().verify(Verify::Whole);
    let blob = store.get_with(id, &whole).unwrap().unwrap_or_else(|| panic!("{what}: gone"));
    assert!(*blob == *content, "{what}: other bytes");
    assert_eq!(blob.len(), content.len());
    let stat = store.stat(id).unwrap().unwrap();
    assert_eq!((stat.id, stat.len, stat.pinned), (*id, content.len() as u64, true), "{what}");
    assert_eq!(stat.chunks, (content.len().div_ceil(2 * MIB)).max(1) as u64, "{what}");
}

#[test]
fn every_way_in_gives_the_same_blob_at_every_edge() {
    for hash in HASHES {
        let scratch = Scratch::new();
        let file = scratch.dir().join("file");
        let store = store(&scratch, hash, SEGMENT);
        for len in SIZES {
            let content = bytes(len, 1);
            // The first way stores it; so each way stores at some size, and the others meet it.
            let first = len % WAYS;
            let id = put_every_way(&store, &content, first, &file);
            check(&store, &id, &content, &format!("{len} bytes, {hash}, way {first}"));
            for way in 0..WAYS {
                assert_eq!(put_every_way(&store, &content, way, &file), id, "{len}, way {way}");
            }
        }
        assert_eq!(store.stats().unwrap().blobs, SIZES.len() as u64);
    }
}

#[test]
fn each_way_in_stores_at_every_edge() {
    let whole = |content: &[u8], way: usize, hash: HashAlgorithm| {
        let scratch = Scratch::new();
        let store = store(&scratch, hash, SEGMENT);
        let id = put_every_way(&store, content, way, &scratch.dir().join("file"));
        check(&store, &id, content, &format!("{} bytes, {hash}, way {way}", content.len()));
        drop(store);
        check(&scratch.rebooted(), &id, content, &format!("{} bytes, rebooted", content.len()));
    };
    for way in 0..WAYS {
        for len in [0, 1, 64 * KIB, 64 * KIB + 1, SEGMENT / 4 + 1, 2 * MIB, 2 * MIB + 1] {
            whole(&bytes(len, 2), way, HASHES[(way + len) % 2]);
        }
    }
}

#[test]
fn the_default_segments_have_the_same_edges() {
    for (hash, lens) in HASHES.into_iter().zip([
        [16 * MIB - 8 * KIB, 16 * MIB + 1, 65 * MIB + 13],
        [16 * MIB - 1, 16 * MIB, 64 * MIB],
    ]) {
        let scratch = Scratch::new();
        let store = scratch.open(Store::options().create(true).hash(hash));
        let ids: Vec<BlobId> = lens.iter().map(|&len| store.put(&bytes(len, 3)).unwrap()).collect();
        for (&len, id) in lens.iter().zip(&ids) {
            check(&store, id, &bytes(len, 3), &format!("{len} bytes, {hash}"));
        }
    }
}

#[test]
fn an_id_is_what_other_programs_compute() {
    let digest_of = |hash, content: &[u8]| match hash {
        HashAlgorithm::Blake3 => blake3::hash(content).as_bytes().to_vec(),
        _ => twox_hash::XxHash3_128::oneshot(content).to_be_bytes().to_vec(),
    };
    for hash in HASHES {
        let scratch = Scratch::new();
        let store = store(&scratch, hash, SEGMENT);
        for len in SIZES {
            // Above a chunk, the XXH3 id is of the chunks' digests (spec/vectors has known answers).
            if hash == HashAlgorithm::Blake3 || len <= 2 * MIB {
                let content = bytes(len, 4);
                let id = store.put(&content).unwrap();
                assert_eq!(id.digest(), digest_of(hash, &content), "{len} bytes, {hash}");
                assert_eq!(id.to_string().parse::<BlobId>().unwrap(), id);
            }
        }
    }
}

#[test]
fn neighbours_in_size_and_content_are_other_blobs() {
    for hash in HASHES {
        let scratch = Scratch::new();
        let store = store(&scratch, hash, SEGMENT);
        let zeros: Vec<BlobId> =
            SIZES.iter().map(|&len| store.put(&vec![0; len]).unwrap()).collect();
        for (id, &len) in zeros.iter().zip(&SIZES) {
            assert!(read(&store, id) == vec![0; len], "{len} zeros, {hash}");
        }
        assert_eq!(store.stats().unwrap().blobs, SIZES.len() as u64);
        let mut ones = vec![0; 4 * MIB];
        for at in [0, 2 * MIB - 1, 2 * MIB, 4 * MIB - 1] {
            ones[at] = 1;
            assert!(read(&store, &store.put(&ones).unwrap()) == ones);
            ones[at] = 0;
        }
        assert_eq!(store.stats().unwrap().blobs, SIZES.len() as u64 + 4);
    }
}
