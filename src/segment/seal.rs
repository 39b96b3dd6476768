//! Sealing: the footer that makes a segment cheap to read and ends its life as an open one.
//!
//! I1  Only who has the appender seals, and after its last publish; so a record of a sealed segment
//!     that the index does not name will never be named.
//! I2  The footer says how much was durable before it was written; above that it proves nothing.
//! I3  The file is cut to its records before the footer goes behind them, never below one.
//!
//! Death: after the cut, an open segment without reserved space; inside the footer, bytes that are no
//! record, which the next appender passes over.
#![forbid(unsafe_code)]

use super::appender::Appender;
use super::files::{Files, SEGMENTS_DIR, segment_path};
use super::read::{end_of, walk};
use crate::control::Control;
use crate::disk::{Access, File};
use crate::error::{Error, Result};
use crate::format::record::{Header, Kind, STATE_OFFSET, State};
use crate::format::segment::{ENTRY_BYTES, Entry, Trailer};
use crate::format::word::Location;
use zerocopy::IntoBytes;

/// Mode of a segment that nobody writes to any more.
const MODE_FINISHED: u32 = 0o400;

impl Appender {
    /// Seals the segment. `is_named` tells whether the index names the record at a location.
    ///
    /// With `durable`, all of it is made durable first and the footer proves it.
    pub fn seal(
        mut self,
        control: &Control,
        durable: bool,
        is_named: &dyn Fn(&Header, Location) -> Result<bool>,
    ) -> Result<()> {
        let entries = self.list_to_seal(is_named)?;
        if durable {
            self.sync()?;
        }
        self.write_seal(&entries, control, durable)
    }

    /// The records of the segment; those that the index names are published.
    pub fn list_to_seal(
        &self,
        is_named: &dyn Fn(&Header, Location) -> Result<bool>,
    ) -> Result<Vec<Entry>> {
        // Who has taken over half a footer begins at the step behind it, and so behind the end.
        let map = self.file.map(self.tail.min(self.file.len()?), Access::Read)?;
        let mut entries = walk(&map, &self.files, self.number, 0).0;
        self.publish_named(&mut entries, is_named)?;
        Ok(entries)
    }

    /// Writes the footer behind the records that were listed. With `durable` they are durable already,
    /// and the segment is made to say so.
    pub fn write_seal(mut self, entries: &[Entry], control: &Control, durable: bool) -> Result<()> {
        let written = self.write_footer(entries);
        self.leave(control);
        written?;
        if durable {
            self.file.sync_data()?;
            confirm_file(&self.files, self.number, &*self.file)?;
        }
        Ok(())
    }

    /// Sees to it that nobody takes the segment up again.
    pub fn leave(&mut self, control: &Control) {
        if let Some(slot) = self.slot.take() {
            control.forget_open(slot, self.number);
        }
    }

    fn publish_named(
        &self,
        entries: &mut [Entry],
        is_named: &dyn Fn(&Header, Location) -> Result<bool>,
    ) -> Result<()> {
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

/// Whether a sealed segment says of itself that all of it is durable; `None` if it is not sealed.
pub fn is_confirmed(files: &Files, number: u32, file: &dyn File) -> Result<Option<bool>> {
    let map = file.map(file.len()?, Access::Read)?;
    Ok(end_of(&map, files, number).map(|end| end.is_confirmed))
}

/// Lets a sealed segment that has been synced say so of itself.
pub fn confirm(files: &Files, number: u32) -> Result<()> {
    match files.open(number, Access::Write)? {
        Some(file) => confirm_file(files, number, &*file),
        None => Ok(()),
    }
}

/// Writes the durable point behind the trailer. Two who do it at once write the same bytes to the same
/// place.
fn confirm_file(files: &Files, number: u32, file: &dyn File) -> Result<()> {
    let map = file.map(file.len()?, Access::Read)?;
    let Some(end) = end_of(&map, files, number) else {
        return Err(Error::damaged("a sealed segment has lost its trailer", number, map.len())
            .path(segment_path(number)));
    };
    if !end.is_confirmed {
        let at = map.len();
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&at.to_le_bytes());
        let point = Header::pending(Kind::DurablePoint, 0, 0, digest);
        file.write_at(&point.encode(files.place(number), at), at)?;
    }
    files.disk.sync_dir(SEGMENTS_DIR)?;
    file.set_mode(MODE_FINISHED)
}
