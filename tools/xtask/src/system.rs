//! What must come from outside: system packages and Python packages.

use crate::place::Place;
use crate::run::capture;
use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

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
fn install(place: &Place, packages: &[&str]) -> bool {
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

/// A Python that has these packages, in an environment of the project's own; or why not.
pub fn python_with(place: &Place, requirements: &Path) -> Result<PathBuf, String> {
    let dir = place.target("xtask").join("venv");
    let python = dir.join("bin/python");
    let venv = || {
        let mut command = place.command("python3");
        command.args(["-m", "venv"]).arg(&dir);
        capture(place, "venv", &mut command).is_ok_and(|ran| ran.success())
    };
    if !has_program("python3") {
        return Err("there is no python3".into());
    }
    let made = python.exists() || venv() || (install(place, &["python3-venv"]) && venv());
    if !made {
        return Err(
            "python3 cannot make a virtual environment (apt-get install python3-venv)".into()
        );
    }
    let mut pip = place.command(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]);
    pip.arg(requirements);
    match capture(place, "pip", &mut pip) {
        Ok(ran) if ran.success() => Ok(python),
        Ok(ran) => Err(format!(
            "pip cannot install {}: {}",
            requirements.display(),
            ran.output.lines().next_back().unwrap_or("no reason given")
        )),
        Err(error) => Err(format!("pip does not run: {error}")),
    }
}
