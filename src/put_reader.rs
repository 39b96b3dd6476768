//! Putting in what a reader yields, of unknown length.
//!
//! Up to one chunk it is an ordinary put. Above, the chunks go into a segment of their own that gets
//! its name when it is complete; while one chunk is hashed and written the next is read.
#![forbid(unsafe_code)]

use crate::cut::strip_bytes;
use crate::disk::Access;
use crate::engine::{Durability, Engine};
use crate::error::{Error, ErrorKind, Result};
use crate::hash::{ChunkDigest, blob_digest, chunk_digest};
use crate::naming::Naming;
use crate::put::Put;
use crate::put_large::{Layout, Written};
use crate::segment::Appender;
use crate::stream::{Body, Hashed, Pool, fill};
use crate::sync::epoch::Guard;
use crate::units::{CHUNK_BYTES, align_up};
use std::io::{IoSlice, Read};
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
            let (appender, strip) = (&mut appender, Vec::new());
            let (at, chunks) = (start.body, Vec::new());
            let mut sink = Sink { appender, engine: self, at, strip, chunks };
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
    /// The end of the chunk before, which is written with the next one: see [`strip_bytes`].
    strip: Vec<u8>,
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
        let strip_bytes = strip_bytes(start);
        while len > 0 {
            self.engine.check_room(self.at + len as u64)?;
            let end = align_up(self.at + len as u64, crate::units::MIB).unwrap_or(u64::MAX);
            self.appender.reserve_to(end)?;
            let index = self.chunks.len() as u64;
            let (file, hash) = (self.appender.file().clone(), self.engine.superblock.hash);
            let (at, chunk) = (self.at, &current[..len]);
            // A chunk that another follows is a whole one.
            let (part, behind) = chunk.split_at(len - if ahead > 0 { strip_bytes } else { 0 });
            let strip = &mut self.strip;
            let mut work = || {
                let digest = chunk_digest(hash, index, chunk);
                let parts = [IoSlice::new(strip), IoSlice::new(part)];
                file.write_parts_at(&parts, at - strip.len() as u64)?;
                strip.clear();
                strip.extend_from_slice(behind);
                Ok::<_, Error>(digest)
            };
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
