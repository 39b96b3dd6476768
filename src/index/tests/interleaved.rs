//! A participant is held up before each of its changes, and each opening of a table, while others do
//! all that they want to: the shortest schedules, and on tables as they ship.
#![forbid(unsafe_code)]

use super::bed::{Bed, key_at};
use super::play::{Op, Op::*, Part, check};
use crate::id::Key;
use std::cell::RefCell;
use std::rc::Rc;

fn a() -> Key {
    key_at((1 << 20) - 1, 20, 0)
}

/// One with the first half of `a`.
fn c() -> Key {
    Key { lo: 9, ..a() }
}

/// What one may do to the key `a`.
fn ops(record: u32) -> [Op; 11] {
    [
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

/// What may have been done before: each value of the word, in tables that are stable, growing, new.
fn setups() -> Vec<Vec<Op>> {
    let words: [&[Op]; 5] = [
        &[],
        &[Insert(a(), 1)],
        &[Insert(a(), 1), Remove(a(), 2)],
        &[Insert(a(), 1), Condemn(a())],
        &[Insert(a(), 1), Remove(a(), 2), Bury(a())],
    ];
    let tables: [&[Op]; 4] = [&[], &[Grow], &[Renew], &[Grow, Finish]];
    words.iter().flat_map(|words| tables.map(|table| [words, table].concat())).collect()
}

/// Whether the one comes as far as its step number `steps`.
fn hold_up(setup: &[Op], one: &[Op], meanwhile: &[Op], steps: usize) -> bool {
    let bed = Bed::new(1);
    Part::of(setup).run(&bed);
    let parts = [Part::of(one), Part::of(meanwhile)];
    let outcome = Rc::new(RefCell::new(None));
    let others = {
        let (bed, part, outcome) = (bed.clone(), parts[1].clone(), outcome.clone());
        move || *outcome.borrow_mut() = Some(part.run(&bed))
    };
    let index = bed.join_beside(steps, others);
    let of_one = parts[0].run_as(&index);
    let of_others = outcome.take();
    let is_held_up = of_others.is_some();
    let outcomes = [of_one, of_others.unwrap_or_else(|| parts[1].run(&bed))];
    check(&bed, setup, &parts, &outcomes);
    is_held_up
}

fn hold_up_everywhere(setup: &[Op], one: &[Op], meanwhile: &[Op]) -> usize {
    (0..).take_while(|&steps| hold_up(setup, one, meanwhile, steps)).count()
}

#[test]
fn others_come_between_any_two_steps_of_an_operation() {
    let growths: [&[Op]; 5] = [
        &[Grow],
        &[Grow, Finish],
        &[Renew, Finish],
        &[Grow, Finish, Grow],
        &[Grow, Finish, Renew, Finish],
    ];
    let mut held_up = 0;
    for setup in setups() {
        for one in ops(10) {
            for other in ops(20).into_iter().chain([Insert(c(), 20)]) {
                held_up += hold_up_everywhere(&setup, &[one], &[other]);
                held_up += hold_up_everywhere(&setup, &[one], &[Grow, other]);
                held_up += hold_up_everywhere(&setup, &[one], &[other, Finish]);
            }
            for growth in growths {
                held_up += hold_up_everywhere(&setup, &[one], growth);
            }
        }
    }
    assert!(held_up > 5000, "{held_up}");
}

#[test]
fn others_come_between_any_two_steps_of_a_grower() {
    for setup in setups() {
        for growth in [[Grow, Finish], [Renew, Finish]] {
            for other in ops(20) {
                hold_up_everywhere(&setup, &growth, &[other]);
            }
            for other in [[Grow, Finish], [Renew, Finish]] {
                hold_up_everywhere(&setup, &growth, &other);
                let twice = [other, [Grow, Finish]].concat();
                hold_up_everywhere(&setup, &growth, &twice);
            }
        }
    }
}

/// The name of the table that it is about to open becomes that of another one, which nobody uses.
#[test]
fn a_name_is_made_again_before_it_is_opened() {
    for setup in setups().into_iter().filter(|setup| setup.ends_with(&[Grow, Finish])) {
        for one in ops(10) {
            let held_up = hold_up_everywhere(&setup, &[one], &[Grow, Finish, Stray(1)]);
            assert!(held_up > 0);
        }
    }
}
