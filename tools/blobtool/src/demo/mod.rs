//! `blobtool demo`: many processes compute, write, wait for, map and read multi-GB arrays through one
//! store; two of them are killed in the middle; then everything is checked and told.
//!
//! The parent only starts processes, listens to what they report, kills, and checks. A writer computes
//! each step in place in a `Draft`, from the steps before, which it reads from the store without a
//! copy, and names it; readers wait for the name and map the same bytes. The store is the simulation's
//! memory: a writer's replacement needs nothing but the names to go on.

mod alone;
mod crew;
mod events;
mod files;
mod picture;
mod plan;
mod reader;
mod report;
mod sample;
mod show;
mod steps;
mod tally;
mod verify;
mod wave;
mod writer;

use crate::cli::{Cli, Demo};
use crate::exit::{Failure, Outcome};
use crate::unfinished::Unfinished;
use drystone::Store;
use events::{Assignment, Role};
use plan::Plan;
use std::env;
use std::fs;
use std::io;
use std::path::PathBuf;

/// All that is to be told.
struct Measured {
    tally: tally::Tally,
    checked: verify::Checked,
    alone: alone::Alone,
}

/// Runs the demonstration.
pub fn run(cli: &Cli, args: &Demo) -> Outcome {
    let place = args.dir.clone().unwrap_or_else(env::temp_dir);
    let mut plan = Plan::of(args)?;
    fs::create_dir_all(&place).map_err(|error| Failure::file("make", &place, &error))?;
    plan.check_space(&place)?;
    let made = Unfinished::directory(|| {
        tempfile::Builder::new().prefix("drystone-demo-").tempdir_in(&place)
    });
    let (unfinished, dir) =
        made.map_err(|error| Failure::file("make a directory in", &place, &error))?;
    plan.store = fs::canonicalize(dir.path())?.join("store");
    let store = Store::create(&plan.store)?;
    let told = show::play(&plan).and_then(|tally| {
        let checked = verify::check(&store, &plan, &tally)?;
        let alone = alone::measure(&store, &plan)?;
        report::print(cli.json, args.keep, &store, &plan, &Measured { tally, checked, alone })
    });
    drop(store);
    // From here on it is either kept, or removed with `dir`.
    let kept: Option<PathBuf> = (args.keep && told.is_ok()).then(|| dir.keep());
    drop((unfinished, kept));
    told
}

/// One process of the demonstration: its assignment comes on standard input.
pub fn work() -> Outcome {
    // Should the parent be killed, nobody is left to look after this process.
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).map_err(io::Error::from)?;
    let assignment: Assignment =
        serde_json::from_reader(io::stdin().lock()).map_err(io::Error::from)?;
    let store = Store::open(&assignment.plan.store)?;
    match assignment.role {
        Role::Writer(index) => writer::run(&store, &assignment.plan, index),
        Role::Reader(_) => reader::run(&store, &assignment.plan, assignment.from),
    }
}
