//! Bytes on their way into a segment, hashed as they pass.
//!
//! A large body is hashed by chunks on the store's own threads while the caller writes it.
//!
//! The digest is of the bytes stored. A `&[u8]` cannot change under us; bytes that others may write
//! meanwhile ([`Racy`]) are copied out in pieces small enough to stay in a core's cache, and the copy is
//! what is hashed and written.
#![forbid(unsafe_code)]

use crate::cut::Cut;
use crate::disk::File;
use crate::error::{Error, ErrorKind, Result};
use crate::hash::{ChunkDigest, blob_digest, chunk_digest, digest};
use crate::id::HashAlgorithm;
use crate::sync::racy::Racy;
use crate::units::{CHUNK_BYTES, KIB};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

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
}

/// Bytes of strips that are kept at a time. In tests so few that a body takes several turns.
const STRIPS_BYTES_MAX: usize = if cfg!(test) { 8 * KIB as usize } else { 16 << 20 };

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
    let cut = Cut::new(offset, body.len());
    let chunks = match (body, pool) {
        (Body::Fixed(bytes), Some(pool)) if bytes.len() >= BESIDE_BYTES_MIN => {
            write_beside(file, &cut, bytes, algorithm, pool)?
        }
        (Body::Fixed(bytes), _) => write_fixed(file, &cut, bytes, algorithm)?,
        (Body::Racy(_) | Body::Headed(..), pool) => {
            write_copied(file, &cut, body, algorithm, pool)?
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

/// Digests a chunk.
fn digest_of(algorithm: HashAlgorithm, cut: &Cut, index: usize, part: &[u8]) -> ChunkDigest {
    match cut.count() {
        1 => ChunkDigest(digest(algorithm, part)),
        _ => chunk_digest(algorithm, index as u64, part),
    }
}

/// Writes and hashes in turn.
fn write_fixed(
    file: &dyn File,
    cut: &Cut,
    bytes: &[u8],
    algorithm: HashAlgorithm,
) -> Result<Vec<ChunkDigest>> {
    let one = |index| {
        file.write_at(&bytes[cut.write(index)], cut.place(index))?;
        Ok(digest_of(algorithm, cut, index, &bytes[cut.chunk(index)]))
    };
    (0..cut.count()).map(one).collect()
}

/// Some chunks of a body that is copied out, chunk by chunk, so that it is read from memory once.
struct Copying<'a> {
    file: &'a dyn File,
    cut: &'a Cut,
    body: Body<'a>,
    algorithm: HashAlgorithm,
    range: Range<usize>,
    /// That of the chunk in front, and those of the chunks. Each is hashed with its own chunk and written with
    /// the next: both of this copy.
    strips: Vec<u8>,
}

impl Copying<'_> {
    /// The end of a chunk that is not the last of the body.
    fn strip(&self, index: usize) -> &[u8] {
        let at = (index + usize::from(self.range.start > 0) - self.range.start) * self.cut.skew;
        &self.strips[at..at + self.cut.skew]
    }

    /// Copies the strips of the chunks, behind that of the chunk in front.
    fn copy_strips(&mut self) {
        for index in self.range.start..self.range.end.min(self.cut.count() - 1) {
            let strip = self.cut.strip(index);
            let end = self.strips.len();
            self.strips.resize(end + strip.len(), 0);
            self.body.copy_to(strip.start, &mut self.strips[end..]);
        }
    }

    /// What a chunk needs to be copied to.
    fn buffer(&self) -> Vec<u8> {
        vec![0; self.cut.len.min(CHUNK_BYTES as usize + self.cut.skew)]
    }

    /// Copies, hashes and writes a chunk.
    fn chunk(&self, index: usize, buffer: &mut [u8]) -> Result<ChunkDigest> {
        let cut = self.cut;
        let before = if index == 0 { &[][..] } else { self.strip(index - 1) };
        let is_last = index + 1 == cut.count();
        let behind = if is_last { &[][..] } else { self.strip(index) };
        let (start, len) = (cut.chunk(index).start, cut.chunk(index).len());
        let buffer = &mut buffer[..before.len() + len];
        let (front, chunk) = buffer.split_at_mut(before.len());
        front.copy_from_slice(before);
        let (copy, end) = chunk.split_at_mut(len - behind.len());
        self.body.copy_to(start, copy);
        end.copy_from_slice(behind);
        let digest = digest_of(self.algorithm, cut, index, chunk);
        self.file.write_at(&buffer[..cut.write(index).len()], cut.place(index))?;
        Ok(digest)
    }
}

fn write_copied(
    file: &dyn File,
    cut: &Cut,
    body: Body<'_>,
    algorithm: HashAlgorithm,
    pool: Pool<'_>,
) -> Result<Vec<ChunkDigest>> {
    let (count, step) = (cut.count(), (STRIPS_BYTES_MAX / cut.skew.max(1)).max(1));
    let (mut chunks, mut before) = (Vec::with_capacity(count), Vec::new());
    for start in (0..count).step_by(step) {
        let range = start..count.min(start + step);
        let mut copying = Copying { file, cut, body, algorithm, range, strips: before };
        copying.copy_strips();
        chunks.extend(write_some(&copying, pool)?);
        before = copying.strips.split_off(copying.strips.len().saturating_sub(cut.skew));
    }
    Ok(chunks)
}

