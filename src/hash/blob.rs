//! A whole blob: from its chunks' digests, at once, or in pieces.
#![forbid(unsafe_code)]

use super::chunk::{ChunkDigest, ChunkHasher, canonical, chunk_digest, sole_digest};
use crate::id::HashAlgorithm;
use crate::units::CHUNK_BYTES;
use blake3::hazmat::{ChainingValue, Mode, merge_subtrees_non_root, merge_subtrees_root};
use xxhash_rust::xxh3::Xxh3Builder;

/// Seed of the XXH3-128 over length and chunk digests (`drystone`, as a number): no blob of one chunk
/// has its digest by the same function.
pub const XXH3_BLOB_SEED: u64 = u64::from_le_bytes(*b"drystone");

/// The digest of a blob of `len > CHUNK_BYTES` bytes from its chunks' digests, padded with zeros.
///
/// # Panics
/// If a blob of this length does not have this many chunks, or has only one.
pub fn blob_digest(algorithm: HashAlgorithm, len: u64, chunks: &[ChunkDigest]) -> [u8; 32] {
    assert!(len > CHUNK_BYTES, "a blob of one chunk has its digest without chunks");
    assert_eq!(chunks.len() as u64, len.div_ceil(CHUNK_BYTES), "chunks of a blob of {len} bytes");
    match algorithm {
        HashAlgorithm::Xxh3 => {
            let mut hasher = Xxh3Builder::new().with_seed(XXH3_BLOB_SEED).build();
            hasher.update(&len.to_le_bytes());
            chunks.iter().for_each(|chunk| hasher.update(chunk.bytes(algorithm)));
            canonical(hasher.digest128())
        }
        HashAlgorithm::Blake3 => {
            let (left, right) = chunks.split_at(left_chunks(chunks.len()));
            *merge_subtrees_root(&subtree(left), &subtree(right), Mode::Hash).as_bytes()
        }
    }
}

/// The chaining value over one or more chunks; the recursion is as deep as the binary logarithm of
/// their number.
fn subtree(chunks: &[ChunkDigest]) -> ChainingValue {
    if let [chunk] = chunks {
        return chunk.0;
    }
    let (left, right) = chunks.split_at(left_chunks(chunks.len()));
    merge_subtrees_non_root(&subtree(left), &subtree(right), Mode::Hash)
}

/// BLAKE3's left subtree: the largest power of two below `count`, which is at least 2. The last
/// chunk may be short without changing it.
fn left_chunks(count: usize) -> usize {
    1 << (count - 1).ilog2()
}

/// The digest of a blob of any length, by this thread, padded with zeros.
#[inline]
pub fn digest(algorithm: HashAlgorithm, bytes: &[u8]) -> [u8; 32] {
    match algorithm {
        HashAlgorithm::Xxh3 if bytes.len() as u64 > CHUNK_BYTES => long_digest(algorithm, bytes),
        _ => sole_digest(algorithm, bytes),
    }
}

fn long_digest(algorithm: HashAlgorithm, bytes: &[u8]) -> [u8; 32] {
    let pieces = bytes.chunks(CHUNK_BYTES as usize).zip(0..);
    let chunks: Vec<_> =
        pieces.map(|(piece, index)| chunk_digest(algorithm, index, piece)).collect();
    blob_digest(algorithm, bytes.len() as u64, &chunks)
}

/// The chunk digests as they stand behind a payload: 16 or 32 bytes each, without gaps.
pub fn encode_chunks(algorithm: HashAlgorithm, chunks: &[ChunkDigest]) -> Vec<u8> {
    chunks.iter().flat_map(|chunk| chunk.bytes(algorithm)).copied().collect()
}

/// The chunk digests in these bytes; an incomplete last one is passed over.
pub fn decode_chunks(algorithm: HashAlgorithm, bytes: &[u8]) -> Vec<ChunkDigest> {
    let padded = |stored: &[u8]| {
        let mut digest = [0; 32];
        digest[..stored.len()].copy_from_slice(stored);
        ChunkDigest(digest)
    };
    bytes.chunks_exact(algorithm.digest_bytes()).map(padded).collect()
}

/// Hashes a blob whose length is not known yet, in pieces of any length.
pub struct BlobHasher {
    algorithm: HashAlgorithm,
    finished: Vec<ChunkDigest>,
    /// Left unfinished when full: it may turn out to be the only one.
    current: ChunkHasher,
}

impl BlobHasher {
    /// Begins a blob.
    pub fn new(algorithm: HashAlgorithm) -> Self {
        Self { algorithm, finished: Vec::new(), current: ChunkHasher::new(algorithm, 0) }
    }

    /// Takes the next piece.
    pub fn update(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            if self.current.len() == CHUNK_BYTES {
                let next = ChunkHasher::new(self.algorithm, self.finished.len() as u64 + 1);
                self.finished.push(std::mem::replace(&mut self.current, next).finish_part());
            }
            let room = (CHUNK_BYTES - self.current.len()).min(piece.len() as u64);
            let (now, later) = piece.split_at(room as usize);
            self.current.update(now);
            piece = later;
        }
    }

    /// Bytes taken so far.
    pub fn len(&self) -> u64 {
        self.finished.len() as u64 * CHUNK_BYTES + self.current.len()
    }

    /// Whether none have been taken.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The blob's digest, and its chunks' (none for a blob of one chunk).
    pub fn finish(mut self) -> ([u8; 32], Vec<ChunkDigest>) {
        if self.finished.is_empty() {
            return (self.current.finish_sole(), self.finished);
        }
        let len = self.len();
        self.finished.push(self.current.finish_part());
        (blob_digest(self.algorithm, len, &self.finished), self.finished)
    }
}
