//! The nominees of a compaction on their way: chosen for good, written anew, unlinked.
//!
//! I1  Of several works of one compaction each has nominees and a target of its own. The space held back
//!     is for one that is alone: of several, one that finds no space leaves the rest of its nominees.
//!
//! Death: as rewrite.rs and unlink.rs say.
#![forbid(unsafe_code)]

use super::lanes::is_second_lane;
use super::options::{CompactOptions, CompactProgress, CompactReport};
use super::pace::Pace;
use super::rewrite::Rewriter;
use super::unlink::Emptied;
use super::victims::{Nominee, Victim};
use crate::engine::Engine;
use crate::error::{ErrorKind, Result};
use crate::segment::is_short_for_copies;
use crate::sync::epoch::{Guard, pin};
use crate::units::MIB;
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// Segments that go together: so many, or so large a part of the store.
const BATCH_SEGMENTS_MAX: usize = 64;
const BATCH_PART: u64 = 8;
const BATCH_BYTES_MIN: u64 = 64 * MIB;

/// The nominees on their way.
pub struct Work<'a> {
    engine: &'a Engine,
    options: &'a CompactOptions,
    report: CompactReport,
    rewriter: Rewriter<'a>,
    garbage_min: f64,
    /// Written anew, and not unlinked yet.
    emptied: Vec<Emptied>,
    emptied_bytes: u64,
    /// Of these the index named more than is listed.
    suspects: HashSet<u32>,
    batch_bytes_max: u64,
    /// Copying, the space held back included, has found none.
    is_full: bool,
    /// Another one is under way.
    is_beside_another: bool,
    /// Not dealt with, for want of space.
    left: Vec<Nominee>,
    progress: &'a Mutex<CompactProgress>,
}

impl<'a> Work<'a> {
    /// Work on a store of `bytes`, none done yet.
    pub fn new(
        engine: &'a Engine,
        options: &'a CompactOptions,
        pace: Pace,
        bytes: u64,
        progress: &'a Mutex<CompactProgress>,
    ) -> Self {
        let batch_bytes_max = (bytes / BATCH_PART).max(BATCH_BYTES_MIN);
        Self {
            engine,
            options,
            report: CompactReport::default(),
            rewriter: Rewriter::new(engine, pace),
            garbage_min: options.garbage_min(),
            emptied: Vec::new(),
            emptied_bytes: 0,
            suspects: HashSet::new(),
            batch_bytes_max,
            is_full: false,
            is_beside_another: false,
            left: Vec::new(),
            progress,
        }
    }

    /// The same while another work of the same compaction is under way.
    pub fn beside_another(self) -> Self {
        Self { is_beside_another: true, ..self }
    }

    /// What has been done when these nominees are dealt with, and how that ended.
    pub fn done(mut self, nominees: &[Nominee]) -> (Done, Result<()>) {
        let outcome = self.take_all(nominees);
        (self.end(), outcome)
    }

    /// Deals with nominees, in order.
    fn take_all(&mut self, nominees: &[Nominee]) -> Result<()> {
        let mut is_copying = false;
        self.rewriter.expect(nominees.iter().map(|nominee| nominee.live).sum());
        for (at, nominee) in nominees.iter().enumerate() {
            if self.rewriter.pace.is_spent() {
                return self.flush();
            }
            if !is_copying && nominee.live > 0 {
                // What needs no copy goes first: on a full disk it makes room for the copies.
                is_copying = true;
                self.flush()?;
            }
            self.take(nominee)?;
            if self.is_full && self.is_beside_another {
                self.left = nominees[at..].to_vec();
                break;
            }
            self.tell(nominee.len);
        }
        self.flush()?;
        self.report.complete = !self.is_full;
        Ok(())
    }

