//! Undefined behaviour, looked for by interpreters: Miri where there is one (it comes with nightly
//! compilers only), and valgrind's memcheck over what is quick enough under it.

use crate::canaries;
use crate::outcome::Outcome;
use crate::place::Place;
use crate::run::{capture, capture_for};
use crate::system;
use std::io;
use std::time::Duration;

/// The pure layers, and the index on words of the heap: what touches neither files nor mappings.
const PURE: [&str; 8] =
    ["format::tests", "hash::", "npy::", "id::", "units::", "sync::", "index::tests", "error::"];
/// What is quick enough under valgrind: hashing, and the index at each of its steps, are not.
const QUICK: [&str; 10] = [
    "format::",
    "npy::",
    "id::",
    "units::",
    "sync::",
    "segment::",
    "disk::tests::map",
    "index::tests::limits",
    "index::tests::filled",
    "index::tests::oracle",
];
/// Valgrind answers otherwise than the kernel where more memory is asked for than there are addresses.
const NOT_UNDER_VALGRIND: &str = "anonymous_memory_is_zero_and_private";
const TIME_MAX: Duration = Duration::from_secs(900);
/// What valgrind exits with if it has found something.
const FOUND: &str = "--error-exitcode=9";

/// The pure layers and the index under Miri, by both models of aliasing.
pub fn miri(place: &Place) -> io::Result<Outcome> {
    let toolchains: [&[&str]; 2] = [&["miri"], &["+nightly", "miri"]];
    for toolchain in toolchains {
        let mut version = place.command("cargo");
        let ran = capture(place, "miri-version", version.args(toolchain).arg("--version"));
        if ran.is_ok_and(|ran| ran.success()) {
            return miri_by(place, toolchain);
        }
    }
    let why = "SKIPPED: there is no cargo-miri (rustup +nightly component add miri)";
    Ok(Outcome::skipped(why))
}

fn miri_by(place: &Place, toolchain: &[&str]) -> io::Result<Outcome> {
    let mut sum = Outcome::default();
    for model in ["", " -Zmiri-tree-borrows"] {
        let mut cargo = place.command("cargo");
        cargo.env("MIRIFLAGS", format!("-Zmiri-disable-isolation{model}"));
        cargo.env("CARGO_TARGET_DIR", place.target("miri"));
        cargo.args(toolchain).args(["test", "--package", "drystone", "--lib", "--"]).args(PURE);
        let ran = capture(place, "miri", &mut cargo)?;
        sum += Outcome::counted(ran.success(), ran.output);
    }
    Ok(sum)
}

/// The unit tests of the lower layers under valgrind.
pub fn memcheck(place: &Place) -> io::Result<Outcome> {
    let has_valgrind = || system::has_program("valgrind");
    let is_there = has_valgrind() || system::install(place, &["valgrind"]) && has_valgrind();
    if !is_there {
        return Ok(Outcome::skipped("SKIPPED: there is no valgrind (apt-get install valgrind)"));
    }
    let mut cargo = place.cargo();
    cargo.args(["test", "--package", "drystone", "--lib", "--no-run"]);
    cargo.args(["--message-format", "json-render-diagnostics"]);
    let built = capture(place, "memcheck-build", &mut cargo)?;
    let programs = canaries::executables(&built.output);
    let [(_, program)] = programs.as_slice() else {
        return Ok(Outcome::check(false, built.output));
    };
    let mut valgrind = place.command("valgrind");
    valgrind.args(["-q", FOUND, "--errors-for-leak-kinds=none"]).arg(program).args(QUICK);
    valgrind.args(["--test-threads", "1", "--skip", NOT_UNDER_VALGRIND]);
    let ran = capture_for(place, "memcheck", &mut valgrind, TIME_MAX)?;
    Ok(Outcome::counted(ran.success(), ran.output))
}
