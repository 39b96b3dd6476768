//! A compaction from end to end: collect, choose, write anew, unlink, drop tombstones.
//!
//! I1  One at a time (collect/cycle.rs, I1), and it never stops anybody.
//! I2  What is left when it ends early, by a budget, an error or a death, is found by the next.
//!
//! Death: what the steps say; the space that was held back may be in use, and is held back again by the
//! next that appends or compacts.
#![forbid(unsafe_code)]

use super::options::{CompactOptions, CompactProgress, CompactReport};
use super::pace::Pace;
use super::rewrite::Rewriter;
use super::unlink::Emptied;
use super::victims::{Nominee, Victim};
use crate::collect::{Collected, Cycle};
use crate::engine::Engine;
use crate::error::{ErrorKind, Result};
use crate::segment::Purpose;
use crate::sync::epoch::{Guard, pin};
use crate::units::MIB;

/// Segments that go together: so many, or so large a part of the store.
const BATCH_SEGMENTS_MAX: usize = 64;
const BATCH_PART: u64 = 8;
const BATCH_BYTES_MIN: u64 = 64 * MIB;
/// Tombstones are looked into when they are more than this part of the keys; else it is not worth a pass
/// over all footers.
const TOMBS_PART: u64 = 16;

impl Engine {
    /// Gives up what nothing names, and gets its space back.
    pub fn compact(&self, options: &CompactOptions) -> Result<CompactReport> {
        let pace = Pace::new(options);
        self.enter_writing(&pin())?;
        let mut report = CompactReport { dry_run: options.dry_run, ..CompactReport::default() };
        let Some(cycle) = Cycle::begin(self)? else {
            return Ok(CompactReport { busy: true, ..report });
        };
        report.bytes_before = self.segment_bytes()?;
        if !options.dry_run {
            self.seal_orphans(&pin())?;
        }
        let collected = cycle.collect(options.dry_run, &pin())?;
        report.count(&collected);
        let garbage_min = options.garbage_min();
        if !options.dry_run {
            self.seal_own(&collected.census, garbage_min, &pin())?;
        }
        let nominees = self.nominate(&collected.census, garbage_min)?;
        let mut work = Work::new(self, options, report, pace, garbage_min, &nominees);
        let done = work.take_all(&nominees);
        let mut report = work.end();
        if !options.dry_run {
            self.hold_back();
        }
        done?;
        if !options.dry_run && report.complete && self.is_tombs_due(options, &collected) {
            report.dropped_tombstones = self.drop_tombstones(&pin())?;
        }
        if !options.dry_run {
            report.bytes_after = self.segment_bytes()?;
        }
        Ok(report)
    }

    fn is_tombs_due(&self, options: &CompactOptions, collected: &Collected) -> bool {
        let census = &collected.census;
        let keys = census.refs + census.blobs + census.tombs;
        census.tombs > 0 && (options.all || census.tombs > keys / TOMBS_PART)
    }

    /// Bytes of the segment files.
    fn segment_bytes(&self) -> Result<u64> {
        let mut bytes = 0;
        for number in self.files.list()? {
            match self.files.open(number, crate::disk::Access::Read) {
                Ok(Some(file)) => bytes += file.len()?,
                Ok(None) => {}
                Err(error) if error.is_damage() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(bytes)
    }
}

impl CompactReport {
    fn count(&mut self, collected: &Collected) {
        let census = &collected.census;
        self.live_refs = census.refs;
        self.live_blobs = census.blobs;
        self.collected_blobs = census.given_up;
        self.collected_bytes = census.given_up_bytes;
        self.expired_refs = collected.expired;
        self.walk_time = collected.walk_time;
    }
}

/// The nominees on their way.
struct Work<'a> {
    engine: &'a Engine,
    options: &'a CompactOptions,
    report: CompactReport,
    rewriter: Rewriter<'a>,
    garbage_min: f64,
    /// Written anew, and not unlinked yet.
    emptied: Vec<Emptied>,
    emptied_bytes: u64,
    batch_bytes_max: u64,
    /// Copying, the space held back included, has found none.
    is_full: bool,
    progress: CompactProgress,
}

impl<'a> Work<'a> {
    fn new(
        engine: &'a Engine,
        options: &'a CompactOptions,
        report: CompactReport,
        pace: Pace,
        garbage_min: f64,
        nominees: &[Nominee],
    ) -> Self {
        let batch_bytes_max = (report.bytes_before / BATCH_PART).max(BATCH_BYTES_MIN);
        let total_bytes = nominees.iter().map(|nominee| nominee.len).sum();
        Self {
            engine,
            options,
            report,
            rewriter: Rewriter::new(engine, pace),
            garbage_min,
            emptied: Vec::new(),
            emptied_bytes: 0,
            batch_bytes_max,
            is_full: false,
            progress: CompactProgress { done_bytes: 0, total_bytes },
        }
    }

