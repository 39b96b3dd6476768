//! Building the index anew after a reboot, from the footers of sealed segments in the page cache.

use crate::Bench;
use crate::bytes::Random;
use crate::report::{Line, MILLIONS};
use crate::samples::Samples;
use anyhow::Result;
use drystone::Store;
use std::time::Instant;

/// 10^6 blobs and as many pins.
pub fn run(bench: &Bench) -> Result<Vec<Line>> {
    let count = if bench.quick { 200_000 } else { 1_000_000 };
    let scratch = bench.place.scratch()?;
    let path = scratch.join("store");
    let store = Store::create(&path)?;
    let mut random = Random::new(3);
    for _ in 0..count / 10_000 {
        let values: Vec<_> = (0..10_000).map(|_| random.bytes(1024)).collect();
        store.put_many(&values)?;
    }
    store.sync()?;
    drop(store);
    // The first rebuild seals the last segments, which were still open: it is not counted.
    let mut rate = Samples::default();
    for boot in 0..=bench.rounds {
        let start = Instant::now();
        let store = Store::options().boot_id(format!("boot {boot}")).open(&path)?;
        let seconds = start.elapsed().as_secs_f64();
        drop(store);
        if boot > 0 {
            rate.push(2.0 * count as f64 / seconds / 1e6);
        }
    }
    Ok(vec![
        Line::new(format!("rebuild after a reboot, {} records", 2 * count))
            .measured(&rate, MILLIONS)
            .target("at least 5 M/s", rate.median() >= 5.0),
    ])
}
