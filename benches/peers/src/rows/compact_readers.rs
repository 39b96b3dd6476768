//! Readers beside a compaction.

use crate::Bench;
use crate::bytes::Random;
use crate::child::{Args, Child, say, wait_for_parent};
use crate::report::{Line, US};
use crate::samples::Samples;
use anyhow::{Context, Result};
use drystone::{BlobId, CompactOptions, Store};
use std::time::{Duration, Instant};

const VALUE_BYTES: usize = 16 << 10;
/// Names the list of what the reader reads.
const LIST: (&str, &str) = ("bench", "all");
/// How long the reader looks each time.
const WINDOW: Duration = Duration::from_millis(1500);

/// p99 of `get` in another process, idle and while all that it reads is moved.
pub fn run(bench: &Bench) -> Result<Vec<Line>> {
    let count = if bench.quick { 4_000 } else { 16_000 };
    let scratch = bench.place.scratch()?;
    let path = scratch.join("store");
    let store = Store::create(&path)?;
    let mut random = Random::new(3);
    let bytes = random.bytes(count * VALUE_BYTES);
    let values: Vec<&[u8]> = bytes.chunks(VALUE_BYTES).collect();
    store.refs(LIST.0).set(LIST.1, store.put_many(&values)?)?;
    let mut reader = Child::start("moved-reader", &[path.as_ref()])?;
    reader.hear()?;
    let (mut idle, mut beside) = (Samples::default(), Samples::default());
    for round in 0..=bench.rounds {
        reader.tell("look")?;
        let quiet = reader.hear_number()?;
        reader.tell("look")?;
        let begin = Instant::now();
        while begin.elapsed() < WINDOW {
            // A quarter more, which is garbage at once, so that all is written anew.
            let more = random.bytes(count * VALUE_BYTES / 4);
            let more: Vec<&[u8]> = more.chunks(VALUE_BYTES).collect();
            for id in store.put_many(&more)? {
                store.unpin(&id)?;
            }
            store.compact(&CompactOptions::new().all(true).min_garbage(0.0))?;
        }
        let moved = reader.hear_number()?;
        if round > 0 {
            idle.push(quiet);
            beside.push(moved);
        }
    }
    reader.tell("end")?;
    reader.finish()?;
    let ratio = beside.over(&idle);
    Ok(vec![
        Line::new(format!(
            "p99 of get in another process, {count} blobs of 16 KiB being compacted"
        ))
        .measured(&beside, US)
        .peer("idle", &idle, US)
        .ratio(&ratio)
        .target("at most 2 times, and none fails", ratio.median() <= 2.0),
    ])
}

/// Gets everything over and over, and tells the p99 in microseconds; a get that fails ends it.
pub fn moved_reader(mut args: Args) -> Result<()> {
    let store = Store::open(args.next()?)?;
    let entry = store.refs(LIST.0).get(LIST.1)?.context("the list")?;
    let ids: Vec<BlobId> = entry.blobs().to_vec();
    say("ready")?;
    let mut random = Random::new(4);
    loop {
        if wait_for_parent()? == "end" {
            return Ok(());
        }
        let begin = Instant::now();
        let mut times = Vec::new();
        while begin.elapsed() < WINDOW {
            let id = &ids[random.below(ids.len() as u64) as usize];
            let start = Instant::now();
            let blob = store.get(id)?.context("a blob that is pinned is not there")?;
            std::hint::black_box(blob[0]);
            times.push(start.elapsed().as_nanos() as u64);
        }
        times.sort_unstable();
        say(times[times.len() * 99 / 100] as f64 / 1e3)?;
    }
}
