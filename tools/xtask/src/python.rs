//! The Python package as its users get it: a wheel, installed beside the oldest and the newest NumPy.
//!
//! What is tested is what stands in the wheel, never the sources beside it: the tests run in a directory from
//! which the sources cannot be imported, and a check says so where they are imported all the same.

use crate::outcome::{Counts, Outcome};
use crate::place::Place;
use crate::run::{Ran, capture, capture_for, some_at_a_time};
use crate::system;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The oldest Python that the package supports: its wheel serves all later ones.
const PYTHON: &str = "python3.11";
/// What the tests run beside: 1.23.2 is the first NumPy with wheels for that Python, and Arrow 21 the last that
/// works with it.
const NUMPYS: [(&str, &[&str]); 2] =
    [("oldest", &["numpy==1.23.2", "pyarrow<22"]), ("newest", &["numpy>=2"])];
/// A test program that takes longer hangs.
const TESTS_TIME_MAX: Duration = Duration::from_secs(300);
/// Prints nothing if the package comes from the environment of the interpreter.
const COMES_FROM_THE_WHEEL: &str = "
import drystone, pathlib, sys
at = pathlib.Path(drystone.__file__).resolve()
if pathlib.Path(sys.prefix).resolve() not in at.parents:
    sys.exit(f'{at} was imported, which is not the installed package')
";

/// A virtual environment.
struct Venv<'p> {
    place: &'p Place,
    name: &'static str,
    path: PathBuf,
}

impl<'p> Venv<'p> {
    /// Makes it, unless a run before has; `None` if that cannot be done here.
    fn new(place: &'p Place, name: &'static str) -> io::Result<Option<Self>> {
        let venv = Self { place, name, path: directory(place).join(name) };
        if venv.has_pip()? {
            return Ok(Some(venv));
        }
        if !venv.make()? {
            system::install(place, &["python3.11", "python3.11-venv"]);
            if !venv.make()? {
                return Ok(None);
            }
        }
        Ok(Some(venv))
    }

    fn make(&self) -> io::Result<bool> {
        // Half an environment is worse than none.
        drop(fs::remove_dir_all(&self.path));
        if !system::has_program(PYTHON) {
            return Ok(false);
        }
        let mut python = self.place.command(PYTHON);
        python.args(["-m", "venv"]).arg(&self.path);
        Ok(self.capture("venv", &mut python)?.success() && self.has_pip()?)
    }

    fn has_pip(&self) -> io::Result<bool> {
        let is_there = self.program("python").exists();
        Ok(is_there && self.capture("pip", self.pip().arg("--version"))?.success())
    }

    fn program(&self, name: &str) -> PathBuf {
        self.path.join("bin").join(name)
    }

    /// Its interpreter, which finds nothing but what is installed in it.
    fn python(&self) -> Command {
        let mut python = self.place.command(self.program("python"));
        python.current_dir(directory(self.place)).env_remove("PYTHONPATH");
        python.envs([("PYTHONSAFEPATH", "1"), ("PYTHONNOUSERSITE", "1")]);
        python.env("PYTHONDONTWRITEBYTECODE", "1");
        python
    }

    /// Its pip, as the user has set it up, cache and index included.
    fn pip(&self) -> Command {
        let mut python = self.python();
        python.args(["-m", "pip", "--disable-pip-version-check", "--quiet"]);
        python
    }

    fn capture(&self, what: &str, command: &mut Command) -> io::Result<Ran> {
        capture(self.place, &format!("python-{}-{what}", self.name), command)
    }

    /// Installs what is asked for, in its newest form; what an earlier run has installed will do where no index
    /// can be reached. The last line of what pip said if neither is possible.
    fn install(&self, what: &[&str]) -> io::Result<Result<(), String>> {
        let newest = ["install", "--upgrade", "--upgrade-strategy", "eager"];
        let ran = self.capture("install", self.pip().args(newest).args(what))?;
        if ran.success() {
            return Ok(Ok(()));
        }
        let there = self.pip().args(["install", "--no-index"]).args(what).status()?;
        let why = ran.output.lines().next_back().unwrap_or("pip failed").to_owned();
        Ok(if there.success() { Ok(()) } else { Err(why) })
    }
}