    fn tell(&self, bytes: u64) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.done_bytes += bytes;
        if let Some(told) = &self.options.on_progress {
            told(&progress);
        }
    }

    fn take(&mut self, nominee: &Nominee) -> Result<()> {
        if self.options.dry_run {
            return self.tell_of(nominee);
        }
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
        self.rewrite(nominee, victim, &guard)
    }

    /// Of a dry run: what would be written anew of a nominee. What was just condemned would be given up.
    fn tell_of(&mut self, nominee: &Nominee) -> Result<()> {
        let guard = pin();
        let victim = match self.engine.victim(nominee, &guard) {
            // One that would be sealed first.
            Ok(None) => self.engine.open_victim(nominee, &guard),
            other => other,
        };
        let live = match victim {
            Ok(Some(victim)) => self.engine.live_after_sweep(&victim, &guard)?,
            Ok(None) => nominee.live,
            Err(error) if error.kind() == ErrorKind::Damaged => {
                self.report.damaged_segments += 1;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let garbage = nominee.len.saturating_sub(live);
        let is_worth = live == 0 || garbage as f64 >= self.garbage_min * nominee.len as f64;
        if nominee.is_small || is_worth {
            self.report.rewritten_segments += 1;
            self.emptied_bytes += garbage;
        }
        Ok(())
    }

    fn rewrite(&mut self, nominee: &Nominee, mut victim: Victim, guard: &Guard) -> Result<()> {
        while let Err(error) = self.rewriter.rewrite(&victim, guard) {
            // No space that is given back raises a limit on file sizes.
            if error.kind() != ErrorKind::NoSpace || error.is_of_file_size() {
                return Err(error);
            }
            if !self.make_room()? {
                self.is_full = true;
                if bug!("starved-victim-unlinked") {
                    victim.live.clear();
                    break;
                }
                return Ok(());
            }
            match self.engine.victim(nominee, guard)? {
                Some(again) => victim = again,
                None => return Ok(()),
            }
        }
        self.report.rewritten_segments += u64::from(!victim.live.is_empty());
        self.emptied_bytes += victim.len;
        let Victim { mapped, record_bytes, live, .. } = victim;
        if (live.len() as u64) < nominee.named && !bug!("starved-victim-unlinked") {
            // Something has been superseded meanwhile; or what is named is not listed.
            self.suspects.insert(nominee.number);
        }
        self.emptied.push(Emptied { number: mapped.number, record_bytes, were_live: live });
        drop(mapped);
        let is_much =
            self.emptied.len() >= BATCH_SEGMENTS_MAX || self.emptied_bytes >= self.batch_bytes_max;
        if is_much || self.is_short_of_space()? { self.flush() } else { Ok(()) }
    }

    /// Whether copies live on what is kept for them: then each segment goes as soon as it is empty.
    fn is_short_of_space(&self) -> Result<bool> {
        Ok(is_short_for_copies(self.engine.disk().space()?))
    }

    /// Gets space by unlinking what has been emptied, or else what is held back.
    fn make_room(&mut self) -> Result<bool> {
        if !self.emptied.is_empty() {
            self.flush()?;
            return Ok(true);
        }
        let is_alone = !self.is_beside_another || bug!("lane-takes-spare");
        Ok(is_alone && self.rewriter.use_spare(&pin())?)
    }

    /// Unlinks what has been emptied.
    fn flush(&mut self) -> Result<()> {
        if self.emptied.is_empty() {
            return Ok(());
        }
        self.emptied_bytes = 0;
        if !bug!("lane-unsynced") || !is_second_lane() {
            self.rewriter.sync(&pin())?;
        }
        let mut emptied = std::mem::take(&mut self.emptied);
        let suspects = std::mem::take(&mut self.suspects);
        let named = self.engine.still_named(suspects, &pin())?;
        if !bug!("unlisted-unlinked") {
            self.report.damaged_segments += named.len() as u64;
            emptied.retain(|emptied| !named.contains(&emptied.number));
        }
        let removed = self.engine.unlink(emptied, &pin())?;
        self.report.removed_segments += removed;
        if removed > 0 && self.rewriter.leave_spare() {
            self.engine.hold_back();
        }
        Ok(())
    }

    /// What has been done. The segments that the copies went to are given to whoever appends next.
    fn end(mut self) -> Done {
        self.report.copied_records = self.rewriter.records;
        self.report.copied_bytes = self.rewriter.bytes;
        self.report.out_of_space = self.is_full;
        let guard = pin();
        self.rewriter.finish(&guard);
        if !self.is_full {
            let held_back = self.engine.appenders(&guard).held_back.take();
            self.engine.appenders(&guard).give_back(held_back.into_iter().collect());
        }
        Done { report: self.report, emptied_bytes: self.emptied_bytes, left: self.left }
    }
}

/// What has been done of a compaction.
pub struct Done {
    /// What there is to tell of it.
    pub report: CompactReport,
    /// Of a dry run: the bytes that would come back.
    pub emptied_bytes: u64,
    /// Of several: what was not dealt with for want of space.
    pub left: Vec<Nominee>,
}

impl Done {
    /// What has been done here and, at the same time, there.
    pub fn and(mut self, other: Self) -> Self {
        self.left.extend_from_slice(&other.left);
        let (a, b) = (&self.report, &other.report);
        let (complete, out_of_space) = (a.complete && b.complete, a.out_of_space || b.out_of_space);
        let done = self.then(&other);
        Self { report: CompactReport { complete, out_of_space, ..done.report }, ..done }
    }

    /// What has been done here and then, of what was left, there.
    pub fn then(self, other: &Self) -> Self {
        let (a, b) = (self.report, &other.report);
        let report = CompactReport {
            rewritten_segments: a.rewritten_segments + b.rewritten_segments,
            removed_segments: a.removed_segments + b.removed_segments,
            damaged_segments: a.damaged_segments + b.damaged_segments,
            copied_records: a.copied_records + b.copied_records,
            copied_bytes: a.copied_bytes + b.copied_bytes,
            complete: b.complete,
            out_of_space: b.out_of_space,
            ..a
        };
        let emptied_bytes = self.emptied_bytes + other.emptied_bytes;
        Self { report, emptied_bytes, left: self.left }
    }
}
