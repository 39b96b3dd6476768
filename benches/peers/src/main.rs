//! Drystone measured beside other ways to do the same: `peers all|ROW.. [--quick] [--dir DIR]..`.
mod bytes;
mod lmdb;
mod place;
mod raw;
mod report;
mod rows;
mod samples;

use anyhow::{Context, Result, bail};
use place::Place;
use report::{HEAD, Line};
use std::path::PathBuf;

/// What a row is measured with.
pub struct Bench {
    /// Where.
    pub place: Place,
    /// Less of everything, for a first look.
    pub quick: bool,
    /// Times that each side is measured.
    pub rounds: usize,
}

fn main() -> Result<()> {
    let mut names = Vec::new();
    let mut dirs: Vec<PathBuf> = Vec::new();
    let mut write = None;
    let (mut quick, mut rounds) = (false, None);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--quick" => quick = true,
            "--rounds" => rounds = Some(args.next().context("--rounds wants a number")?.parse()?),
            "--dir" => dirs.push(args.next().context("--dir wants a directory")?.into()),
            "--write" => write = Some(args.next().context("--write wants a file")?),
            other => names.push(other.to_owned()),
        }
    }
    let mut lines: Vec<Line> = Vec::new();
    println!("{HEAD}");
    for dir in &dirs {
        let place = Place::new(dir)?;
        eprintln!("on {}", place.file_system());
        let bench = Bench { place, quick, rounds: rounds.unwrap_or(if quick { 3 } else { 7 }) };
        for row in rows::ROWS {
            if names.iter().any(|name| name == row.name || name == "all") {
                for line in (row.run)(&bench)? {
                    println!("{line}");
                    lines.push(line);
                }
            }
        }
    }
    if let Some(path) = write {
        std::fs::write(path, report::document("", &lines))?;
    }
    if lines.is_empty() {
        bail!("no such row");
    }
    Ok(())
}
