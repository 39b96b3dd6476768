//! The index alone: insertion while it grows, without anything written beside it.

use crate::Bench;
use crate::bytes::Random;
use crate::latency::Latencies;
use crate::report::Line;
use crate::tables::FileTables;
use crate::writeback::during_write_back;
use anyhow::{Context, Result, ensure};
use drystone::index::{Index, Key, Location, Word};
use std::time::Instant;

/// Bytes that the records seem to have.
const RECORD_BYTES: u64 = 128;

/// Up to 10^7 keys.
pub fn run(bench: &Bench) -> Result<Vec<Line>> {
    let keys = if bench.quick { 1_000_000 } else { 10_000_000 };
    let scratch = bench.place.scratch()?;
    let tables = FileTables::create(&scratch.join("index"))?;
    let index = Index::new(&tables);
    let mut latencies = Latencies::with_capacity(keys);
    let mut random = Random::new(13);
    during_write_back(scratch.path(), || {
        for number in 0..keys as u64 {
            let key = Key { hi: random.next(), lo: random.next() };
            let location = Location::new((number >> 20) as u32, (number & 0xF_FFFF) * 64)
                .context("a location that can be")?;
            let word = Word::live(location, false, RECORD_BYTES);
            let start = Instant::now();
            let seen = index.lookup(key)?;
            let done = index.publish(key, seen, word)?;
            latencies.push(start.elapsed());
            ensure!(done.is_ok(), "nobody else changes the index");
        }
        Ok(())
    })?;
    let stats = index.stats()?;
    let found = latencies.percentiles();
    Ok(vec![
        Line::new(format!(
            "insertion into the index alone while growing to {keys} keys (generation {}), write-back running",
            stats.generation
        ))
        .measured_text(found.to_string())
        .target("p99.9 at most 50 us", found.p999_us <= 50.0),
    ])
}
