//! All schedules, as loom explores them, of two and three participants.
//!
//! Tables have one or two buckets of one slot (of two under `--cfg loom_slots="2"`), so that all keys
//! meet, probes wrap around, and two keys fill a table. What is checked at the end of each schedule is
//! [`check`]: some order of the operations explains all that was seen, a later participant finishes
//! what is under way, no key has two slots, and nothing changes by itself.
//!
//! Where buckets have two slots each step is longer, and the bound on preemptions is lower.
#![forbid(unsafe_code)]

use super::bed::{Bed, key_at};
use super::play::{Op, Op::*, Part, check};
use crate::format::word::{Word, WordKind};
use crate::id::Key;
use crate::sync::explorer::Explorer;
use crate::sync::{HeapWords, Words};
use std::sync::{Arc, Mutex};

/// Preemptions of two participants.
const PAIR: usize = if cfg!(loom_slots = "2") { 1 } else { 2 };

/// A key whose home is the last bucket in every table.
fn a() -> Key {
    key_at((1 << 20) - 1, 20, 0)
}

/// Another one.
fn b() -> Key {
    key_at((1 << 20) - 1, 20, 7)
}

/// One with the first half of `a`.
fn c() -> Key {
    Key { lo: 9, ..a() }
}

impl Explorer {
    /// Explores all schedules of `parts` on a table of `2^log2` buckets, after `setup`. Whether the
    /// first part came to its end in all of them.
    fn explore(&mut self, log2: u32, setup: &[Op], parts: &[Part]) -> bool {
        let (setup, parts) = (setup.to_vec(), parts.to_vec());
        let ended = Arc::new(Mutex::new(true));
        let has_ended = ended.clone();
        self.model(move || {
            let bed = Bed::new(log2);
            Part::of(&setup).run(&bed);
            let spawn = |part: &Part| {
                let (bed, part) = (bed.clone(), part.clone());
                loom::thread::spawn(move || part.run(&bed))
            };
            let threads: Vec<_> = parts[1..].iter().map(spawn).collect();
            let mut outcomes = vec![parts[0].run(&bed)];
            outcomes.extend(threads.into_iter().map(|thread| thread.join().unwrap()));
            *has_ended.lock().unwrap() &= outcomes[0].len() == parts[0].ops.len();
            check(&bed, &setup, &parts, &outcomes);
        });
        *ended.lock().unwrap()
    }

    /// As [`explore`](Self::explore), with the first part stopping before each of its changes.
    fn explore_stops(&mut self, log2: u32, setup: &[Op], stopping: &[Op], others: &[&[Op]]) {
        for steps in 0.. {
            let mut parts = vec![Part::stopping(stopping, steps)];
            parts.extend(others.iter().map(|ops| Part::of(ops)));
            if self.explore(log2, setup, &parts) {
                break;
            }
        }
    }
}

fn parts(ops: &[&[Op]]) -> Vec<Part> {
    ops.iter().map(|ops| Part::of(ops)).collect()
}

/// What one may do to the key `a`; records from `record` on.
fn ops(record: u32) -> Vec<Op> {
    vec![
        Insert(a(), record),
        Replace(a(), record),
        Remove(a(), record),
        Relocate(a(), 1, record),
        Bury(a()),
        Condemn(a()),
        Acquit(a()),
        Sweep(a()),
        Lookup(a()),
        Visit(a()),
        Scan(a()),
    ]
}

/// What may have been done to `a` before: all that its word can be.
fn words() -> Vec<Vec<Op>> {
    let mut words = vec![vec![], vec![Insert(a(), 1)], vec![Insert(a(), 1), Remove(a(), 2)]];
    // How many slots a bucket has makes no difference to these.
    if cfg!(not(loom_slots = "2")) {
        words.push(vec![Insert(a(), 1), Condemn(a())]);
        words.push(vec![Insert(a(), 1), Remove(a(), 2), Bury(a())]);
    }
    words
}

/// Tables, and what was done to them before: stable, growing, and growing to an equal size; the
/// logarithms are those of the buckets. Where nobody claims a second slot, one bucket will do.
fn setups() -> Vec<(u32, Vec<Op>)> {
    let then = |log2: u32, last: &'static [Op]| {
        words().into_iter().map(move |ops| (log2, [&ops[..], last].concat()))
    };
    let full = [vec![Insert(b(), 8), Insert(a(), 1)], vec![Insert(b(), 8), Insert(a(), 1), Grow]];
    let full = full.into_iter().map(|ops| (1, ops));
    then(1, &[]).chain(full).chain(then(1, &[Grow])).chain(then(0, &[Renew])).collect()
}

#[test]
fn every_pair_of_operations_on_a_key() {
    let mut explorer = Explorer::new("pairs on a key", PAIR);
    for (log2, setup) in setups() {
        for (at, one) in ops(10).into_iter().enumerate() {
            for &other in &ops(20)[at..] {
                explorer.explore(log2, &setup, &parts(&[&[one], &[other]]));
            }
        }
    }
}

