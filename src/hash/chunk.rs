//! One chunk: at once, or in pieces.
//!
//! Two implementations of XXH3 are linked. `twox-hash` chooses AVX2 when it runs, and so hashes at
//! 54 GB/s from the cache what `xxhash-rust`, whose choice is made by the compiler, does at 28 GB/s
//! with the SSE2 of a portable build. Up to [`SHORT_BYTES_MAX`] no vectors are used at all, and
//! there `xxhash-rust` is faster by a nanosecond (5.4 against 6.5 for 64 bytes). It is needed for
//! the checksums of headers anyway.
#![forbid(unsafe_code)]

use crate::id::HashAlgorithm;
use crate::units::CHUNK_BYTES;
use blake3::hazmat::HasherExt;
use twox_hash::xxhash3_128::{DEFAULT_SECRET_LENGTH, RawHasher, SecretBuffer};
use xxhash_rust::xxh3::xxh3_128;

/// XXH3 hashes inputs up to this length without vector instructions.
const SHORT_BYTES_MAX: usize = 240;

/// The digest of one chunk of a blob of several: for XXH3 16 bytes and zeros, for BLAKE3 the chaining
/// value of the chunk's subtree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChunkDigest(pub [u8; 32]);

impl ChunkDigest {
    /// The bytes that count.
    pub fn bytes(&self, algorithm: HashAlgorithm) -> &[u8] {
        &self.0[..algorithm.digest_bytes()]
    }
}

/// Hashes one chunk in pieces of any length.
///
/// # Panics
/// Each method says when: a caller that counts its bytes meets none of them, whatever the bytes are.
pub struct ChunkHasher {
    state: State,
    len: u64,
    is_first: bool,
}

#[expect(clippy::large_enum_variant, reason = "the default algorithm allocates nothing")]
enum State {
    Xxh3(RawHasher<&'static [u8; DEFAULT_SECRET_LENGTH]>),
    /// Boxed: it is five times as large as the other.
    Blake3(Box<blake3::Hasher>),
}

impl ChunkHasher {
    /// Begins chunk `index` of a blob.
    ///
    /// # Panics
    /// If the chunk would begin at 2^64 bytes or above.
    pub fn new(algorithm: HashAlgorithm, index: u64) -> Self {
        let state = match algorithm {
            HashAlgorithm::Xxh3 => State::Xxh3(RawHasher::new(SecretBuffer::default())),
            HashAlgorithm::Blake3 => State::Blake3(Box::new(blake3_at(index))),
        };
        Self { state, len: 0, is_first: index == 0 }
    }

    /// Takes the next piece.
    ///
    /// # Panics
    /// If the chunk becomes longer than a chunk of 2 MiB.
    pub fn update(&mut self, piece: &[u8]) {
        assert!(
            piece.len() as u64 <= CHUNK_BYTES - self.len,
            "a chunk ends at {CHUNK_BYTES} bytes"
        );
        self.len += piece.len() as u64;
        match &mut self.state {
            State::Xxh3(hasher) => hasher.write(piece),
            State::Blake3(hasher) => {
                hasher.update(piece);
            }
        }
    }

    /// Bytes taken so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether none have been taken.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The digest of this chunk of a blob of several.
    ///
    /// # Panics
    /// If the chunk is empty: no blob of several chunks has such a one.
    pub fn finish_part(self) -> ChunkDigest {
        assert!(self.len > 0, "a chunk of a blob of several is never empty");
        ChunkDigest(match self.state {
            State::Xxh3(hasher) => canonical(hasher.finish_128()),
            State::Blake3(hasher) => hasher.finalize_non_root(),
        })
    }

    /// The digest of a blob that is this chunk alone, padded with zeros.
    ///
    /// # Panics
    /// If the chunk is not the first.
    pub fn finish_sole(self) -> [u8; 32] {
        assert!(self.is_first, "only the first chunk can be a whole blob");
        match self.state {
            State::Xxh3(hasher) => canonical(hasher.finish_128()),
            State::Blake3(hasher) => *hasher.finalize().as_bytes(),
        }
    }
}

/// The digest of `bytes` as chunk `index` of a blob of several.
///
/// # Panics
/// If `bytes` is empty or longer than a chunk of 2 MiB, or would begin at 2^64 or above.
pub fn chunk_digest(algorithm: HashAlgorithm, index: u64, bytes: &[u8]) -> ChunkDigest {
    assert!(!bytes.is_empty() && bytes.len() as u64 <= CHUNK_BYTES, "not the length of a chunk");
    ChunkDigest(match algorithm {
        HashAlgorithm::Xxh3 => xxh3(bytes),
        HashAlgorithm::Blake3 => blake3_at(index).update(bytes).finalize_non_root(),
    })
}

/// The digest of a blob of one chunk, padded with zeros.
#[inline]
pub(super) fn sole_digest(algorithm: HashAlgorithm, bytes: &[u8]) -> [u8; 32] {
    match algorithm {
        HashAlgorithm::Xxh3 => xxh3(bytes),
        HashAlgorithm::Blake3 => *blake3::hash(bytes).as_bytes(),
    }
}

#[inline]
fn xxh3(bytes: &[u8]) -> [u8; 32] {
    canonical(if bytes.len() <= SHORT_BYTES_MAX {
        xxh3_128(bytes)
    } else {
        twox_hash::XxHash3_128::oneshot(bytes)
    })
}

/// XXH3's canonical form is big-endian: the order of the hexadecimal text.
#[inline]
pub(super) fn canonical(value: u128) -> [u8; 32] {
    let mut padded = [0; 32];
    padded[..16].copy_from_slice(&value.to_be_bytes());
    padded
}

fn blake3_at(index: u64) -> blake3::Hasher {
    let offset = index.checked_mul(CHUNK_BYTES).expect("a chunk begins below 2^64");
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(offset);
    hasher
}
