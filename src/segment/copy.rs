//! Copying records from one segment to another, number and all.
#![forbid(unsafe_code)]

use super::appender::Appender;
use super::scan::Scanned;
use crate::control::Control;
use crate::disk::Map;
use crate::error::{Error, Result};
use crate::format::record::{HEADER_BYTES, Header, STATE_OFFSET, State, header_offset};
use crate::format::segment::Entry;
use crate::units::{MIB, PAGE_BYTES};
use std::io::IoSlice;

/// Bytes copied at a time.
const PIECE_BYTES: u64 = MIB;

/// A record to be copied: its header, with the state that the copy is to have, and all behind it.
#[derive(Clone, Copy, Debug)]
pub struct Original<'m> {
    /// Its header.
    pub header: Header,
    /// For a pin the number that it holds, else zero.
    pub held: u64,
    /// Its bytes from the end of the header on.
    pub rest: &'m [u8],
}

/// What stands between two records.
static GAP: [u8; PAGE_BYTES as usize] = [0; PAGE_BYTES as usize];

impl Appender {
    /// Where a copy would stand behind `tail`, and where the next one may begin.
    pub fn place_copy(tail: u64, header: &Header, bytes: u64) -> (u64, u64) {
        // Cannot overflow: tails are file offsets, far below 2^63.
        let offset = header_offset(tail, 1 << header.align_log2).unwrap_or(u64::MAX / 2);
        (offset, offset.saturating_add(bytes))
    }

    /// Whether there is nothing in the segment but copies that this appender has made.
    pub fn holds_copies_only(&self) -> bool {
        self.listed.has_copies_only()
    }

    /// Copies records behind the last one by one write; their offsets here. Straight from where they are
    /// mapped, or by way of a buffer.
    pub fn append_copies(
        &mut self,
        records: &[Original<'_>],
        buffer: Option<&mut Vec<u8>>,
        control: &Control,
    ) -> Result<Vec<u64>> {
        let (mut offsets, mut headers) = (Vec::new(), Vec::new());
        let mut end = self.tail();
        for record in records {
            let bytes = HEADER_BYTES + record.rest.len() as u64;
            let (offset, behind) = Self::place_copy(end, &record.header, bytes);
            offsets.push(offset);
            headers.push(record.header.encode(self.place(), offset));
            end = behind;
        }
        self.reserve_to(end)?;
        self.copying = end;
        self.write_copies(records, &headers, &offsets, buffer)?;
        self.count += records.len() as u64;
        let entry = |(at, original): (&u64, &Original<'_>)| {
            Entry::new(&original.header, *at, original.held)
        };
        self.listed.add_copies(offsets.iter().zip(records).map(entry));
        self.advance(offsets.last().copied(), end, control);
        Ok(offsets)
    }

    fn write_copies(
        &self,
        records: &[Original<'_>],
        headers: &[[u8; 64]],
        offsets: &[u64],
        buffer: Option<&mut Vec<u8>>,
    ) -> Result<()> {
        let mut at = self.tail();
        let parts =
            records.iter().zip(headers).zip(offsets).flat_map(|((record, header), &offset)| {
                let gap = GAP.get(..(offset - at) as usize).unwrap_or_default();
                at = offset + HEADER_BYTES + record.rest.len() as u64;
                [gap, header, record.rest]
            });
        let parts = parts.filter(|part| !part.is_empty());
        match buffer {
            Some(buffer) => {
                if !bug!("buffer-kept") {
                    buffer.clear();
                }
                parts.for_each(|part| buffer.extend_from_slice(part));
                self.file().write_at(buffer, self.tail())
            }
            None => {
                let parts: Vec<_> = parts.map(IoSlice::new).collect();
                self.file().write_parts_at(&parts, self.tail())
            }
        }
    }

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
        self.listed.forget();
        self.advance(Some(offset), offset + bytes, control);
        Ok(offset)
    }

    /// Sets the state byte of the record at an offset.
    pub fn publish_at(&self, offset: u64) -> Result<()> {
        self.file().write_at(&[State::Published as u8], offset + STATE_OFFSET)
    }
}
