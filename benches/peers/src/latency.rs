//! How long single operations take: percentiles of many.

use std::time::Duration;

/// Durations of operations, in nanoseconds.
#[derive(Debug, Default)]
pub struct Latencies(Vec<u32>);

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
}

impl Latencies {
    /// Room for `count`, so that none waits for memory.
    pub fn with_capacity(count: usize) -> Self {
        // Touched now: the first store to a page is a fault.
        let mut room = vec![1; count];
        room.clear();
        Self(room)
    }

    /// Adds one.
    #[inline]
    pub fn push(&mut self, duration: Duration) {
        self.0.push(u32::try_from(duration.as_nanos()).unwrap_or(u32::MAX));
    }

    /// The percentiles.
    pub fn percentiles(&mut self) -> Percentiles {
        self.0.sort_unstable();
        let at = |share: f64| {
            let last = self.0.len().saturating_sub(1);
            let index = ((self.0.len() as f64 * share) as usize).min(last);
            self.0.get(index).map_or(f64::NAN, |&ns| f64::from(ns) / 1e3)
        };
        Percentiles { p50_us: at(0.5), p99_us: at(0.99), p999_us: at(0.999), max_us: at(1.0) }
    }
}

impl std::fmt::Display for Percentiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { p50_us, p99_us, p999_us, max_us } = self;
        write!(f, "p50 {p50_us:.2}, p99 {p99_us:.2}, p99.9 {p999_us:.2}, max {max_us:.0} us")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_durations() {
        let mut latencies = Latencies::with_capacity(1000);
        (0..1000).rev().for_each(|us| latencies.push(Duration::from_micros(us)));
        let found = latencies.percentiles();
        assert_eq!((found.p50_us, found.p99_us), (500.0, 990.0));
        assert_eq!((found.p999_us, found.max_us), (999.0, 999.0));
    }
}
