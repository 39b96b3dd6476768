//! How fast a compaction goes, and when it ends: its rate and its budget.
#![forbid(unsafe_code)]

use super::options::CompactOptions;
use std::time::{Duration, Instant};

/// Longest sleep: whoever waits for a compaction to end wants it to notice its budget.
const SLEEP_MAX: Duration = Duration::from_millis(250);

/// See the head of this file.
#[derive(Clone)]
pub struct Pace {
    begin: Instant,
    rate: Option<u64>,
    budget_bytes: Option<u64>,
    budget_time: Option<Duration>,
    bytes: u64,
}

impl Pace {
    pub fn new(options: &CompactOptions) -> Self {
        Self {
            begin: Instant::now(),
            rate: options.rate,
            budget_bytes: options.budget_bytes,
            budget_time: options.budget_time,
            bytes: 0,
        }
    }

    /// Whether there is neither a rate nor a budget.
    pub fn is_free(&self) -> bool {
        self.rate.is_none() && self.budget_bytes.is_none() && self.budget_time.is_none()
    }

    /// Counts bytes that were copied, and sleeps where that was too fast.
    pub fn spend(&mut self, bytes: u64) {
        self.bytes += bytes;
        let Some(rate) = self.rate else { return };
        let due = Duration::from_secs_f64(self.bytes as f64 / rate as f64);
        while let Some(early) = due.checked_sub(self.begin.elapsed()).filter(|d| !d.is_zero()) {
            if self.is_out_of_time() {
                return;
            }
            std::thread::sleep(early.min(SLEEP_MAX));
        }
    }

    /// Whether there is nothing left to spend.
    pub fn is_spent(&self) -> bool {
        self.budget_bytes.is_some_and(|budget| self.bytes >= budget) || self.is_out_of_time()
    }

    fn is_out_of_time(&self) -> bool {
        self.budget_time.is_some_and(|budget| self.begin.elapsed() >= budget)
    }

    /// Since when.
    pub fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }
}
