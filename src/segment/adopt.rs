//! Taking up an open segment that nobody appends to: its process is idle, closed or dead.
//!
//! The lock is tried, never waited for: a stopped process still holds its own, and then its segment
//! is left alone, as is one that this user may not write to. The tail is found by a walk from the last
//! header that `control` hints at; the hint is believed only if a valid header stands there. Behind the last record whatever is not zero (a
//! dead appender's payload, part of a footer) is passed over and never written again. A segment that was
//! cut inside of a record is nobody's to append to.
//!
//! I1  A copy is written as published and with its header first (`copy.rs`), and its writer may fail or die
//!     in the middle of it: then it stands last. The index names a copy only when it is whole; so who takes the
//!     segment up reads the last record where the index does not name it, and has it pending if it is not
//!     whole: a footer never vouches for half a copy.
//!
//! Death: such a copy, for the next one to find.
#![forbid(unsafe_code)]

use super::appender::Appender;
use super::blocks::{Blocks, FileBlocks};
use super::files::{Files, segment_path};
use super::read::{is_sealed, record_at};
use super::scan::{Scan, Scanned};
use crate::control::{Adopted, Control};
use crate::disk::{Access, File, LockKind};
use crate::error::{ErrorKind, Result};
use crate::format::record::{HEADER_BYTES, Header, MAGIC, STATE_OFFSET, State};
use crate::format::segment::HEAD_BYTES;
use crate::format::word::Location;
use crate::id::HashAlgorithm;
use crate::units::{KIB, STEP_BYTES};
use std::sync::Arc;

/// Bytes read at a time.
const WINDOW_BYTES: u64 = 64 * KIB;
/// Between leavings and what is appended: were the file cut right behind an old trailer, or one block
/// behind it, a footer would count again that did not when the index was built.
const LEAVINGS_GAP_BYTES: u64 = 2 * STEP_BYTES;

/// What whoever takes up a segment says about its last record.
#[derive(Clone, Copy)]
pub struct Verifier<'a> {
    /// Whether the index names the record with this header at this location.
    pub is_named: &'a dyn Fn(&Header, Location) -> Result<bool>,
    /// Whether a body is the one that was written with the header.
    pub is_whole: fn(&Header, &[u8], HashAlgorithm) -> bool,
}

impl Appender {
    /// Takes up any open segment that is free and not sealed.
    pub fn adopt(files: &Files, control: &Control, verifier: Verifier<'_>) -> Result<Option<Self>> {
        let taken = control.take_up(|last| Self::adopt_one(files, last, verifier))?;
        Ok(taken.map(|(slot, mut appender)| {
            appender.slot = Some(slot);
            *appender
        }))
    }

    /// Takes up this segment, if it is free and not sealed.
    pub fn adopt_orphan(
        files: &Files,
        number: u32,
        verifier: Verifier<'_>,
    ) -> Result<Option<Self>> {
        let Some(start) = Location::new(number, 0) else { return Ok(None) };
        Ok(match Self::adopt_one(files, start, verifier)? {
            Adopted::Taken(appender) => Some(*appender),
            Adopted::Gone | Adopted::Busy => None,
        })
    }

