//! Building with a sanitizer: an unstable flag of the compiler, whose stable release has it all the same.

use crate::place::Place;
use crate::run::capture;
use crate::system;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A crate below `tests/` that is a workspace of its own, and how it is built.
pub struct Build<'a> {
    /// Its folder below `tests/`.
    pub crate_name: &'a str,
    /// `address` or `thread`.
    pub sanitizer: &'a str,
    /// More flags for the compiler.
    pub flags: &'a str,
    /// The directory of the build output.
    pub target: &'a str,
}

/// What came of a build.
pub enum Built {
    /// The directory of the programs.
    Programs(PathBuf),
    /// It cannot be built here, and why.
    Skipped(String),
    /// It should have been: what the compiler said.
    Failed(String),
}

/// The target that the compiler builds for, and where its libraries are.
fn host(place: &Place) -> io::Result<Option<(String, PathBuf)>> {
    let about = capture(place, "rustc-about", place.command("rustc").arg("-vV"))?;
    let libdir =
        capture(place, "rustc-libdir", place.command("rustc").args(["--print", "target-libdir"]))?;
    let host = about.output.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.map(|host| (host.to_owned(), PathBuf::from(libdir.output.trim()))))
}

fn has_runtime(libdir: &Path, sanitizer: &str) -> bool {
    let short = format!("_rt.{}san.a", &sanitizer[..1]);
    let names = fs::read_dir(libdir).into_iter().flatten().flatten();
    names.map(|entry| entry.file_name()).any(|name| name.to_string_lossy().ends_with(&short))
}

/// Builds all programs of the crate.
pub fn build(place: &Place, build: &Build<'_>) -> io::Result<Built> {
    let Build { crate_name, sanitizer, flags, target } = *build;
    let Some((host, libdir)) = host(place)? else {
        return Ok(Built::Skipped("the compiler does not say what it builds for".into()));
    };
    if !has_runtime(&libdir, sanitizer) {
        return Ok(Built::Skipped(format!("the compiler comes without the {sanitizer} sanitizer")));
    }
    let has_compiler = || ["c++", "g++", "clang++"].iter().any(|name| system::has_program(name));
    let is_there = has_compiler() || system::install(place, &["g++"]) && has_compiler();
    if !is_there {
        return Ok(Built::Skipped("there is no C++ compiler (apt-get install g++)".into()));
    }
    let output = place.target(target);
    let mut cargo: Command = place.cargo();
    cargo.env("RUSTC_BOOTSTRAP", "1").env("CARGO_TARGET_DIR", &output);
    cargo.env("RUSTFLAGS", format!("-Zsanitizer={sanitizer} {flags}"));
    // With a target named, what runs while building is built without the flags.
    cargo.args(["build", "--release", "--locked", "--bins", "--target", &host, "--manifest-path"]);
    cargo.arg(place.root().join("tests").join(crate_name).join("Cargo.toml"));
    let ran = capture(place, target, &mut cargo)?;
    let unreachable = ["failed to download", "failed to get", "Could not resolve host"];
    Ok(match ran.success() {
        true => Built::Programs(output.join(host).join("release")),
        false if unreachable.iter().any(|what| ran.output.contains(what)) => {
            Built::Skipped("the packages that it needs cannot be had here".into())
        }
        false => Built::Failed(ran.output),
    })
}
