//! `blobtool info`: what is known about the store.

use crate::cli::Cli;
use crate::exit::Outcome;
use crate::output::{Name, Output, printable};
use crate::quantity::{grouped, human_bytes};
use crate::verbs::init::uuid_text;
use drystone::Stats;
use serde::Serialize;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

#[derive(Serialize)]
struct Known {
    path: Name,
    uuid: String,
    hash: Option<&'static str>,
    file_system: String,
    limit: Option<u64>,
    blobs: u64,
    refs: u64,
    pins: u64,
    tombstones: u64,
    live_bytes: u64,
    damaged_records: u64,
    lost_records: u64,
    lost_refs: u64,
    damaged_segments: u64,
    segments: u64,
    segment_bytes: u64,
    held_back_bytes: u64,
    free_bytes: u64,
    index_generation: u32,
    index_buckets: u64,
    index_bytes: u64,
    sequence: u64,
}

/// Runs the verb.
pub fn run(cli: &Cli) -> Outcome {
    let store = cli.open_to_read()?;
    let stats = store.stats()?;
    let path = store.path();
    Output::new(cli.json).line_now(|| table(path, &stats), &known(path, &stats))
}

fn known(path: &Path, stats: &Stats) -> Known {
    Known {
        path: Name::new(path.as_os_str().as_bytes()),
        uuid: uuid_text(&stats.uuid),
        hash: stats.hash.map(|hash| hash.name()),
        file_system: stats.file_system.clone(),
        limit: stats.limit,
        blobs: stats.blobs,
        refs: stats.refs,
        pins: stats.pins,
        tombstones: stats.tombstones,
        live_bytes: stats.live_bytes,
        damaged_records: stats.damaged_records,
        lost_records: stats.lost_records,
        lost_refs: stats.lost_refs,
        damaged_segments: stats.damaged_segments,
        segments: stats.segments,
        segment_bytes: stats.segment_bytes,
        held_back_bytes: stats.held_back_bytes,
        free_bytes: stats.free_bytes,
        index_generation: stats.index_generation,
        index_buckets: stats.index_buckets,
        index_bytes: stats.index_bytes,
        sequence: stats.sequence,
    }
}

fn table(path: &Path, stats: &Stats) -> String {
    let mut text = format!("store         {}", printable(path.as_os_str().as_bytes()));
    let mut row = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n{name:<14}{value}");
    };
    row("uuid", uuid_text(&stats.uuid));
    row("hash", stats.hash.map_or("unknown", |hash| hash.name()).into());
    row("file system", format!("{}, {} free", stats.file_system, human_bytes(stats.free_bytes)));
    row("blobs", format!("{}, {} live", grouped(stats.blobs), human_bytes(stats.live_bytes)));
    row("names", format!("{} refs, {} pins", grouped(stats.refs), grouped(stats.pins)));
    row("tombstones", grouped(stats.tombstones));
    let segments = (grouped(stats.segments), human_bytes(stats.segment_bytes));
    row("segments", format!("{}, {}", segments.0, segments.1));
    if stats.held_back_bytes > 0 {
        let held = human_bytes(stats.held_back_bytes);
        row("held back", format!("{held}, for compactions and removals on a full disk"));
    }
    let index = (stats.index_generation, grouped(stats.index_buckets), stats.index_bytes);
    row("index", format!("generation {}, {} buckets, {}", index.0, index.1, human_bytes(index.2)));
    let lost = (stats.lost_records, stats.lost_refs, stats.damaged_segments);
    if lost != (0, 0, 0) {
        let lost = (grouped(lost.0), grouped(lost.1), grouped(lost.2));
        let what = format!("{} records, {} names, {} segments damaged", lost.0, lost.1, lost.2);
        row("lost", format!("{what}, when the index was last built"));
    }
    if stats.damaged_records > 0 {
        row("damaged", format!("{} records", grouped(stats.damaged_records)));
    }
    row("sequence", grouped(stats.sequence));
    row("limit", stats.limit.map_or_else(|| "none".into(), human_bytes));
    text
}