fn directory(place: &Place) -> PathBuf {
    place.target("xtask").join("python")
}

/// Builds the wheel, and tests it beside each NumPy.
pub fn run(place: &Place) -> io::Result<Outcome> {
    fs::create_dir_all(directory(place))?;
    let Some(builder) = Venv::new(place, "builder")? else {
        return Ok(Outcome::skipped(format!(
            "no {PYTHON} with venv and pip (apt-get install {PYTHON} {PYTHON}-venv)"
        )));
    };
    if let Err(why) = builder.install(&["maturin>=1.9,<2"])? {
        return Ok(Outcome::skipped(format!("maturin cannot be had: {why}")));
    }
    let (mut all, wheel) = build(&builder)?;
    let Some(wheel) = wheel else { return Ok(all) };
    // The tests keep about one core busy.
    let each = some_at_a_time(&NUMPYS, |(name, numpy)| beside(place, name, numpy, &wheel))?;
    each.into_iter().for_each(|one| all += one);
    Ok(all)
}

/// The wheel, alone in a directory: an older one is never taken for it.
fn build(builder: &Venv<'_>) -> io::Result<(Outcome, Option<PathBuf>)> {
    let dist = directory(builder.place).join("dist");
    drop(fs::remove_dir_all(&dist));
    let begin = Instant::now();
    let mut maturin = builder.place.command(builder.program("maturin"));
    maturin.args(["build", "--release", "--manifest-path", "bindings/python/Cargo.toml"]);
    maturin.arg("--interpreter").arg(builder.program("python")).arg("--out").arg(&dist);
    let ran = builder.capture("maturin", &mut maturin)?;
    let mut built = fs::read_dir(&dist).into_iter().flatten().flatten().map(|entry| entry.path());
    let wheel = built.next().filter(|_| ran.success());
    // The stable interface of the oldest Python, which later ones keep.
    let is_stable = |wheel: &Path| wheel.to_string_lossy().contains("-cp311-abi3-");
    let holds = wheel.as_deref().is_some_and(is_stable);
    let mut outcome = Outcome::check(holds, ran.output);
    if let Some(wheel) = &wheel {
        let name = wheel.file_name().unwrap_or_default().to_string_lossy();
        outcome.extent.push(format!("{name}, built in {:.0} s", begin.elapsed().as_secs_f64()));
    }
    Ok((outcome, wheel))
}

/// Installs the wheel beside a NumPy, and runs the tests.
fn beside(place: &Place, name: &'static str, numpy: &[&str], wheel: &Path) -> io::Result<Outcome> {
    let Some(venv) = Venv::new(place, name)? else {
        return Ok(Outcome::skipped(format!("no environment for the {name} NumPy")));
    };
    let of_tests = format!("{}[test]", wheel.display());
    if let Err(why) = venv.install(&[numpy, &[&of_tests]].concat())? {
        return Ok(Outcome::skipped(format!("what the tests need beside {}: {why}", numpy[0])));
    }
    // A wheel of the same version is not installed again unless that is asked for.
    let again = ["install", "--no-index", "--no-deps", "--force-reinstall"];
    let mut all = check(&venv, "wheel", venv.pip().args(again).arg(wheel))?;
    let package = place.root().join("bindings/python");
    let (settings, exempt) = (package.join("pyproject.toml"), package.join("tests/stubtest.txt"));
    let mut origin = venv.python();
    origin.args(["-c", COMES_FROM_THE_WHEEL]);
    let mut stubs = venv.python();
    stubs.args(["-m", "mypy.stubtest", "drystone", "--mypy-config-file"]).arg(&settings);
    stubs.arg("--allowlist").arg(exempt).arg("--ignore-unused-allowlist");
    let mut types = venv.python();
    types.args(["-m", "mypy", "--strict", "--warn-unused-ignores", "--config-file"]);
    types.arg(settings).arg(package.join("tests/typed.py"));
    for (what, command) in [("origin", &mut origin), ("stubs", &mut stubs), ("types", &mut types)] {
        all += check(&venv, what, command)?;
    }
    all += tests(&venv)?;
    Ok(all)
}

fn check(venv: &Venv<'_>, what: &str, command: &mut Command) -> io::Result<Outcome> {
    let ran = venv.capture(what, command)?;
    Ok(Outcome::check(ran.success(), ran.output))
}

