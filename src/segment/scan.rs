//! The walk over the records of a segment that has no footer to go by.
//!
//! At every 64-byte step it looks for a valid header and goes on behind the record that it finds, so
//! gaps, damage and the leavings of dead appenders are passed alike. A header is bound to its place
//! by its checksum, so bytes inside a payload are never taken for one.
#![forbid(unsafe_code)]

use super::blocks::Blocks;
use crate::format::record::{Header, MAGIC, Place};
use crate::format::segment::HEAD_BYTES;
use crate::units::STEP_BYTES;

/// A record met on a walk.
#[derive(Clone, Copy, Debug)]
pub struct Scanned {
    /// Offset of its header.
    pub offset: u64,
    /// The header.
    pub header: Header,
    /// Offset behind the record.
    pub end: u64,
}

/// A walk over the bytes of a segment, from an offset on.
#[derive(Debug)]
pub struct Scan<'m, B> {
    blocks: &'m B,
    place: Place,
    digest_bytes: u64,
    at: u64,
    end: u64,
}

impl<'m, B: Blocks> Scan<'m, B> {
    /// Walks from `from` (or the first record) to the end.
    pub fn new(blocks: &'m B, place: Place, digest_bytes: u64, from: u64) -> Self {
        let at = from.max(HEAD_BYTES).next_multiple_of(STEP_BYTES);
        Self { blocks, place, digest_bytes, at, end: blocks.len() }
    }

    fn record_at(&self, offset: u64) -> Option<Scanned> {
        let block = self.blocks.block(offset)?;
        if block[..4] != MAGIC.to_le_bytes() {
            return None;
        }
        let header = Header::decode(&block, self.place, offset)?;
        let end = offset.checked_add(header.record_bytes(self.digest_bytes))?;
        (end <= self.end).then_some(Scanned { offset, header, end })
    }
}

impl<B: Blocks> Iterator for Scan<'_, B> {
    type Item = Scanned;

    fn next(&mut self) -> Option<Scanned> {
        while self.at + STEP_BYTES <= self.end {
            if let Some(found) = self.record_at(self.at) {
                self.at = found.end;
                return Some(found);
            }
            self.at += STEP_BYTES;
            if bug!("walk-gives-up") && self.blocks.block(self.at) != Some([0; 64]) {
                return None;
            }
        }
        None
    }
}