#[test]
fn every_operation_beside_another_key() {
    let mut explorer = Explorer::new("pairs with another key", PAIR);
    for (log2, setup) in setups().into_iter().filter(|(_, setup)| !setup.contains(&Renew)) {
        for one in ops(10) {
            for other in [b(), c()] {
                explorer.explore(log2, &setup, &parts(&[&[one], &[Insert(other, 20)]]));
            }
        }
    }
    // Both copy the whole table before they claim, and then fill it: a long way.
    explorer.bound(1);
    for one in [Insert(a(), 10), Remove(a(), 10), Lookup(a())] {
        let setup = [Insert(a(), 1), Renew];
        explorer.explore(1, &setup, &parts(&[&[one], &[Insert(b(), 20)]]));
    }
}

#[test]
fn every_operation_beside_a_growth() {
    let mut explorer = Explorer::new("pairs with a growth", PAIR);
    for (log2, setup) in setups() {
        for one in ops(10) {
            for other in [vec![Finish], vec![Grow, Finish], vec![Renew, Finish]] {
                explorer.explore(log2, &setup, &parts(&[&[one], &other]));
            }
        }
    }
}

fn three(name: &'static str, before: &[Op], growth: &[Op]) {
    let mut explorer = Explorer::new(name, 1);
    for setup in words() {
        let setup = [&setup[..], before].concat();
        for one in [Insert(a(), 10), Remove(a(), 10), Lookup(a()), Condemn(a())] {
            for other in [Insert(a(), 20), Relocate(a(), 1, 20), Sweep(a()), Insert(c(), 20)] {
                explorer.explore(1, &setup, &parts(&[&[one], &[other], growth]));
            }
        }
    }
}

#[test]
fn three_participants_of_whom_one_begins_a_growth() {
    three("three, one of whom grows", &[], &[Grow, Finish]);
}

#[test]
fn three_participants_in_a_growth() {
    three("three in a growth", &[Grow], &[Finish]);
}

#[test]
fn an_operation_that_kept_the_root_of_two_growths_ago() {
    let mut explorer = Explorer::new("two growths", PAIR);
    for setup in words() {
        for one in ops(10) {
            for sizes in [[Grow, Grow], [Renew, Grow], [Grow, Renew]] {
                let growths = [sizes[0], Finish, sizes[1], Finish];
                explorer.explore(0, &setup, &parts(&[&[one], &growths]));
            }
        }
    }
}

#[test]
fn an_operation_that_stops_beside_another() {
    let mut explorer = Explorer::new("stops beside another operation", 1);
    for (log2, setup) in setups() {
        for one in &ops(10)[..6] {
            for &other in &ops(20)[..3] {
                explorer.explore_stops(log2, &setup, &[*one], &[&[other]]);
            }
        }
    }
}

#[test]
fn an_operation_that_stops_beside_a_growth() {
    let mut explorer = Explorer::new("stops beside a growth", 1);
    for (log2, setup) in setups() {
        for one in &ops(10)[..6] {
            explorer.explore_stops(log2, &setup, &[*one], &[&[Grow, Finish]]);
        }
    }
}

#[test]
fn a_grower_that_stops() {
    let mut explorer = Explorer::new("growers that stop", 1);
    for setup in words() {
        for (log2, growth) in [(1, [Grow, Finish]), (0, [Renew, Finish])] {
            for other in ops(20) {
                explorer.explore_stops(log2, &setup, &growth, &[&[other]]);
            }
            explorer.explore_stops(log2, &setup, &growth, &[&[Grow, Finish]]);
        }
    }
}

#[test]
fn a_name_that_a_slow_grower_makes_again() {
    let mut explorer = Explorer::new("names made again", PAIR);
    for setup in words() {
        let setup = [&setup[..], &[Grow, Finish]].concat();
        for one in ops(10) {
            explorer.explore(0, &setup, &parts(&[&[one], &[Grow, Finish, Stray(1)]]));
        }
    }
}

/// Setter and collector, each of which writes one word and reads the other's: the setter's record is
/// in the log before it acquits the blob, and the collector looks into the log after it condemned.
/// One of them sees the other, because both change the blob's word.
#[test]
fn a_setter_and_a_collector_see_each_other() {
    let mut explorer = Explorer::new("setter and collector", PAIR);
    for setup in [vec![Insert(a(), 1)], vec![Insert(a(), 1), Grow]] {
        explorer.model(move || {
            let bed = Bed::new(1);
            Part::of(&setup).run(&bed);
            let log = Arc::new(HeapWords::new(1));
            let setter = {
                let (bed, log) = (bed.clone(), log.clone());
                loom::thread::spawn(move || {
                    log.store(0, 1);
                    let word = bed.join().update_flags(a(), 0, Word::CONDEMNED).unwrap().word;
                    word.kind() == WordKind::Live
                })
            };
            let collector = bed.join();
            let condemned = collector.update_flags(a(), Word::CONDEMNED, 0).unwrap();
            if log.load(0) == 0 {
                let _ = collector.publish(a(), condemned, condemned.word.dead()).unwrap();
            }
            let relies = setter.join().unwrap();
            let word = bed.join().lookup(a()).unwrap().word;
            assert!(!relies || word.is_live(), "a blob was swept that a setter relies on");
        });
    }
}
