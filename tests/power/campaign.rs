//! Random histories, cut at every moment: thousands of states a second.
#![forbid(unsafe_code)]

use crate::act::trace;
use crate::support::{Dice, number};
use crate::world::World;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// States of a run that is not told: some minutes.
const STATES: u64 = 200_000;
/// Where the histories of a run begin that is not told; a run is then the same as the last, and who changes
/// something sees what that has done. `DRYSTONE_POWER_FROM` begins elsewhere.
const FIRST_SEED: u64 = 1_000_000;
/// States of one history.
const STATES_OF_ONE: usize = 24;
/// Histories at a time for each core.
const THREADS_A_CORE: usize = 4;
/// Power losses one upon the other.
const LOSSES_MAX: u32 = 4;

/// What a campaign has done.
#[derive(Default)]
struct Reached {
    states: AtomicU64,
    equal: AtomicU64,
    deepest: AtomicU64,
    histories: AtomicU64,
}

/// A history, by its seed: what is done, where it is cut, what is left and what then goes on.
struct Trial<'a> {
    reached: &'a Reached,
    known: HashSet<(u128, usize)>,
    dice: Dice,
}

impl Trial<'_> {
    fn run(&mut self) -> Result<(), String> {
        let dice = &mut self.dice;
        let (processes, blobs) = (1 + dice.below(3), [5, 7, 12][dice.below(3) as usize]);
        let steps = 2 + dice.below(28);
        let mut world = World::new(processes as usize, blobs);
        (0..steps).for_each(|_| world.step(dice));
        self.cut(&world, STATES_OF_ONE, 1)
    }

    /// Cuts a history in so many places, and goes on from some of them.
    fn cut(&mut self, world: &World, count: usize, losses: u32) -> Result<(), String> {
        let (history, oracle) = (world.disk.history(), world.oracle.lock().expect("it").clone());
        let acknowledgements = oracle.acknowledgements();
        for _ in 0..count {
            let anywhere = self.dice.below(history.len() as u64 + 1) as usize;
            let near =
                acknowledgements.get(self.dice.below(acknowledgements.len() as u64) as usize);
            let at = match self.dice.below(3) {
                0 => near
                    .map_or(anywhere, |at| (at + self.dice.below(6) as usize).min(history.len())),
                _ => anywhere,
            };
            let seed = self.dice.next();
            let medium = history.cut(at, seed);
            if !self.known.insert((medium.fingerprint(), oracle.durable_count(at))) {
                self.reached.equal.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            self.reached.states.fetch_add(1, Ordering::Relaxed);
            self.reached.deepest.fetch_max(losses.into(), Ordering::Relaxed);
            trace(|| format!("loss {losses} after {at} of {}", history.len()));
            let mut next = world.rebooted(medium, at);
            let recovered = next.recover(&mut self.dice);
            recovered.map_err(|error| {
                format!("loss {losses} after {at} of {}: {error}", history.len())
            })?;
            if losses < LOSSES_MAX && self.dice.below(3) == 0 {
                for _ in 0..self.dice.below(8) {
                    next.step(&mut self.dice);
                }
                self.cut(&next, 3, losses + 1)?;
            }
        }
        Ok(())
    }
}

fn trial(seed: u64, reached: &Reached) -> Result<(), String> {
    let mut trial = Trial { reached, known: HashSet::new(), dice: Dice::new(seed) };
    let ran = catch_unwind(AssertUnwindSafe(|| trial.run()));
    reached.histories.fetch_add(1, Ordering::Relaxed);
    ran.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        Err(text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned())
    })
}

#[test]
fn nothing_durable_is_lost_whatever_the_medium_keeps_of_the_rest() {
    let begin = Instant::now();
    let reached = Reached::default();
    let single = number("DRYSTONE_SEED");
    let wanted = number("DRYSTONE_POWER_STATES").unwrap_or(STATES);
    let first = single.or_else(|| number("DRYSTONE_POWER_FROM")).unwrap_or(FIRST_SEED);
    let next = AtomicU64::new(first);
    let failures = std::sync::Mutex::new(Vec::new());
    // A recovery waits for the threads of its own most of the time.
    let threads = THREADS_A_CORE * std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..if single.is_some() { 1 } else { threads } {
            scope.spawn(|| {
                while reached.states.load(Ordering::Relaxed) < wanted
                    && failures.lock().expect("failures").is_empty()
                {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if let Err(error) = trial(seed, &reached) {
                        let failure = format!("DRYSTONE_SEED={seed}: {error}");
                        eprintln!("{failure}");
                        failures.lock().expect("failures").push(failure);
                    }
                    if single.is_some() {
                        break;
                    }
                }
            });
        }
    });
    let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
    println!(
        "figure: power: {} states of {} histories from seed {first} on, up to {} losses in a row, {} equal ones left out, {:.1} s",
        count(&reached.states),
        count(&reached.histories),
        count(&reached.deepest),
        count(&reached.equal),
        begin.elapsed().as_secs_f64(),
    );
    let failures = failures.into_inner().expect("failures");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
