//! Durability: who vouches for what, `sync`, and what happens when an fsync fails
//! (spec/DURABILITY.md).
//!
//! I1  A segment counts as durable up to a point only after an fdatasync that began when every record
//!     below that point was published or void, and an fsync of the directory after its first.
//! I2  An fsync that failed is never tried again: its segment is poisoned, nobody appends to it any
//!     more, and whoever needs what stands in it to last sees to it that it is appended elsewhere.
#![forbid(unsafe_code)]

use crate::disk::{Access, Map};
use crate::engine::{Engine, Found};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::State;
use crate::format::word::Location;
use crate::segment::{
    Appender, SEGMENTS_DIR, Scan, Scanned, confirm, is_confirmed, is_sealed, publish_foreign,
};
use crate::sync::epoch::Guard;
use crate::units::{PAGE_BYTES, SEGMENT_BYTES_MAX};

impl Engine {
    /// Makes a record that the caller relies on durable, whoever wrote it. Its state byte is set.
    pub fn vouch(&self, found: &Found<'_>, guard: &Guard) -> Result<()> {
        let segment = found.location.segment();
        let end = found.location.offset() + found.header.record_bytes(self.files.digest_bytes());
        let appenders = self.appenders(guard);
        if appenders.durable_bytes(segment) >= end {
            return Ok(());
        }
        self.sync_one(segment, &mut Vec::new(), guard)?;
        self.disk().sync_dir(SEGMENTS_DIR)
    }

    /// Makes everything that is visible to the caller durable, whoever wrote it.
    pub fn sync(&self, guard: &Guard) -> Result<()> {
        self.enter_writing(guard)?;
        let appenders = self.appenders(guard);
        let mut own = appenders.take_all_idle();
        own.extend(appenders.group.take());
        let segments = self.files.list()?;
        appenders.retain_durable(|segment| segments.binary_search(&segment).is_ok());
        let synced =
            segments.iter().try_for_each(|&segment| self.sync_one(segment, &mut own, guard));
        appenders.give_back(own);
        synced?;
        self.disk().sync_dir(SEGMENTS_DIR)
    }

    fn sync_one(&self, segment: u32, own: &mut Vec<Appender>, guard: &Guard) -> Result<()> {
        let appenders = self.appenders(guard);
        let known = appenders.durable_bytes(segment);
        if known == u64::MAX {
            return Ok(());
        }
        if self.run.control.is_poisoned(segment) {
            // Mostly nothing is left in it; but moving it elsewhere may have failed, too.
            return self.evacuate(segment, guard).map(drop);
        }
        let Some(settled) = self.settle(segment, known, guard)? else {
            return self.sync_sealed(segment, guard);
        };
        if settled.is_unchanged {
            return Ok(());
        }
        if let Some(at) = own.iter().position(|appender| appender.number() == segment) {
            self.sync_appender(&mut own[at], guard)?;
            // What the index does not name of those before us, it never will: they are gone.
            appenders.note_durable(segment, own[at].tail());
            // The point only saves the next recovery work; after a failed write the appender is given
            // up (segment/appender.rs, I4).
            if own[at].note_durable(settled.below, &self.run.control).is_err() {
                own.swap_remove(at);
            }
            return Ok(());
        }
        let Some(file) = self.files.open(segment, Access::Read)? else { return Ok(()) };
        if let Err(error) = file.sync_data() {
            return Err(self.abandon_segment(segment, error, guard));
        }
        appenders.note_durable(segment, settled.below);
        Ok(())
    }

    /// Makes a sealed segment durable, in which nothing more can be published.
    fn sync_sealed(&self, segment: u32, guard: &Guard) -> Result<()> {
        let appenders = self.appenders(guard);
        let Some(file) = self.files.open(segment, Access::Read)? else { return Ok(()) };
        if is_confirmed(&self.files, segment, &*file)? != Some(true) {
            if let Err(error) = file.sync_data() {
                return Err(self.abandon_segment(segment, error, guard));
            }
            // That it says so itself only saves others the work.
            let _ = confirm(&self.files, segment);
        }
        appenders.note_durable(segment, u64::MAX);
        Ok(())
    }

    /// Publishes what the index names of what others had left in the segment before this appender
    /// took it up, so that a sync covers it (I1). What it does not name is void: whoever appended it
    /// is gone.
    pub fn settle_inherited(&self, appender: &mut Appender, guard: &Guard) -> Result<()> {
        let (segment, end) = (appender.number(), appender.inherited());
        let known = self.appenders(guard).durable_bytes(segment);
        if known < end {
            let file = appender.file();
            let map = file.map(end.min(file.len()?), Access::Read)?;
            let digest_bytes = self.files.digest_bytes();
            for record in Scan::new(&map, self.files.place(segment), digest_bytes, known) {
                if record.header.state == State::Pending && record.header.kind.is_keyed() {
                    self.settle_record(segment, &record, guard)?;
                }
            }
        }
        appender.mark_settled();
        Ok(())
    }

