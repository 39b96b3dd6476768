//! Bytes on their way into a segment, hashed as they pass.
//!
//! A large body is hashed by chunks on the store's own threads, each chunk in pieces small enough to
//! stay in a core's cache between hashing and writing: the body is read from memory once.
//!
//! The digest is of the bytes stored. A `&[u8]` cannot change under us; bytes that others may write
//! meanwhile ([`Racy`]) are copied out piece by piece, and the copy is what is hashed and written.
#![forbid(unsafe_code)]

use crate::disk::File;
use crate::error::{Error, ErrorKind, Result};
use crate::hash::{ChunkDigest, ChunkHasher, blob_digest, digest};
use crate::id::HashAlgorithm;
use crate::sync::racy::Racy;
use crate::units::{CHUNK_BYTES, KIB};
use rayon::prelude::*;
use std::sync::Mutex;

/// Bytes between hashing and writing.
const PIECE_BYTES: usize = 256 * KIB as usize;
/// From here on a single chunk is hashed by one thread while another writes it.
const SPLIT_BYTES_MIN: usize = 256 * KIB as usize;

/// Where a body comes from.
#[derive(Clone, Copy)]
pub enum Body<'a> {
    /// Bytes that nobody changes.
    Fixed(&'a [u8]),
    /// Bytes that others may write meanwhile.
    Racy(Racy<'a>),
}

impl<'a> Body<'a> {
    /// Number of bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Fixed(bytes) => bytes.len(),
            Self::Racy(racy) => racy.len(),
        }
    }

    fn part(&self, range: std::ops::Range<usize>) -> Body<'a> {
        match self {
            Self::Fixed(bytes) => Self::Fixed(&bytes[range]),
            Self::Racy(racy) => Self::Racy(racy.part(range)),
        }
    }

    /// Calls `f` with pieces of the body and their offsets.
    fn pieces(&self, mut f: impl FnMut(usize, &[u8]) -> Result<()>) -> Result<()> {
        match self {
            Self::Fixed(bytes) => {
                let mut offsets = (0..).step_by(PIECE_BYTES);
                bytes.chunks(PIECE_BYTES).zip(&mut offsets).try_for_each(|(piece, at)| f(at, piece))
            }
            Self::Racy(racy) => {
                let mut copy = vec![0; PIECE_BYTES.min(racy.len())];
                (0..racy.len()).step_by(PIECE_BYTES).try_for_each(|at| {
                    let piece = &mut copy[..PIECE_BYTES.min(racy.len() - at)];
                    racy.copy_to(at, piece);
                    f(at, piece)
                })
            }
        }
    }
}

/// What hashing a body gave.
pub struct Hashed {
    /// The digest, padded.
    pub digest: [u8; 32],
    /// The chunks' digests; none for a body of one chunk.
    pub chunks: Vec<ChunkDigest>,
}

/// Threads to hash with, or none.
pub type Pool<'a> = Option<&'a rayon::ThreadPool>;

/// Writes a body at `offset` of a file and hashes it.
pub fn write_body(
    file: &dyn File,
    offset: u64,
    body: Body<'_>,
    algorithm: HashAlgorithm,
    pool: Pool<'_>,
) -> Result<Hashed> {
    let chunk_bytes = CHUNK_BYTES as usize;
    if body.len() <= chunk_bytes {
        return write_sole_chunk(file, offset, body, algorithm, pool);
    }
    let one = |index: usize| {
        let start = index * chunk_bytes;
        let part = body.part(start..body.len().min(start + chunk_bytes));
        let mut hasher = ChunkHasher::new(algorithm, index as u64);
        part.pieces(|at, piece| {
            hasher.update(piece);
            file.write_at(piece, offset + (start + at) as u64)
        })?;
        Ok(hasher.finish_part())
    };
    let count = body.len().div_ceil(chunk_bytes);
    let chunks: Vec<ChunkDigest> = match pool {
        Some(pool) => pool.install(|| {
            (0..count).into_par_iter().with_max_len(1).map(one).collect::<Result<_>>()
        })?,
        None => (0..count).map(one).collect::<Result<_>>()?,
    };
    let digest = blob_digest(algorithm, body.len() as u64, &chunks);
    Ok(Hashed { digest, chunks })
}

fn write_sole_chunk(
    file: &dyn File,
    offset: u64,
    body: Body<'_>,
    algorithm: HashAlgorithm,
    pool: Pool<'_>,
) -> Result<Hashed> {
    let digest = match (body, pool) {
        (Body::Fixed(bytes), Some(pool)) if bytes.len() >= SPLIT_BYTES_MIN => {
            let written = Mutex::new(Ok(()));
            let digest = pool.in_place_scope(|scope| {
                scope.spawn(|_| set(&written, file.write_at(bytes, offset)));
                digest(algorithm, bytes)
            });
            written.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)?;
            digest
        }
        _ => {
            let mut hasher = ChunkHasher::new(algorithm, 0);
            body.pieces(|at, piece| {
                hasher.update(piece);
                file.write_at(piece, offset + at as u64)
            })?;
            hasher.finish_sole()
        }
    };
    Ok(Hashed { digest, chunks: Vec::new() })
}

fn set(slot: &Mutex<Result<()>>, result: Result<()>) {
    *slot.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = result;
}

/// Hashes bytes that are in place already.
pub fn hash_in_place(bytes: &[u8], algorithm: HashAlgorithm, pool: Pool<'_>) -> Hashed {
    let chunk_bytes = CHUNK_BYTES as usize;
    if bytes.len() <= chunk_bytes {
        return Hashed { digest: digest(algorithm, bytes), chunks: Vec::new() };
    }
    let one = |(index, part): (usize, &[u8])| {
        let mut hasher = ChunkHasher::new(algorithm, index as u64);
        hasher.update(part);
        hasher.finish_part()
    };
    let chunks: Vec<ChunkDigest> = match pool {
        Some(pool) => pool.install(|| bytes.par_chunks(chunk_bytes).enumerate().map(one).collect()),
        None => bytes.chunks(chunk_bytes).enumerate().map(one).collect(),
    };
    Hashed { digest: blob_digest(algorithm, bytes.len() as u64, &chunks), chunks }
}

/// Fills `buffer` from a reader; fewer bytes only at its end.
pub fn fill(reader: &mut dyn std::io::Read, buffer: &mut [u8]) -> Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) if read <= buffer.len() - filled => filled += read,
            Ok(read) => {
                return Err(Error::new(
                    ErrorKind::InvalidInput,
                    "the reader claims more bytes than it was given room for",
                )
                .expected(format!("at most {}", buffer.len() - filled))
                .found(read));
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io("reading what is to be put", error)),
        }
    }
    Ok(filled)
}
