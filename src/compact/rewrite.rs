//! Writing the live records of a segment anew: copied with their numbers, then their words moved.
//!
//! I1  A copy is made of a record that the index named after the segment was sealed, and is written
//!     `published`: the record was named, and two published records of one number are equal.
//! I2  A word is moved from exactly the old place to the new one, whatever its flags; if it names
//!     something else by now, the copy is garbage of its segment.
//! I3  A tombstone does not go while any segment holds another record of its key, copies too
//!     (tombs.rs): so a copy that lost its word's exchange never brings a key back.
//!
//! Death: copies that nobody names, equal to what they are copies of, but for the last, which may be cut
//! short (segment/adopt.rs, I1).
#![forbid(unsafe_code)]

use super::pace::Pace;
use super::victims::{Live, Victim};
use crate::blob::published_rest;
use crate::engine::{Engine, TargetEntry};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{Header, State};
use crate::format::word::Location;
use crate::protocol::relocate;
use crate::segment::{Appender, Original, Spare};
use crate::sync::epoch::Guard;
use crate::units::{MIB, PAGE_BYTES};

/// Bytes of one write, if it is not one record that has more.
const BATCH_BYTES_MAX: u64 = 8 * MIB;
/// Records that are written straight from where they are mapped; more of them are brought together in a
/// buffer before, so many bytes of it that they are still in a core's cache when they are written.
const SCATTERED_MAX: usize = 320;
const BUFFER_BYTES_MAX: u64 = 2 * MIB;
/// So many bytes at a time are written out.
const WRITE_OUT_BYTES: u64 = 4 * MIB;
/// So far behind the last copy.
const WRITE_OUT_LAG_BYTES: u64 = 2 * MIB;

/// Where the copies go, and what has been copied.
pub struct Rewriter<'a> {
    engine: &'a Engine,
    target: Option<Target>,
    /// Bytes that are still to be copied, about.
    expected: u64,
    /// Where small records are brought together.
    buffer: Vec<u8>,
    /// How fast it may go.
    pub pace: Pace,
    /// Records copied.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Fields are dropped in order: the entry before the lock, so that nobody appends to what a sync leaves out.
struct Target {
    entry: TargetEntry,
    appender: Appender,
    /// There is no more space than what it has.
    is_spare: bool,
    /// Below that the medium has been asked to take it.
    written_out: u64,
}

impl Target {
    /// How many of these records one write takes; 0 if not even the first has room.
    fn takes(&self, live: &[Live], segment_target: u64) -> usize {
        let start = self.appender.tail();
        let (mut end, mut count) = (start, 0);
        for record in live {
            let (_, behind) = Appender::place_copy(end, &record.header, record.bytes);
            let has_room = if self.is_spare {
                behind - start <= self.appender.reserved_bytes()
            } else {
                self.appender.fits(behind - start, segment_target)
            };
            let most = if count < SCATTERED_MAX { BATCH_BYTES_MAX } else { BUFFER_BYTES_MAX };
            if !has_room || count > 0 && behind - start > most {
                break;
            }
            (end, count) = (behind, count + 1);
        }
        count
    }

    /// Gives the segment up after an error.
    fn give_up(self) {
        drop(self.entry);
        self.appender.give_up();
    }

    /// Has the medium take what is there, so that it works while more is copied and the sync at the end
    /// finds little left. Not the last of it: who cuts a file waits for the page that is cut.
    fn write_out(&mut self) {
        let end = self.appender.tail().saturating_sub(WRITE_OUT_LAG_BYTES) & !(PAGE_BYTES - 1);
        let bytes = end.saturating_sub(self.written_out);
        if bytes >= WRITE_OUT_BYTES {
            self.appender.file().begin_writing_out(self.written_out, bytes);
            self.written_out = end;
        }
    }
}

impl<'a> Rewriter<'a> {
    /// Nothing copied yet.
    pub fn new(engine: &'a Engine, pace: Pace) -> Self {
        Self { engine, target: None, expected: 0, buffer: Vec::new(), pace, records: 0, bytes: 0 }
    }

