//! Reading a part of a blob into a buffer, by `pread`: a medium error is an error and not a signal, and
//! where the reader wants it, the chunks that the part lies in are verified.
#![forbid(unsafe_code)]

use crate::disk::{Access, File};
use crate::engine::{Engine, Found, Verify};
use crate::error::{Error, Result};
use crate::format::record::{HEADER_BYTES, chunk_count, chunk_digests_offset};
use crate::hash::{ChunkDigest, blob_digest, chunk_digest, decode_chunks, digest};
use crate::id::BlobId;
use crate::sync::epoch::Guard;
use crate::units::CHUNK_BYTES;
use std::ops::Range;
use std::sync::Arc;

/// Where the bytes of one blob are read from: its segment's file, or the mapping once that has no name
/// any more.
struct Source<'a> {
    engine: &'a Engine,
    id: &'a BlobId,
    found: Found<'a>,
    file: Option<Arc<dyn File>>,
}

impl Engine {
    /// Reads a part of a blob; the number of bytes read, short only at the end of the blob.
    pub fn read_into(
        &self,
        id: &BlobId,
        offset: u64,
        buffer: &mut [u8],
        verify: Verify,
        guard: &Guard,
    ) -> Result<Option<usize>> {
        let Some((_, found)) = self.find_blob(id, guard)? else { return Ok(None) };
        let len = found.header.body_len;
        let start = offset.min(len);
        let end = start.saturating_add(buffer.len() as u64).min(len);
        let file = self.files.open(found.location.segment(), Access::Read)?;
        let source = Source { engine: self, id, found, file };
        if source.found.bytes(guard).is_none() {
            return Err(source.damaged("a blob is cut short", 0));
        }
        let buffer = &mut buffer[..(end - start) as usize];
        match verify {
            Verify::No => source.read(start, buffer)?,
            Verify::Touched => source.read_verified(start..end, start..end, buffer)?,
            Verify::Whole => source.read_verified(0..len, start..end, buffer)?,
        }
        Ok(Some(buffer.len()))
    }
}

impl Source<'_> {
    /// Reads bytes of the record from an offset behind its header on.
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let at = self.found.location.offset() + HEADER_BYTES + offset;
        let is_read = match &self.file {
            Some(file) => file.read_at(buffer, at)? == buffer.len(),
            None => self.found.mapped.as_ref().map.copy_to(at, buffer),
        };
        if is_read { Ok(()) } else { Err(self.damaged("a blob is cut short", offset)) }
    }

    /// Verifies the chunks that `checked` touches, and copies out of them the bytes of `wanted`, which
    /// lie in them.
    fn read_verified(&self, checked: Range<u64>, wanted: Range<u64>, out: &mut [u8]) -> Result<()> {
        let chunks = self.chunks()?;
        let len = self.found.header.body_len;
        let mut bytes = Vec::new();
        for index in checked.start / CHUNK_BYTES..checked.end.div_ceil(CHUNK_BYTES) {
            let chunk = index * CHUNK_BYTES..len.min((index + 1) * CHUNK_BYTES);
            bytes.resize((chunk.end - chunk.start) as usize, 0);
            self.read(chunk.start, &mut bytes)?;
            if !self.is_whole(&chunks, index, &bytes) {
                return Err(self
                    .damaged("a chunk of a blob is not what was stored", chunk.start)
                    .found(format!("other bytes in {}..{} of it", chunk.start, chunk.end)));
            }
            let (from, to) = (wanted.start.max(chunk.start), wanted.end.min(chunk.end));
            if from < to {
                out[(from - wanted.start) as usize..(to - wanted.start) as usize].copy_from_slice(
                    &bytes[(from - chunk.start) as usize..(to - chunk.start) as usize],
                );
            }
        }
        Ok(())
    }

    /// The digests of the blob's chunks, which together make its id; none of a blob of one chunk.
    fn chunks(&self) -> Result<Vec<ChunkDigest>> {
        let (hash, len) = (self.engine.superblock.hash, self.found.header.body_len);
        let count = chunk_count(len) as usize;
        if count == 0 {
            return Ok(Vec::new());
        }
        let mut stored = vec![0; count * hash.digest_bytes()];
        self.read(chunk_digests_offset(len), &mut stored)?;
        let chunks = decode_chunks(hash, &stored);
        if blob_digest(hash, len, &chunks) != self.found.header.digest {
            return Err(self.damaged("the digests of a blob's chunks do not make its id", len));
        }
        Ok(chunks)
    }

    fn is_whole(&self, chunks: &[ChunkDigest], index: u64, bytes: &[u8]) -> bool {
        let hash = self.engine.superblock.hash;
        match chunks.get(index as usize) {
            Some(chunk) => chunk_digest(hash, index, bytes) == *chunk,
            None => digest(hash, bytes) == self.found.header.digest,
        }
    }

    fn damaged(&self, what: &str, offset: u64) -> Error {
        let (segment, at) = (self.found.location.segment(), self.found.location.offset());
        Error::damaged(what, segment, at + HEADER_BYTES + offset).expected(self.id)
    }
}
