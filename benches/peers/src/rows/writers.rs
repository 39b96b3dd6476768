//! Two writer processes at a time, beside two that only write.

use crate::Bench;
use crate::bytes::Random;
use crate::child::{Args, Child, say, wait_for_parent};
use crate::raw::RawFiles;
use crate::report::{GBS, Line};
use crate::samples::in_turn;
use anyhow::Result;
use drystone::{BlobId, Store};
use std::ffi::OsStr;
use std::time::Instant;

const VALUE_BYTES: usize = 16 << 20;

/// Two processes that put blobs of 16 MiB.
pub fn run(bench: &Bench) -> Result<Vec<Line>> {
    let count = if bench.quick { 16 } else { 48 };
    let [store, raw] = in_turn(bench.rounds, |side| {
        let scratch = bench.place.scratch()?;
        let path = scratch.join("store");
        let role = if side == 0 { "putter" } else { "raw-writer" };
        let start = |seed: &str| {
            let count = count.to_string();
            let args: [&OsStr; 3] = [path.as_ref(), seed.as_ref(), count.as_ref()];
            Child::start(role, &args)
        };
        std::fs::create_dir(&path)?;
        if side == 0 {
            drop(Store::create(&path)?);
        }
        let mut writers = [start("1")?, start("2")?];
        for writer in &mut writers {
            writer.hear()?;
        }
        let begin = Instant::now();
        for writer in &mut writers {
            writer.tell("go")?;
        }
        for writer in &mut writers {
            writer.hear()?;
        }
        let seconds = begin.elapsed().as_secs_f64();
        writers.into_iter().try_for_each(Child::finish)?;
        Ok((2 * count * VALUE_BYTES) as f64 / seconds / 1e9)
    })?;
    let ratio = store.over(&raw);
    Ok(vec![
        Line::new(format!("two writer processes, {count} blobs of 16 MiB each, xxh3"))
            .measured(&store, GBS)
            .peer("two of fallocate + pwrite", &raw, GBS)
            .ratio(&ratio)
            .target("at least 0.9 of raw", ratio.median() >= 0.9),
    ])
}

fn payload(args: &mut Args) -> Result<Vec<u8>> {
    let (seed, count) = (args.number()?, args.number()?);
    Ok(Random::new(seed).bytes(count as usize * VALUE_BYTES))
}

/// Puts blobs of 16 MiB when told to.
pub fn putter(mut args: Args) -> Result<()> {
    let store = Store::open(args.next()?)?;
    let bytes = payload(&mut args)?;
    say("ready")?;
    wait_for_parent()?;
    let ids: Vec<BlobId> =
        bytes.chunks(VALUE_BYTES).map(|value| store.put(value)).collect::<drystone::Result<_>>()?;
    say(format!("put {}", ids.len()))
}

/// Writes the same with nothing else.
pub fn raw_writer(mut args: Args) -> Result<()> {
    let dir = args.next()?;
    let bytes = payload(&mut args)?;
    let mut files = RawFiles::new(dir.as_ref(), &std::process::id().to_string());
    say("ready")?;
    wait_for_parent()?;
    bytes.chunks(VALUE_BYTES).try_for_each(|value| files.append(value))?;
    say("written")
}
