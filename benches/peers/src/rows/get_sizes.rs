//! What a get costs as the store grows, beside the least that it could: two loads from memory of the
//! same sizes, the second at the place that the first one names. And that a get makes no system call.

use crate::Bench;
use crate::bytes::Random;
use crate::child::{Args, Child, traced_calls};
use crate::place::Scratch;
use crate::report::{Line, NS};
use crate::samples::in_turn;
use anyhow::{Context, Result, ensure};
use drystone::disk::{Access, Disk, Map, OpenOptions, RealDisk};
use drystone::index::Words;
use drystone::{BlobId, Store};
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

const VALUE_BYTES: usize = 64;
/// Bytes of a blob of this size with its pin, in a segment.
const RECORDS_BYTES: u64 = 256;
/// Gets of one sample, at least.
const GETS: usize = 1_000_000;

/// From 10^3 (all of it in the caches) to 10^7.
pub fn run(bench: &Bench) -> Result<Vec<Line>> {
    let counts: &[usize] = if bench.quick {
        &[1000, 10_000, 1_000_000]
    } else {
        &[1000, 10_000, 100_000, 1_000_000, 10_000_000]
    };
    let mut lines = Vec::new();
    let mut cached_ns = f64::NAN;
    for &count in counts {
        let scratch = bench.place.scratch()?;
        let (store, ids) = fill(&scratch.join("store"), count)?;
        let floor = Floor::new(&scratch, index_bytes(&scratch.join("store"))?, count)?;
        let [get, floor] = in_turn(bench.rounds, |side| {
            let start = Instant::now();
            for _ in 0..GETS.div_ceil(count) {
                if side == 0 { get_all(&store, &ids)? } else { floor.load_all(&ids) }
            }
            let gets = GETS.div_ceil(count) * count;
            Ok(start.elapsed().as_secs_f64() * 1e9 / gets as f64)
        })?;
        if cached_ns.is_nan() {
            cached_ns = get.median();
        }
        let most = cached_ns + floor.median();
        lines.push(
            Line::new(format!("get, {count} blobs of {VALUE_BYTES} B, random order"))
                .measured(&get, NS)
                .peer("two dependent loads", &floor, NS)
                .ratio(&get.over(&floor))
                .target("at most a cached get and two loads", get.median() <= most),
        );
    }
    lines.push(calls(bench)?);
    Ok(lines)
}

fn fill(path: &Path, count: usize) -> Result<(Store, Vec<BlobId>)> {
    let store = Store::create(path)?;
    let mut random = Random::new(count as u64);
    let mut ids = Vec::with_capacity(count);
    while ids.len() < count {
        let batch = 1000.min(count - ids.len());
        let values: Vec<_> = (0..batch).map(|_| random.bytes(VALUE_BYTES)).collect();
        ids.extend(store.put_many(&values)?);
    }
    random.shuffle(&mut ids);
    Ok((store, ids))
}

fn get_all(store: &Store, ids: &[BlobId]) -> Result<()> {
    let guard = store.read_guard();
    for id in ids {
        black_box(guard.get(id)?.context("a blob is missing")?);
    }
    Ok(())
}

/// Bytes of the tables of a store's index.
pub fn index_bytes(store: &Path) -> Result<u64> {
    let mut bytes = 0;
    for run in std::fs::read_dir(store.join("run"))? {
        for file in std::fs::read_dir(run?.path())? {
            let file = file?;
            if file.path().extension().is_some_and(|extension| extension == "idx") {
                bytes += file.metadata()?.len();
            }
        }
    }
    Ok(bytes)
}

/// Memory as large as the store's, mapped from the same file system.
struct Floor {
    index: Map,
    records: Map,
}

impl Floor {
    fn new(scratch: &Scratch, index_bytes: u64, count: usize) -> Result<Self> {
        let path = scratch.join("floor");
        let options = OpenOptions { create: true, writable: true, ..OpenOptions::default() };
        let disk = RealDisk::open(&path, &options)?;
        let mut random = Random::new(7);
        let lines = count as u64 * RECORDS_BYTES / 64;
        let mut file = |bytes: u64| -> Result<Map> {
            let file = disk.create("")?;
            for at in (0..bytes).step_by(1 << 20) {
                let words = (0..(1 << 20) / 8).flat_map(|_| (random.next() % lines).to_le_bytes());
                file.write_at(&words.collect::<Vec<u8>>(), at)?;
            }
            Ok(file.map(bytes, Access::Read)?)
        };
        Ok(Self { index: file(index_bytes)?, records: file(count as u64 * RECORDS_BYTES)? })
    }

    fn load_all(&self, ids: &[BlobId]) {
        let words = Words::len(&self.index) as u64;
        for id in ids {
            let digest = id.digest();
            let hash = u64::from_be_bytes(std::array::from_fn(|i| digest[i]));
            let at = (u128::from(hash) * u128::from(words)) >> 64;
            let line = self.index.load(at as usize);
            black_box(self.records.load(line as usize * 8));
        }
    }
}

/// `strace -c` over few gets and over many: the difference is what gets call.
fn calls(bench: &Bench) -> Result<Line> {
    let scratch = bench.place.scratch()?;
    let path = scratch.join("store");
    drop(fill(&path, 10_000)?);
    let mut totals = Vec::new();
    for passes in ["1", "101"] {
        let table = scratch.join("calls");
        let child = Child::start_traced(&table, "getter", &[path.as_ref(), passes.as_ref()])?;
        child.finish()?;
        let calls = traced_calls(&table)?;
        ensure!(!calls.is_empty(), "strace has counted nothing");
        totals.push(calls.iter().map(|(_, calls)| calls).sum::<u64>());
    }
    let more = totals[1].saturating_sub(totals[0]);
    Ok(Line::new("system calls of 10^6 gets more (`strace -c` of 10^4 and of 1.01 x 10^6)")
        .measured_text(format!("{more} ({} and {} in all)", totals[0], totals[1]))
        .target("none", more == 0))
}

/// Gets every blob of a store `passes` times.
pub fn getter(mut args: Args) -> Result<()> {
    let store = Store::open(args.next()?)?;
    let passes = args.number()?;
    let ids: Vec<BlobId> = store.blobs().map(|stat| Ok(stat?.id)).collect::<Result<_>>()?;
    for _ in 0..passes {
        get_all(&store, &ids)?;
    }
    Ok(())
}

