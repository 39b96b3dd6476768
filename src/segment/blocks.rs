//! Reading a segment by blocks: through a mapping, or by `pread`.
//!
//! Whoever appends to a segment may cut what it has reserved off while others read. A page of a
//! mapping that lies behind the end of the file by then is a SIGBUS, where `pread` only reads less. So
//! a segment that somebody else may have open is searched for records by `pread`; what the records hold
//! stays, and may be read through a mapping.
#![forbid(unsafe_code)]

use crate::disk::{File, Map};
use crate::error::{Error, Result};
use std::cell::{Cell, RefCell};
use std::ops::Range;

/// Bytes read at a time: so many where a walk goes on right behind what was read before, and fewer after
/// a leap over the body of a large record.
const WINDOW_BYTES_MAX: usize = 64 << 10;
const WINDOW_BYTES_MIN: usize = 1 << 10;

/// The bytes of a segment, as far as its file held them.
pub trait Blocks {
    /// Number of bytes.
    fn len(&self) -> u64;
    /// The 64 bytes at a multiple of 64; `None` if they are not all there.
    fn block(&self, offset: u64) -> Option<[u8; 64]>;
    /// Copies bytes out; `false` if they are not all there.
    fn copy_to(&self, offset: u64, out: &mut [u8]) -> bool;
    /// Whether there is nothing but zeros from one multiple of 64 to another, as far as there is
    /// anything.
    fn is_zero(&self, bytes: Range<u64>) -> bool {
        let is_zero = |at| self.block(at).is_none_or(|block| block == [0; 64]);
        bytes.step_by(64).all(is_zero)
    }
}

impl Blocks for Map {
    fn len(&self) -> u64 {
        self.len()
    }
    fn block(&self, offset: u64) -> Option<[u8; 64]> {
        self.read_block(offset)
    }
    fn copy_to(&self, offset: u64, out: &mut [u8]) -> bool {
        self.copy_to(offset, out)
    }
    fn is_zero(&self, bytes: Range<u64>) -> bool {
        let whole = bytes.start..bytes.end.min(self.len() / 64 * 64);
        let racy = self.racy(whole.start, whole.end.saturating_sub(whole.start));
        racy.is_none_or(|racy| racy.is_zero())
    }
}

/// A file that may be cut while it is read. What cannot be read reads as not there:
/// [`FileBlocks::check`] tells, and must be asked before anything is concluded from what was not found.
pub struct FileBlocks<'f> {
    file: &'f dyn File,
    len: u64,
    window: RefCell<Window>,
    failed: Cell<Option<Error>>,
}

/// A stretch of the file; a walk goes forward.
struct Window {
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// How much to read at an offset that is not in it.
    fn next_bytes(&self, offset: u64) -> usize {
        let is_near = offset.wrapping_sub(self.start) <= 2 * self.bytes.len() as u64;
        let wanted = if is_near { 4 * self.bytes.len() } else { 0 };
        wanted.clamp(WINDOW_BYTES_MIN, WINDOW_BYTES_MAX)
    }

    fn get(&self, offset: u64) -> Option<[u8; 64]> {
        let at = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        self.bytes.get(at..at.checked_add(64)?)?.try_into().ok()
    }
}

impl<'f> FileBlocks<'f> {
    /// The file as long as it is now.
    pub fn new(file: &'f dyn File) -> Result<Self> {
        let window = RefCell::new(Window { start: 0, bytes: Vec::new() });
        Ok(Self { file, len: file.len()?, window, failed: Cell::new(None) })
    }

    /// Has nothing behind an offset be there.
    pub fn end_at(&mut self, end: u64) {
        self.len = self.len.min(end);
    }

    /// The error, if anything could not be read.
    pub fn check(&self) -> Result<()> {
        self.failed.take().map_or(Ok(()), Err)
    }

    fn read_at(&self, out: &mut [u8], offset: u64) -> usize {
        self.file.read_at(out, offset).unwrap_or_else(|error| {
            self.failed.set(Some(error));
            0
        })
    }

    /// Forgets what has been read: the file may say something else now.
    pub fn forget(&self) {
        self.window.borrow_mut().bytes.clear();
    }
}

impl Blocks for FileBlocks<'_> {
    fn len(&self) -> u64 {
        self.len
    }

    fn block(&self, offset: u64) -> Option<[u8; 64]> {
        if !offset.is_multiple_of(64) || offset.checked_add(64)? > self.len {
            return None;
        }
        let mut window = self.window.borrow_mut();
        if let Some(block) = window.get(offset) {
            return Some(block);
        }
        let bytes = window.next_bytes(offset);
        window.bytes.resize(bytes, 0);
        window.start = offset;
        let read = self.read_at(&mut window.bytes, offset);
        window.bytes.truncate(read);
        window.get(offset)
    }

    fn copy_to(&self, offset: u64, out: &mut [u8]) -> bool {
        self.read_at(out, offset) == out.len()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::disk::{Disk, OpenOptions, RealDisk};

    #[test]
    fn a_file_that_is_cut_while_it_is_read_only_holds_less() {
        let dir = tempfile::tempdir().unwrap();
        let options = OpenOptions { writable: true, ..OpenOptions::default() };
        let disk = RealDisk::open(dir.path(), &options).unwrap();
        let file = disk.create("").unwrap();
        let bytes: Vec<u8> = (0..100_000u32).map(|i| (i / 64) as u8).collect();
        file.write_at(&bytes, 0).unwrap();
        let blocks = FileBlocks::new(&*file).unwrap();
        assert_eq!(blocks.len(), 100_000);
        for offset in (0..100_000 - 63).step_by(64) {
            assert_eq!(blocks.block(offset).unwrap(), [(offset / 64) as u8; 64]);
        }
        assert_eq!(blocks.block(100_000 / 64 * 64), None, "half a block is none");
        assert_eq!(blocks.block(7), None);
        let mut out = [0; 8];
        assert!(blocks.copy_to(60, &mut out) && out == [0, 0, 0, 0, 1, 1, 1, 1]);
        file.set_len(64).unwrap();
        assert_eq!(blocks.block(64 * 1000), None);
        assert!(blocks.block(0).is_some() && !blocks.copy_to(60, &mut out));
    }
}
