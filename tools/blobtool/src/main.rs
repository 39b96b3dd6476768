//! `blobtool`: the command line of the Drystone blob store.
//!
//! Data goes to standard output, everything else to standard error. With `--json` what a verb prints
//! is one document, or one document per line, that carries `"version": 1`.
#![forbid(unsafe_code)]

mod cli;
mod demo;
mod exit;
mod output;
mod progress;
mod quantity;
mod unfinished;
mod verbs;

use clap::Parser;
use cli::{Cli, Verb};
use exit::Outcome;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match unfinished::watch().map_err(Into::into).and_then(|()| run(&cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(cli: &Cli) -> Outcome {
    match &cli.verb {
        Verb::Init(args) => verbs::init::run(cli, args),
        Verb::Put(args) => verbs::put::run(cli, args),
        Verb::Get(args) => verbs::get::run(cli, args),
        Verb::Ls(args) => verbs::ls::run(cli, args),
        Verb::Rm(args) => verbs::rm::run(cli, args),
        Verb::Stat(args) => verbs::stat::run(cli, args),
        Verb::Info => verbs::info::run(cli),
        Verb::Compact(args) => verbs::compact::run(cli, args),
        Verb::Fsck(args) => verbs::fsck::run(cli, args),
        Verb::Demo(args) => demo::run(cli, args),
        Verb::DemoWorker => demo::work(),
        Verb::Completions(args) => verbs::manual::completions(cli, args),
        Verb::Man(args) => verbs::manual::man(cli, args),
    }
}
