//! Something happens to a process at each of its shared steps, and nobody else notices.
#![forbid(unsafe_code)]

use crate::case::{Case, Finish, Way};
use crate::figures::{Figures, is_all, option, seed};
use crate::scripts::{Begin, Group, Script, scripts};
use crate::stage::Stage;
use crate::support::Dice;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Stages at a time.
const LANES: usize = 2;

/// Plays a script again and again, with the end of the countdown one step later each time, until it is
/// not reached any more; how many steps there are.
fn enumerate(
    stage: &mut Stage,
    first: &Case,
    figures: &mut Figures,
    failures: &Mutex<Vec<String>>,
) -> Result<u64, String> {
    let stride = stride(stage.begin(first), first.way);
    for n in (1..).step_by(stride) {
        if !failures.lock().unwrap().is_empty() {
            break;
        }
        // The odd ones are followed by this, the even ones by that, or all by both.
        let finish = if n % 2 == 0 { Finish::Repeat } else { Finish::Sync };
        let played = stage.play(&Case { n, finish, ..first.clone() }, None)?;
        figures.add(&played.figures);
        if played.survived {
            return Ok(n - 1);
        }
        if is_all() {
            let other = if n % 2 == 0 { Finish::Sync } else { Finish::Repeat };
            figures.add(&stage.play(&Case { n, finish: other, ..first.clone() }, None)?.figures);
        }
    }
    Ok(0)
}

/// Who finds a recoverer at work waits for it, ten seconds at most (`store/open.rs`): there not every step
/// can be tried, if it stands still. A repair has thousands of steps that are alike.
fn stride(begin: Begin, way: Way) -> usize {
    match begin {
        Begin::Making | Begin::Recovering if way == Way::Stop => 1000,
        Begin::Repairing if !is_all() => 25,
        _ => 1,
    }
}

/// Whether every step is tried.
fn is_every_step_tried(scripts: &[Script], groups: &[Group], way: Way) -> bool {
    let begins = scripts.iter().filter(|script| groups.contains(&script.group));
    begins.map(|script| stride(script.begin, way)).all(|stride| stride == 1)
}

/// Plays all scripts in one way, on several stages at a time.
fn enumerate_all(what: &str, groups: &[Group], way: Way, looks: bool) {
    let (start, scripts) = (Instant::now(), scripts());
    let (next, sum) = (AtomicUsize::new(0), Mutex::new((Figures::default(), Vec::new())));
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                let mut stage = Stage::new();
                while failures.lock().unwrap().is_empty() {
                    let script = next.fetch_add(1, Ordering::Relaxed);
                    if script >= scripts.len() {
                        return;
                    }
                    if !groups.contains(&scripts[script].group) {
                        continue;
                    }
                    let mut figures = Figures::default();
                    let first = Case { looks, ..Case::step(script, way, 1, Finish::Sync) };
                    match enumerate(&mut stage, &first, &mut figures, &failures) {
                        Err(why) => failures.lock().unwrap().push(why),
                        Ok(steps) => {
                            let mut sum = sum.lock().unwrap();
                            sum.0.add(&figures);
                            sum.1.push((script, steps));
                        }
                    }
                }
            });
        }
    });
    let is_whole = is_every_step_tried(&scripts, groups, way);
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let (figures, mut steps) = sum.into_inner().unwrap();
    steps.sort_unstable();
    let each: Vec<String> =
        steps.iter().map(|(script, steps)| format!("{} {steps}", scripts[*script].name)).collect();
    println!("{}", each.join(", "));
    println!(
        "figure: {what}: {} in {} scripts, {}, in {:.0} s; the longest round of two others {:?}, \
         the longest open {:?}",
        figures.hits,
        steps.len(),
        if is_whole { "every step" } else { "not every step of each" },
        start.elapsed().as_secs_f64(),
        figures.pause,
        figures.open
    );
}

/// All but repairs, which need the store to themselves and so may stop others.
const SHARED: [Group; 4] = [Group::Opens, Group::Puts, Group::Changes, Group::Space];

#[test]
fn a_process_that_dies_at_any_step_of_an_open_stops_nobody() {
    enumerate_all("deaths at steps of opens", &[Group::Opens], Way::Kill, true);
}

#[test]
fn a_process_that_dies_at_any_step_of_a_put_takes_nothing_along_and_stops_nobody() {
    enumerate_all("deaths at steps of puts", &[Group::Puts], Way::Kill, true);
}

#[test]
fn a_process_that_dies_at_any_step_of_a_change_takes_nothing_along_and_stops_nobody() {
    enumerate_all("deaths at steps of changes", &[Group::Changes], Way::Kill, true);
}

#[test]
fn a_process_that_dies_at_any_step_of_a_compaction_takes_nothing_along_and_stops_nobody() {
    enumerate_all("deaths at steps of compactions", &[Group::Space], Way::Kill, is_all());
}

#[test]
fn a_process_that_dies_at_any_step_of_a_repair_leaves_it_to_the_next() {
    enumerate_all("deaths at steps of repairs", &[Group::Repair], Way::Kill, is_all());
}

#[test]
fn a_process_that_stands_still_at_any_step_stops_nobody_and_finishes_later() {
    enumerate_all("halts at steps", &SHARED, Way::Stop, is_all());
}

#[test]
fn a_child_that_is_forked_at_any_step_and_outlives_its_parent_keeps_no_lock() {
    enumerate_all("forks at steps", &SHARED, Way::Fork, is_all());
}

#[test]
fn a_process_that_dies_or_stops_beside_others_at_work_takes_nothing_along() {
    let (mut dice, start) = (Dice::new(seed("interleavings")), Instant::now());
    let cases = option("DRYSTONE_INTERLEAVINGS").unwrap_or(300);
    let (scripts, mut stage, mut sum) = (scripts(), Stage::new(), Figures::default());
    for _ in 0..cases {
        let script = dice.below(scripts.len() as u64) as usize;
        if !matches!(scripts[script].begin, Begin::Opened | Begin::Opening) {
            continue;
        }
        let way = [Way::Kill, Way::Stop, Way::Fork][dice.below(3) as usize];
        let finish = [Finish::Repeat, Finish::Sync][dice.below(2) as usize];
        let looks = dice.below(2) == 0;
        let n = 1 + dice.below(if looks { 300 } else { 40 });
        let case = Case { looks, busy: true, ..Case::step(script, way, n, finish) };
        let played = stage.play(&case, None);
        sum.add(&played.unwrap_or_else(|why| panic!("{why}")).figures);
    }
    println!(
        "figure: deaths, halts and forks beside others at work: {} of {} in {:.0} s; the longest round \
         {:?}",
        sum.hits,
        sum.cases,
        start.elapsed().as_secs_f64(),
        sum.pause
    );
}
