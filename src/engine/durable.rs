//! Durability: who vouches for what, `sync`, and what happens when an fsync fails
//! (spec/DURABILITY.md).
//!
//! I1  A record is vouched for only after its state byte was set, then an fdatasync of its segment was
//!     begun and has succeeded, and the directory was synced.
//! I2  An fsync that failed is never tried again: its segment is poisoned, and what the index names
//!     in it above what was durable is appended elsewhere before anybody is told that it lasts.
//! I3  `sync` sets all state bytes before its first fdatasync, so that of every key that was visible
//!     when it began, the record that was visible then, or a later one, lasts.
//!
//! Death: a poisoned segment whose records are partly moved; the next `sync` moves the others.
#![forbid(unsafe_code)]

use crate::disk::Access;
use crate::engine::{ALL, Durability, Engine, Found, View};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{Header, State};
use crate::format::segment::HEAD_BYTES;
use crate::format::word::{Location, WordKind};
use crate::protocol::{self, Shared, rely};
use crate::segment::{
    Appender, FileBlocks, Scan, Scanned, confirm_sealed, is_sealed, publish_foreign, segment_path,
    sync_data, sync_name,
};
use crate::sync::epoch::Guard;
use crate::units::PAGE_BYTES;
use crate::whole::is_whole;
use std::collections::HashMap;
use std::ops::Range;

impl Engine {
    /// Makes a record that the caller relies on durable, whoever wrote it. Its state byte is set.
    /// `false` if the record has been moved elsewhere instead: its key is to be looked up again.
    pub fn vouch(&self, found: &Found<'_>, guard: &Guard) -> Result<bool> {
        let (segment, offset) = (found.location.segment(), found.location.offset());
        let end = offset + found.header.record_bytes(self.files.digest_bytes());
        if self.appenders(guard).lasting.covers(segment, &(offset..end)) {
            return Ok(true);
        }
        if self.run.control.is_poisoned(segment) {
            self.evacuate(segment, guard)?;
            return Ok(false);
        }
        if bug!("target-vouched") && self.appenders(guard).targets.contains(segment) {
            return Ok(true);
        }
        let settled = self.settle(segment, None, guard)?;
        let lasts = self.sync_segment(segment, settled, &mut Vec::new(), guard)?;
        self.note_names(lasts.into_iter().collect(), guard)?;
        Ok(true)
    }

    /// Makes everything that is visible to the caller durable, whoever wrote it.
    pub fn sync(&self, guard: &Guard) -> Result<()> {
        self.sync_but(&[], guard)
    }

    /// As [`sync`](Self::sync), without these sealed segments, in which nothing is named any more.
    pub fn sync_but(&self, dead: &[u32], guard: &Guard) -> Result<()> {
        self.enter_writing(guard)?;
        let appenders = self.appenders(guard);
        let mut own = appenders.take_all_idle();
        own.extend(appenders.group.take());
        let synced = self.sync_all(dead, &mut own, guard);
        own.retain(|appender| !self.run.control.is_poisoned(appender.number()));
        appenders.give_back(own);
        synced
    }

    fn sync_all(&self, dead: &[u32], own: &mut Vec<Appender>, guard: &Guard) -> Result<()> {
        let targets = &self.appenders(guard).targets;
        let is_due = |segment: &u32| !dead.contains(segment) && !targets.contains(*segment);
        let tails: HashMap<u32, u64> =
            own.iter().map(|appender| (appender.number(), appender.tail())).collect();
        let settle = |segment| self.settle(segment, tails.get(&segment).copied(), guard);
        let mut settled = HashMap::new();
        for segment in self.files.list()?.into_iter().filter(is_due) {
            settled.insert(segment, settle(segment)?);
        }
        // Listed again: what superseded a record meanwhile may stand in a segment that is new.
        let segments = self.files.list()?;
        let mut lasts = Vec::new();
        for &segment in segments.iter().filter(|segment| is_due(segment)) {
            let settled = match settled.remove(&segment) {
                // It may hold by now what has superseded a pending record of another one.
                Some(Settled::Unchanged) | None => settle(segment)?,
                Some(settled) => settled,
            };
            lasts.extend(self.sync_segment(segment, settled, own, guard)?);
        }
        if segments.iter().any(|segment| self.run.control.is_poisoned(*segment))
            && !bug!("poisoned-relied-on")
        {
            // An original in it does not last, nor does anybody move it who finds it copied.
            for &segment in segments.iter().filter(|segment| targets.contains(**segment)) {
                lasts.extend(self.sync_segment(segment, settle(segment)?, own, guard)?);
            }
        }
        self.appenders(guard).lasting.retain(|segment| segments.binary_search(&segment).is_ok());
        self.note_names(lasts, guard)
    }

    /// Makes the names of the segments durable, and only then notes what lasts of them.
    fn note_names(&self, lasts: Vec<(u32, Range<u64>)>, guard: &Guard) -> Result<()> {
        sync_name(&self.files)?;
        let lasting = &self.appenders(guard).lasting;
        lasts.into_iter().for_each(|(segment, bytes)| lasting.note(segment, bytes));
        Ok(())
    }

