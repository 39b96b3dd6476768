//! Putting in what a reader yields, of unknown length.
//!
//! Up to one chunk it is an ordinary put. Above, the chunks go into a segment of their own that gets
//! its name when it is complete; while one chunk is hashed and written the next is read.
#![forbid(unsafe_code)]

use crate::disk::{Access, File};
use crate::engine::{Durability, Engine};
use crate::error::{Error, ErrorKind, Result};
use crate::hash::{ChunkDigest, ChunkHasher, blob_digest};
use crate::id::HashAlgorithm;
use crate::naming::Naming;
use crate::put::Put;
use crate::put_large::{Layout, Written};
use crate::segment::Appender;
use crate::stream::{Body, Hashed, Pool, fill};
use crate::sync::epoch::Guard;
use crate::units::{CHUNK_BYTES, align_up};
use std::io::Read;
use std::sync::{Mutex, PoisonError};

impl Engine {
    /// Puts in all that a reader yields.
    pub fn put_reader(
        &self,
        guard: &Guard,
        reader: &mut (dyn Read + Send),
        naming: &Naming<'_>,
        durability: Durability,
    ) -> Result<Put> {
        self.enter_writing(guard)?;
        let mut first = vec![0; CHUNK_BYTES as usize];
        let got = fill(reader, &mut first)?;
        let mut second = vec![0; CHUNK_BYTES as usize];
        let ahead = if got < first.len() { 0 } else { fill(reader, &mut second)? };
        if ahead == 0 {
            return self.put(guard, Body::Fixed(&first[..got]), naming, durability);
        }
        let mut appender = self.lone_appender()?;
        // Any length above the page-alignment limit has this layout.
        let start = Layout::of(appender.tail(), naming.record_bytes(1), CHUNK_BYTES);
        let (len, chunks) = {
            let mut sink =
                Sink { appender: &mut appender, engine: self, at: start.body, chunks: Vec::new() };
            sink.drain(reader, [first, second], ahead, self.pool(guard))?
        };
        let at = Layout { len, ..start };
        appender.reserve_to(at.end(self.files.digest_bytes()))?;
        let digest = blob_digest(self.superblock.hash, len, &chunks);
        let map = appender.file().map(at.body + len, Access::Read)?;
        let mut written = Written::new(appender, at, Hashed { digest, chunks }, true);
        match map.racy(written.at.body, len) {
            Some(body) => self.commit(guard, &mut written, Body::Racy(body), naming, durability),
            None => {
                Err(Error::new(ErrorKind::Io, "a new segment is shorter than what was written"))
            }
        }
    }
}

/// Takes chunks in turn into a segment.
struct Sink<'a> {
    appender: &'a mut Appender,
    engine: &'a Engine,
    at: u64,
    chunks: Vec<ChunkDigest>,
}

impl Sink<'_> {
    /// Writes the first two chunks and all that follow; their length and digests.
    fn drain(
        &mut self,
        reader: &mut (dyn Read + Send),
        [mut current, mut next]: [Vec<u8>; 2],
        mut ahead: usize,
        pool: Pool<'_>,
    ) -> Result<(u64, Vec<ChunkDigest>)> {
        let start = self.at;
        let mut len = current.len();
        let mut spare = vec![0; CHUNK_BYTES as usize];
        while len > 0 {
            self.engine.check_room(self.at + len as u64)?;
            let end = align_up(self.at + len as u64, crate::units::MIB).unwrap_or(u64::MAX);
            self.appender.reserve_to(end)?;
            let index = self.chunks.len() as u64;
            let (file, hash) = (self.appender.file().clone(), self.engine.superblock.hash);
            let (at, part) = (self.at, &current[..len]);
            let work = || write_chunk(&*file, at, part, hash, index);
            let is_more = ahead == next.len();
            let (digest, read) = match pool {
                Some(pool) => {
                    overlap(pool, work, || if is_more { fill(reader, &mut spare) } else { Ok(0) })
                }
                None => (work(), if is_more { fill(reader, &mut spare) } else { Ok(0) }),
            };
            self.chunks.push(digest?);
            self.at += len as u64;
            (current, next, spare) = (next, spare, current);
            (len, ahead) = (ahead, read?);
        }
        Ok((self.at - start, std::mem::take(&mut self.chunks)))
    }
}

/// Runs `work` on the pool while `other` runs here.
fn overlap<A: Send, B>(
    pool: &rayon::ThreadPool,
    work: impl FnOnce() -> A + Send,
    other: impl FnOnce() -> B,
) -> (A, B) {
    let done = Mutex::new(None);
    let here = pool.in_place_scope(|scope| {
        scope.spawn(|_| *done.lock().unwrap_or_else(PoisonError::into_inner) = Some(work()));
        other()
    });
    match done.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(value) => (value, here),
        None => unreachable!("a scope ends after its tasks"),
    }
}

fn write_chunk(
    file: &dyn File,
    at: u64,
    part: &[u8],
    hash: HashAlgorithm,
    index: u64,
) -> Result<ChunkDigest> {
    const PIECE_BYTES: usize = 256 << 10;
    let mut hasher = ChunkHasher::new(hash, index);
    for (piece, offset) in part.chunks(PIECE_BYTES).zip((0u64..).step_by(PIECE_BYTES)) {
        hasher.update(piece);
        file.write_at(piece, at + offset)?;
    }
    Ok(hasher.finish_part())
}
