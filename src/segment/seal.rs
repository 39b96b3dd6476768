//! Sealing: the footer that makes a segment cheap to read and ends its life as an open one.
//!
//! I1  Only who has the appender seals, and after its last publish; so a record of a sealed segment
//!     that the index does not name will never be named.
//! I2  Of a record of a sealed segment that the index has ever named, the state byte is set, or that
//!     of a later record of its key is.
//! I3  The footer says how much was durable before it was written; above that it proves nothing.
//! I4  The file is cut to its records before the footer goes behind them, never below one.
//!
//! Death: after the cut, an open segment without reserved space; inside the footer, bytes that are no
//! record, which the next appender passes over.
#![forbid(unsafe_code)]

use super::appender::Appender;
use super::blocks::{Blocks, FileBlocks};
use super::files::{Files, SEGMENTS_DIR, segment_path};
use super::read::{end_of, walk};
use crate::control::Control;
use crate::disk::{Access, File};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{Header, Kind, STATE_OFFSET, State};
use crate::format::segment::{ENTRY_BYTES, Entry, Trailer};
use crate::format::word::Location;
use zerocopy::IntoBytes;

/// Mode of a segment that nobody writes to any more.
const MODE_FINISHED: u32 = 0o400;

/// What whoever seals says about a pending record: whether the index names it. Where another record of
/// its key has come instead, that one's state byte is set.
pub type Judge<'a> = &'a dyn Fn(&Header, Location) -> Result<bool>;

impl Appender {
    /// Seals the segment; nothing may be appended any more, and nobody takes it up again, also after
    /// an error.
    ///
    /// With `durable`, all of it is made durable first and the footer proves it.
    ///
    /// # Errors
    /// `SyncFailed` when an fsync failed: the segment is to be poisoned before the appender is dropped.
    pub fn seal(&mut self, control: &Control, durable: bool, is_named: Judge<'_>) -> Result<()> {
        let sealed = self.try_seal(durable, is_named);
        if let Some(slot) = self.slot.take() {
            control.forget_open(slot, self.number);
        }
        sealed?;
        if durable { confirm(&self.files, self.number, &*self.file) } else { Ok(()) }
    }

    fn try_seal(&mut self, durable: bool, is_named: Judge<'_>) -> Result<()> {
        let mut entries = self.list()?;
        self.publish_named(&mut entries, is_named)?;
        if durable {
            self.sync()?;
        }
        self.write_footer(&entries)
    }

    fn list(&self) -> Result<Vec<Entry>> {
        // Who has taken over half a footer begins at the step behind it, and so behind the end.
        let map = self.file.map(self.tail.min(self.file.len()?), Access::Read)?;
        Ok(walk(&map, &self.files, self.number, 0).0)
    }

    fn publish_named(&self, entries: &mut [Entry], is_named: Judge<'_>) -> Result<()> {
        for entry in entries {
            let Some(header) = entry.header() else { continue };
            let location = self.location(entry.offset())?;
            if header.state == State::Pending && is_named(&header, location)? {
                self.file.write_at(&[State::Published as u8], entry.offset() + STATE_OFFSET)?;
                entry.state = State::Published as u8;
            }
        }
        Ok(())
    }

    fn write_footer(&self, entries: &[Entry]) -> Result<()> {
        let durable = self.durable.min(self.tail);
        let trailer = Trailer::new(self.number, self.tail, entries, durable);
        let mut footer = Vec::with_capacity((entries.len() + 1) * ENTRY_BYTES as usize);
        footer.extend_from_slice(entries.as_bytes());
        footer.extend_from_slice(trailer.as_bytes());
        self.file.set_len(self.tail)?;
        self.file.write_at(&footer, self.tail)
    }
}

/// fdatasync, whose failure is an error of its own kind: it must not be tried again.
pub fn sync_data(file: &dyn File) -> Result<()> {
    file.sync_data().map_err(|error| {
        Error::new(ErrorKind::SyncFailed, "the medium did not take what was written").found(error)
    })
}

/// The same for the names of the segments.
pub fn sync_name(files: &Files) -> Result<()> {
    files.disk.sync_dir(SEGMENTS_DIR).map_err(|error| match error.kind() {
        // It was not tried at all, for want of a descriptor: nothing is wrong with the medium.
        ErrorKind::Limit => error,
        _ => Error::new(ErrorKind::SyncFailed, "the medium did not take the name of a segment")
            .found(error),
    })
}

/// Makes a sealed segment durable and says so behind its trailer; `false` if it is not sealed.
///
/// # Errors
/// `SyncFailed` when the fsync failed: the segment is to be poisoned.
pub fn confirm_sealed(files: &Files, number: u32) -> Result<bool> {
    let Some(file) = files.open(number, Access::Read)? else { return Ok(true) };
    let blocks = FileBlocks::new(&*file)?;
    let end = end_of(&blocks, files, number);
    blocks.check()?;
    match end {
        None => return Ok(false),
        Some(end) if end.is_confirmed => return Ok(true),
        Some(_) => {}
    }
    match files.open(number, Access::Write) {
        Ok(Some(file)) => confirm(files, number, &*file)?,
        Ok(None) => {}
        // Somebody else has just finished it.
        Err(error) if error.kind() == ErrorKind::Permission => sync_data(&*file)?,
        Err(error) => return Err(error),
    }
    Ok(true)
}

/// Makes a sealed segment and its name durable, and tries to say so in it: without that a recovery
/// verifies what it would otherwise believe.
fn confirm(files: &Files, number: u32, file: &dyn File) -> Result<()> {
    sync_data(file)?;
    sync_name(files)?;
    let _ = note_confirmed(files, number, file);
    Ok(())
}

/// Writes the durable point behind the trailer of a sealed segment that has been synced. Two who do
/// it at once write the same bytes to the same place.
fn note_confirmed(files: &Files, number: u32, file: &dyn File) -> Result<()> {
    let blocks = FileBlocks::new(file)?;
    let end = end_of(&blocks, files, number);
    blocks.check()?;
    let Some(end) = end else {
        return Err(Error::damaged("a sealed segment has lost its trailer", number, blocks.len())
            .path(segment_path(number)));
    };
    if !end.is_confirmed {
        let at = blocks.len();
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&at.to_le_bytes());
        let point = Header::pending(Kind::DurablePoint, 0, 0, digest);
        file.write_at(&point.encode(files.place(number), at), at)?;
    }
    file.set_mode(MODE_FINISHED)
}
