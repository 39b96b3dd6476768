//! The project's chores, one word each: `cargo xtask WORD`.
#![forbid(unsafe_code)]

mod canaries;
mod checks;
mod coverage;
mod deaths;
mod fuzz;
mod interpreted;
mod outcome;
mod place;
mod programs;
mod python;
mod run;
mod sanitized;
mod sanitizers;
mod schedules;
mod system;

use place::Place;
use std::env;
use std::ffi::OsString;
use std::process::{Command, ExitCode};

const HELP: &str = "\
The chores of Drystone, one word each.

    cargo xtask demo [ARGS]          run the demonstration (blobtool demo ARGS)
    cargo xtask test [--quick]       run every check; the last line is `N passed, N failed`
    cargo xtask test SUITE...        run some of them
    cargo xtask loom                 model-check the shared-memory protocols
    cargo xtask model                search the model of the protocol (spec/model)
    cargo xtask canaries [BUG...]    plant each known bug, or these, and see that its test fails
    cargo xtask coverage             tell which lines of each layer the suite `tests` runs
    cargo xtask fuzz [TARGET...]     run the fuzz targets, or these (--seconds N each)
    cargo xtask bench                measure everything beside its peers; rewrites benches/RESULTS.md
    cargo xtask bench ROW...         measure some of it (a wrong word prints the rows and options)
    cargo xtask bench micro [ARGS]   single calls (arguments go to criterion)
    cargo xtask help                 print this

Suites of `test`, in order (--quick runs those with a star):
";

const EPILOGUE: &str = "
DRYSTONE_FUZZ_SECONDS=N gives each fuzz target another time than 45 s, DRYSTONE_STRESS_SECONDS=N each
stress under a sanitizer another than 15 s.
DRYSTONE_LOOM_PREEMPTIONS=N lets loom explore schedules of up to N preemptions in every test, instead
of the 1 to 3 that end within minutes; 2 takes hours. What was explored is printed.

The suite `deaths` goes further with DRYSTONE_DEATHS=all (every step twice, and all system calls),
DRYSTONE_KILLS=N or DRYSTONE_KILL_HOURS=N, DRYSTONE_HALT_SECONDS=N, DRYSTONE_OPENS=N; what failed is
played again by the line that it prints.

DRYSTONE_SHUFFLES=N sets how many random schedules shuttle goes through in a test (twice: in two ways);
DRYSTONE_SEED=N repeats those of a run.

DRYSTONE_MODEL_DEPTH=N lets the model search up to N times as many states in every scenario; from 10 on
it adds the scenarios that take hours (`cargo run --release -p protocol-model help`).

What a check needs from outside (strace, xxhsum, b3sum, Python packages) is installed when that is
possible without asking, and otherwise the check is skipped with a line that says so. Build output
goes to $CARGO_TARGET_DIR, or to target/. Exit: 0 all passed, 1 something failed, 2 usage.
";

fn main() -> ExitCode {
    let mut args = env::args_os().skip(1);
    let word = args.next().and_then(|word| word.into_string().ok()).unwrap_or_default();
    let rest: Vec<OsString> = args.collect();
    let asks_for_help = rest.iter().any(|arg| arg == "--help" || arg == "-h");
    let place = Place::find();
    match word.as_str() {
        "demo" => demo(&place, &rest),
        _ if asks_for_help => help(),
        "test" => test(&place, &rest),
        "loom" | "model" if rest.is_empty() => checks::run(&place, &[checks::named(&word)]),
        "canaries" => {
            let names: Vec<_> = rest.iter().map(|name| name.to_string_lossy().into()).collect();
            checks::run_one("canaries", || canaries::run_named(&place, &names))
        }
        "coverage" if rest.is_empty() => checks::run_one("coverage", || coverage::run(&place)),
        "fuzz" => fuzz(&place, &rest),
        "bench" => bench(&place, &rest),
        "help" | "--help" | "-h" => help(),
        "" => usage("say what to do"),
        "loom" | "model" | "coverage" => usage(&format!("{word} takes no arguments")),
        _ => usage(&format!("there is no chore {word:?}")),
    }
}

fn help() -> ExitCode {
    print!("{HELP}");
    for suite in checks::SUITES {
        let mark = if suite.quick { "*" } else { " " };
        println!("    {:<12}{mark} {}", suite.name, suite.what);
    }
    print!("{EPILOGUE}");
    ExitCode::SUCCESS
}

fn usage(problem: &str) -> ExitCode {
    eprintln!("xtask: {problem}; see `cargo xtask help`");
    ExitCode::from(2)
}

fn test(place: &Place, args: &[OsString]) -> ExitCode {
    let mut suites = Vec::new();
    let mut quick = false;
    for arg in args {
        let arg = arg.to_string_lossy();
        match checks::SUITES.iter().find(|suite| suite.name == arg) {
            Some(suite) => suites.push(suite),
            None if arg == "--quick" => quick = true,
            None => return usage(&format!("there is no suite {arg:?}")),
        }
    }
    if suites.is_empty() {
        suites = checks::SUITES.iter().filter(|suite| suite.is_due(quick)).collect();
    }
    checks::run(place, &suites)
}

fn demo(place: &Place, args: &[OsString]) -> ExitCode {
    let mut cargo = place.cargo();
    cargo.args(["run", "--release", "--package", "blobtool", "--", "demo"]).args(args);
    pass_through(cargo)
}

fn fuzz(place: &Place, args: &[OsString]) -> ExitCode {
    let (mut targets, mut seconds) = (Vec::new(), None);
    let mut args = args.iter().map(|arg| arg.to_string_lossy());
    while let Some(arg) = args.next() {
        if arg != "--seconds" {
            targets.push(arg.into_owned());
            continue;
        }
        seconds = args.next().and_then(|number| number.parse().ok());
        if seconds.is_none() {
            return usage("--seconds takes a number");
        }
    }
    checks::run_one("fuzz", || fuzz::run_targets(place, &targets, seconds))
}

fn bench(place: &Place, args: &[OsString]) -> ExitCode {
    let mut cargo = place.cargo();
    match args.split_first() {
        Some((first, rest)) if first == "micro" => {
            cargo.args(["bench", "--package", "drystone", "--bench", "micro", "--"]).args(rest);
        }
        _ => {
            cargo.args(["run", "--release", "--package", "peers", "--"]).args(args);
            if args.is_empty() {
                cargo.args(["all", "--write", "benches/RESULTS.md"]);
            }
        }
    }
    pass_through(cargo)
}

/// Runs a command on this terminal and hands on its exit code.
fn pass_through(mut command: Command) -> ExitCode {
    match command.status() {
        Ok(status) => ExitCode::from(status.code().and_then(|c| u8::try_from(c).ok()).unwrap_or(1)),
        Err(error) => {
            eprintln!("xtask: cannot run {:?}: {error}", command.get_program());
            ExitCode::FAILURE
        }
    }
}
