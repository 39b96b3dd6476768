//! Scenarios that nobody thought of: every pair, or every triple, of short programs, behind each of
//! some prologues.

use crate::script::{Op, Scenario};
use crate::world::{Key, NONE};
use Op::{Collect, Compact, Seal, Sync};

const A: Key = 0;
const R: Key = 2;
const S: Key = 3;

const fn put(name: Key, sync: bool) -> Op {
    Op::Put { blob: A, name, sync }
}

const fn set(blob: Key, name: Key, sync: bool) -> Op {
    Op::Set { blob, name, sync }
}

const fn remove(key: Key, sync: bool) -> Op {
    Op::Remove { key, sync }
}

/// What has happened before.
const PROLOGUES: &[(&str, &[Op])] = &[
    ("nothing", &[]),
    ("a put", &[put(R, false)]),
    ("a put, synced and sealed", &[put(R, true), Seal]),
    ("a put, removed and collected", &[put(R, true), Seal, remove(R, true), Collect]),
    (
        "a blob removed under its refs",
        &[set(NONE, S, true), Seal, put(R, true), set(A, S, false), remove(A, false), Seal],
    ),
];

/// What participants do.
const PROGRAMS: &[&[Op]] = &[
    &[put(R, true)],
    &[put(R, false), Seal],
    &[put(S, true)],
    &[set(A, S, true)],
    &[set(A, S, false), remove(R, false)],
    &[set(NONE, R, true)],
    &[set(NONE, R, false), Seal],
    &[Op::Add { name: R, sync: true }],
    &[remove(R, true)],
    &[remove(R, false), Seal],
    &[remove(A, true)],
    &[remove(A, false), put(R, false)],
    &[Op::Expire { key: R }],
    &[Sync],
    &[Collect],
    &[Compact],
    &[Compact, Seal, Compact],
];

/// All sets of `count` programs behind each prologue. One participant may be killed; an appender takes
/// up what it has left open.
pub fn sweep(count: usize) -> Vec<Scenario> {
    let mut scenarios = Vec::new();
    for (name, prologue) in PROLOGUES {
        for programs in sets(count, 0) {
            let mut act = vec![prologue.to_vec()];
            act.extend(programs.iter().map(|program| PROGRAMS[*program].to_vec()));
            let said = |ops: &Vec<Op>| ops.iter().map(Op::to_string).collect::<Vec<_>>().join(" ");
            let said: Vec<String> = act[1..].iter().map(said).collect();
            let name = format!("after {name}: {}", said.join(" | "));
            let scenario = Scenario::new(&name, &[]).after(1).kills(1);
            scenarios.push(Scenario { acts: vec![act.clone()], ..scenario.clone().taking_up() });
        }
    }
    scenarios
}

/// Every two programs, or a program alone, each behind a recoverer, after a power loss in the middle
/// of a put that replaces what was there.
pub fn sweep_recoveries() -> Vec<Scenario> {
    let mut scenarios = Vec::new();
    let first: [&[&[Op]]; 3] = [
        &[&[set(NONE, R, true), Seal], &[put(R, false)]],
        &[&[put(R, true), Seal], &[remove(A, false), put(S, false)]],
        &[&[put(R, true), Seal], &[set(A, S, false), set(NONE, R, false)]],
    ];
    for (number, act) in first.iter().enumerate() {
        for programs in sets(2, 0) {
            for is_both in [true, false] {
                let behind = |at: usize| match is_both || at == 0 {
                    true => [&[Op::Recover], PROGRAMS[programs[at]]].concat(),
                    false => PROGRAMS[programs[at]].to_vec(),
                };
                let second = vec![behind(0), behind(1)];
                let said = |ops: &Vec<Op>| ops.iter().map(Op::to_string).collect::<Vec<_>>();
                let said: Vec<String> = second.iter().map(|ops| said(ops).join(" ")).collect();
                let name = format!("after a power loss in {number}: {}", said.join(" | "));
                let scenario = Scenario::new(&name, &[act]).after(1).kills(1);
                let acts = vec![scenario.acts[0].clone(), second];
                scenarios.push(Scenario { acts, ..scenario.clone().taking_up() });
            }
        }
    }
    scenarios
}

/// Sets of programs, each named once or twice, in the order of the table.
fn sets(count: usize, from: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let begin = |first: usize| {
        sets(count - 1, first).into_iter().map(move |rest| [vec![first], rest].concat())
    };
    (from..PROGRAMS.len()).flat_map(begin).collect()
}