    fn adopt_one(
        files: &Files,
        last: Location,
        verifier: Verifier<'_>,
    ) -> Result<Adopted<Box<Self>>> {
        let number = last.segment();
        let file = match files.open(number, Access::Write) {
            Ok(Some(file)) => file,
            // What is not a file of the store is nobody's to append to.
            Ok(None) => return Ok(Adopted::Gone),
            Err(error) if error.is_damage() => return Ok(Adopted::Gone),
            Err(error) if error.kind() == ErrorKind::Permission => {
                return unwritable(files, number);
            }
            Err(error) => return Err(error),
        };
        if !file.try_lock(0, 1, LockKind::Exclusive)? {
            return Ok(Adopted::Busy);
        }
        // Whoever unlinks an open segment holds its lock until it is unlinked.
        let is_there = files.disk.is_named(&*file, &segment_path(number))?;
        if !is_there || files.check_head(&*file, number).is_err() {
            return Ok(Adopted::Gone);
        }
        // The length is read under the lock: nobody else changes it now.
        let len = file.len()?;
        // By `pread`: in a full tmpfs a page of a mapping that nobody has written to is a SIGBUS.
        let blocks = FileBlocks::new(&*file)?;
        let is_sealed = is_sealed(&blocks, files, number);
        blocks.check()?;
        if is_sealed {
            return Ok(Adopted::Gone);
        }
        let last = last_record(files, number, &blocks, last.offset());
        let tail = last.map_or(HEAD_BYTES, |last| last.end);
        let is_cut = is_cut(files, number, &blocks, tail);
        blocks.check()?;
        if is_cut {
            return Ok(Adopted::Gone);
        }
        if let Some(last) = last {
            verifier.settle(files, &*file, number, &last)?;
        }
        let tail = used_end(&*file, tail, len)?;
        Ok(Adopted::Taken(Box::new(Self::taken_up(
            files,
            file as Arc<dyn File>,
            number,
            tail,
            len,
        ))))
    }
}

/// A segment that this user may not write to: finished, if it is sealed, or another user's.
fn unwritable(files: &Files, number: u32) -> Result<Adopted<Box<Appender>>> {
    let Ok(Some(file)) = files.open(number, Access::Read) else { return Ok(Adopted::Busy) };
    let blocks = FileBlocks::new(&*file)?;
    let is_sealed = is_sealed(&blocks, files, number);
    blocks.check()?;
    Ok(if is_sealed { Adopted::Gone } else { Adopted::Busy })
}

fn last_record(files: &Files, number: u32, blocks: &FileBlocks<'_>, hint: u64) -> Option<Scanned> {
    let place = files.place(number);
    let from = if record_at(blocks, place, hint).is_some() { hint } else { HEAD_BYTES };
    Scan::new(blocks, place, files.digest_bytes(), from).last()
}

impl Verifier<'_> {
    /// Has a published record pending that is not whole (I1).
    fn settle(&self, files: &Files, file: &dyn File, number: u32, last: &Scanned) -> Result<()> {
        if last.header.state != State::Published || bug!("half-copy-believed") {
            return Ok(());
        }
        if let Some(location) = Location::new(number, last.offset)
            && (self.is_named)(&last.header, location)?
        {
            return Ok(());
        }
        let len = usize::try_from(last.header.body_len).unwrap_or(usize::MAX);
        let mut body = vec![0; len];
        let read = file.read_at(&mut body, last.offset + HEADER_BYTES)?;
        if read == len && (self.is_whole)(&last.header, &body, files.hash) {
            return Ok(());
        }
        file.write_at(&[State::Pending as u8], last.offset + STATE_OFFSET)
    }
}

/// Whether a header stands behind the last record: of one that reaches beyond the end of the file. Were
/// the file to grow over that, a walk would pass over what was appended there.
fn is_cut(files: &Files, number: u32, blocks: &FileBlocks<'_>, tail: u64) -> bool {
    let place = files.place(number);
    let is_header = |at: u64| {
        let block = blocks.block(at).filter(|block| block[..4] == MAGIC.to_le_bytes());
        block.is_some_and(|block| Header::decode(&block, place, at).is_some())
    };
    !bug!("cut-taken-up") && (tail..blocks.len()).step_by(STEP_BYTES as usize).any(is_header)
}

/// First step at or behind `tail` from which on there are only zeros; with a gap behind what is not.
fn used_end(file: &dyn File, tail: u64, len: u64) -> Result<u64> {
    let mut buffer = vec![0; WINDOW_BYTES as usize];
    let mut end = len;
    while end > tail {
        let start = end.saturating_sub(WINDOW_BYTES).max(tail);
        let part = &mut buffer[..(end - start) as usize];
        let read = file.read_at(part, start)?;
        if let Some(at) = part[..read].iter().rposition(|&byte| byte != 0) {
            return Ok((start + at as u64 + 1).next_multiple_of(STEP_BYTES) + LEAVINGS_GAP_BYTES);
        }
        end = start;
    }
    Ok(tail)
}