fn write_some(copying: &Copying<'_>, pool: Pool<'_>) -> Result<Vec<ChunkDigest>> {
    let range = copying.range.clone();
    let Some(pool) = pool.filter(|_| range.len() > 1) else {
        let mut buffer = copying.buffer();
        return range.map(|index| copying.chunk(index, &mut buffer)).collect();
    };
    let chunks = range.clone().map(|_| OnceLock::new()).collect::<Vec<_>>();
    let (next, failed) = (Mutex::new(range.clone()), OnceLock::new());
    let copy_all = || {
        let mut buffer = copying.buffer();
        while let Some(index) = next_of(&next) {
            match copying.chunk(index, &mut buffer) {
                Ok(digest) => _ = chunks[index - range.start].set(digest),
                // Nobody will want the rest.
                Err(error) => {
                    *locked(&next) = range.end..range.end;
                    _ = failed.set(error);
                }
            }
        }
    };
    pool.scope(|scope| {
        (0..pool.current_num_threads()).for_each(|_| scope.spawn(|_| copy_all()));
    });
    match failed.into_inner() {
        Some(error) => Err(error),
        None => chunks.into_iter().map(|chunk| chunk.into_inner().ok_or_else(unhashed)).collect(),
    }
}

/// The caller writes while the pool hashes, and takes part in the hashing when all is written: one file
/// takes the bytes of one writer at a time, so a second one would only wait for its lock.
fn write_beside(
    file: &dyn File,
    cut: &Cut,
    bytes: &[u8],
    algorithm: HashAlgorithm,
    pool: &rayon::ThreadPool,
) -> Result<Vec<ChunkDigest>> {
    let count = cut.count();
    let chunks: Vec<OnceLock<ChunkDigest>> = (0..count).map(|_| OnceLock::new()).collect();
    let next = Mutex::new(0..count);
    let hash_the_next = || {
        let Some(index) = next_of(&next) else { return false };
        chunks[index].set(digest_of(algorithm, cut, index, &bytes[cut.chunk(index)])).is_ok()
    };
    pool.in_place_scope(|scope| {
        for _ in 1..pool.current_num_threads().max(2) {
            scope.spawn(|_| while hash_the_next() {});
        }
        let mut writes = 0..count;
        let written =
            writes.try_for_each(|index| file.write_at(&bytes[cut.write(index)], cut.place(index)));
        match written {
            Ok(()) => while hash_the_next() {},
            // Nobody will want the rest.
            Err(_) => *locked(&next) = count..count,
        }
        written
    })?;
    chunks.into_iter().map(|chunk| chunk.into_inner().ok_or_else(unhashed)).collect()
}

fn next_of(next: &Mutex<Range<usize>>) -> Option<usize> {
    locked(next).next()
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
    let one = |(index, part): (usize, &[u8])| chunk_digest(algorithm, index as u64, part);
    let chunks: Vec<ChunkDigest> = match pool {
        Some(pool) => pool.install(|| bytes.par_chunks(chunk_bytes).enumerate().map(one).collect()),
        None => bytes.chunks(chunk_bytes).enumerate().map(one).collect(),
    };
    Hashed { digest: blob_digest(algorithm, bytes.len() as u64, &chunks), chunks }
}

/// Hashes copies of a body's chunks and calls `each` with them and their offsets, in no order: the digest is that of
/// what was in the copies, whatever others write to the body meanwhile.
pub fn hash_copied(
    body: Body<'_>,
    algorithm: HashAlgorithm,
    pool: Pool<'_>,
    each: impl Fn(usize, &[u8]) + Sync,
) -> Hashed {
    let cut = Cut::new(0, body.len());
    let count = cut.count();
    let one = |index: usize| {
        let range = cut.chunk(index);
        let mut copy = vec![0; range.len()];
        body.copy_to(range.start, &mut copy);
        each(range.start, &copy);
        digest_of(algorithm, &cut, index, &copy)
    };
    let chunks = match pool {
        Some(pool) if count > 1 => pool.install(|| (0..count).into_par_iter().map(one).collect()),
        _ => (0..count).map(one).collect(),
    };
    hashed_of(algorithm, body.len(), chunks)
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::disk::{Disk, OpenOptions, RealDisk};

    #[test]
    fn what_is_written_is_what_is_hashed_whatever_the_way() {
        let dir = tempfile::tempdir().unwrap();
        let options = OpenOptions { writable: true, create: true, ..OpenOptions::default() };
        let disk = RealDisk::open(dir.path(), &options).unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let chunk = CHUNK_BYTES as usize;
        let bytes: Vec<u8> = (0..7 * chunk as u64 / 8 + 100).flat_map(u64::to_le_bytes).collect();
        for len in [0, 5, chunk - 1, chunk, chunk + 1, 2 * chunk, 5 * chunk + 4097, bytes.len()] {
            let (header, rest) = bytes[..len].split_at(len.min(128));
            let racy = Racy::from(&bytes[..len]);
            let bodies = [
                Body::Fixed(&bytes[..len]),
                Body::Racy(racy),
                Body::Headed(header, Racy::from(rest)),
            ];
            for offset in [0, 192, 4096, 12_288, 2 * CHUNK_BYTES + 4096, CHUNK_BYTES - 64] {
                for (body, pool) in
                    bodies.iter().flat_map(|body| [(body, None), (body, Some(&pool))])
                {
                    for algorithm in [HashAlgorithm::Xxh3, HashAlgorithm::Blake3] {
                        let file = disk.create("").unwrap();
                        let hashed = write_body(&*file, offset, *body, algorithm, pool).unwrap();
                        let expected = hash_in_place(&bytes[..len], algorithm, None);
                        assert!(hashed.digest == expected.digest, "{len} at {offset}");
                        assert!(hashed.chunks == expected.chunks, "{len} at {offset}");
                        let mut read = vec![0; len];
                        assert_eq!(file.read_at(&mut read, offset).unwrap(), len);
                        assert!(read == bytes[..len], "{len} at {offset}");
                    }
                }
            }
        }
    }
}
