//! A large compaction goes in two lanes, each with its share of the nominees: a copy waits for memory and
//! for the medium, and what surrounds it, lookups, exchanges, footers and pages given back, takes longer
//! than the copy where records are small.
//!
//! I1  Only where the copies of both fit on the file system beside all that is there. A lane that finds no
//!     space all the same ends; what the two have left is then done in one.
#![forbid(unsafe_code)]

use super::options::{CompactOptions, CompactProgress};
use super::pace::Pace;
use super::victims::Nominee;
use super::work::{Done, Work};
use crate::engine::Engine;
use crate::error::Result;
use crate::segment::Purpose;
use crate::units::MIB;
use std::sync::Mutex;

/// Live bytes for which a second lane is worth its thread, and the open segment that it leaves.
const LIVE_BYTES_MIN: u64 = 96 * MIB;
/// Space that the open segments of both may reserve ahead.
const AHEAD_BYTES: u64 = 256 * MIB;

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
    let lane = |nominees: &[Nominee]| {
        let mut work = Work::new(engine, options, pace.clone(), bytes, &progress);
        let outcome = work.take_all(nominees);
        (work.end(), outcome)
    };
    let is_wide = pace.is_free() && !options.dry_run && has_room_for_two(engine, nominees);
    if !is_wide {
        return lane(nominees);
    }
    let share = |first| nominees.iter().skip(first).step_by(2).copied().collect::<Vec<_>>();
    let (one, other) = (share(0), share(1));
    let (here, there) = std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("drystone-compact".into());
        let there = builder.spawn_scoped(scope, || lane(&other));
        let here = lane(&one);
        let there = match there {
            Ok(there) => there.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            // No thread is to be had.
            Err(_) => lane(&other),
        };
        (here, there)
    });
    let (done, outcome) = (here.0.and(&there.0), here.1.and(there.1));
    if outcome.is_err() || !done.report.out_of_space {
        return (done, outcome);
    }
    // What is done already is gone.
    let (rest, outcome) = lane(nominees);
    let (complete, out_of_space) = (rest.report.complete, rest.report.out_of_space);
    let mut done = done.and(&rest);
    (done.report.complete, done.report.out_of_space) = (complete, out_of_space);
    (done, outcome)
}

/// Whether two lanes are worth it, and can do without what either gives back.
fn has_room_for_two(engine: &Engine, nominees: &[Nominee]) -> bool {
    let live: u64 = nominees.iter().map(|nominee| nominee.live).sum();
    let needed = live.saturating_add(live / 8).saturating_add(AHEAD_BYTES);
    live >= LIVE_BYTES_MIN
        && engine.settings.threads > 1
        && engine
            .disk()
            .space()
            .is_ok_and(|space| space.free >= needed.saturating_add(Purpose::Put.floor(space.total)))
}
