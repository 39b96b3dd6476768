//! Putting while the index grows: how long single puts take with write-back running, beside the same
//! writes alone; and how many bytes of index a key takes meanwhile.

use super::get_sizes::index_bytes;
use crate::Bench;
use crate::bytes::Random;
use crate::latency::{Latencies, Percentiles};
use crate::raw::RawFile;
use crate::report::Line;
use crate::writeback::during_write_back;
use anyhow::Result;
use drystone::Store;
use std::path::Path;
use std::time::Instant;

const VALUE_BYTES: usize = 64;
/// Bytes of such a blob with its pin, and from their end to the blob's state byte.
const RECORDS_BYTES: usize = 256;
const STATE_BYTES: u64 = 123;
/// Bytes of index per key at the fills that tables grow at, and while both tables are there.
const STEADY_BYTES: std::ops::RangeInclusive<f64> = 37.0..=75.0;
const GROWING_BYTES: f64 = 110.0;
/// Below this many keys the table has its first size.
const KEYS_MIN: usize = 100_000;

/// Up to 10^7 keys: two for each put.
pub fn run(bench: &Bench) -> Result<Vec<Line>> {
    let puts = if bench.quick { 500_000 } else { 5_000_000 };
    let scratch = bench.place.scratch()?;
    let raw = during_write_back(scratch.path(), || raw(&scratch.join("raw"), puts))?;
    let (put, index) = during_write_back(scratch.path(), || put(&scratch.join("store"), puts))?;
    let bytes = |range: &[f64; 2]| format!("{:.1} .. {:.1} B", range[0], range[1]);
    Ok(vec![
        Line::new(format!("put of {VALUE_BYTES} B while growing to {} keys, write-back running", 2 * puts))
            .measured_text(put.to_string())
            .peer_text(format!("the same two pwrites: {raw}"))
            .target("p99.9 at most 50 us", put.p999_us <= 50.0),
        Line::new("index bytes for each key, between growths")
            .measured_text(bytes(&index.steady))
            .target(
                "37 to 75 B",
                STEADY_BYTES.contains(&index.steady[0]) && STEADY_BYTES.contains(&index.steady[1]),
            ),
        Line::new("index bytes for each key, while growing")
            .measured_text(bytes(&index.growing))
            .target("at most 110 B", index.growing[1] <= GROWING_BYTES),
    ])
}

/// Least and most bytes of index for a key.
struct IndexBytes {
    steady: [f64; 2],
    growing: [f64; 2],
}

fn widen(range: &mut [f64; 2], value: f64) {
    *range = [range[0].min(value), range[1].max(value)];
}

fn put(path: &Path, puts: usize) -> Result<(Percentiles, IndexBytes)> {
    let store = Store::create(path)?;
    let mut random = Random::new(11);
    let mut latencies = Latencies::with_capacity(puts);
    let none = [f64::INFINITY, 0.0];
    let mut index = IndexBytes { steady: none, growing: none };
    let mut value = [0; VALUE_BYTES];
    for put in 1..=puts {
        random.fill(&mut value);
        let start = Instant::now();
        store.put(&value)?;
        latencies.push(start.elapsed());
        let keys = 2 * put;
        if keys >= KEYS_MIN && put.is_multiple_of(puts / 500) {
            let bytes = index_bytes(path)?;
            let is_table = (bytes - HEADER_BYTES).is_power_of_two();
            let range = if is_table { &mut index.steady } else { &mut index.growing };
            widen(range, bytes as f64 / keys as f64);
        }
    }
    Ok((latencies.percentiles(), index))
}

/// Bytes of a table before its buckets, of which there is a power of two.
const HEADER_BYTES: u64 = 512;

/// The records' bytes, then the state bytes: what a put writes.
fn raw(path: &Path, puts: usize) -> Result<Percentiles> {
    let mut file = RawFile::create(path)?;
    let mut random = Random::new(12);
    let mut latencies = Latencies::with_capacity(puts);
    let mut records = [0; RECORDS_BYTES];
    for put in 0..puts {
        random.fill(&mut records);
        if put.is_multiple_of((8 << 20) / RECORDS_BYTES) {
            file.reserve(8 << 20)?;
        }
        let start = Instant::now();
        file.append(&records)?;
        file.touch(STATE_BYTES)?;
        latencies.push(start.elapsed());
    }
    Ok(latencies.percentiles())
}