    fn take_all(&mut self, nominees: &[Nominee]) -> Result<()> {
        let mut is_copying = false;
        for nominee in nominees {
            if self.rewriter.pace.is_spent() {
                return self.flush();
            }
            if !is_copying && nominee.live > 0 {
                // What needs no copy goes first: on a full disk it makes room for the copies.
                is_copying = true;
                self.flush()?;
            }
            self.take(nominee)?;
            self.progress.done_bytes += nominee.len;
            if let Some(told) = &self.options.on_progress {
                told(&self.progress);
            }
        }
        self.flush()?;
        self.report.complete = !self.is_full;
        Ok(())
    }

    fn take(&mut self, nominee: &Nominee) -> Result<()> {
        let guard = pin();
        let victim = match self.engine.victim(nominee, &guard) {
            Ok(Some(victim)) => victim,
            Ok(None) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Damaged => {
                self.report.damaged_segments += 1;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if !nominee.is_small && victim.garbage() < self.garbage_min && !victim.live.is_empty() {
            return Ok(());
        }
        if self.options.dry_run {
            self.report.rewritten_segments += 1;
            let live: u64 = victim.live.iter().map(|live| live.bytes).sum();
            self.emptied_bytes += victim.len.saturating_sub(live);
            return Ok(());
        }
        self.rewrite(nominee, victim, &guard)
    }

    fn rewrite(&mut self, nominee: &Nominee, mut victim: Victim, guard: &Guard) -> Result<()> {
        while let Err(error) = self.rewriter.rewrite(&victim, guard) {
            if error.kind() != ErrorKind::NoSpace {
                return Err(error);
            }
            if !self.make_room()? {
                self.is_full = true;
                return Ok(());
            }
            match self.engine.victim(nominee, guard)? {
                Some(again) => victim = again,
                None => return Ok(()),
            }
        }
        self.report.rewritten_segments += u64::from(!victim.live.is_empty());
        self.emptied_bytes += victim.len;
        let Victim { mapped, len, live } = victim;
        self.emptied.push(Emptied { number: mapped.number, len, were_live: live });
        drop(mapped);
        let is_much =
            self.emptied.len() >= BATCH_SEGMENTS_MAX || self.emptied_bytes >= self.batch_bytes_max;
        if is_much || self.is_short_of_space()? { self.flush() } else { Ok(()) }
    }

    /// Whether copies live on what is kept for them: then each segment goes as soon as it is empty.
    fn is_short_of_space(&self) -> Result<bool> {
        let space = self.engine.disk().space()?;
        Ok(space.free < Purpose::Removal.floor(space.total))
    }

    /// Gets space by unlinking what has been emptied, or else what is held back.
    fn make_room(&mut self) -> Result<bool> {
        if !self.emptied.is_empty() {
            self.flush()?;
            return Ok(true);
        }
        self.rewriter.use_spare()
    }

    /// Unlinks what has been emptied.
    fn flush(&mut self) -> Result<()> {
        if self.emptied.is_empty() {
            return Ok(());
        }
        self.emptied_bytes = 0;
        self.rewriter.sync(&pin())?;
        let removed = self.engine.unlink(std::mem::take(&mut self.emptied), &pin())?;
        self.report.removed_segments += removed;
        if removed > 0 && self.rewriter.leave_spare() {
            self.engine.hold_back();
        }
        Ok(())
    }

    fn end(mut self) -> CompactReport {
        self.report.copied_records = self.rewriter.records;
        self.report.copied_bytes = self.rewriter.bytes;
        self.report.out_of_space = self.is_full;
        self.report.time = self.rewriter.pace.elapsed();
        if self.options.dry_run {
            self.report.bytes_after = self.report.bytes_before.saturating_sub(self.emptied_bytes);
        }
        let guard = pin();
        self.rewriter.finish(&guard);
        if !self.is_full {
            let held_back = self.engine.appenders(&guard).held_back.take();
            self.engine.appenders(&guard).give_back(held_back.into_iter().collect());
        }
        self.report
    }
}
