//! The search of `frontier` beside one without ideas: every order that time allows, tried in turn. Small
//! random histories, some of which can have been and some not, must be judged alike.
#![forbid(unsafe_code)]

use crate::frontier::{Model, Timed, explain};
use crate::presence::{self, NEW, Presence};
use crate::register::{self, Expect, Register, UNSET};
use crate::support::Dice;

/// Whether some order explains the operations that are left, by trying all.
fn can_be<M: Model>(model: &M, state: M::State, all: &[Timed<M::Operation>], mask: u32) -> bool {
    let left = || (0..all.len()).filter(|at| mask >> at & 1 == 1);
    if left().all(|at| !all[at].is_certain) {
        return true;
    }
    let first_end = left().map(|at| all[at].end).min().unwrap_or(u64::MAX);
    let next: Vec<usize> = left().filter(|&at| all[at].begin <= first_end).collect();
    let operations: Vec<&M::Operation> = next.iter().map(|&at| &all[at].operation).collect();
    around(model, state, &operations).into_iter().any(|state| {
        next.iter().any(|&at| {
            let rest = mask & !(1 << at);
            let effect = model.apply(state, &all[at].operation);
            effect.is_some_and(|state| can_be(model, state, all, rest))
                || !all[at].is_certain && can_be(model, state, all, rest)
        })
    })
}

/// The states that may come before the next operation takes effect.
fn around<M: Model>(model: &M, state: M::State, next: &[&M::Operation]) -> Vec<M::State> {
    let mut states = vec![state];
    let mut at = 0;
    while let Some(&state) = states.get(at) {
        let passing = next.iter().filter_map(|operation| model.in_passing(state, operation));
        for other in passing.chain(model.by_itself(state)) {
            if !states.contains(&other) {
                states.push(other);
            }
        }
        at += 1;
    }
    states
}

/// Operations of 3 processes, each after the other.
fn random<O>(dice: &mut Dice, mut operation: impl FnMut(&mut Dice) -> O) -> Vec<Timed<O>> {
    let mut clocks = [0; 3];
    let count = 2 + dice.below(6);
    let mut timed = |dice: &mut Dice| {
        let clock = &mut clocks[dice.below(3) as usize];
        let begin = *clock + dice.below(4);
        let end = begin + dice.below(6);
        *clock = end + 1;
        Timed { operation: operation(dice), begin, end, is_certain: dice.below(5) > 0 }
    };
    (0..count).map(|_| timed(dice)).collect()
}

/// Judges random histories in both ways; how many of them can have been.
fn compare<M: Model>(
    model: &M,
    initial: M::State,
    mut operation: impl FnMut(&mut Dice) -> M::Operation,
) -> u64 {
    let mut possible = 0;
    for seed in 0..HISTORIES {
        let mut history = random(&mut Dice::new(seed), &mut operation);
        // What only looks and was not acknowledged says nothing, and is left out of histories.
        history.retain(|timed| timed.is_certain || !model.only_looks(&timed.operation));
        let everything = (1 << history.len()) - 1;
        let can_be = can_be(model, initial, &history, everything);
        let explained = explain(model, initial, &history);
        assert_eq!(explained.is_ok(), can_be, "seed {seed}: {history:#?}\n{explained:?}");
        possible += u64::from(can_be);
    }
    possible
}

const HISTORIES: u64 = 20_000;

fn is_mixed(possible: u64) {
    assert!((HISTORIES / 20..HISTORIES / 20 * 19).contains(&possible), "{possible}");
}

#[test]
fn blobs_are_judged_as_by_trying_everything() {
    for collects in [false, true] {
        is_mixed(compare(&Presence { collects }, NEW, |dice| {
            let is_there = dice.below(2) == 0;
            match dice.below(6) {
                0 | 1 => presence::Operation::Put,
                2 | 3 => presence::Operation::Got(is_there),
                4 => presence::Operation::Removed(is_there),
                _ => presence::Operation::Unpinned(is_there),
            }
        }));
    }
}

#[test]
fn refs_are_judged_as_by_trying_everything() {
    is_mixed(compare(&Register, UNSET, |dice| {
        let version = 1 + dice.below(4);
        let expect = [Expect::Any, Expect::Any, Expect::Absent, Expect::Version(version)]
            [dice.below(4) as usize];
        match dice.below(8) {
            0..3 => {
                let version = (dice.below(5) > 0).then(|| 1 + dice.below(6));
                register::Operation::Set(expect, version)
            }
            3 if expect != Expect::Any => register::Operation::Declined(expect),
            3 | 4 => register::Operation::Removed(dice.below(2) == 0),
            _ => register::Operation::Got((dice.below(3) > 0).then_some(version)),
        }
    }));
}
