//! Bytes on their way into a segment, hashed as they pass.
//!
//! A large body is hashed by chunks on the store's own threads while the caller writes it.
//!
//! The digest is of the bytes stored. A `&[u8]` cannot change under us; bytes that others may write
//! meanwhile ([`Racy`]) are copied out in pieces small enough to stay in a core's cache, and the copy is
//! what is hashed and written.
#![forbid(unsafe_code)]

use crate::disk::File;
use crate::error::{Error, ErrorKind, Result};
use crate::hash::{ChunkDigest, ChunkHasher, blob_digest, chunk_digest, digest};
use crate::id::HashAlgorithm;
use crate::sync::racy::Racy;
use crate::units::{CHUNK_BYTES, KIB};
use rayon::prelude::*;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Bytes between hashing and writing: the page cache keeps what came by one write in pages as large as that
/// allows, and whoever maps it later takes as many fewer faults.
const PIECE_BYTES: usize = 1024 * KIB as usize;
/// From here on a body is hashed by other threads while this one writes it.
const BESIDE_BYTES_MIN: usize = 256 * KIB as usize;

/// Where a body comes from.
#[derive(Clone, Copy)]
pub enum Body<'a> {
    /// Bytes that nobody changes.
    Fixed(&'a [u8]),
    /// Bytes that others may write meanwhile.
    Racy(Racy<'a>),
    /// A short header, in front of such bytes.
    Headed(&'a [u8], Racy<'a>),
}

impl<'a> Body<'a> {
    /// Number of bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Fixed(bytes) => bytes.len(),
            Self::Racy(racy) => racy.len(),
            Self::Headed(header, racy) => header.len() + racy.len(),
        }
    }

    fn part(&self, range: std::ops::Range<usize>) -> Body<'a> {
        match *self {
            Self::Fixed(bytes) => Self::Fixed(&bytes[range]),
            Self::Racy(racy) => Self::Racy(racy.part(range)),
            Self::Headed(header, racy) => {
                let head = header.len();
                let behind = range.start.saturating_sub(head)..range.end.saturating_sub(head);
                let header = &header[range.start.min(head)..range.end.min(head)];
                Self::Headed(header, racy.part(behind))
            }
        }
    }

    /// Copies the bytes at `at` out.
    pub fn copy_to(&self, at: usize, buffer: &mut [u8]) {
        match self {
            Self::Fixed(bytes) => buffer.copy_from_slice(&bytes[at..at + buffer.len()]),
            Self::Racy(racy) => racy.copy_to(at, buffer),
            Self::Headed(header, racy) => {
                let of_header = header.len().saturating_sub(at).min(buffer.len());
                let (front, behind) = buffer.split_at_mut(of_header);
                front.copy_from_slice(&header[header.len().min(at)..][..of_header]);
                racy.copy_to((at + of_header) - header.len().min(at + of_header), behind);
            }
        }
    }

    /// Calls `f` with pieces of the body and their offsets.
    fn pieces(&self, mut f: impl FnMut(usize, &[u8]) -> Result<()>) -> Result<()> {
        match self {
            Self::Fixed(bytes) => {
                let mut offsets = (0..).step_by(PIECE_BYTES);
                bytes.chunks(PIECE_BYTES).zip(&mut offsets).try_for_each(|(piece, at)| f(at, piece))
            }
            Self::Racy(_) | Self::Headed(..) => {
                let len = self.len();
                let mut copy = vec![0; PIECE_BYTES.min(len)];
                (0..len).step_by(PIECE_BYTES).try_for_each(|at| {
                    let piece = &mut copy[..PIECE_BYTES.min(len - at)];
                    self.copy_to(at, piece);
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
    let count = body.len().div_ceil(CHUNK_BYTES as usize);
    let chunks = match (body, pool) {
        (Body::Fixed(bytes), Some(pool)) if bytes.len() >= BESIDE_BYTES_MIN => {
            write_beside(file, offset, bytes, algorithm, pool)?
        }
        (Body::Racy(_) | Body::Headed(..), Some(pool)) if count > 1 => pool.install(|| {
            let one = |index| write_chunk(file, offset, body, algorithm, index);
            (0..count).into_par_iter().with_max_len(1).map(one).collect::<Result<_>>()
        })?,
        _ => {
            let one = |index| write_chunk(file, offset, body, algorithm, index);
            (0..count.max(1)).map(one).collect::<Result<_>>()?
        }
    };
    Ok(hashed_of(algorithm, body.len(), chunks))
}

/// Of chunks that were each hashed as one of several, or as the only one.
fn hashed_of(algorithm: HashAlgorithm, len: usize, chunks: Vec<ChunkDigest>) -> Hashed {
    match chunks[..] {
        [sole] => Hashed { digest: sole.0, chunks: Vec::new() },
        _ => Hashed { digest: blob_digest(algorithm, len as u64, &chunks), chunks },
    }
}

/// The bytes of chunk `index` of a body of `len` bytes.
fn chunk_range(index: usize, len: usize) -> std::ops::Range<usize> {
    let start = index * CHUNK_BYTES as usize;
    start..len.min(start + CHUNK_BYTES as usize)
}

/// Hashes and writes one chunk, piece by piece: the body is read from memory once.
fn write_chunk(
    file: &dyn File,
    offset: u64,
    body: Body<'_>,
    algorithm: HashAlgorithm,
    index: usize,
) -> Result<ChunkDigest> {
    let range = chunk_range(index, body.len());
    let mut hasher = ChunkHasher::new(algorithm, index as u64);
    body.part(range.clone()).pieces(|at, piece| {
        hasher.update(piece);
        file.write_at(piece, offset + (range.start + at) as u64)
    })?;
    let is_sole = body.len() as u64 <= CHUNK_BYTES;
    Ok(if is_sole { ChunkDigest(hasher.finish_sole()) } else { hasher.finish_part() })
}

/// The caller writes while the pool hashes, and takes part in the hashing when all is written: one file
/// takes the bytes of one writer at a time, so a second one would only wait for its lock.
fn write_beside(
    file: &dyn File,
    offset: u64,
    bytes: &[u8],
    algorithm: HashAlgorithm,
    pool: &rayon::ThreadPool,
) -> Result<Vec<ChunkDigest>> {
    let count = bytes.len().div_ceil(CHUNK_BYTES as usize);
    let chunks: Vec<OnceLock<ChunkDigest>> = (0..count).map(|_| OnceLock::new()).collect();
    let next = Mutex::new(0..count);
    let hash_the_next = || {
        let Some(index) = locked(&next).next() else { return false };
        let part = &bytes[chunk_range(index, bytes.len())];
        let digest = match count {
            1 => ChunkDigest(digest(algorithm, part)),
            _ => chunk_digest(algorithm, index as u64, part),
        };
        chunks[index].set(digest).is_ok()
    };
    pool.in_place_scope(|scope| {
        for _ in 1..pool.current_num_threads().max(2) {
            scope.spawn(|_| while hash_the_next() {});
        }
        let mut pieces =
            bytes.chunks(CHUNK_BYTES as usize).zip((offset..).step_by(CHUNK_BYTES as usize));
        let written = pieces.try_for_each(|(piece, at)| file.write_at(piece, at));
        match written {
            Ok(()) => while hash_the_next() {},
            // Nobody will want the rest.
            Err(_) => *locked(&next) = count..count,
        }
        written
    })?;
    chunks.into_iter().map(|chunk| chunk.into_inner().ok_or_else(unhashed)).collect()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cold]
fn unhashed() -> Error {
    Error::new(ErrorKind::Io, "a thread that hashes has ended before its work was done")
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
