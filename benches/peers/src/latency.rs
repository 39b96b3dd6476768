//! How long single operations take: percentiles of many.
//!
//! An operation in which the scheduler gave the processor to somebody else tells about the machine's
//! load. It is told apart by the thread's count of involuntary switches, reported, and left out of the
//! percentiles; one that waits by itself, for a lock or the disk, is not.

use nix::sys::resource::{UsageWho, getrusage};
use std::time::Duration;

/// A shorter operation is not asked about: a switch away takes longer.
const SUSPECT_NS: u32 = 10_000;

/// Durations of operations of one thread, in nanoseconds.
#[derive(Debug)]
pub struct Latencies {
    undisturbed_ns: Vec<u32>,
    interrupted_ns: Vec<u32>,
    switches: i64,
}

/// The percentiles that are reported.
#[derive(Clone, Copy, Debug)]
pub struct Percentiles {
    /// Half take no longer.
    pub p50_us: f64,
    /// 99 of 100.
    pub p99_us: f64,
    /// 999 of 1000.
    pub p999_us: f64,
    /// All.
    pub max_us: f64,
    /// Operations left out, because the scheduler interrupted them.
    pub interrupted: usize,
}

impl Latencies {
    /// Room for `count`, so that none waits for memory.
    pub fn with_capacity(count: usize) -> Self {
        // Touched now: the first store to a page is a fault.
        let mut undisturbed_ns = vec![1; count];
        undisturbed_ns.clear();
        Self { undisturbed_ns, interrupted_ns: Vec::new(), switches: involuntary_switches() }
    }

    /// Adds one, which has just ended.
    #[inline]
    pub fn push(&mut self, duration: Duration) {
        let ns = u32::try_from(duration.as_nanos()).unwrap_or(u32::MAX);
        if ns >= SUSPECT_NS {
            let switches = involuntary_switches();
            if switches != self.switches {
                self.switches = switches;
                return self.interrupted_ns.push(ns);
            }
        }
        self.undisturbed_ns.push(ns);
    }

    /// The percentiles.
    pub fn percentiles(&mut self) -> Percentiles {
        self.undisturbed_ns.sort_unstable();
        let at = |share: f64| {
            let last = self.undisturbed_ns.len().saturating_sub(1);
            let index = ((self.undisturbed_ns.len() as f64 * share) as usize).min(last);
            self.undisturbed_ns.get(index).map_or(f64::NAN, |&ns| f64::from(ns) / 1e3)
        };
        Percentiles {
            p50_us: at(0.5),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: at(1.0),
            interrupted: self.interrupted_ns.len(),
        }
    }
}

/// How often the scheduler has taken the processor from this thread.
fn involuntary_switches() -> i64 {
    getrusage(UsageWho::RUSAGE_THREAD).map_or(0, |usage| usage.involuntary_context_switches())
}

impl std::fmt::Display for Percentiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { p50_us, p99_us, p999_us, max_us, interrupted } = self;
        write!(f, "p50 {p50_us:.2}, p99 {p99_us:.2}, p99.9 {p999_us:.2}, max {max_us:.0} us")?;
        write!(f, " (without {interrupted} that the scheduler interrupted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_durations() {
        let mut latencies = Latencies::with_capacity(1000);
        (0..1000).rev().for_each(|ns| latencies.push(Duration::from_nanos(ns)));
        let found = latencies.percentiles();
        assert_eq!((found.p50_us, found.p99_us), (0.5, 0.99));
        assert_eq!((found.p999_us, found.max_us, found.interrupted), (0.999, 0.999, 0));
    }
}
