//! What is asked of a compaction, and what it tells.
#![forbid(unsafe_code)]

use crate::error::{Error, ErrorKind, Result};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A segment is written anew when at least this share of it is garbage.
const MIN_GARBAGE: f64 = 0.25;
/// With [`CompactOptions::all`].
const MIN_GARBAGE_ALL: f64 = 0.01;

/// Told how far a compaction has come.
type OnProgress = Arc<dyn Fn(&CompactProgress) + Send + Sync>;

/// How a store is compacted; see [`Store::compact`](crate::Store::compact).
#[derive(Clone, Default)]
pub struct CompactOptions {
    pub(super) all: bool,
    pub(super) min_garbage: Option<f64>,
    pub(super) rate: Option<u64>,
    pub(super) budget_bytes: Option<u64>,
    pub(super) budget_time: Option<Duration>,
    pub(super) dry_run: bool,
    pub(super) two_lanes_from: Option<u64>,
    pub(super) is_again: bool,
    pub(super) on_progress: Option<OnProgress>,
}

impl CompactOptions {
    /// Writes segments anew of which a quarter or more is garbage, as fast as it goes, to the end.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes every segment with more than a trace of garbage, and drops every tombstone that can go.
    pub fn all(mut self, yes: bool) -> Self {
        self.all = yes;
        self
    }

    /// The share of garbage, 0 to 1, from which on a segment is written anew; 0.25 by default.
    pub fn min_garbage(mut self, share: f64) -> Self {
        self.min_garbage = Some(share);
        self
    }

    /// Copies at most so many bytes a second on average; 0 would be for ever, and is refused.
    pub fn rate(mut self, bytes: u64) -> Self {
        self.rate = Some(bytes);
        self
    }

    /// Refuses what no compaction can go by.
    pub(super) fn check(&self) -> Result<()> {
        if self.rate == Some(0) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "a compaction cannot go at a rate of 0",
            )
            .expected("at least one byte a second")
            .advice("leave the rate out for none"));
        }
        match self.min_garbage {
            Some(share) if !(0.0..=1.0).contains(&share) => {
                Err(Error::new(ErrorKind::InvalidInput, "there is no such share of garbage")
                    .expected("a number from 0 to 1")
                    .found(share))
            }
            _ => Ok(()),
        }
    }

    /// Ends when about so many bytes have been copied; the next call goes on.
    pub fn budget_bytes(mut self, bytes: u64) -> Self {
        self.budget_bytes = Some(bytes);
        self
    }

    /// Ends after about so long; the next call goes on.
    pub fn budget_time(mut self, time: Duration) -> Self {
        self.budget_time = Some(time);
        self
    }

    /// Only tells what would be done. Nothing that could be seen is changed.
    pub fn dry_run(mut self, yes: bool) -> Self {
        self.dry_run = yes;
        self
    }

    /// Is told how far the compaction has come, by whichever thread has, one at a time.
    pub fn on_progress(mut self, told: impl Fn(&CompactProgress) + Send + Sync + 'static) -> Self {
        self.on_progress = Some(Arc::new(told));
        self
    }

    /// Goes in two lanes from so many live bytes on, for tests of the lanes on small stores.
    #[doc(hidden)]
    pub fn two_lanes_from(mut self, bytes: u64) -> Self {
        self.two_lanes_from = Some(bytes);
        self
    }

    /// The same for what this compaction has written itself: no small segments are merged once more.
    pub(super) fn again(&self, garbage_min: f64) -> Self {
        let min_garbage = Some(self.garbage_min().max(garbage_min));
        Self { min_garbage, is_again: true, ..self.clone() }
    }

    pub(super) fn garbage_min(&self) -> f64 {
        self.min_garbage.unwrap_or(if self.all { MIN_GARBAGE_ALL } else { MIN_GARBAGE })
    }
}

impl fmt::Debug for CompactOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompactOptions")
            .field("all", &self.all)
            .field("min_garbage", &self.garbage_min())
            .field("rate", &self.rate)
            .field("dry_run", &self.dry_run)
            .finish_non_exhaustive()
    }
}

/// How far a compaction has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompactProgress {
    /// Bytes of the segments that have been dealt with.
    pub done_bytes: u64,
    /// Bytes of all segments that were chosen.
    pub total_bytes: u64,
}

/// What a compaction did, or would do.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct CompactReport {
    /// Somebody else is compacting the store: nothing was done here.
    pub busy: bool,
    /// Nothing was changed.
    pub dry_run: bool,
    /// Nothing that was chosen is left to do: no budget and no lack of space ended it early.
    pub complete: bool,
    /// It ended early for want of space; what could be freed is free.
    pub out_of_space: bool,
    /// Live refs, pins among them, that were found.
    pub live_refs: u64,
    /// Live blobs.
    pub live_blobs: u64,
    /// Blobs that no ref named, and that were given up.
    pub collected_blobs: u64,
    /// Bytes of their records, about.
    pub collected_bytes: u64,
    /// Refs that had expired, and were removed.
    pub expired_refs: u64,
    /// Tombstones that nothing needs any more, and that were dropped.
    pub dropped_tombstones: u64,
    /// Segments whose live records were written anew; of a dry run, all that would go.
    pub rewritten_segments: u64,
    /// Segments that were removed.
    pub removed_segments: u64,
    /// Segments that could not be read as they should, and were left alone: see `fsck`.
    pub damaged_segments: u64,
    /// Records that were copied.
    pub copied_records: u64,
    /// Bytes of these.
    pub copied_bytes: u64,
    /// Bytes of the segment files before.
    pub bytes_before: u64,
    /// Bytes of the segment files afterwards; of a dry run, about what they would be.
    pub bytes_after: u64,
    /// Bytes held back beside them, so that a full disk can be cleared up; with what the store holds they
    /// become more or fewer.
    pub held_back_bytes: u64,
    /// How long it took.
    pub time: Duration,
    /// How long of that the walk over the refs took.
    pub walk_time: Duration,
}