    /// Sets the state byte of every record of a segment that the index names. `None` if the segment
    /// is sealed and confirmed, or sealed now.
    fn settle(&self, segment: u32, from: u64, guard: &Guard) -> Result<Option<Settled>> {
        let Some(file) = self.files.open(segment, Access::Read)? else { return Ok(None) };
        let map = file.map(file.len()?, Access::Read)?;
        let is_sealed = is_sealed(&map, &self.files, segment);
        if is_sealed {
            return Ok(None);
        }
        let mut settled = Settled { below: from, is_unchanged: true };
        let mut is_clean = true;
        for record in Scan::new(&map, self.files.place(segment), self.files.digest_bytes(), from) {
            settled.is_unchanged &= !record.header.kind.is_keyed();
            if record.header.state == State::Pending && record.header.kind.is_keyed() {
                is_clean &= self.settle_record(segment, &record, guard)?;
            }
            if is_clean {
                settled.below = record.end;
            }
        }
        Ok(Some(settled))
    }

    /// Sets the state byte of a pending record if the index names it; `false` if it may still be
    /// named later.
    fn settle_record(&self, segment: u32, record: &Scanned, guard: &Guard) -> Result<bool> {
        if !self.is_named_at(segment, record, guard)? {
            return Ok(false);
        }
        publish_foreign(&self.files, segment, record.offset)?;
        Ok(true)
    }

    /// After a failed fsync: poisons the segment, appends what the index names above its durable
    /// point elsewhere, and returns the error for the caller.
    pub fn abandon_segment(&self, segment: u32, error: Error, guard: &Guard) -> Error {
        self.run.control.poison(segment);
        let outcome = match self.evacuate(segment, guard) {
            Ok(moved) => format!("{moved} records were appended elsewhere; try again"),
            Err(second) => format!("appending its records elsewhere failed, too ({second})"),
        };
        Error::new(ErrorKind::SyncFailed, "the medium did not take what was written")
            .path(crate::segment::segment_path(segment))
            .found(error)
            .advice(outcome)
    }

    /// Copies every record of a segment that the index names into other segments, with its number, and
    /// moves its word there.
    fn evacuate(&self, segment: u32, guard: &Guard) -> Result<u64> {
        let durable = self.appenders(guard).durable_bytes(segment);
        let Some(file) = self.files.open(segment, Access::Read)? else { return Ok(0) };
        let map = file.map(file.len()?, Access::Read)?;
        let digest_bytes = self.files.digest_bytes();
        let (mut moved, mut targets) = (0, Vec::<Appender>::new());
        for record in Scan::new(&map, self.files.place(segment), digest_bytes, durable) {
            if !record.header.kind.is_keyed() || !self.is_named_at(segment, &record, guard)? {
                continue;
            }
            let room = record.end - record.offset + PAGE_BYTES;
            if !targets.last().is_some_and(|target| target.fits(room, SEGMENT_BYTES_MAX)) {
                targets.push(Appender::create(&self.files, &self.run.control)?);
            }
            if let Some(target) = targets.last_mut() {
                moved += u64::from(self.relocate(target, &map, segment, &record, guard)?);
            }
        }
        for mut target in targets {
            if let Err(error) = target.sync() {
                self.run.control.poison(target.number());
                return Err(error);
            }
            self.appenders(guard).note_durable(target.number(), target.tail());
            self.appenders(guard).give_back(vec![target]);
        }
        Ok(moved)
    }

    fn is_named_at(&self, segment: u32, record: &Scanned, guard: &Guard) -> Result<bool> {
        match Location::new(segment, record.offset) {
            Some(location) => self.is_named(&record.header, location, guard),
            None => Ok(false),
        }
    }

    /// Copies a record behind the last one of `target` and moves its word; `false` if the index does
    /// not name it any more.
    fn relocate(
        &self,
        target: &mut Appender,
        map: &Map,
        segment: u32,
        record: &Scanned,
        guard: &Guard,
    ) -> Result<bool> {
        let Some(from) = Location::new(segment, record.offset) else { return Ok(false) };
        let offset = target.copy_record(map, record, &self.run.control)?;
        let to = target.location(offset)?;
        let key = self.key_of(&record.header);
        loop {
            let seen = self.index(guard).lookup(key)?;
            if seen.word.location() != from {
                return Ok(false);
            }
            if self.index(guard).publish(key, seen, seen.word.moved(to))?.is_ok() {
                target.publish_at(offset)?;
                return Ok(true);
            }
        }
    }
}

struct Settled {
    /// Every record below is published or void.
    below: u64,
    is_unchanged: bool,
}
