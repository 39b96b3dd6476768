//! Puts that return when the disk has the bytes, beside `pwrite` and `fdatasync` of the same bytes;
//! and how threads share syncs.

use crate::Bench;
use crate::bytes::{Random, renew};
use crate::child::{Args, Child, traced_calls};
use crate::raw::RawFile;
use crate::report::{Line, US};
use crate::samples::{Samples, in_turn};
use anyhow::Result;
use drystone::{Durability, Store};
use std::path::Path;
use std::time::Instant;

const THREADS: usize = 8;
const SMALL_BYTES: usize = 100;

/// One thread at several sizes, then eight with small values. Nothing on a file system in memory.
pub fn run(bench: &Bench) -> Result<Vec<Line>> {
    if bench.place.is_memory() {
        return Ok(Vec::new());
    }
    let mut lines = Vec::new();
    for (len, count) in [(100, 200), (4096, 200), (1 << 20, 50), (64 << 20, 4)] {
        let count = if bench.quick { (count / 4_usize).max(2) } else { count };
        lines.push(of_size(bench, len, count)?);
    }
    lines.extend(threads(bench)?);
    Ok(lines)
}

fn create(path: &Path) -> Result<Store> {
    Ok(Store::options().create(true).durability(Durability::Synced).open(path)?)
}

fn of_size(bench: &Bench, len: usize, count: usize) -> Result<Line> {
    let scratch = bench.place.scratch()?;
    let store = create(&scratch.join("store"))?;
    let mut random = Random::new(len as u64);
    let mut value = random.bytes(len);
    let mut round = 0;
    let [synced, raw] = in_turn(bench.rounds, |side| {
        round += 1;
        let mut file = RawFile::create(&scratch.join(&format!("raw-{round}")))?;
        if len < 1 << 20 {
            // A store asks for the space of many small records at a time.
            file.reserve(1 << 20)?;
            file.sync()?;
        }
        let mut seconds = 0.0;
        for _ in 0..count {
            renew(&mut value, &mut random);
            let start = Instant::now();
            if side == 0 {
                store.put(&value)?;
            } else {
                file.append(&value)?;
                file.sync()?;
            }
            seconds += start.elapsed().as_secs_f64();
        }
        Ok(seconds * 1e6 / count as f64)
    })?;
    let ratio = synced.over(&raw);
    Ok(Line::new(format!("`Synced` put of {len} B"))
        .measured(&synced, US)
        .peer("pwrite + fdatasync", &raw, US)
        .ratio(&ratio)
        .target("at most 1.1 of raw", ratio.median() <= 1.1))
}

fn threads(bench: &Bench) -> Result<Vec<Line>> {
    let count = if bench.quick { 50 } else { 250 };
    let puts = (THREADS * count) as f64;
    let scratch = bench.place.scratch()?;
    let store = create(&scratch.join("store"))?;
    let mut round = 0;
    let [eight, one] = in_turn(bench.rounds, |side| {
        round += 1;
        let threads = if side == 0 { THREADS } else { 1 };
        put_in_threads(&store, threads, count, round).map(|seconds| seconds * 1e6 / (threads * count) as f64)
    })?;
    let table = scratch.join("calls");
    let (path, number) = (scratch.join("traced"), count.to_string());
    Child::start_traced(&table, "syncer", &[path.as_ref(), number.as_ref()])?.finish()?;
    let calls = traced_calls(&table)?;
    let syncs: u64 =
        calls.iter().filter(|(name, _)| name.contains("sync")).map(|(_, calls)| calls).sum();
    let per_put = Samples::from_iter([syncs as f64 / puts]);
    Ok(vec![
        Line::new(format!("`Synced` puts of {SMALL_BYTES} B by {THREADS} threads, time for each"))
            .measured(&eight, US)
            .peer("by one thread", &one, US)
            .ratio(&eight.over(&one)),
        Line::new(format!("syncs for each of {puts} such puts (`strace -c`)"))
            .measured_text(format!("{:.2} ({syncs} syncs)", per_put.median()))
            .target("shared: at most 0.5", per_put.median() <= 0.5),
    ])
}

fn put_in_threads(store: &Store, threads: usize, count: usize, round: u64) -> Result<f64> {
    let start = Instant::now();
    std::thread::scope(|scope| {
        let one = |thread: usize| {
            let mut random = Random::new(round << 8 | thread as u64);
            move || (0..count).try_for_each(|_| store.put(&random.bytes(SMALL_BYTES)).map(drop))
        };
        let all: Vec<_> = (0..threads).map(|thread| scope.spawn(one(thread))).collect();
        all.into_iter().try_for_each(|thread| thread.join().unwrap_or(Ok(())))
    })?;
    Ok(start.elapsed().as_secs_f64())
}

/// Puts in eight threads, to be traced.
pub fn syncer(mut args: Args) -> Result<()> {
    let store = create(args.next()?.as_ref())?;
    put_in_threads(&store, THREADS, args.number()? as usize, 0).map(drop)
}
