//! A reader process: waits for each step, maps it, and computes a statistic where the bytes lie.

use super::events::{Event, report};
use super::files;
use super::plan::{Grid, Plan, Work};
use super::sample::{Sampler, own_bytes};
use super::steps::{blob_named, cells};
use super::wave::Wave;
use crate::cli::NAMES;
use crate::exit::Outcome;
use drystone::{Blob, Store};
use std::time::Instant;

/// Runs the process.
pub fn run(store: &Store, plan: &Plan, from: u32) -> Outcome {
    match &plan.work {
        Work::Wave(grid) => watch_wave(store, grid, from),
        Work::Files(_) => files::read(store, plan, from),
    }
}

fn watch_wave(store: &Store, grid: &Grid, from: u32) -> Outcome {
    let refs = store.refs(NAMES);
    let mut sampler = Sampler::new(store);
    let mut wave = Wave::new(*grid);
    let field = |step: u32| -> Outcome<Vec<Blob>> {
        (0..grid.slabs).map(|s| blob_named(store, &refs, Grid::key(step, s).as_bytes())).collect()
    };
    // The energy is one of two steps, so the first step is reported with the second.
    let first = from.max(1);
    let mut now = field(first - 1)?;
    for step in first..grid.steps {
        let next = field(step)?;
        let begin = Instant::now();
        let value = {
            let now = now.iter().map(cells).collect::<Outcome<Vec<_>>>()?;
            let next = next.iter().map(cells).collect::<Outcome<Vec<_>>>()?;
            wave.energy(&now, &next)
        };
        let busy_ns = begin.elapsed().as_nanos() as u64;
        let new = if step == 1 { 2 } else { 1 };
        sampler.add(next.iter().map(Blob::id));
        report(&Event::Seen {
            step,
            bytes: new * grid.step_bytes(),
            value: value.to_bits(),
            busy_ns,
            get_ns: sampler.sample()?,
            own_bytes: own_bytes(),
        })?;
        now = next;
    }
    Ok(())
}
