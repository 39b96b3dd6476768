//! Putting small values: one by one and in batches, beside LMDB's commits.

use crate::Bench;
use crate::bytes::Random;
use crate::lmdb::{Commit, Lmdb};
use crate::raw::RawFile;
use crate::report::{Line, US};
use crate::samples::in_turn;
use anyhow::Result;
use drystone::Store;
use std::time::Instant;

const BATCH: usize = 1000;

/// Bytes that a value of `len` takes in a segment: its pin, its header and itself.
fn records_bytes(len: usize) -> usize {
    128 + 64 + len.next_multiple_of(64)
}

/// Values of 100 B and 4 KiB.
pub fn run(bench: &Bench) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for (len, single_us, batched_us) in [(100, 2.0, 1.0), (4096, 3.0, 1.5)] {
        lines.extend(of_size(bench, len, single_us, batched_us)?);
    }
    Ok(lines)
}

fn of_size(bench: &Bench, len: usize, single_us: f64, batched_us: f64) -> Result<Vec<Line>> {
    let scratch = bench.place.scratch()?;
    let store = Store::create(scratch.join("store"))?;
    let lmdb = Lmdb::create(&scratch.join("lmdb"), Commit::Buffered)?;
    let count = if bench.quick { 10_000 } else { 50_000 };
    let mut random = Random::new(len as u64);
    let mut files = 0;
    let [single, many, each, batch, raw] = in_turn(bench.rounds, |side| {
        files += 1;
        let mut file = RawFile::create(&scratch.join(&format!("raw-{files}")))?;
        if side == 4 {
            file.reserve((count * records_bytes(len)) as u64)?;
        }
        let values: Vec<_> = (0..count).map(|_| random.bytes(len)).collect();
        let keys: Vec<_> = (0..count).map(|_| random.bytes(16)).collect();
        let pairs: Vec<_> =
            keys.iter().map(|k| &k[..]).zip(values.iter().map(|v| &v[..])).collect();
        let start = Instant::now();
        match side {
            0 => values.iter().try_for_each(|value| store.put(value).map(drop))?,
            1 => values.chunks(BATCH).try_for_each(|values| store.put_many(values).map(drop))?,
            2 => pairs.iter().try_for_each(|&pair| lmdb.put_all([pair]))?,
            3 => pairs.chunks(BATCH).try_for_each(|pairs| lmdb.put_all(pairs.iter().copied()))?,
            _ => {
                let records = random.bytes(records_bytes(len));
                (0..count).try_for_each(|_| file.append(&records).and_then(|()| file.touch(1)))?;
            }
        }
        Ok(start.elapsed().as_secs_f64() * 1e6 / count as f64)
    })?;
    let (faster, faster_many) = (each.over(&single), each.over(&many));
    Ok(vec![
        Line::new(format!("put of {len} B, single"))
            .measured(&single, US)
            .peer("LMDB, commit each, no sync", &each, US)
            .ratio(&faster)
            .target(
                format!("at most {single_us} us, faster than LMDB"),
                single.median() <= single_us && faster.median() > 1.0,
            ),
        Line::new(format!("put of {len} B, `put_many` of {BATCH}"))
            .measured(&many, US)
            .peer("LMDB, commit each, no sync", &each, US)
            .ratio(&faster_many)
            .target(
                format!("at most {batched_us} us, faster than LMDB"),
                many.median() <= batched_us && faster_many.median() > 1.0,
            ),
        Line::new(format!("put of {len} B, `put_many` of {BATCH}"))
            .measured(&many, US)
            .peer("LMDB, one commit for 1000, no sync", &batch, US)
            .ratio(&batch.over(&many)),
        Line::new(format!("put of {len} B, single"))
            .measured(&single, US)
            .peer("pwrite of as many bytes and pwrite of one", &raw, US)
            .ratio(&single.over(&raw)),
    ])
}