fn tests(venv: &Venv<'_>) -> io::Result<Outcome> {
    let begin = Instant::now();
    let report = directory(venv.place).join(format!("{}.xml", venv.name));
    drop(fs::remove_file(&report));
    let mut pytest = venv.python();
    pytest.args([
        "-m",
        "pytest",
        "-q",
        "-rs",
        "--tb=short",
        "--color=no",
        "-p",
        "no:cacheprovider",
    ]);
    pytest.arg("--junitxml").arg(&report).arg(venv.place.root().join("bindings/python/tests"));
    let name = format!("python-{}-pytest", venv.name);
    let ran = capture_for(venv.place, &name, &mut pytest, TESTS_TIME_MAX)?;
    let counts = fs::read_to_string(&report).ok().and_then(|report| read_report(&report));
    let mut outcome = judged(counts, &ran);
    let numpy = venv.python().args(["-c", "import numpy; print(numpy.__version__)"]).output()?;
    let Counts { passed, failed, .. } = outcome.counts;
    outcome.extent.push(format!(
        "{} NumPy, {}: {passed} tests passed, {failed} failed, {:.0} s",
        venv.name,
        String::from_utf8_lossy(&numpy.stdout).trim(),
        begin.elapsed().as_secs_f64()
    ));
    let skips = ran.output.lines().filter_map(|line| line.strip_prefix("SKIPPED "));
    outcome.notes.extend(skips.map(|skip| format!("{} NumPy: {skip}", venv.name)));
    outcome.output = ran.output;
    Ok(outcome)
}

/// Trust is limited: tests that failed have at least one failure, and none at all are one.
fn judged(counts: Option<Counts>, ran: &Ran) -> Outcome {
    let Some(mut counts) = counts else {
        let why = match ran.status {
            None => format!("the tests did not end within {} s", TESTS_TIME_MAX.as_secs()),
            Some(status) => format!("the tests left no report ({status})"),
        };
        return Outcome::failed(why);
    };
    if counts.passed == 0 || !ran.success() {
        counts.failed = counts.failed.max(1);
    }
    Outcome { counts, ..Outcome::default() }
}

/// The counts in a report of pytest in the form of JUnit: the attributes of its one `testsuite`.
fn read_report(report: &str) -> Option<Counts> {
    let suite = report.split_once("<testsuite ")?.1.split_once('>')?.0;
    let number = |name: &str| {
        let rest = suite.split_once(&format!("{name}=\""))?.1;
        rest.split_once('"')?.0.parse::<u64>().ok()
    };
    let failed = number("errors")? + number("failures")?;
    let skipped = number("skipped")?;
    let passed = number("tests")?.checked_sub(failed + skipped)?;
    Some(Counts { passed, failed, skipped })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    const REPORT: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?><testsuites name=\"pytest tests\"><testsuite \
        name=\"pytest\" errors=\"1\" failures=\"2\" skipped=\"3\" tests=\"10\" time=\"0.031\"><testcase/>";

    fn ran(code: i32) -> Ran {
        Ran { status: Some(ExitStatus::from_raw(code << 8)), output: String::new() }
    }

    #[test]
    fn counts_are_read_from_the_report() {
        let counts = read_report(REPORT);
        assert_eq!(counts, Some(Counts { passed: 4, failed: 3, skipped: 3 }));
        assert_eq!(read_report("<testsuites>"), None);
        assert_eq!(read_report(&REPORT.replace("failures", "gone")), None);
    }

    #[test]
    fn tests_that_fail_hang_or_are_none_are_a_failure() {
        let failed = |counts, ran: &Ran| judged(counts, ran).counts.failed;
        let fine = Counts { passed: 4, failed: 0, skipped: 0 };
        assert_eq!(failed(Some(fine), &ran(0)), 0);
        assert_eq!(failed(Some(fine), &ran(1)), 1);
        assert_eq!(failed(Some(Counts { passed: 0, ..fine }), &ran(0)), 1);
        assert_eq!(failed(None, &ran(0)), 1);
        assert_eq!(failed(None, &Ran { status: None, output: String::new() }), 1);
    }
}
