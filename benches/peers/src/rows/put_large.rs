//! Putting large blobs, beside `fallocate` and `pwrite` of the same bytes.

use crate::Bench;
use crate::bytes::{Random, renew};
use crate::raw::RawFiles;
use crate::report::{GBS, Line};
use crate::samples::in_turn;
use anyhow::Result;
use drystone::{HashAlgorithm, Store};
use std::time::Instant;

/// From 1 MiB to 1 GiB.
pub fn run(bench: &Bench) -> Result<Vec<Line>> {
    let sizes: &[usize] = if bench.quick {
        &[1 << 20, 64 << 20, 1 << 30]
    } else {
        &[1 << 20, 4 << 20, 16 << 20, 64 << 20, 256 << 20, 1 << 30]
    };
    let mut lines = Vec::new();
    for &len in sizes {
        lines.extend(of_size(bench, len)?);
    }
    Ok(lines)
}

fn of_size(bench: &Bench, len: usize) -> Result<Vec<Line>> {
    let mut random = Random::new(len as u64);
    let count = ((256 << 20) / len).max(1);
    let mut bytes = random.bytes(len * count);
    let [xxh3, raw, blake3] = in_turn(bench.rounds, |side| {
        renew(&mut bytes, &mut random);
        let values = bytes.chunks(len);
        let seconds = match side {
            0 => put(bench, HashAlgorithm::Xxh3, values)?,
            1 => write(bench, values)?,
            _ => put(bench, HashAlgorithm::Blake3, values)?,
        };
        Ok(bytes.len() as f64 / seconds / 1e9)
    })?;
    let line = |name: &str, side: &crate::samples::Samples, least: f64| {
        let ratio = side.over(&raw);
        Line::new(format!("put of {} MiB, {name}", len >> 20))
            .measured(side, GBS)
            .peer("fallocate + pwrite", &raw, GBS)
            .ratio(&ratio)
            .target(format!("at least {least} of raw"), ratio.median() >= least)
    };
    Ok(vec![line("xxh3", &xxh3, 0.9), line("blake3", &blake3, 0.7)])
}

fn put<'a>(
    bench: &Bench,
    hash: HashAlgorithm,
    values: impl Iterator<Item = &'a [u8]>,
) -> Result<f64> {
    let scratch = bench.place.scratch()?;
    let store = Store::options().create(true).hash(hash).open(scratch.join("store"))?;
    // The threads start with the first large put, which is not what is measured.
    store.put(&Random::new(1).bytes(5 << 20))?;
    let start = Instant::now();
    for value in values {
        store.put(value)?;
    }
    Ok(start.elapsed().as_secs_f64())
}

fn write<'a>(bench: &Bench, values: impl Iterator<Item = &'a [u8]>) -> Result<f64> {
    let scratch = bench.place.scratch()?;
    let mut files = RawFiles::new(scratch.path(), "raw");
    let start = Instant::now();
    for value in values {
        files.append(value)?;
    }
    Ok(start.elapsed().as_secs_f64())
}
