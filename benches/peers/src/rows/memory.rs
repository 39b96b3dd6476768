//! Memory of a process that reads a large blob: its own, not the page cache that all readers share.

use crate::Bench;
use crate::bytes::{Random, renew};
use crate::child::{Args, Child, say, wait_for_parent};
use crate::report::{Line, MIB};
use crate::samples::Samples;
use anyhow::{Context, Result, ensure};
use drystone::Store;
use std::io::Read;

/// Two readers at a time, so that what they share is known to be shared.
const READERS: usize = 2;

/// Every page of a blob of 4 GiB.
pub fn run(bench: &Bench) -> Result<Vec<Line>> {
    let len: u64 = if bench.quick { 512 << 20 } else { 4 << 30 };
    let scratch = bench.place.scratch()?;
    let path = scratch.join("store");
    let store = Store::create(&path)?;
    let mut random = Random::new(14);
    let piece = random.bytes(1 << 20);
    let id = store.put_reader(Pieces { piece, random, at: 0 }.take(len))?;
    let text = id.to_string();
    let (mut own, mut seen) = (Samples::default(), Samples::default());
    for _ in 0..bench.rounds.div_ceil(READERS) {
        let start = |_| Child::start("reader", &[path.as_ref(), text.as_ref()]);
        let mut readers = (0..READERS).map(start).collect::<Result<Vec<_>>>()?;
        for reader in &mut readers {
            ensure!(reader.hear_number()? == len as f64, "the reader sees another length");
        }
        for reader in &mut readers {
            reader.tell("all have read")?;
            own.push(reader.hear_number()?);
            seen.push(reader.hear_number()?);
        }
        for reader in &mut readers {
            reader.tell("all have told")?;
        }
        readers.into_iter().try_for_each(Child::finish)?;
    }
    Ok(vec![
        Line::new(format!(
            "private resident memory of a process that has read a blob of {} MiB",
            len >> 20
        ))
        .measured(&own, MIB)
        .peer("resident in all", &seen, MIB)
        .target("at most 16 MiB", own.max() <= 16.0),
    ])
}

/// A piece over and over, never the same.
struct Pieces {
    piece: Vec<u8>,
    random: Random,
    at: usize,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.at == self.piece.len() {
            renew(&mut self.piece, &mut self.random);
            self.at = 0;
        }
        let len = buffer.len().min(self.piece.len() - self.at);
        buffer[..len].copy_from_slice(&self.piece[self.at..self.at + len]);
        self.at += len;
        Ok(len)
    }
}

/// Reads a blob and tells its length, then what of the process's memory is its own, and all of it.
pub fn reader(mut args: Args) -> Result<()> {
    let store = Store::open(args.next()?)?;
    let id = args.next()?.to_str().context("an id as text")?.parse()?;
    let blob = store.get(&id)?.context("the blob is there")?;
    let words = blob.as_slice_of::<u64>().context("a whole number of words")?;
    std::hint::black_box(words.iter().fold(0_u64, |sum, word| sum.wrapping_add(*word)));
    say(blob.len())?;
    wait_for_parent()?;
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup")?;
    let mib = |name: &str| -> Result<f64> {
        let line =
            rollup.lines().find(|line| line.starts_with(name)).context("a field of smaps")?;
        let kib: f64 = line.split_whitespace().nth(1).context("its value")?.parse()?;
        Ok(kib / 1024.0)
    };
    say(mib("Private_Clean:")? + mib("Private_Dirty:")?)?;
    say(mib("Rss:")?)?;
    // The others' pages are shared only for as long as this process maps them.
    wait_for_parent().map(drop)
}
