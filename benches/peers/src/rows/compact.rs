//! Compaction of a store that is half garbage, beside copying its live bytes.

use crate::Bench;
use crate::bytes::Random;
use crate::place::Scratch;
use crate::report::{GBS, Line, ONE};
use crate::samples::{Samples, in_turn};
use anyhow::{Result, ensure};
use drystone::{CompactOptions, Store};
use nix::fcntl::copy_file_range;
use std::cell::RefCell;
use std::fs::File;
use std::io::Write;
use std::time::Instant;

/// Sizes of the blobs.
const SIZES: [usize; 3] = [4 << 10, 64 << 10, 1 << 20];
/// A file takes this much, as a segment does.
const FILE_BYTES: usize = 64 << 20;

/// Every second blob is unpinned, and all of it compacted.
pub fn run(bench: &Bench) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for size in SIZES {
        lines.extend(of_size(bench, size)?);
    }
    Ok(lines)
}

fn of_size(bench: &Bench, size: usize) -> Result<[Line; 3]> {
    let total: usize = if bench.quick { 256 << 20 } else { 1 << 30 };
    let (back, after) = (RefCell::new(Samples::default()), RefCell::new(Samples::default()));
    let [compaction, copy] = in_turn(bench.rounds, |side| {
        let scratch = bench.place.scratch()?;
        if side == 0 {
            let compacted = compact(&scratch, total, size)?;
            back.borrow_mut().push(compacted.rate_until_back);
            after.borrow_mut().push(compacted.share);
            Ok(compacted.rate)
        } else {
            copy(&scratch, total / 2)
        }
    })?;
    let (ratio, back, after) = (compaction.over(&copy), back.into_inner(), after.into_inner());
    let kib = size >> 10;
    Ok([
        Line::new(format!("compaction of {} MiB, half garbage, blobs of {kib} KiB", total >> 20))
            .measured(&compaction, GBS)
            .peer("copy_file_range of the live half, and fdatasync", &copy, GBS)
            .ratio(&ratio)
            .target("at least 0.7 of it", ratio.median() >= 0.7),
        Line::new("    until pages and blocks of what was unlinked are given back, which the copy has none of")
            .measured(&back, GBS)
            .ratio(&back.over(&copy)),
        Line::new(format!("segments afterwards, less one open one, by live bytes, {kib} KiB"))
            .measured(&after, ONE)
            .target("at most 1.1", after.max() <= 1.1),
    ])
}

/// What a compaction gave.
struct Compacted {
    /// Live bytes a second.
    rate: f64,
    /// The same until the kernel has given back what was unlinked.
    rate_until_back: f64,
    /// Bytes of the segments afterwards by live bytes.
    share: f64,
}

fn compact(scratch: &Scratch, total: usize, size: usize) -> Result<Compacted> {
    let store = Store::create(scratch.join("store"))?;
    let mut random = Random::new(size as u64);
    for _ in 0..total.div_ceil(FILE_BYTES) {
        let bytes = random.bytes(FILE_BYTES);
        let values: Vec<&[u8]> = bytes.chunks(size).collect();
        let ids = store.put_many(&values)?;
        ids.iter().step_by(2).try_for_each(|id| store.unpin(id).map(drop))?;
    }
    store.sync()?;
    let begin = Instant::now();
    let report = store.compact(&CompactOptions::new().all(true))?;
    let seconds = begin.elapsed().as_secs_f64();
    ensure!(report.complete && report.collected_blobs as usize >= total / size / 2 - 1);
    let live = store.stats()?.live_bytes as f64;
    let open = FILE_BYTES as f64;
    let share = (report.bytes_after as f64 - open).max(0.0) / live;
    // Closing the store waits for what is still being given back.
    drop(store);
    let until_back = begin.elapsed().as_secs_f64();
    Ok(Compacted { rate: live / seconds / 1e9, rate_until_back: live / until_back / 1e9, share })
}

/// Bytes a second of a copy into files like segments.
fn copy(scratch: &Scratch, total: usize) -> Result<f64> {
    let mut random = Random::new(1);
    let count = total.div_ceil(FILE_BYTES);
    let mut sources = Vec::new();
    for at in 0..count {
        let path = scratch.join(&format!("from-{at}"));
        let mut file = File::create_new(&path)?;
        file.write_all(&random.bytes(FILE_BYTES))?;
        file.sync_data()?;
        sources.push(File::open(path)?);
    }
    let begin = Instant::now();
    for (at, source) in sources.iter().enumerate() {
        let target = File::create_new(scratch.join(&format!("to-{at}")))?;
        let (mut from, mut to) = (0, 0);
        while from < FILE_BYTES as i64 {
            let left = FILE_BYTES - from as usize;
            ensure!(copy_file_range(source, Some(&mut from), &target, Some(&mut to), left)? > 0);
        }
        target.sync_data()?;
    }
    Ok((count * FILE_BYTES) as f64 / begin.elapsed().as_secs_f64() / 1e9)
}
