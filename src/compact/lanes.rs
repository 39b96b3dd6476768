//! A large compaction goes in two lanes, each with its share of the nominees: a copy waits for memory and
//! for the medium, and what surrounds it, lookups, exchanges, footers and pages given back, takes longer
//! than the copy where records are small. Not where all cores are busy when it begins: readers and writers go
//! first.
//!
//! I1  Only where the copies of both fit on the file system beside all that is there, and below the size limit
//!     of the store: puts beside them go on. A lane that finds no
//!     space all the same ends, without the space that is held back; what the two have left is then done
//!     in one.
//! I2  Each nominee is one lane's. What a lane has dealt with, nobody deals with again.
//!
//! Death: as work.rs says, in two places at a time.
#![forbid(unsafe_code)]

use super::options::{CompactOptions, CompactProgress};
use super::pace::Pace;
use super::victims::Nominee;
use super::work::{Done, Work};
use crate::engine::{Engine, has_idle_core};
use crate::error::Result;
use crate::segment::Purpose;
use crate::units::MIB;
use std::collections::HashSet;
use std::sync::Mutex;

/// Live bytes for which a second lane is worth its thread, and the open segment that it leaves.
const LIVE_BYTES_MIN: u64 = 96 * MIB;
/// Space that the open segments of both may reserve ahead: each no more than a segment has.
const AHEAD_BYTES_MAX: u64 = 256 * MIB;

/// Name of the second lane's thread.
const SECOND_LANE: &str = "drystone-compact";

/// Deals with all nominees; what has been done of that, and how it ended.
pub fn take_all(
    engine: &Engine,
    options: &CompactOptions,
    pace: &Pace,
    bytes: u64,
    nominees: &[Nominee],
) -> (Done, Result<()>) {
    let total_bytes = nominees.iter().map(|nominee| nominee.len).sum();
    let progress = Mutex::new(CompactProgress { done_bytes: 0, total_bytes });
    let work = || Work::new(engine, options, pace.clone(), bytes, &progress);
    let is_wide = pace.is_free() && !options.dry_run && has_room_for_two(engine, options, nominees);
    if !is_wide {
        return work().done(nominees);
    }
    let (done, outcome) = in_two(nominees, |share| work().beside_another().done(share));
    if outcome.is_err() || done.left.is_empty() {
        return (done, outcome);
    }
    let left: HashSet<u32> = done.left.iter().map(|nominee| nominee.number).collect();
    let is_left = |nominee: &&Nominee| left.contains(&nominee.number) || bug!("lane-done-again");
    let (rest, outcome) =
        work().done(&nominees.iter().filter(is_left).copied().collect::<Vec<_>>());
    (done.then(&rest), outcome)
}

/// Has half of the nominees dealt with on a thread of its own.
fn in_two(
    nominees: &[Nominee],
    lane: impl Fn(&[Nominee]) -> (Done, Result<()>) + Sync,
) -> (Done, Result<()>) {
    let share = |first| nominees.iter().skip(first).step_by(2).copied().collect::<Vec<_>>();
    let (one, other) = (share(0), share(usize::from(!bug!("lanes-of-one-share"))));
    let (here, there) = std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name(SECOND_LANE.into());
        let there = builder.spawn_scoped(scope, || lane(&other));
        let here = lane(&one);
        let there = match there {
            Ok(there) => there.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            // No thread is to be had.
            Err(_) => lane(&other),
        };
        (here, there)
    });
    let failed = if bug!("lane-error-swallowed") { Ok(()) } else { there.1 };
    (here.0.and(there.0), here.1.and(failed))
}

/// Whether this is the thread of the second lane, for bugs that only that one has.
pub fn is_second_lane() -> bool {
    std::thread::current().name() == Some(SECOND_LANE)
}

/// Whether two lanes are worth it, and can do without what either gives back.
fn has_room_for_two(engine: &Engine, options: &CompactOptions, nominees: &[Nominee]) -> bool {
    let live: u64 = nominees.iter().map(|nominee| nominee.live).sum();
    let ahead = engine.segment_target().saturating_mul(2).min(AHEAD_BYTES_MAX);
    // Size classes hide up to half of what a record has, but for the largest.
    let needed = live.saturating_add(live / 2).saturating_add(ahead);
    live >= options.two_lanes_from.unwrap_or(LIVE_BYTES_MIN)
        && (options.two_lanes_from.is_some() || has_idle_core())
        && engine.settings.threads > 1
        && engine.check_room(needed).is_ok()
        && engine
            .disk()
            .space()
            .is_ok_and(|space| space.free >= needed.saturating_add(Purpose::Put.floor(space.total)))
}
