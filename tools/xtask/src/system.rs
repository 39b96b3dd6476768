//! What must come from outside: system packages.

use crate::place::Place;
use crate::run::capture;
use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;

/// A program that tests use if it is there, and the Debian package that brings it.
const PROGRAMS: [(&str, &str); 3] =
    [("strace", "strace"), ("xxh128sum", "xxhash"), ("b3sum", "b3sum")];

/// Whether a program is on the path.
pub fn has_program(name: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|dir| dir.join(name).is_file())
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

/// Installs system packages if that is possible without asking anybody; says whether it worked.
pub fn install(place: &Place, packages: &[&str]) -> bool {
    if !is_root() || !has_program("apt-get") {
        return false;
    }
    let mut update = place.command("apt-get");
    update.args(["update", "-qq"]).env("DEBIAN_FRONTEND", "noninteractive");
    let mut install = place.command("apt-get");
    install.args(["install", "-qq", "-y", "--no-install-recommends"]).args(packages);
    install.env("DEBIAN_FRONTEND", "noninteractive");
    // A stale list of packages is often good enough, so a failed update is not the end.
    let _ = capture(place, "apt-update", &mut update);
    capture(place, "apt-install", &mut install).is_ok_and(|ran| ran.success())
}

/// Brings in the programs that tests use; returns a line for each that could not be had. Tests that
/// need one of those skip themselves.
pub fn prepare(place: &Place) -> Vec<String> {
    let missing = || PROGRAMS.iter().filter(|(program, _)| !has_program(program));
    let packages: Vec<&str> = missing().map(|(_, package)| *package).collect();
    if packages.is_empty() || install(place, &packages) {
        return Vec::new();
    }
    missing()
        .map(|(program, package)| {
            format!("no {program}: tests that use it are SKIPPED (apt-get install {package})")
        })
        .collect()
}