    /// Sees to it that of every key of which a segment holds a pending record, what the index names
    /// has its state byte. What the caller appends to has nothing behind its tail.
    fn settle(&self, segment: u32, tail: Option<u64>, guard: &Guard) -> Result<Settled> {
        let known = self.appenders(guard).lasting.below(segment);
        if known == u64::MAX {
            return Ok(Settled::Unchanged);
        }
        let Some(file) = self.files.open(segment, Access::Read)? else {
            return Ok(Settled::Unchanged);
        };
        let mut blocks = FileBlocks::new(&*file)?;
        match tail {
            Some(tail) => blocks.end_at(tail),
            // Whoever sealed it has settled it.
            None if is_sealed(&blocks, &self.files, segment) => return Ok(Settled::Sealed),
            None => {}
        }
        let walk =
            |from| Scan::new(&blocks, self.files.place(segment), self.files.digest_bytes(), from);
        let quiet = self.appenders(guard).quiet.below(segment);
        let from = if quiet == ALL { known } else { known.max(quiet) };
        let (mut below, mut is_changed, mut is_clean) = (from.max(HEAD_BYTES), from > known, true);
        let mut last = None;
        for record in walk(from) {
            is_changed |= record.header.kind.is_keyed();
            let is_settled = !record.header.kind.is_keyed()
                || record.header.state == State::Published
                || self.settle_record(segment, &record, guard)?;
            // Behind a gap there may be a record that was being written when it was passed. Now that
            // a later one stands there, it does. (Behind what is not settled nothing is vouched for,
            // and nobody needs to look again.)
            let is_next = || {
                record.header.offset_after(below) == Some(record.offset) || {
                    blocks.forget();
                    walk(below).next().is_some_and(|next| next.offset == record.offset)
                }
            };
            is_clean = is_clean && is_settled && is_next();
            if is_clean {
                below = record.end;
            }
            last = Some(record);
        }
        blocks.check()?;
        if let Some(last) = last.filter(|last| is_clean && last.header.kind.is_keyed())
            && !self.is_written(segment, &last, guard)?
        {
            below = last.offset;
        }
        Ok(if is_changed { Settled::Below(below) } else { Settled::Unchanged })
    }

    /// Whether the last record of a segment is known to be there in whole. The copy of a record is
    /// published from the first, while the one write is under way that brings it: its header may be
    /// seen before its end. Once the index names it, it is written; and so is what a later one follows.
    fn is_written(&self, segment: u32, last: &Scanned, guard: &Guard) -> Result<bool> {
        let Some(location) = Location::new(segment, last.offset) else { return Ok(false) };
        Ok(bug!("unnamed-copy-lasts") || self.is_named(&last.header, location, guard)?)
    }

    /// Sets the state byte of a pending record if the index names it; `false` if it does not, and may
    /// name it later.
    fn settle_record(&self, segment: u32, record: &Scanned, guard: &Guard) -> Result<bool> {
        let Some(location) = Location::new(segment, record.offset) else { return Ok(true) };
        if !self.judge(&record.header, location, guard)? {
            return Ok(false);
        }
        publish_foreign(&self.files, segment, record.offset)?;
        Ok(true)
    }

    /// Whether the index names a pending record. If it names another one of its key instead, that
    /// one's state byte is set: should it have superseded this one, they must not both be lost.
    pub fn judge(&self, header: &Header, location: Location, guard: &Guard) -> Result<bool> {
        let view = View::new(self, guard, Durability::Buffered);
        let key = self.key_of(header);
        let word = view.index().lookup(key)?.word;
        if !matches!(word.kind(), WordKind::Live | WordKind::Tomb) {
            return Ok(false);
        }
        if word.location() == location {
            return Ok(true);
        }
        match rely(&view, key, word) {
            // A damaged record is nothing that could be lost.
            Err(error) if !error.is_damage() => Err(error),
            _ => Ok(false),
        }
    }

    /// Makes a segment durable; what is then known to last of it, as soon as its name does.
    fn sync_segment(
        &self,
        segment: u32,
        settled: Settled,
        own: &mut Vec<Appender>,
        guard: &Guard,
    ) -> Result<Option<(u32, Range<u64>)>> {
        if self.run.control.is_poisoned(segment) {
            return self.evacuate(segment, guard).map(|_| None);
        }
        let below = match settled {
            Settled::Unchanged => return Ok(None),
            Settled::Below(below) => {
                self.sync_open(segment, own, guard)?;
                Some(below)
            }
            Settled::Sealed => {
                let verified = !self.run.control.is_earlier(segment) || bug!("sealed-vouched");
                let confirmed = confirm_sealed(&self.files, segment, verified);
                self.or_abandon(segment, confirmed, guard)?.then_some(u64::MAX)
            }
        };
        self.refuse_poisoned(segment)?;
        Ok(below.map(|below| (segment, 0..below)))
    }

