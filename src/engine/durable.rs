//! Durability: who vouches for what, `sync`, and what happens when an fsync fails
//! (spec/DURABILITY.md).
//!
//! I1  A segment counts as durable up to a point only after an fdatasync that began when every record
//!     below that point was published or void, and an fsync of the directory after its first.
//! I2  An fsync that failed is never tried again: its segment is poisoned.
#![forbid(unsafe_code)]

use crate::disk::Access;
use crate::engine::{Engine, Found};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::State;
use crate::segment::{
    Appender, SEGMENTS_DIR, Scan, Scanned, confirm_sealed, is_sealed, publish_foreign,
};
use crate::sync::epoch::Guard;

impl Engine {
    /// Makes a record that the caller relies on durable, whoever wrote it. Its state byte is set.
    pub fn vouch(&self, found: &Found<'_>, guard: &Guard) -> Result<()> {
        let segment = found.location.segment();
        let end = found.location.offset() + found.header.record_bytes(self.files.digest_bytes());
        let appenders = self.appenders(guard);
        if appenders.durable_bytes(segment) >= end {
            return Ok(());
        }
        self.sync_one(segment, &mut [], guard)?;
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

    fn sync_one(&self, segment: u32, own: &mut [Appender], guard: &Guard) -> Result<()> {
        let appenders = self.appenders(guard);
        let known = appenders.durable_bytes(segment);
        if known == u64::MAX || self.run.control.is_poisoned(segment) {
            return Ok(());
        }
        let Some(settled) = self.settle(segment, known, guard)? else {
            // Sealed: nothing more can be published in it.
            confirm_sealed(&self.files, segment)?;
            appenders.note_durable(segment, u64::MAX);
            return Ok(());
        };
        if settled.is_unchanged {
            return Ok(());
        }
        if let Some(appender) = own.iter_mut().find(|appender| appender.number() == segment) {
            self.sync_appender(appender, guard)?;
            // What the index does not name of those before us, it never will: they are gone.
            appenders.note_durable(segment, appender.tail());
            return appender.note_durable(settled.below, &self.run.control);
        }
        let Some(file) = self.files.open(segment, Access::Read)? else { return Ok(()) };
        if let Err(error) = file.sync_data() {
            return Err(self.abandon_segment(segment, error, guard));
        }
        appenders.note_durable(segment, settled.below);
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
        let Some(location) = crate::format::word::Location::new(segment, record.offset) else {
            return Ok(true);
        };
        if !self.is_named(&record.header, location, guard)? {
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

    /// Copies every record of a segment that the index names into another segment, with its number,
    /// and moves its word there.
    fn evacuate(&self, segment: u32, guard: &Guard) -> Result<u64> {
        let durable = self.appenders(guard).durable_bytes(segment);
        let Some(file) = self.files.open(segment, Access::Read)? else { return Ok(0) };
        let map = file.map(file.len()?, Access::Read)?;
        let mut moved = 0;
        let mut target = Appender::create(&self.files, &self.run.control)?;
        for record in Scan::new(&map, self.files.place(segment), self.files.digest_bytes(), durable)
        {
            if !record.header.kind.is_keyed() || !target.fits(record.end - record.offset, u64::MAX)
            {
                continue;
            }
            moved += u64::from(self.relocate(&mut target, &map, segment, &record, guard)?);
        }
        target.sync()?;
        self.appenders(guard).give_back(vec![target]);
        Ok(moved)
    }

    /// Copies a record behind the last one of `target` and moves its word; `false` if the index does
    /// not name it.
    fn relocate(
        &self,
        target: &mut Appender,
        map: &crate::disk::Map,
        segment: u32,
        record: &Scanned,
        guard: &Guard,
    ) -> Result<bool> {
        let Some(from) = crate::format::word::Location::new(segment, record.offset) else {
            return Ok(false);
        };
        if !self.is_named(&record.header, from, guard)? {
            return Ok(false);
        }
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
