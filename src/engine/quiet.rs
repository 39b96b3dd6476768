//! Of each segment the offset below which no record is pending any more, as this process has seen it:
//! the collector, which looks for pending refs again and again, begins there, and so does a sync.
//!
//! I1  A record below such an offset was published when it was passed, and there was none that was still
//!     being written: each stood right behind the one before.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// See the head of this file.
#[derive(Default)]
pub struct Quiet {
    below: Mutex<HashMap<u32, u64>>,
}

/// Stands for all of a sealed segment.
pub const ALL: u64 = u64::MAX;

impl Quiet {
    fn below_all(&self) -> MutexGuard<'_, HashMap<u32, u64>> {
        self.below.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The offset, 0 if nothing is known.
    pub fn below(&self, segment: u32) -> u64 {
        self.below_all().get(&segment).copied().unwrap_or(0)
    }

    /// Notes an offset.
    pub fn note(&self, segment: u32, below: u64) {
        self.below_all().insert(segment, below);
    }

    /// Forgets the segments that are gone; `present` is in order.
    pub fn retain(&self, present: &[u32]) {
        self.below_all().retain(|segment, _| present.binary_search(segment).is_ok());
    }
}
