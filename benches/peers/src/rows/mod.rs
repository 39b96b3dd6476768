//! The figures, one file a subject.

mod get;
mod put_large;
mod put_small;
mod rebuild;

use crate::Bench;
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
    Row { name: "put-large", run: put_large::run },
    Row { name: "put-small", run: put_small::run },
    Row { name: "rebuild", run: rebuild::run },
];
