//! Drystone measured beside other ways to do the same.
//!
//! `peers all|ROW.. [--quick] [--rounds N] [--dir DIR].. [--write FILE]` measures on the file system of
//! each directory, prints the table, and writes it as Markdown. Sides that are compared are measured in
//! turn in one process, every second round backwards; a figure is the median of the rounds, with the
//! least and the greatest beside it, and a ratio is the median of the ratios round by round.

mod bytes;
mod child;
mod latency;
mod lmdb;
mod machine;
mod place;
mod raw;
mod report;
mod rows;
mod samples;
mod tables;
mod writeback;

use anyhow::{Context, Result, bail};
use place::Place;
use report::{HEAD, Section};
use rows::{ROLES, ROWS};
use std::path::PathBuf;

const USAGE: &str =
    "usage: peers all|ROW.. [--quick] [--rounds N] [--dir DIR].. [--write FILE]\nrows:";

/// What a row is measured with.
pub struct Bench {
    /// Where.
    pub place: Place,
    /// Less of everything, for a first look.
    pub quick: bool,
    /// Times that each side is measured.
    pub rounds: usize,
}

/// The command line.
#[derive(Default)]
struct Arguments {
    names: Vec<String>,
    dirs: Vec<PathBuf>,
    write: Option<PathBuf>,
    quick: bool,
    rounds: Option<usize>,
}

fn main() -> Result<()> {
    let mut args = std::env::args_os().skip(1).peekable();
    if args.next_if(|first| first == child::ROLE_FLAG).is_some() {
        let name = args.next().context("which role")?;
        let role = ROLES.iter().find(|(role, _)| name == *role).context("no such role")?;
        return role.1(child::Args::new(args.collect()));
    }
    let arguments = parse(std::env::args().skip(1))?;
    let mut sections = Vec::new();
    for dir in &arguments.dirs {
        sections.push(measure(&arguments, Place::new(dir)?)?);
    }
    if let Some(path) = &arguments.write {
        let page = report::document(&machine::describe()?, &sections);
        let before = std::fs::read_to_string(path).unwrap_or_default();
        std::fs::write(path, page + report::kept(&before))
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

fn measure(arguments: &Arguments, place: Place) -> Result<Section> {
    let mut section = Section::new(place.file_system());
    println!("\n## {}\n\n{HEAD}", place.file_system());
    let rounds = arguments.rounds.unwrap_or(if arguments.quick { 3 } else { 7 }).max(1);
    let bench = Bench { place, quick: arguments.quick, rounds };
    for row in ROWS.iter().filter(|row| arguments.wants(row.name)) {
        for line in (row.run)(&bench).with_context(|| format!("measuring {}", row.name))? {
            println!("{line}");
            section.push(line);
        }
    }
    Ok(section)
}

impl Arguments {
    fn wants(&self, row: &str) -> bool {
        self.names.iter().any(|name| name == row || name == "all")
    }
}

fn parse(args: impl Iterator<Item = String>) -> Result<Arguments> {
    let mut parsed = Arguments::default();
    let mut args = args;
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} wants a value"));
        match arg.as_str() {
            "--quick" => parsed.quick = true,
            "--rounds" => parsed.rounds = Some(value()?.parse()?),
            "--dir" => parsed.dirs.push(value()?.into()),
            "--write" => parsed.write = Some(value()?.into()),
            name if name == "all" || ROWS.iter().any(|row| row.name == name) => {
                parsed.names.push(arg);
            }
            _ => return usage(),
        }
    }
    if parsed.names.is_empty() {
        return usage();
    }
    if parsed.dirs.is_empty() {
        parsed.dirs = vec!["target".into(), "/dev/shm".into()];
    }
    Ok(parsed)
}

fn usage<T>() -> Result<T> {
    let names: Vec<_> = ROWS.iter().map(|row| row.name).collect();
    bail!("{USAGE} {}", names.join(" "))
}
