//! A writer process: computes its slab step after step, in place, from what the store holds.

use super::events::{Event, report};
use super::files;
use super::plan::{Grid, Plan, Work};
use super::steps::{blob_named, cells, not_cells};
use super::wave::{Slab, Wave, last_plane, pulse};
use crate::cli::NAMES;
use crate::exit::Outcome;
use drystone::{ArrayHeader, Blob, Refs, Store};
use std::time::Instant;

/// Runs the process.
pub fn run(store: &Store, plan: &Plan, index: u32) -> Outcome {
    match &plan.work {
        Work::Wave(grid) => Writer { store, refs: store.refs(NAMES), grid, slab: index }.run(),
        Work::Files(_) => files::write(store, plan, index),
    }
}

struct Writer<'a> {
    store: &'a Store,
    refs: Refs,
    grid: &'a Grid,
    slab: u32,
}

impl Writer<'_> {
    fn run(&self) -> Outcome {
        let mut wave = Wave::new(*self.grid);
        // Where a process before this one came to stands in the names.
        let mut step = 0;
        while self.refs.get(Grid::key(step, self.slab))?.is_some() {
            step += 1;
        }
        while step < self.grid.steps {
            match step {
                // Two steps at rest are the start of a leapfrog.
                0 | 1 => self.store_step(step, |out| pulse(self.grid, self.slab, out))?,
                _ => self.compute(step, &mut wave)?,
            }
            step += 1;
        }
        Ok(())
    }

    fn compute(&self, step: u32, wave: &mut Wave) -> Outcome {
        let now = self.slab_at(step - 1, self.slab)?;
        let before = self.slab_at(step - 2, self.slab)?;
        let below = match self.slab.checked_sub(1) {
            Some(slab) => Some(self.slab_at(step - 1, slab)?),
            None => None,
        };
        let above = match self.slab + 1 {
            slab if slab < self.grid.slabs => Some(self.slab_at(step - 1, slab)?),
            _ => None,
        };
        let now = Slab {
            cells: cells(&now)?,
            below: below.as_ref().map(cells).transpose()?.map(|c| last_plane(c, self.grid)),
            above: above.as_ref().map(cells).transpose()?.map(|c| &c[..self.grid.plane_cells()]),
        };
        let before = cells(&before)?;
        self.store_step(step, |out| wave.advance(self.slab, &now, before, out))
    }

    /// Stores a step: the cells are computed where they will stay.
    fn store_step(&self, step: u32, fill: impl FnOnce(&mut [f64])) -> Outcome {
        let planes = self.grid.planes(self.slab).len() as u64;
        let edge = self.grid.edge as u64;
        let header = ArrayHeader::new::<f64>(&[planes, edge, edge]);
        let begin = Instant::now();
        let mut draft = self.store.reserve_array(&header)?;
        let reserved = begin.elapsed();
        report(&Event::Begun { step })?;
        // A draft's length leaves the header out, which is stored too.
        let bytes = draft.len() as u64 + header.encode().len() as u64;
        fill(draft.as_mut_slice_of::<f64>().ok_or_else(not_cells)?);
        let filled = begin.elapsed();
        draft
            .commit_as(&self.refs, Grid::key(step, self.slab).as_bytes())
            .map_err(drystone::Error::from)?;
        let busy = begin.elapsed();
        report(&Event::Stored {
            step,
            bytes,
            store_ns: (reserved + (busy - filled)).as_nanos() as u64,
            busy_ns: busy.as_nanos() as u64,
        })
    }

    fn slab_at(&self, step: u32, slab: u32) -> Outcome<Blob> {
        blob_named(self.store, &self.refs, Grid::key(step, slab).as_bytes())
    }
}
