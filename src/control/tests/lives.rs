//! What processes do with appenders, and what must hold of the segments that they leave.
#![forbid(unsafe_code)]

use super::page::{Process, Shared};
use crate::index::bed::until_stopped;
use std::sync::Arc;

/// What a process does with one appender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// Appends, and ends without a word.
    Ends,
    /// Appends, and becomes idle.
    Closes,
    /// Appends, and seals.
    Seals,
    /// Its fsync fails.
    Fails,
}

use Life::*;

/// Lives; whether it came to the end of it.
pub fn live(shared: &Arc<Shared>, number: u64, lives: &[Life], steps: usize) -> bool {
    let mut process = Process::new(shared, number, steps);
    let all = || {
        for life in lives {
            process.open();
            process.append();
            match life {
                Ends => return,
                Closes => process.close(),
                Seals => process.seal(),
                Fails => process.fail(),
            }
        }
    };
    until_stopped(all).is_some()
}

/// Every segment that is not sealed is noted, where nobody died before it was, and there was a slot.
#[cfg(loom)]
pub fn check_noted(shared: &Arc<Shared>) {
    let process = Process::new(shared, 8, usize::MAX);
    let control = &process.control;
    let noted: Vec<u32> = control.open_segments().map(|(_, last)| last.segment()).collect();
    for segment in 0..control.draw_segment().unwrap() {
        assert!(shared.is_sealed(segment) || noted.contains(&segment), "{segment} is lost");
    }
}

/// Whoever comes last takes up an open segment that is good, if one is noted.
pub fn check_handed_over(shared: &Arc<Shared>) {
    let mut last = Process::new(shared, 9, usize::MAX);
    let noted: Vec<u32> = last.control.open_segments().map(|(_, last)| last.segment()).collect();
    let is_good =
        |segment: &u32| !shared.is_sealed(*segment) && !last.control.is_poisoned(*segment);
    let good: Vec<u32> = noted.into_iter().filter(is_good).collect();
    let got = last.open();
    assert!(good.is_empty() || good.contains(&got), "{got} is none of {good:?}");
    last.append();
}
