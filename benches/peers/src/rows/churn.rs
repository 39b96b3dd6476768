//! Values replaced over and over: what the disk holds at most, and what is written for each byte.

use crate::Bench;
use crate::bytes::{Random, renew};
use crate::child::{Args, Child, say, wait_for_parent};
use crate::report::{GBS, Line, MIB, ONE};
use crate::samples::Samples;
use anyhow::Result;
use drystone::{CompactOptions, Store};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Instant;

const VALUE_BYTES: usize = 1 << 20;
/// The store is compacted each time that so much has been written.
const EVERY_BYTES: usize = 64 << 20;

/// 1 GiB of live values, 100 GiB written, an idle process attached.
pub fn run(bench: &Bench) -> Result<Vec<Line>> {
    let (live, total): (usize, usize) =
        if bench.quick { (256 << 20, 4 << 30) } else { (1 << 30, 100 << 30) };
    // A disk that takes all of it would be worn for nothing.
    let total = if bench.place.is_memory() { total } else { total / 10 };
    let scratch = bench.place.scratch()?;
    let path = scratch.join("store");
    let store = Store::create(&path)?;
    let peer = Child::start("idle-opener", &[path.as_ref()]);
    let mut peer = peer?;
    peer.hear()?;
    let refs = store.refs("churn");
    let (mut random, mut value) = (Random::new(5), Random::new(6).bytes(VALUE_BYTES));
    let (keys, mut most, mut copied) = ((live / VALUE_BYTES) as u64, 0, 0);
    let begin = Instant::now();
    for at in 0..(live + total) / VALUE_BYTES {
        renew(&mut value, &mut random);
        let key = if (at as u64) < keys { at as u64 } else { random.below(keys) };
        refs.set(key.to_le_bytes(), value.as_slice())?;
        if (at + 1) * VALUE_BYTES % EVERY_BYTES == 0 {
            most = most.max(disk_bytes(&path)?);
            let report = store.compact(&CompactOptions::new())?;
            copied += report.copied_bytes;
            most = most.max(disk_bytes(&path)?);
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    peer.tell("end")?;
    peer.finish()?;
    let one = |value: f64| [value].into_iter().collect::<Samples>();
    let written = (live + total) as f64;
    let most = one(most as f64 / f64::from(1 << 20));
    let most_allowed = live as f64 * 1.5 / f64::from(1 << 20);
    Ok(vec![
        Line::new(format!(
            "most that the store holds while {} GiB go through {} MiB of live refs",
            total >> 30,
            live >> 20
        ))
        .measured(&most, MIB)
        .target("at most 1.5 times the live bytes", most.max() <= most_allowed),
        Line::new("write amplification of that")
            .measured(&one((written + copied as f64) / written), ONE)
            .peer("rate of the writer, compactions included", &one(written / seconds / 1e9), GBS),
    ])
}

fn disk_bytes(store: &Path) -> Result<u64> {
    let mut blocks = 0;
    for entry in std::fs::read_dir(store.join("segments"))? {
        // One that is unlinked meanwhile holds nothing.
        blocks += entry?.metadata().map_or(0, |metadata| metadata.blocks());
    }
    Ok(blocks * 512)
}

/// Opens the store and does nothing.
pub fn idle_opener(mut args: Args) -> Result<()> {
    let store = Store::open(args.next()?)?;
    say("ready")?;
    wait_for_parent()?;
    drop(store);
    Ok(())
}
