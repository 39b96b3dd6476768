//! Opening a store whose users were all killed.

use crate::Bench;
use crate::bytes::Random;
use crate::child::{Args, Child, say};
use crate::report::{Line, MS};
use crate::samples::Samples;
use anyhow::{Context, Result};
use drystone::Store;
use std::time::Instant;

const VALUE_BYTES: usize = 100;
const WRITERS: u64 = 2;

/// 10^6 blobs put by two processes that are killed in the middle of further puts.
pub fn run(bench: &Bench) -> Result<Vec<Line>> {
    let count: u64 = if bench.quick { 100_000 } else { 1_000_000 };
    let scratch = bench.place.scratch()?;
    let path = scratch.join("store");
    drop(Store::create(&path)?);
    let mut opened = Samples::default();
    let mut share = count / WRITERS;
    for round in 0..bench.rounds as u64 {
        let (number, round) = (share.to_string(), round.to_string());
        let start = |writer: u64| {
            let seed = format!("{round}{writer}");
            Child::start("endless", &[path.as_ref(), seed.as_ref(), number.as_ref()])
        };
        let mut writers = (0..WRITERS).map(start).collect::<Result<Vec<_>>>()?;
        for writer in &mut writers {
            writer.hear()?;
        }
        writers.into_iter().try_for_each(Child::kill)?;
        let mut opener = Child::start("opener", &[path.as_ref()])?;
        opened.push(opener.hear_number()?);
        opener.finish()?;
        share = 1000;
    }
    Ok(vec![
        Line::new(format!("open with {count} blobs after `kill -9` of all users"))
            .measured(&opened, MS)
            .target("at most 5 ms", opened.median() <= 5.0),
    ])
}

/// Puts a number of blobs, says so, and goes on for ever.
pub fn endless(mut args: Args) -> Result<()> {
    let store = Store::open(args.next()?)?;
    let (seed, count) = (args.number()?, args.number()?);
    let mut random = Random::new(seed);
    for _ in 0..count / 1000 {
        let values: Vec<_> = (0..1000).map(|_| random.bytes(VALUE_BYTES)).collect();
        store.put_many(&values)?;
    }
    say("full")?;
    loop {
        store.put(&random.bytes(VALUE_BYTES))?;
    }
}

/// Says how many milliseconds opening took, after it has got a blob.
pub fn opener(mut args: Args) -> Result<()> {
    let path = args.next()?;
    let start = Instant::now();
    let store = Store::open(path)?;
    let took = start.elapsed();
    let first = store.blobs().next().context("a store with blobs")??;
    store.get(&first.id)?.context("it is there")?;
    say(took.as_secs_f64() * 1e3)
}
