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
mod world;

use rules::Rule;
use scenarios::{removed, scenarios};
use script::Scenario;
use search::{Found, search};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// States after which a search is given up, unless an option says otherwise.
const STATES_MAX: u64 = 4_000_000;

struct Job<'a> {
    scenario: &'a Scenario,
    removed: Option<Rule>,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let states_max = std::env::var("DRYSTONE_MODEL_STATES").ok();
    let states_max = states_max.and_then(|text| text.parse().ok()).unwrap_or(STATES_MAX);
    let scenarios = scenarios();
    let by_name = |name: &str| scenarios.iter().find(|scenario| scenario.name == name);
    let mut jobs: Vec<Job<'_>> =
        scenarios.iter().map(|scenario| Job { scenario, removed: None }).collect();
    for &(rule, name) in removed() {
        match by_name(name) {
            Some(scenario) => jobs.push(Job { scenario, removed: Some(rule) }),
            None => {
                eprintln!("there is no scenario {name:?}");
                return ExitCode::from(2);
            }
        }
    }
    if args == ["matrix"] {
        jobs = Rule::ALL
            .iter()
            .flat_map(|rule| {
                scenarios.iter().map(move |scenario| Job { scenario, removed: Some(*rule) })
            })
            .collect();
    } else if let [what, ..] = args.as_slice() {
        let is_meant = |job: &Job<'_>| match job.removed {
            Some(rule) => format!("{rule:?}") == *what,
            None => job.scenario.name.contains(what.as_str()),
        };
        jobs.retain(is_meant);
    }
    run(&jobs, states_max)
}

/// Does the jobs on two threads.
fn run(jobs: &[Job<'_>], states_max: u64) -> ExitCode {
    let next = Mutex::new(0);
    let outcomes: Mutex<Vec<(usize, Found)>> = Mutex::default();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((at, job)) = take(jobs, &next) {
                    let found = search(job.scenario, job.removed, states_max);
                    println!("{}", line(job, &found));
                    if let Some(broken) =
                        found.broken.as_ref().filter(|_| job.removed.is_none() || jobs.len() == 1)
                    {
                        println!("    {}", broken.what);
                        broken.trace.iter().for_each(|line| println!("      {line}"));
                    }
                    outcomes.lock().unwrap_or_else(PoisonError::into_inner).push((at, found));
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    let held =
        |(at, found): &&(usize, Found)| jobs[*at].removed.is_some() == found.broken.is_some();
    let passed = outcomes.iter().filter(held).count();
    let sum = |of: fn(&Found) -> u64| outcomes.iter().map(|(_, found)| of(found)).sum::<u64>();
    println!(
        "explored {} states, {} transitions, {} recoveries from a power loss",
        sum(|f| f.states),
        sum(|f| f.transitions),
        sum(|f| f.images)
    );
    println!("{passed} passed, {} failed", outcomes.len() - passed);
    ExitCode::from(u8::from(passed < outcomes.len()))
}

fn take<'a>(jobs: &'a [Job<'a>], next: &Mutex<usize>) -> Option<(usize, &'a Job<'a>)> {
    let mut next = next.lock().unwrap_or_else(PoisonError::into_inner);
    let at = *next;
    *next += 1;
    jobs.get(at).map(|job| (at, job))
}

fn line(job: &Job<'_>, found: &Found) -> String {
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
