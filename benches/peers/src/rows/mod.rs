//! The figures, one file a subject.

mod churn;
mod collect;
mod compact;
mod compact_readers;
mod draft;
mod fsck;
mod get;
mod get_sizes;
mod growth;
mod index;
mod memory;
mod open;
mod put_large;
mod put_small;
mod rebuild;
mod synced;
mod writers;

use crate::Bench;
use crate::child::Args;
use crate::report::Line;
use anyhow::Result;

/// A measurement that gives some lines of the table.
pub struct Row {
    /// What to call it on the command line.
    pub name: &'static str,
    /// Measures.
    pub run: fn(&Bench) -> Result<Vec<Line>>,
}

/// All of them.
pub const ROWS: &[Row] = &[
    Row { name: "get-million", run: get::million },
    Row { name: "get-thousand", run: get::thousand },
    Row { name: "get-sizes", run: get_sizes::run },
    Row { name: "put-large", run: put_large::run },
    Row { name: "put-small", run: put_small::run },
    Row { name: "writers", run: writers::run },
    Row { name: "synced", run: synced::run },
    Row { name: "draft", run: draft::run },
    Row { name: "growth", run: growth::run },
    Row { name: "index", run: index::run },
    Row { name: "memory", run: memory::run },
    Row { name: "open", run: open::run },
    Row { name: "rebuild", run: rebuild::run },
    Row { name: "collect", run: collect::run },
    Row { name: "compact", run: compact::run },
    Row { name: "compact-readers", run: compact_readers::run },
    Row { name: "churn", run: churn::run },
    Row { name: "fsck", run: fsck::run },
];

/// What this program does as another process of a measurement.
pub type Role = fn(Args) -> Result<()>;

/// All roles.
pub const ROLES: &[(&str, Role)] = &[
    ("endless", open::endless),
    ("getter", get_sizes::getter),
    ("idle-opener", churn::idle_opener),
    ("moved-reader", compact_readers::moved_reader),
    ("opener", open::opener),
    ("putter", writers::putter),
    ("raw-writer", writers::raw_writer),
    ("reader", memory::reader),
    ("syncer", synced::syncer),
];