    fn sync_open(&self, segment: u32, own: &mut Vec<Appender>, guard: &Guard) -> Result<()> {
        if let Some(at) = own.iter().position(|appender| appender.number() == segment) {
            self.sync_appender(&mut own[at], guard)?;
            if self.note_lasting(&mut own[at], guard).is_err() {
                // It only tells others what is known; but an appender that failed is given up.
                own.swap_remove(at).give_up();
            }
            return Ok(());
        }
        let Some(file) = self.files.open(segment, Access::Read)? else { return Ok(()) };
        self.or_abandon(segment, sync_data(&*file), guard)
    }

    /// Somebody else's fsync may have failed, and taken the error away from ours.
    pub fn refuse_poisoned(&self, segment: u32) -> Result<()> {
        if !self.run.control.is_poisoned(segment) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::SyncFailed, "the medium did not take what somebody else wrote")
            .path(segment_path(segment))
            .advice("it is appended elsewhere: try again"))
    }

    /// The value, or the error after what a failed fsync demands.
    pub fn or_abandon<T>(&self, segment: u32, result: Result<T>, guard: &Guard) -> Result<T> {
        result.map_err(|error| match error.kind() {
            ErrorKind::SyncFailed => self.abandon_segment(segment, error, guard),
            _ => error,
        })
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
            .path(segment_path(segment))
            .found(error)
            .advice(outcome)
    }

    /// Copies every record of a poisoned segment that the index names above what lasts into others,
    /// with its number, makes the copies durable and moves the words there; how many.
    ///
    /// # Errors
    /// `SyncFailed` if not everything could be moved.
    fn evacuate(&self, segment: u32, guard: &Guard) -> Result<u64> {
        if self.run.control.is_all_poisoned() {
            return Err(Error::new(ErrorKind::SyncFailed, "the medium fails again and again")
                .path(segment_path(segment))
                .advice("copy the store to another medium: what can be read is in it"));
        }
        let durable = self.appenders(guard).lasting.below(segment);
        let Some(file) = self.files.open(segment, Access::Read)? else { return Ok(0) };
        let blocks = FileBlocks::new(&*file)?;
        let mut moving = Moving { engine: self, guard, segment, target: None, moved: 0, lost: 0 };
        for record in
            Scan::new(&blocks, self.files.place(segment), self.files.digest_bytes(), durable)
        {
            if record.header.kind.is_keyed() {
                moving.take(&record)?;
            }
        }
        blocks.check()?;
        moving.finish()
    }
}

/// What has been settled of a segment.
#[derive(Clone, Copy)]
enum Settled {
    /// There is nothing new in it.
    Unchanged,
    /// It is sealed.
    Sealed,
    /// Every record below is published, or never will be.
    Below(u64),
}

/// The records of a poisoned segment on their way to others.
struct Moving<'a> {
    engine: &'a Engine,
    guard: &'a Guard,
    segment: u32,
    target: Option<Appender>,
    moved: u64,
    lost: u64,
}

impl Moving<'_> {
    /// Copies a record and moves its word, if the index names it.
    fn take(&mut self, record: &Scanned) -> Result<()> {
        let engine = self.engine;
        let Some(from) = Location::new(self.segment, record.offset) else { return Ok(()) };
        if !engine.is_named(&record.header, from, self.guard)? {
            return Ok(());
        }
        let Some(found) = engine.read(from, self.guard)? else { return Ok(()) };
        // After a failed write the kernel may have dropped the page, and read an older one again.
        let body = found.bytes(self.guard);
        if !body.is_some_and(|body| is_whole(&record.header, body, engine.files.hash)) {
            self.lost += 1;
            return Ok(());
        }
        let mut target = self.target_for(record.end - record.offset)?;
        let map = &found.mapped.as_ref().map;
        let offset = target.copy_record(map, record, &engine.run.control)?;
        let (key, to) = (engine.key_of(&record.header), target.location(offset)?);
        if protocol::relocate(&engine.index(self.guard), key, from, to)? {
            target.publish_at(offset)?;
            self.moved += 1;
        }
        self.target = Some(target);
        Ok(())
    }

    /// A target with room for a record; a full one is finished.
    fn target_for(&mut self, bytes: u64) -> Result<Appender> {
        match self.target.take() {
            Some(target) if target.fits(bytes + PAGE_BYTES, u64::MAX) => return Ok(target),
            Some(full) => self.settle(full)?,
            None => {}
        }
        Appender::create(&self.engine.files, &self.engine.run.control)
    }

    /// Makes the copies in a target durable, and gives it to others.
    fn settle(&self, mut target: Appender) -> Result<()> {
        if let Err(error) = target.sync() {
            self.engine.run.control.poison(target.number());
            return Err(error);
        }
        let appenders = self.engine.appenders(self.guard);
        appenders.lasting.note(target.number(), target.appended());
        appenders.give_back(vec![target]);
        Ok(())
    }

    fn finish(mut self) -> Result<u64> {
        if let Some(target) = self.target.take() {
            self.settle(target)?;
        }
        if self.lost == 0 {
            return Ok(self.moved);
        }
        Err(Error::new(ErrorKind::SyncFailed, "the medium has lost what it did not take")
            .path(segment_path(self.segment))
            .expected("every record as it was written")
            .found(format!("{} records that are not", self.lost))
            .advice("put again what was put since the last sync"))
    }
}
