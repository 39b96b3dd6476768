//! Copying a record from one segment to another, number and all.
#![forbid(unsafe_code)]

use super::appender::Appender;
use super::batch::Placed;
use super::scan::Scanned;
use crate::control::Control;
use crate::disk::Map;
use crate::error::{Error, Result};
use crate::format::record::{HEADER_BYTES, Header, STATE_OFFSET, State, header_offset};
use crate::units::MIB;

/// Bytes copied at a time.
const PIECE_BYTES: u64 = MIB;

impl Appender {
    /// Copies a record behind the last one, pending; its offset here.
    pub fn copy_record(&mut self, map: &Map, record: &Scanned, control: &Control) -> Result<u64> {
        let header = Header { state: State::Pending, ..record.header };
        let offset = header_offset(self.tail(), 1 << header.align_log2).unwrap_or(u64::MAX);
        let bytes = record.end - record.offset;
        self.reserve_to(offset.saturating_add(bytes))?;
        let mut buffer = vec![0; PIECE_BYTES.min(bytes) as usize];
        let mut at = HEADER_BYTES;
        while at < bytes {
            let piece = &mut buffer[..PIECE_BYTES.min(bytes - at) as usize];
            if !map.copy_to(record.offset + at, piece) {
                return Err(Error::damaged("a record is cut short", self.number(), record.offset));
            }
            self.file().write_at(piece, offset + at)?;
            at += piece.len() as u64;
        }
        self.file().write_at(&header.encode(self.place(), offset), offset)?;
        self.advance(Some(&Placed { offset, bytes }), offset + bytes, control);
        Ok(offset)
    }

    /// Sets the state byte of the record at an offset.
    pub fn publish_at(&self, offset: u64) -> Result<()> {
        self.file().write_at(&[State::Published as u8], offset + STATE_OFFSET)
    }
}
