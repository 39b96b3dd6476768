//! Sealing: the footer that makes a segment cheap to read and ends its life as an open one.
//!
//! I1  Only who has the appender seals, and after its last publish; so a record of a sealed segment
//!     that the index does not name will never be named.
//! I2  Of a record of a sealed segment that the index has ever named, the state byte is set, or that
//!     of a later record of its key is.
//! I3  The footer says how much was durable before it was written; above that it proves nothing.
//! I4  The file is cut to its records before the footer goes behind them, never below one.
//! I5  A power loss may have torn the records of an earlier run: a footer vouches for those that were
//!     verified in this run, and for nothing from the first torn one on.
//!
//! Death: after the cut, an open segment without reserved space; inside the footer, bytes that are no
//! record, which the next appender passes over.
#![forbid(unsafe_code)]

use super::appender::Appender;
use super::blocks::{Blocks, FileBlocks};
use super::files::{Files, segment_path};
use super::read::{end_of, walk};
use super::sync::{sync_data, sync_name};
use crate::control::Control;
use crate::disk::{Access, File, Map};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{Header, Kind, STATE_OFFSET, State};
use crate::format::segment::{ENTRY_BYTES, Entry, Trailer};
use crate::format::word::Location;
use zerocopy::IntoBytes;

/// Mode of a segment that nobody writes to any more.
const MODE_FINISHED: u32 = 0o400;

/// What whoever seals says about the records.
#[derive(Clone, Copy)]
pub struct Judge<'a> {
    /// Whether the index names a pending record. Where another record of its key has come instead, that
    /// one's state byte is set.
    pub is_named: &'a dyn Fn(&Header, Location) -> Result<bool>,
    /// Whether the published record whose header stands at an offset is what its digest says.
    pub is_whole: &'a dyn Fn(&Map, u64, &Header) -> bool,
}

impl Appender {
    /// Seals the segment; nothing may be appended any more, and nobody takes it up again, also after
    /// an error.
    ///
    /// With `durable`, all of it is made durable first and the footer proves it.
    ///
    /// # Errors
    /// `SyncFailed` when an fsync failed: the segment is to be poisoned before the appender is dropped.
    pub fn seal(&mut self, control: &Control, durable: bool, judge: Judge<'_>) -> Result<()> {
        let is_earlier = control.is_earlier(self.number) && !bug!("torn-vouched");
        let sealed = self.try_seal(durable, is_earlier, judge);
        if let Some(slot) = self.slot.take() {
            control.forget_open(slot, self.number);
        }
        sealed?;
        let proves = durable && self.durable == self.tail;
        if proves { confirm(&self.files, self.number, &*self.file) } else { Ok(()) }
    }

    fn try_seal(&mut self, durable: bool, is_earlier: bool, judge: Judge<'_>) -> Result<()> {
        let (mut entries, proved) = self.list()?;
        let whole = if is_earlier {
            // Who has taken over half a footer begins at the step behind it, and so behind the end.
            let map = self.file.map(self.tail.min(self.file.len()?), Access::Read)?;
            self.whole_below(&map, &entries, proved, judge)
        } else {
            self.tail
        };
        self.publish_named(&mut entries, judge)?;
        if durable {
            self.sync()?;
            self.durable = self.durable.min(whole);
        }
        self.write_footer(&entries)
    }

    /// Offset below which every published record is whole, if those below `proved` are.
    fn whole_below(&self, map: &Map, entries: &[Entry], proved: u64, judge: Judge<'_>) -> u64 {
        let is_torn = |entry: &&Entry| {
            let header = entry.header().filter(|header| header.state == State::Published);
            let is_proved = entry.end(self.files.digest_bytes()).is_some_and(|end| end <= proved);
            !is_proved
                && header.is_some_and(|header| !(judge.is_whole)(map, entry.offset(), &header))
        };
        entries.iter().find(is_torn).map_or(self.tail, Entry::offset)
    }

    /// The records, and what its durable points prove.
    fn list(&mut self) -> Result<(Vec<Entry>, u64)> {
        if let Some(entries) = self.listed.take() {
            return Ok((entries, 0));
        }
        // By `pread`: a page of a mapping that is looked at for one header maps its neighbours, too.
        let mut blocks = FileBlocks::new(&*self.file)?;
        // Behind the tail is nothing, or what another appender has left.
        blocks.end_at(self.tail);
        let (entries, proved) = walk(&blocks, &self.files, self.number, 0);
        blocks.check()?;
        Ok((entries, proved))
    }

