//! Random sequences of operations do to a store what they do to a map.
//!
//! By default for some seconds from a seed that the time gives; `DRYSTONE_MODEL_SECONDS` and
//! `DRYSTONE_MODEL_SEED` say otherwise. What was reached is printed; a failure is shrunk and names
//! its seed, which finds it again.
#![forbid(unsafe_code)]

mod oracle;
mod steps;
#[path = "../support/mod.rs"]
mod support;
mod world;

use crate::support::Scratch;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text:?}")))
}

fn runner(seed: u64) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config =
        Config { cases: 1, max_shrink_iters: 3000, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

#[test]
fn a_store_is_a_map_that_lasts() {
    let budget = Duration::from_secs(number("DRYSTONE_MODEL_SECONDS").unwrap_or(12));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let first = number("DRYSTONE_MODEL_SEED").unwrap_or(now.as_secs() << 20);
    let (start, done) = (Instant::now(), Cell::new(0));
    let mut seed = first;
    while seed == first || start.elapsed() < budget {
        let outcome = runner(seed).run(&steps::cases(), |case| {
            done.set(done.get() + case.steps.len());
            let scratch =
                if seed.is_multiple_of(8) { Scratch::new() } else { Scratch::in_memory() };
            world::play(&case, scratch);
            Ok(())
        });
        if let Err(TestError::Fail(why, case)) = outcome {
            panic!("DRYSTONE_MODEL_SEED={seed}: {why}\nthe shortest found: {case:#?}");
        }
        seed += 1;
    }
    println!(
        "figure: {} sequences, {} steps, from DRYSTONE_MODEL_SEED={first}",
        seed - first,
        done.get()
    );
}
