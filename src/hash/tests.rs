//! One digest by every way to it: the ways must agree with each other here, and with other
//! implementations in spec/vectors.
#![forbid(unsafe_code)]

use super::*;
use crate::id::HashAlgorithm::{self, Blake3, Xxh3};
use crate::units::CHUNK_BYTES;
use proptest::prelude::*;

const CHUNK: usize = CHUNK_BYTES as usize;
const ALGORITHMS: [HashAlgorithm; 2] = [Xxh3, Blake3];

/// The bytes that spec/vectors/ids.txt is about.
fn input(len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| ((i * 2_654_435_761) >> 24) as u8).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn chunk_digests(algorithm: HashAlgorithm, bytes: &[u8]) -> Vec<ChunkDigest> {
    bytes.chunks(CHUNK).zip(0..).map(|(piece, i)| chunk_digest(algorithm, i, piece)).collect()
}

fn in_pieces(algorithm: HashAlgorithm, bytes: &[u8], piece: usize) -> ([u8; 32], Vec<ChunkDigest>) {
    let mut hasher = BlobHasher::new(algorithm);
    bytes.chunks(piece).for_each(|piece| hasher.update(piece));
    assert_eq!(hasher.len(), bytes.len() as u64);
    hasher.finish()
}

#[test]
fn digests_are_those_of_the_vectors() {
    let vectors = include_str!("../../spec/vectors/ids.txt");
    let mut count = 0;
    for line in vectors.lines().filter(|line| !line.starts_with('#')) {
        let [algorithm, len, expected] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("not a vector: {line}")
        };
        let algorithm: HashAlgorithm = algorithm.parse().unwrap();
        let bytes = input(len.parse().unwrap());
        let found = digest(algorithm, &bytes);
        assert_eq!(hex(&found[..algorithm.digest_bytes()]), expected, "{algorithm} of {len} bytes");
        assert!(found[algorithm.digest_bytes()..].iter().all(|&byte| byte == 0));
        assert_eq!(in_pieces(algorithm, &bytes, 128 << 10).0, found);
        count += 1;
    }
    assert!(count >= 40, "{count} vectors");
}

#[test]
fn every_length_around_a_boundary_has_one_digest() {
    let bytes = input(3 * CHUNK + 5);
    let lens = [0, 1, 16, 17, 128, 129, 239, 240, 241, 242, 1023, 1024, 1025, CHUNK - 1, CHUNK]
        .into_iter()
        .chain([CHUNK + 1, 2 * CHUNK - 1, 2 * CHUNK, 2 * CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 5]);
    for len in lens {
        for algorithm in ALGORITHMS {
            let bytes = &bytes[..len];
            let expected = digest(algorithm, bytes);
            for piece in [333, 4096, 128 << 10, CHUNK - 1, CHUNK, CHUNK + 1, 8 * CHUNK] {
                let (found, chunks) = in_pieces(algorithm, bytes, piece);
                assert_eq!(found, expected, "{algorithm}, {len} bytes in pieces of {piece}");
                let count = if len <= CHUNK { 0 } else { len.div_ceil(CHUNK) };
                assert_eq!(chunks.len(), count);
                if count > 0 {
                    assert_eq!(chunks, chunk_digests(algorithm, bytes));
                }
            }
        }
    }
}

#[test]
fn blake3_of_any_number_of_chunks_is_the_standard_digest() {
    let bytes = input(20 * CHUNK);
    for count in 2..=20 {
        for len in [(count - 1) * CHUNK + 1, count * CHUNK - 1023, count * CHUNK] {
            let chunks = chunk_digests(Blake3, &bytes[..len]);
            let found = blob_digest(Blake3, len as u64, &chunks);
            assert_eq!(found, *blake3::hash(&bytes[..len]).as_bytes(), "{len} bytes");
        }
    }
}

#[test]
fn xxh3_of_several_chunks_depends_on_length_order_and_every_chunk() {
    let chunks = chunk_digests(Xxh3, &input(2 * CHUNK + 9));
    let len = 2 * CHUNK as u64 + 9;
    let expected = blob_digest(Xxh3, len, &chunks);
    assert_ne!(blob_digest(Xxh3, len - 1, &chunks), expected);
    for i in 0..chunks.len() {
        let mut other = chunks.clone();
        other[i].0[15] ^= 1;
        assert_ne!(blob_digest(Xxh3, len, &other), expected, "chunk {i}");
        other = chunks.clone();
        other.swap(i, (i + 1) % 3);
        assert_ne!(blob_digest(Xxh3, len, &other), expected, "chunk {i} moved");
    }
}

#[test]
fn chunk_digests_survive_their_bytes() {
    for algorithm in ALGORITHMS {
        let chunks = chunk_digests(algorithm, &input(2 * CHUNK + 1));
        let bytes = encode_chunks(algorithm, &chunks);
        assert_eq!(bytes.len(), 3 * algorithm.digest_bytes());
        assert_eq!(decode_chunks(algorithm, &bytes), chunks);
        assert_eq!(decode_chunks(algorithm, &bytes[..bytes.len() - 1]), chunks[..2]);
    }
}

#[test]
fn a_chunk_is_refused_what_it_is_not() {
    fn panics<T>(f: impl FnOnce() -> T + std::panic::UnwindSafe) -> bool {
        std::panic::catch_unwind(f).is_err()
    }
    for algorithm in ALGORITHMS {
        let full = input(CHUNK);
        assert!(panics(|| ChunkHasher::new(algorithm, 0).update(&input(CHUNK + 1))));
        assert!(panics(|| {
            let mut hasher = ChunkHasher::new(algorithm, 3);
            hasher.update(&full);
            hasher.update(&[0]);
        }));
        assert!(panics(|| ChunkHasher::new(algorithm, 1).finish_sole()));
        assert!(panics(|| ChunkHasher::new(algorithm, 1).finish_part()));
        assert!(panics(|| blob_digest(algorithm, CHUNK_BYTES + 1, &[])));
        assert!(panics(|| blob_digest(algorithm, 1, &[])));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]
    #[test]
    fn how_bytes_are_cut_does_not_matter(
        len in prop_oneof![0..600_usize, 0..200_000_usize, CHUNK - 300..CHUNK + 300, 0..3 * CHUNK],
        pieces in prop::collection::vec(prop_oneof![0..300_usize, 0..70_000_usize, 0..3 * CHUNK], 1..40),
        seed: u8,
    ) {
        let mut bytes = input(len);
        bytes.iter_mut().for_each(|byte| *byte ^= seed);
        for algorithm in ALGORITHMS {
            let mut hasher = BlobHasher::new(algorithm);
            let mut rest = &bytes[..];
            for &piece in &pieces {
                let (now, later) = rest.split_at(piece.min(rest.len()));
                hasher.update(now);
                rest = later;
            }
            hasher.update(rest);
            prop_assert_eq!(hasher.finish().0, digest(algorithm, &bytes));
        }
    }
}
