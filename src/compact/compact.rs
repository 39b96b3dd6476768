//! A compaction from end to end: collect, choose, write anew, unlink, drop tombstones.
//!
//! I1  One at a time (collect/cycle.rs, I1), and it never stops anybody.
//! I2  What is left when it ends early, by a budget, an error or a death, is found by the next.
//!
//! Death: what the steps say; the space that was held back may be in use, and is held back again by the
//! next that appends or compacts.
#![forbid(unsafe_code)]

use super::lanes::take_all;
use super::options::{CompactOptions, CompactReport};
use super::pace::Pace;
use crate::collect::{Census, Collected, Cycle, TOMB_BYTES};
use crate::disk::Access;
use crate::engine::Engine;
use crate::error::Result;
use crate::format::segment::{ENTRY_BYTES, HEAD_BYTES};
use crate::segment::{FileBlocks, end_of};
use crate::sync::epoch::pin;
use std::collections::HashMap;

/// Tombstones are looked into when they are more than this part of the keys; else it is not worth a pass
/// over all footers.
const TOMBS_PART: u64 = 16;
/// Times that all is gone through, for tombstones whose copies become garbage.
const ROUNDS_MAX: u32 = 3;
/// Share of these in what has been copied, and then in a segment, for which that is worth another copy.
const MIN_GARBAGE_AGAIN: f64 = 0.08;

impl Engine {
    /// Gives up what nothing names, and gets its space back.
    pub fn compact(&self, options: &CompactOptions) -> Result<CompactReport> {
        options.check()?;
        let pace = Pace::new(options);
        self.enter_writing(&pin())?;
        let mut report = CompactReport { dry_run: options.dry_run, ..CompactReport::default() };
        let Some(cycle) = Cycle::begin(self)? else {
            return Ok(CompactReport { busy: true, ..report });
        };
        let was_tight = self.is_tight();
        let done = self.compact_as(&cycle, options, &pace, &mut report);
        self.see_off(was_tight);
        done?;
        if !options.dry_run {
            self.hold_back_anew();
        }
        report.held_back_bytes = self.held_back_bytes()?;
        report.time = pace.elapsed();
        Ok(report)
    }

    /// Does what a compaction does under its lock, and counts it.
    fn compact_as(
        &self,
        cycle: &Cycle<'_>,
        options: &CompactOptions,
        pace: &Pace,
        report: &mut CompactReport,
    ) -> Result<()> {
        report.bytes_before = self.segment_bytes()?;
        if !options.dry_run {
            self.seal_orphans(&pin())?;
        }
        let collected = cycle.collect(options.dry_run, &pin())?;
        report.count(&collected);
        let would_free = self.round(options, pace, &collected.census, report)?;
        if !options.dry_run && report.complete && is_tombs_due(options, &collected.census) {
            self.drop_due(cycle, options, pace, report)?;
        }
        report.bytes_after = match options.dry_run {
            true => report.bytes_before.saturating_sub(would_free),
            false => self.segment_bytes()?,
        };
        if !options.dry_run {
            // Counted first: a store that is taken for a small one gives back what it holds.
            self.count_again()?;
        }
        Ok(())
    }

    /// Drops tombstones. Of `all` little is left of them: what has been copied of them is garbage then, and
    /// is gone through again where it is more than a trace.
    fn drop_due(
        &self,
        cycle: &Cycle<'_>,
        options: &CompactOptions,
        pace: &Pace,
        report: &mut CompactReport,
    ) -> Result<()> {
        // What was asked to be moved in any case has been.
        let is_anew = bug!("trace-copied-again");
        let rest = if is_anew { options.clone() } else { options.again(MIN_GARBAGE_AGAIN) };
        for round in 1.. {
            let dropped = self.drop_tombstones(cycle, &pin())?;
            report.dropped_tombstones += dropped;
            let is_last = !options.all || !report.complete || round == ROUNDS_MAX;
            if is_last || bug!("one-round") || !is_much(dropped, report) {
                break;
            }
            let census = cycle.collect(false, &pin())?.census;
            self.round(&rest, pace, &census, report)?;
        }
        Ok(())
    }

    /// Raises the counter of what was appended to what is there, as far as footers and hints tell.
    fn count_again(&self) -> Result<()> {
        let hints: HashMap<u32, u64> = self
            .run
            .control
            .open_segments()
            .map(|(_, last)| (last.segment(), last.offset()))
            .collect();
        let mut bytes: u64 = 0;
        for number in self.files.list()? {
            let file = match self.files.open(number, Access::Read) {
                Ok(Some(file)) => file,
                Ok(None) => continue,
                Err(error) if error.is_damage() => continue,
                Err(error) => return Err(error),
            };
            let blocks = FileBlocks::new(&*file)?;
            let end = end_of(&blocks, &self.files, number).map(|end| end.trailer.entries_offset);
            blocks.check()?;
            let end = end.map(|end| end.get()).or_else(|| hints.get(&number).copied());
            bytes += end.unwrap_or(0).saturating_sub(HEAD_BYTES);
        }
        if !bug!("uncounted-left") {
            self.run.control.raise_appended(bytes);
        }
        Ok(())
    }

    /// Writes anew what is worth it, and unlinks; of a dry run, the bytes that would come back.
    fn round(
        &self,
        options: &CompactOptions,
        pace: &Pace,
        census: &Census,
        report: &mut CompactReport,
    ) -> Result<u64> {
        let garbage_min = options.garbage_min();
        let (mut open, mut cut) = (HashMap::new(), 0);
        if options.dry_run {
            (open, cut) = self.would_seal(&pin())?;
        } else {
            self.seal_own(census, garbage_min, &pin())?;
        }
        let mut nominees = self.nominate(census, garbage_min, &open)?;
        if options.is_again {
            nominees.iter_mut().for_each(|nominee| nominee.is_small = false);
        }
        let (done, outcome) = take_all(self, options, pace, report.bytes_before, &nominees);
        report.add(&done.report);
        outcome.map(|()| done.emptied_bytes + cut)
    }

    /// Bytes of the segment files.
    fn segment_bytes(&self) -> Result<u64> {
        let mut bytes = 0;
        for number in self.files.list()? {
            match self.files.open(number, Access::Read) {
                Ok(Some(file)) => bytes += file.len()?,
                Ok(None) => {}
                Err(error) if error.is_damage() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(bytes)
    }
}

fn is_tombs_due(options: &CompactOptions, census: &Census) -> bool {
    let keys = census.refs + census.blobs + census.tombs;
    census.tombs > 0 && (options.all || census.tombs > keys / TOMBS_PART)
}

/// Whether what these tombstones take is worth copying once more what has been copied.
fn is_much(tombstones: u64, report: &CompactReport) -> bool {
    let bytes = (tombstones * (TOMB_BYTES + ENTRY_BYTES)) as f64;
    bytes > MIN_GARBAGE_AGAIN * report.copied_bytes as f64
        || tombstones > 0 && bug!("trace-copied-again")
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

    fn add(&mut self, done: &Self) {
        self.rewritten_segments += done.rewritten_segments;
        self.removed_segments += done.removed_segments;
        self.damaged_segments = done.damaged_segments;
        self.copied_records += done.copied_records;
        self.copied_bytes += done.copied_bytes;
        self.complete = done.complete;
        self.out_of_space = done.out_of_space;
    }
}
