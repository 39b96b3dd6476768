//! Which lines of each layer the tests run: a build that counts, the suite `tests` in it, and a table.
//!
//! What a process has counted it writes when it ends in peace: what only a process that was killed has run
//! counts as not run. The counters of LLVM are read by `llvm_profparser`, which is installed into the build
//! output the first time; the compiler's own tools for that are a component that not everybody has.

use crate::canaries;
use crate::outcome::Outcome;
use crate::place::Place;
use crate::programs;
use crate::run::capture;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// What reads the counters, and the form of them that it is built for.
const READER: [&str; 6] = [
    "llvm_profparser",
    "--version=0.15.0",
    "--no-default-features",
    "--features=cli,__llvm_22",
    "--locked",
    "--quiet",
];

/// Lines that have been run, and lines that could have been.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Lines {
    run: u64,
    all: u64,
}

/// Runs the tests of the core crate in a build that counts, and tells what they have run of each layer.
pub fn run(place: &Place) -> io::Result<Outcome> {
    let dir = place.target("coverage");
    let cov = match reader(place, &dir)? {
        Ok(cov) => cov,
        Err(why) => return Ok(Outcome::skipped(format!("SKIPPED: {why}"))),
    };
    let profiles = dir.join("profiles");
    if profiles.exists() {
        fs::remove_dir_all(&profiles)?;
    }
    fs::create_dir_all(&profiles)?;
    let mut cargo = place.cargo_with_flags("coverage", "-C instrument-coverage");
    // What build scripts count is of no interest.
    cargo.env("LLVM_PROFILE_FILE", "/dev/null");
    programs::of_core(place, &mut cargo)?;
    cargo.args(["--no-run", "--message-format", "json-render-diagnostics"]);
    let built = capture(place, "coverage-build", &mut cargo)?;
    if !built.success() {
        return Ok(Outcome::check(false, built.output));
    }
    let mut tests = place.cargo_with_flags("coverage", "-C instrument-coverage");
    tests.env("LLVM_PROFILE_FILE", profiles.join("%p-%m.profraw"));
    programs::of_core(place, &mut tests)?;
    let ran = capture(place, "coverage", &mut tests)?;
    let mut outcome = Outcome::counted(ran.success(), ran.output);
    let mut show = place.command(cov);
    show.arg("show");
    for profile in fs::read_dir(&profiles)? {
        let path = profile?.path();
        // What was killed while it wrote has left nothing.
        if path.metadata()?.len() > 0 {
            show.arg("--instr-profile").arg(path);
        }
    }
    for (_, program) in canaries::executables(&built.output) {
        show.arg("--object").arg(program);
    }
    let shown = capture(place, "coverage-lines", &mut show)?;
    if !shown.success() {
        return Ok(Outcome::failed("the counters cannot be read: see xtask/coverage-lines.log"));
    }
    let layers = by_layer(&shown.output, &place.root().join("src"));
    let sum = layers.values().fold(Lines::default(), |sum, lines| Lines {
        run: sum.run + lines.run,
        all: sum.all + lines.all,
    });
    let told = |name: &str, lines: &Lines| {
        let percent = 100.0 * lines.run as f64 / lines.all.max(1) as f64;
        format!("{name:<12} {percent:>5.1} % of {} lines", lines.all)
    };
    outcome.extent = layers.iter().map(|(name, lines)| told(name, lines)).collect();
    outcome.extent.push(told("all", &sum));
    Ok(outcome)
}

/// The program that reads counters, or why there is none.
fn reader(place: &Place, dir: &Path) -> io::Result<Result<PathBuf, String>> {
    let tools = dir.join("tools");
    let cov = tools.join("bin/cov");
    if !cov.exists() {
        let mut cargo = place.cargo();
        cargo.arg("install").args(READER).arg("--root").arg(&tools);
        cargo.env("CARGO_TARGET_DIR", dir.join("tools-build"));
        let ran = capture(place, "coverage-install", &mut cargo)?;
        if !ran.success() {
            return Ok(Err("cargo install llvm_profparser failed".into()));
        }
    }
    Ok(Ok(cov))
}

/// The lines of each layer, from a listing of all files: the path of one, and its lines with their counts.
/// A layer is a directory of `src`, with the file of its name; what stands beside them is `api`. Tests, and
/// what only tests are built with, are left out.
fn by_layer(listing: &str, src: &Path) -> BTreeMap<String, Lines> {
    let mut layers = BTreeMap::<String, Lines>::new();
    let (mut layer, mut is_over) = (None, false);
    for line in listing.lines() {
        if let Some(path) = line.strip_prefix('/') {
            (layer, is_over) = (layer_of(&Path::new("/").join(path), src), false);
            continue;
        }
        let mut columns = line.splitn(3, '|');
        let (_, count, text) = (columns.next(), columns.next(), columns.next());
        is_over |= text.is_some_and(|text| text.starts_with("mod tests {"));
        let count = count.and_then(|count| count.trim().parse::<u64>().ok());
        if let (Some(layer), Some(count), false) = (&layer, count, is_over) {
            let lines = layers.entry(layer.clone()).or_default();
            lines.all += 1;
            lines.run += u64::from(count > 0);
        }
    }
    layers
}

fn layer_of(path: &Path, src: &Path) -> Option<String> {
    let inside = path.strip_prefix(src).ok()?;
    let is_of_tests = inside.components().any(|part| {
        let name = part.as_os_str().to_string_lossy();
        name == "tests" || name == "tests.rs" || name == "fuzzing.rs"
    });
    let first = inside.components().next()?.as_os_str().to_string_lossy();
    let name = first.strip_suffix(".rs").unwrap_or(&first);
    let layer = if src.join(name).is_dir() { name } else { "api" };
    (!is_of_tests).then(|| layer.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_by_layer_and_without_tests() {
        let src = Place::find().root().join("src");
        let at = |path: &str| src.join(path).display().to_string();
        let (file, test, facade) = (at("disk/file.rs"), at("disk/tests/map.rs"), at("blob.rs"));
        let listing = format!(
            "{file}\n    1|       |//! x\n    2|      3|fn a() {{\n    3|      0|    b|c\n    4|       |}}\n\
             5|       |mod tests {{\n    6|      9|    x\n{test}\n    1|      1|x\n\
             {facade}\n    1|   1200|x\n/elsewhere/lib.rs\n    1|      1|x\n"
        );
        let layers = by_layer(&listing, &src);
        let told: Vec<_> = layers.iter().map(|(name, l)| (name.as_str(), l.run, l.all)).collect();
        assert_eq!(told, [("api", 1, 1), ("disk", 1, 2)]);
    }
}
