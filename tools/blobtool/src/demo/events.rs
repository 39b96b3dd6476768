//! What the parent and its processes say to each other: one JSON line each way at a time.

use super::plan::Plan;
use crate::exit::Outcome;
use serde::{Deserialize, Serialize};
use std::io::{self, Write};

/// Who a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
    /// The writer of this slab, or share of the files.
    Writer(u32),
    /// A reader of everything.
    Reader(u32),
}

/// What a process is told when it starts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Assignment {
    /// The whole of it.
    pub plan: Plan,
    /// Its part.
    pub role: Role,
    /// For a reader: the first step that it is to report. A writer finds out by itself.
    pub from: u32,
}

/// What a process reports.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Event {
    /// A writer is about to fill this step: its Draft is open.
    Begun {
        /// Which.
        step: u32,
    },
    /// A writer's step is stored and named.
    Stored {
        /// Which.
        step: u32,
        /// How large.
        bytes: u64,
        /// Time in the store's calls.
        store_ns: u64,
        /// Time in all since the step was begun, waiting for neighbours left out.
        busy_ns: u64,
    },
    /// A reader has seen all of a step.
    Seen {
        /// Which.
        step: u32,
        /// How many bytes it looked at for the first time.
        bytes: u64,
        /// What it computed of them, as the bits of a float64 or as an integer.
        value: u64,
        /// Time from the first `get` to the value.
        busy_ns: u64,
        /// Time of one `get`, each a mean over a small batch.
        get_ns: Vec<f64>,
        /// Memory of its own, file pages left out.
        own_bytes: u64,
    },
}

/// Reports to the parent.
pub fn report(event: &Event) -> Outcome {
    let mut stdout = io::stdout().lock();
    serde_json::to_writer(&mut stdout, event).map_err(io::Error::from)?;
    writeln!(stdout)?;
    Ok(stdout.flush()?)
}
