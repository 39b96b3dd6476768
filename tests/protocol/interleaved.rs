//! One process stops before any of its writes or syncs, others go on: what all of them are told, what
//! can be seen, and what a power cut leaves are as if each operation had happened at one instant.
//!
//! By default some of the races, chosen by a seed; with `DRYSTONE_RACES=0` all, with another number
//! those from there on.
#![forbid(unsafe_code)]

use crate::oracle::{OPS, Op, Outcome, State, Subject, outcomes, remains};
use crate::parked::Parked;
use crate::power::{Medium, Survives};
use crate::support::{Dice, KIB};
use drystone::{Durability, Store};
use std::time::{Duration, Instant};

/// What came before the race.
const BEFORE: [&[Op]; 6] = [
    &[],
    &[Op::Put],
    &[Op::Put, Op::Remove],
    &[Op::Put, Op::Name],
    &[Op::Set(9)],
    &[Op::Put, Op::Name, Op::Remove],
];

/// What goes on while one is parked; each single operation, too.
const MEANWHILE: [&[Op]; 12] = [
    &[Op::Put, Op::Remove],
    &[Op::Remove, Op::Put],
    &[Op::Put, Op::Name],
    &[Op::Put, Op::Unpin],
    &[Op::Remove, Op::Put, Op::Name],
    &[Op::Put, Op::Name, Op::Remove],
    &[Op::Set(5), Op::RemoveRef],
    &[Op::Set(5), Op::Set(6)],
    &[Op::RemoveRef, Op::Add(5)],
    &[Op::NameLong, Op::Remove],
    &[Op::Remove, Op::NameLong],
    &[Op::Swap(5), Op::Remove],
];

struct Race {
    before: &'static [Op],
    one: Op,
    meanwhile: Vec<Op>,
    len: usize,
    durability: Durability,
}

fn races() -> Vec<Race> {
    let single: Vec<Vec<Op>> = OPS.iter().map(|&op| vec![op]).collect();
    let meanwhile = || single.iter().cloned().chain(MEANWHILE.iter().map(|ops| ops.to_vec()));
    let mut races = Vec::new();
    for before in BEFORE {
        for one in OPS {
            for meanwhile in meanwhile() {
                for len in [5000, 100 * KIB] {
                    for durability in [Durability::Buffered, Durability::Synced] {
                        let meanwhile = meanwhile.clone();
                        races.push(Race { before, one, meanwhile, len, durability });
                    }
                }
            }
        }
    }
    races
}

/// Runs a race with the one parked before its `nth` call; `false` if it does not make so many.
fn run(race: &Race, nth: usize) -> bool {
    let medium = Medium::new();
    let options = || Store::options().durability(race.durability);
    let (a, b) = (medium.open_with(options()), medium.open_with(options()));
    let mut subject = Subject::new(&a, race.len, race.durability);
    let mut state = State::default();
    for &op in race.before {
        assert_eq!(subject.apply(&a, op), state.apply(op));
    }
    let start = state.begin();
    subject.first = a.refs("r").get("k").unwrap().map(|entry| entry.version);
    let (one, its_subject) = (race.one, subject.clone());
    let parked = Parked::start(nth, move || its_subject.apply(&a, one));
    let was_parked = parked.is_parked;
    let of_others: Vec<bool> = race.meanwhile.iter().map(|&op| subject.apply(&b, op)).collect();
    if was_parked {
        while_parked(race, &medium, &subject, start, &b, &of_others);
    }
    let of_one = Some(parked.end());
    let outcome = Outcome { seen: subject.seen(&b), of_one, of_others };
    if was_parked {
        let expected = outcomes(start, &race.meanwhile, race.one, false);
        assert!(expected.contains(&outcome), "{outcome:?} is none of {expected:?}");
    }
    if race.durability == Durability::Buffered {
        b.sync().unwrap();
    }
    for survives in [Survives::Nothing, Survives::any(nth as u64)] {
        let found = subject.seen(&medium.cut(survives.clone()).open());
        assert_eq!(found, outcome.seen, "all of it was acknowledged, then {survives:?}");
    }
    was_parked
}

/// The one is parked, the others are done.
fn while_parked(
    race: &Race,
    medium: &Medium,
    subject: &Subject,
    start: State,
    store: &Store,
    of_others: &[bool],
) {
    let seen = subject.seen(store);
    let possible = outcomes(start, &race.meanwhile, race.one, true);
    let is_possible = possible.iter().any(|o| o.seen == seen && o.of_others == of_others);
    assert!(is_possible, "{seen:?} and {of_others:?} are none of {possible:?}");
    if race.durability == Durability::Synced {
        // What the others were told lasts. What they were refused is no promise.
        let took = race.meanwhile.iter().zip(of_others).filter(|(_, took)| **took);
        let took: Vec<Op> = took.map(|(&op, _)| op).collect();
        let lasting = remains(start, &took, race.one);
        for survives in [Survives::Nothing, Survives::Everything, Survives::any(7)] {
            let found = subject.seen(&medium.cut(survives.clone()).open());
            let is_possible = lasting.contains(&found) || possible.iter().any(|o| o.seen == found);
            assert!(is_possible, "after {survives:?} {found:?} is none of {lasting:?}");
        }
    } else {
        store.sync().unwrap();
        for survives in [Survives::Nothing, Survives::any(7)] {
            let found = subject.seen(&medium.cut(survives.clone()).open());
            assert_eq!(found, seen, "all that could be seen was synced, then {survives:?}");
        }
    }
}

fn run_everywhere(which: usize, race: &Race) -> usize {
    let describe = |nth: usize| {
        let Race { before, one, meanwhile, len, durability } = race;
        format!(
            "race {which}: {before:?}, then {one:?} parked at {nth}, {meanwhile:?}; {len} bytes, {durability:?}"
        )
    };
    for nth in 0.. {
        let ran = std::panic::catch_unwind(|| run(race, nth));
        match ran {
            Ok(true) => {}
            Ok(false) => return nth,
            Err(_) => panic!("{}", describe(nth)),
        }
    }
    unreachable!("an operation makes few calls")
}

#[test]
fn an_operation_stopped_anywhere_is_one_instant_to_all_others() {
    let races = races();
    let from = std::env::var("DRYSTONE_RACES").ok().map(|from| from.parse::<usize>().unwrap());
    let budget = if from.is_some() { Duration::MAX } else { Duration::from_secs(15) };
    let mut dice = Dice::new(std::process::id().into());
    let (start, mut ran, mut stops) = (Instant::now(), 0, 0);
    while ran + from.unwrap_or(0) < races.len() && start.elapsed() < budget {
        let any = dice.below(races.len() as u64) as usize;
        let which = from.map_or(any, |from| from + ran);
        stops += run_everywhere(which, &races[which]);
        ran += 1;
    }
    println!("{ran} of {} races, parked at {stops} places", races.len());
}