    /// Says how many bytes are to be copied, about.
    pub fn expect(&mut self, bytes: u64) {
        self.expected = bytes;
    }

    /// Copies what is live in a victim and moves the words to it.
    ///
    /// # Errors
    /// `NoSpace`: what has been copied until then has been moved.
    pub fn rewrite(&mut self, victim: &Victim, guard: &Guard) -> Result<()> {
        let mut rest = &victim.live[..];
        while !rest.is_empty() {
            let (target, count) = self.target_for(rest, guard)?;
            let (now, later) = rest.split_at(count);
            self.copy(target, victim, now, guard)?;
            rest = later;
        }
        Ok(())
    }

    /// A target, and how many of these records it takes.
    fn target_for(&mut self, live: &[Live], guard: &Guard) -> Result<(Target, usize)> {
        let segment_target = self.engine.segment_target();
        if let Some(target) = self.target.take() {
            match target.takes(live, segment_target) {
                0 if target.is_spare => {
                    self.target = Some(target);
                    return Err(no_space());
                }
                0 => self.engine.seal(target.appender, guard, false)?,
                count => return Ok((target, count)),
            }
        }
        let mut appender = Appender::create(&self.engine.files, &self.engine.run.control)?;
        if self.pace.is_free() {
            // As long as it will be from the first: who reads maps it once, and not anew each time it
            // has grown.
            appender.reserve_ahead(self.expected.min(segment_target));
        }
        let target = self.enter(appender, false, guard);
        let count = target.takes(live, segment_target).max(1);
        Ok((target, count))
    }

    fn enter(&self, appender: Appender, is_spare: bool, guard: &Guard) -> Target {
        let entry = self.engine.appenders(guard).targets.enter(appender.number());
        Target { entry, appender, is_spare, written_out: 0 }
    }

    fn copy(
        &mut self,
        mut target: Target,
        victim: &Victim,
        live: &[Live],
        guard: &Guard,
    ) -> Result<()> {
        let number = victim.mapped.number;
        let is_there = victim.populate(live);
        let originals: Option<Vec<Original<'_>>> = live
            .iter()
            .map(|live| {
                let header = Header { state: State::Published, ..live.header };
                let rest = published_rest(&victim.mapped.map, live.offset, &header, live.bytes)?;
                Some(Original { header, held: live.held, rest })
            })
            .collect();
        let originals =
            originals.ok_or_else(|| Error::damaged("a record is cut short", number, 0))?;
        let is_many = originals.len() > SCATTERED_MAX;
        let buffer = (is_there && is_many).then_some(&mut self.buffer);
        let appended = target.appender.append_copies(&originals, buffer, &self.engine.run.control);
        let offsets = match appended {
            Ok(offsets) => offsets,
            Err(error) => {
                target.give_up();
                return Err(error);
            }
        };
        let appender = &target.appender;
        let index = self.engine.index(guard);
        live.iter().for_each(|live| index.prefetch(live.key));
        for (live, &offset) in live.iter().zip(&offsets) {
            let Some(from) = Location::new(number, live.offset) else { continue };
            relocate(&index, live.key, from, appender.location(offset)?)?;
        }
        if appender.holds_copies_only() {
            // A sync of the store, or the next collection, need not look at them.
            self.engine.appenders(guard).quiet.note(appender.number(), appender.tail());
        }
        self.records += live.len() as u64;
        let bytes: u64 = live.iter().map(|live| live.bytes).sum();
        self.bytes += bytes;
        self.expected = self.expected.saturating_sub(bytes);
        target.write_out();
        self.target = Some(target);
        self.pace.spend(bytes);
        Ok(())
    }

    /// Makes the copies in the target durable: what is known to last, no sync has to look at.
    pub fn sync(&mut self, guard: &Guard) -> Result<()> {
        if let Some(mut target) = self.target.take() {
            self.engine.sync_appender(&mut target.appender, guard)?;
            self.target = Some(target);
        }
        Ok(())
    }

