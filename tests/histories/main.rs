//! Recorded histories: processes work on one store, some are killed and replaced, and whatever they
//! were told must be what one store could have told them one after the other.
//!
//! Each process notes when it begins an operation and when it ends on a tape of its own outside of the
//! store; `judge` takes the tapes apart by what they are about, and the checkers look for an order.

mod entries;
mod frontier;
mod judge;
mod oracle;
mod peer;
mod planted;
mod presence;
mod register;
mod stage;
#[path = "../support/mod.rs"]
mod support;
mod tape;
mod worker;
mod write_once;

use stage::Stage;

/// Histories that are recorded: DRYSTONE_HISTORIES, or so many.
const HISTORIES: u64 = 10;
/// Operations of each: DRYSTONE_HISTORY_OPS, or so many.
const OPERATIONS: u64 = 1_000_000;

fn number(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

fn record(histories: u64, operations: u64, seed: u64) {
    let mut sum = judge::Findings::default();
    let start = std::time::Instant::now();
    for round in 0..histories {
        let seed = seed.wrapping_add(round);
        let stage = Stage::new(seed);
        let tapes = stage.play(operations);
        let said = format!(
            "history {round} of seed {seed}: DRYSTONE_HISTORIES=1 DRYSTONE_SEED={seed} \
             DRYSTONE_HISTORY_OPS={operations}"
        );
        match judge::judge(&tapes) {
            Ok(findings) => {
                sum.add(&findings);
                eprintln!("history {round}: {:.1} s", start.elapsed().as_secs_f64());
            }
            Err(why) => panic!("{said}\n{why}"),
        }
        sum.kills += stage.kills();
    }
    println!(
        "figure: {histories} histories of {} operations, {} kills, {} growths, {} compactions, widest {}, \
         seed {seed}, {:.1} s",
        sum.operations,
        sum.kills,
        sum.growths,
        sum.compactions,
        sum.widest,
        start.elapsed().as_secs_f64()
    );
}

#[test]
fn recorded_histories_are_linearizable() {
    let seed = number("DRYSTONE_SEED", std::process::id().into());
    let histories = number("DRYSTONE_HISTORIES", HISTORIES);
    record(histories, number("DRYSTONE_HISTORY_OPS", OPERATIONS), seed);
}
