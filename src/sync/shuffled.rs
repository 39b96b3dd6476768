//! Random schedules of more participants than can be explored in full: shuttle decides at every access to
//! words on the heap who goes on. What it finds in one schedule it prints so that it can be replayed.
#![forbid(unsafe_code)]

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::sync::atomic::{AtomicBool, Ordering};
use shuttle::{Config, FailurePersistence, Runner};
use std::cell::Cell;

thread_local! {
    /// Shuttle runs all participants of a schedule on the thread that asked for it.
    static IS_SHUFFLED: Cell<bool> = const { Cell::new(false) };
}

/// Room on each participant's stack.
const STACK_BYTES: usize = 1 << 20;
/// Preemptions that a schedule is probed for.
const PREEMPTIONS: usize = 3;

/// Somebody else may come here, if schedules are shuffled.
#[inline]
pub fn point() {
    if IS_SHUFFLED.get() {
        AtomicBool::new(true).load(Ordering::SeqCst);
    }
}

/// Runs this in `count` random schedules, and in as many that preempt a few times at random places.
/// `DRYSTONE_SHUFFLES` takes the place of the count, `DRYSTONE_SEED` of the seed.
pub fn shuffle(name: &str, count: usize, execution: fn()) {
    let given = |name| std::env::var(name).ok();
    let count = given("DRYSTONE_SHUFFLES").map_or(count, |text| text.parse().expect("a number"));
    let seed = given("DRYSTONE_SEED").map_or_else(fresh_seed, |text| text.parse().expect("a seed"));
    println!("{name}: {} schedules by shuttle, DRYSTONE_SEED={seed}", 2 * count);
    run(RandomScheduler::new_from_seed(seed, count), execution);
    run(PctScheduler::new_from_seed(seed, PREEMPTIONS, count), execution);
}

fn run(scheduler: impl Scheduler + 'static, execution: fn()) {
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config.failure_persistence = FailurePersistence::Print;
    let _off = Off;
    IS_SHUFFLED.set(true);
    Runner::new(scheduler, config).run(execution);
}

/// Ends the shuffling, also when a schedule has failed.
struct Off;

impl Drop for Off {
    fn drop(&mut self) {
        IS_SHUFFLED.set(false);
    }
}

fn fresh_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0) >> 32
}