    /// Goes on in the space that is held back; `false` if there is none.
    pub fn use_spare(&mut self, guard: &Guard) -> Result<bool> {
        if self.target.as_ref().is_some_and(|target| target.is_spare) {
            return Ok(false);
        }
        let (files, control) = (&self.engine.files, &self.engine.run.control);
        let spare = Appender::create_from_spare(files, control, Spare::Compaction)?;
        let Some(appender) = spare else { return Ok(false) };
        if let Some(target) = self.target.replace(self.enter(appender, true, guard)) {
            target.give_up();
        }
        Ok(true)
    }

    /// Makes what the spare has left a segment like any other, once there is space again; whether it was
    /// in use.
    pub fn leave_spare(&mut self) -> bool {
        let target = self.target.as_mut();
        target.is_some_and(|target| std::mem::take(&mut target.is_spare))
    }

    /// Gives the target to whoever appends next; one with many records is sealed here, where nobody
    /// waits for it.
    pub fn finish(self, guard: &Guard) {
        let Some(Target { mut appender, entry, .. }) = self.target else { return };
        // Whatever is put behind the copies has to be synced.
        if bug!("target-kept") {
            std::mem::forget(entry)
        } else {
            drop(entry)
        };
        appender.trim();
        if appender.is_full() {
            // Where that fails it stays open, and nobody's.
            let _ = self.engine.seal(appender, guard, false);
        } else {
            self.engine.appenders(guard).give_back(vec![appender]);
        }
    }
}

#[cold]
fn no_space() -> Error {
    Error::new(ErrorKind::NoSpace, "the space held back for a compaction is used up")
        .expected(format!("at least {PAGE_BYTES} bytes"))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::disk::{Call, Fault, FaultDisk, FaultKind, OpenOptions, RealDisk};
    use crate::format::record::Kind;
    use crate::store::Store;
    use crate::sync::epoch::pin;

    fn originals<const N: usize>() -> [Original<'static>; N] {
        std::array::from_fn(|at| {
            let sequence = at as u64 + 1;
            let header = Header::pending(Kind::Blob, 64, sequence, [sequence as u8; 32]);
            let header = Header { state: State::Published, ..header };
            Original { header, held: 0, rest: &[7; 64] }
        })
    }

    #[test]
    fn a_copy_that_may_still_be_being_written_is_not_taken_for_durable() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path().join("store")).unwrap();
        let (engine, guard) = (&store.engine, pin());
        let mut target = Appender::create(&engine.files, &engine.run.control).unwrap();
        let originals = originals::<2>();
        let offsets = target.append_copies(&originals, None, &engine.run.control).unwrap();
        engine.sync(&guard).unwrap();
        let lasts = engine.appenders(&guard).lasting.below(target.number());
        assert_eq!(
            lasts, offsets[1],
            "the first one is followed by another, the second by nothing"
        );
        engine.sync_appender(&mut target, &guard).unwrap();
        assert_eq!(engine.appenders(&guard).lasting.below(target.number()), target.tail());
    }
    #[test]
    fn what_a_sync_has_seen_of_copies_whose_write_failed_is_not_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let options = OpenOptions { writable: true, create: true, ..OpenOptions::default() };
        let disk = FaultDisk::new(RealDisk::open(dir.path(), &options).unwrap());
        let store = Store::options().create(true).disk(disk.clone()).open(dir.path()).unwrap();
        let (engine, guard) = (&store.engine, pin());
        let control = &engine.run.control;
        let mut target = Appender::create(&engine.files, control).unwrap();
        let number = target.number();
        disk.inject(Fault::new(FaultKind::NoSpace).on(Call::Write).nth(10));
        let failed = target.append_copies(&originals::<8>(), None, control).unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::NoSpace);
        // The other lane's, before this one has given the segment up.
        engine.sync(&guard).unwrap();
        let lasts = engine.appenders(&guard).lasting.below(number);
        assert!(lasts > target.tail(), "some of the copies are there: {lasts}");
        target.give_up();
        let adopted = engine
            .verifying(&guard, |verifier| Appender::adopt_orphan(&engine.files, number, verifier));
        let tail = adopted.unwrap().unwrap().tail();
        assert!(tail >= lasts, "{lasts} bytes are taken to last, and {tail} is where it goes on");
    }
}