    fn publish_named(&self, entries: &mut [Entry], judge: Judge<'_>) -> Result<()> {
        for entry in entries {
            let Some(header) = entry.header() else { continue };
            let location = self.location(entry.offset())?;
            if header.state == State::Pending && (judge.is_named)(&header, location)? {
                self.file.write_at(&[State::Published as u8], entry.offset() + STATE_OFFSET)?;
                entry.state = State::Published as u8;
            }
        }
        Ok(())
    }

    fn write_footer(&self, entries: &[Entry]) -> Result<()> {
        let durable = self.durable.min(self.tail);
        let trailer = Trailer::new(self.number, self.tail, entries, durable);
        self.file.set_len(self.tail)?;
        self.file.write_at(entries.as_bytes(), self.tail)?;
        self.file.write_at(trailer.as_bytes(), self.tail + entries.len() as u64 * ENTRY_BYTES)
    }
}

/// Makes a sealed segment durable and says so behind its trailer; `false` if it is not sealed. In one
/// whose records may be torn, because they have not been `verified` since a power loss, nothing is said.
///
/// # Errors
/// `SyncFailed` when the fsync failed: the segment is to be poisoned.
pub fn confirm_sealed(files: &Files, number: u32, verified: bool) -> Result<bool> {
    let Some(file) = files.open(number, Access::Read)? else { return Ok(true) };
    let blocks = FileBlocks::new(&*file)?;
    let end = end_of(&blocks, files, number);
    blocks.check()?;
    match end {
        None => return Ok(false),
        Some(end) if end.is_confirmed => return Ok(true),
        Some(_) if !verified => return sync_data(&*file).map(|()| true),
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
        // Over one that a power loss has torn.
        let at = end.offset();
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&at.to_le_bytes());
        let point = Header::pending(Kind::DurablePoint, 0, 0, digest);
        file.write_at(&point.encode(files.place(number), at), at)?;
    }
    file.set_mode(MODE_FINISHED)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::segment::read_footer;
    use crate::store::Store;
    use crate::units::SEGMENT_BYTES_MIN;

    #[test]
    fn a_footer_lists_what_stands_there() {
        let dir = tempfile::tempdir().unwrap();
        let options = Store::options().create(true).segment_bytes(SEGMENT_BYTES_MIN);
        let store = options.open(dir.path().join("store")).unwrap();
        let refs = store.refs("names");
        for round in 0..60_u64 {
            let value = |len: usize, at: u64| {
                [(round * 7 + at).to_le_bytes(), [1; 8]].concat().repeat(len / 16 + 1)
            };
            let small: Vec<_> = (0..40).map(|at| value(16 * at as usize, at)).collect();
            let ids =
                store.put_many(&small.iter().map(|value| &value[..]).collect::<Vec<_>>()).unwrap();
            store.unpin(&ids[3]).unwrap();
            store.remove(&ids[4]).unwrap();
            refs.set(format!("{}", round % 7), store.put(&value(5000, 100)).unwrap()).unwrap();
            store.put(&value(30_000, 101)).unwrap();
            if round % 9 == 0 {
                store.put(&value(600_000, 102)).unwrap();
                store.sync().unwrap();
            }
            if round % 25 == 24 {
                store.compact(&crate::CompactOptions::new().all(true)).unwrap();
            }
        }
        let engine = &store.engine;
        let files = &engine.files;
        let mut sealed = 0;
        for number in files.list().unwrap() {
            let file = files.open(number, Access::Read).unwrap().unwrap();
            let blocks = FileBlocks::new(&*file).unwrap();
            let Some(end) = end_of(&blocks, files, number) else { continue };
            let listed = read_footer(&blocks, files, number, &end.trailer).unwrap();
            let mut walked = walk(&blocks, files, number, 0).0;
            walked.retain(|entry| entry.offset() < end.trailer.entries_offset.get());
            let bytes = |entries: &[Entry]| entries.as_bytes().to_vec();
            assert_eq!(listed.len(), walked.len());
            assert!(bytes(&listed) == bytes(&walked), "segment {number}");
            sealed += 1;
        }
        assert!(sealed > 10, "{sealed} segments were sealed");
    }
}
