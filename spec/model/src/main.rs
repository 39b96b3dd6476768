//! Searches the model of the protocol: every scenario with all rules, and for every rule a scenario
//! that must find a violation when the rule is removed.
#![forbid(unsafe_code)]

mod fold;
mod power;
mod rules;
mod scenarios;
mod script;
mod search;
mod step;
mod sweep;
mod world;

use rules::Rule;
use scenarios::{removed, scenarios};
use script::Scenario;
use search::{Found, search};
use std::process::ExitCode;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

/// States after which a search is given up, unless an option says otherwise.
const STATES_MAX: u64 = 4_000_000;

struct Job {
    scenario: Scenario,
    removed: Option<Rule>,
}

impl Job {
    fn is_meant(&self, word: &str) -> bool {
        match self.removed {
            Some(rule) => format!("{rule:?}") == word,
            None => self.scenario.name.contains(word),
        }
    }

    /// A scenario is to hold, and without one of the rules it is not.
    fn is_as_expected(&self, found: &Found) -> bool {
        self.removed.is_some() == found.broken.is_some()
    }
}

const HELP: &str = "\
Searches the model of the protocol.

    protocol-model               every scenario, every rule removed in a scenario that must fail, and
                                 the pairs
    protocol-model WORD          scenarios whose name has this word in it, or the rule of this name
                                 removed; a violation is printed as a trace
    protocol-model pairs         every two short programs behind every prologue
    protocol-model triples       every three (hours)
    protocol-model recoveries    every two behind recoverers after a power loss (an hour)
    protocol-model matrix        every rule removed in every scenario

DRYSTONE_MODEL_DEPTH=N goes through at most N times as many states in each; from 10 on the first form
also runs the recoveries and the triples.
";

fn main() -> ExitCode {
    let depth = std::env::var("DRYSTONE_MODEL_DEPTH").ok().and_then(|text| text.parse().ok());
    let depth: u64 = depth.unwrap_or(1).max(1);
    let word = std::env::args().nth(1).unwrap_or_default();
    let jobs = match word.as_str() {
        "pairs" => all(sweep::sweep(2)),
        "triples" => all(sweep::sweep(3)),
        "recoveries" => all(sweep::sweep_recoveries()),
        "matrix" => matrix(),
        "" => programme(depth),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        _ => programme(10).into_iter().filter(|job| job.is_meant(&word)).collect(),
    };
    if jobs.is_empty() {
        eprintln!("protocol-model: nothing is called {word:?}; see `protocol-model help`");
        return ExitCode::from(2);
    }
    run(&jobs, STATES_MAX.saturating_mul(depth))
}

fn all(scenarios: Vec<Scenario>) -> Vec<Job> {
    scenarios.into_iter().map(|scenario| Job { scenario, removed: None }).collect()
}

fn matrix() -> Vec<Job> {
    let with = |rule: &Rule| {
        let job = |scenario| Job { scenario, removed: Some(*rule) };
        scenarios().into_iter().map(job).collect::<Vec<_>>()
    };
    Rule::ALL.iter().flat_map(with).collect()
}

/// The scenarios, and the rules removed.
fn programme(depth: u64) -> Vec<Job> {
    let mut jobs = all(scenarios());
    for &(rule, name) in removed() {
        let scenario = scenarios().into_iter().find(|scenario| scenario.name == name);
        jobs.extend(scenario.map(|scenario| Job { scenario, removed: Some(rule) }));
    }
    jobs.extend(all(sweep::sweep(2)));
    if depth > 9 {
        jobs.extend(all(sweep::sweep_recoveries()));
        jobs.extend(all(sweep::sweep(3)));
    }
    jobs
}

/// Does the jobs on two threads.
fn run(jobs: &[Job], states_max: u64) -> ExitCode {
    let left = Mutex::new(jobs.iter());
    let sum = Mutex::new(Sum::default());
    let work = || {
        while let Some(job) = lock(&left).next() {
            let found = search(&job.scenario, job.removed, states_max);
            let mut sum = lock(&sum);
            sum.add(job, &found);
            println!("{}", line(job, &found));
            let is_shown = !job.is_as_expected(&found) || jobs.len() == 1;
            if let Some(broken) = found.broken.filter(|_| is_shown) {
                println!("    {}", broken.what);
                broken.trace.iter().for_each(|line| println!("      {line}"));
            }
        }
    };
    thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    let sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!(
        "model: {} states and {} transitions of {} scenarios, {} recoveries from a power loss, {} of \
         {} removed rules caught",
        sum.states, sum.transitions, sum.scenarios, sum.images, sum.caught, sum.removed
    );
    println!("{} passed, {} failed", jobs.len() as u64 - sum.failed, sum.failed);
    ExitCode::from(u8::from(sum.failed > 0))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Default)]
struct Sum {
    scenarios: u64,
    states: u64,
    transitions: u64,
    images: u64,
    removed: u64,
    caught: u64,
    failed: u64,
}

impl Sum {
    fn add(&mut self, job: &Job, found: &Found) {
        self.states += found.states;
        self.transitions += found.transitions;
        self.images += found.images;
        self.failed += u64::from(!job.is_as_expected(found));
        match job.removed {
            Some(_) => {
                self.removed += 1;
                self.caught += u64::from(found.broken.is_some());
            }
            None => self.scenarios += 1,
        }
    }
}

fn line(job: &Job, found: &Found) -> String {
    let outcome = match (&found.broken, job.removed, found.is_complete) {
        (Some(_), Some(_), _) => "caught".to_string(),
        (None, Some(_), _) => "NOT CAUGHT".into(),
        (Some(_), None, _) => "VIOLATED".into(),
        (None, None, true) => "holds".into(),
        (None, None, false) => "holds as far as it was searched".into(),
    };
    let removed =
        job.removed.map_or(String::new(), |rule| format!(" without {rule:?} ({})", rule.text()));
    format!(
        "{}{removed}: {outcome}; {} states, {} transitions, {} images, {:.1} s",
        job.scenario.name,
        found.states,
        found.transitions,
        found.images,
        found.time.as_secs_f64()
    )
}
