//! How a large body is cut into writes: one a chunk, each of which ends where a huge page of the file does.
//!
//! The page cache of some file systems (ext4 and xfs among them) keeps what one write brings in pages as
//! large as the write fills. A page of 2 MiB is entered into a page table by one fault and one entry, for
//! whoever maps the file, where pages of 4 KiB are by 32 faults and 512 entries: the first pass over an array
//! is as fast as one over memory. But the body of a blob begins behind its header, so that the end of each
//! chunk, a strip, goes with the write of the next.
#![forbid(unsafe_code)]

use crate::units::{CHUNK_BYTES, KIB, MIB};
use std::ops::Range;

/// A huge page, where a page has 4 KiB; elsewhere the cut costs nothing.
const HUGE_PAGE_BYTES: u64 = 2 * MIB;
/// A body that begins farther than this behind a huge page's beginning is written by its chunks.
const STRIP_BYTES_MAX: u64 = 64 * KIB;

/// Bytes at the end of each chunk of a body at `offset` that are written with the next chunk, so that the
/// writes end where huge pages of the file do.
pub fn strip_bytes(offset: u64) -> usize {
    let behind = offset % HUGE_PAGE_BYTES;
    if behind <= STRIP_BYTES_MAX && !bug!("writes-by-chunk") { behind as usize } else { 0 }
}

/// A large body and the writes that it goes by.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    offset: u64,
    /// Its length.
    pub len: usize,
    /// Bytes of each chunk that go with the next one.
    pub skew: usize,
}

impl Cut {
    /// Of `len` bytes that go to `offset` of a file.
    pub fn new(offset: u64, len: usize) -> Self {
        Self { offset, len, skew: strip_bytes(offset) }
    }

    /// How many chunks there are, and as many writes.
    pub fn count(&self) -> usize {
        self.len.div_ceil(CHUNK_BYTES as usize).max(1)
    }

    /// The bytes of a chunk.
    pub fn chunk(&self, index: usize) -> Range<usize> {
        let start = index * CHUNK_BYTES as usize;
        start..self.len.min(start + CHUNK_BYTES as usize)
    }

    /// The bytes of a chunk that are written with the next one.
    pub fn strip(&self, index: usize) -> Range<usize> {
        let end = self.chunk(index).end;
        if index + 1 < self.count() { end - self.skew..end } else { end..end }
    }

    /// The bytes of a write: those of its chunk but for its strip, behind the strip before.
    pub fn write(&self, index: usize) -> Range<usize> {
        let start = if index == 0 { 0 } else { self.strip(index - 1).start };
        start..self.strip(index).start
    }

    /// Where they go.
    pub fn place(&self, index: usize) -> u64 {
        self.offset + self.write(index).start as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::PAGE_BYTES;

    const CHUNK: usize = CHUNK_BYTES as usize;

    fn cuts() -> impl Iterator<Item = Cut> {
        let offsets =
            [0, 192, PAGE_BYTES, 3 * PAGE_BYTES, 64 * KIB, 65 * KIB, CHUNK_BYTES + PAGE_BYTES];
        let around = |len: usize| {
            [len.saturating_sub(4097), len.saturating_sub(1), len, len + 1, len + 4097]
        };
        let lens = [0, CHUNK, 2 * CHUNK, 7 * CHUNK].into_iter().flat_map(around);
        lens.flat_map(move |len| offsets.map(|offset| Cut::new(offset, len)))
    }

    #[test]
    fn chunks_and_writes_each_cover_the_body_once() {
        for cut in cuts() {
            let (mut chunked, mut written) = (0, 0);
            for index in 0..cut.count() {
                let (chunk, write) = (cut.chunk(index), cut.write(index));
                assert_eq!((chunk.start, write.start), (chunked, written), "{cut:?} {index}");
                assert_eq!(cut.place(index), cut.offset + written as u64, "{cut:?} {index}");
                assert_eq!(cut.strip(index), write.end..chunk.end, "{cut:?} {index}");
                assert!(write.len() <= CHUNK + cut.skew, "{cut:?} {index}");
                (chunked, written) = (chunk.end, write.end);
            }
            assert_eq!((chunked, written), (cut.len, cut.len), "{cut:?}");
        }
    }

    #[test]
    fn writes_fill_huge_pages() {
        for cut in cuts().filter(|cut| cut.offset % HUGE_PAGE_BYTES <= STRIP_BYTES_MAX) {
            for index in 1..cut.count() {
                assert!(cut.place(index).is_multiple_of(HUGE_PAGE_BYTES), "{cut:?} {index}");
            }
        }
    }
}
