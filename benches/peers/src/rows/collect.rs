//! The collector's walk over the refs.

use crate::Bench;
use crate::bytes::Random;
use crate::report::{Line, MILLIONS};
use crate::samples::Samples;
use anyhow::Result;
use drystone::{CompactOptions, Store};

const VALUE_BYTES: usize = 100;

/// Pinned blobs of 100 B: an entry of the index for each blob and each pin.
pub fn run(bench: &Bench) -> Result<Vec<Line>> {
    let count: usize = if bench.quick { 200_000 } else { 2_000_000 };
    let scratch = bench.place.scratch()?;
    let store = Store::create(scratch.join("store"))?;
    let mut random = Random::new(2);
    for _ in 0..count / 10_000 {
        let bytes = random.bytes(10_000 * VALUE_BYTES);
        let values: Vec<&[u8]> = bytes.chunks(VALUE_BYTES).collect();
        store.put_many(&values)?;
    }
    let (mut walk, mut all) = (Samples::default(), Samples::default());
    for round in 0..=bench.rounds {
        let report = store.compact(&CompactOptions::new().dry_run(true))?;
        let entries = (report.live_blobs + report.live_refs) as f64;
        if round > 0 {
            walk.push(entries / report.walk_time.as_secs_f64() / 1e6);
            all.push(entries / report.time.as_secs_f64() / 1e6);
        }
    }
    Ok(vec![
        Line::new(format!("the collector's walk over {} entries", 2 * count))
            .measured(&walk, MILLIONS)
            .peer("all of a dry run, which reads what it would write anew", &all, MILLIONS)
            .target("at least 20 million a second", walk.median() >= 20.0),
    ])
}
