//! Participants that stop for ever before each of their changes, one after the other: what each
//! leaves behind, the next one finds (spec/CONCURRENCY.md, "After a death").
#![forbid(unsafe_code)]

use super::bed::{BUCKET, Bed, key_at, live, tomb};
use super::play::{Op, Op::*, Part, check};
use crate::format::word::{Root, Word};
use crate::id::Key;
use crate::index::{Seen, Tables};

fn a() -> Key {
    key_at((1 << 20) - 1, 20, 0)
}

/// Fills the last bucket but for `free` slots, so that the key `a` is near its end or wraps around.
fn crowd(free: usize) -> Vec<Op> {
    (0..BUCKET - free)
        .map(|at| Insert(key_at((1 << 20) - 1, 20, 50 + at as u64), 50 + at as u32))
        .collect()
}

fn ops(record: u32) -> Vec<Vec<Op>> {
    vec![
        vec![Insert(a(), record)],
        vec![Replace(a(), record)],
        vec![Remove(a(), record)],
        vec![Relocate(a(), 1, record)],
        vec![Bury(a())],
        vec![Condemn(a()), Sweep(a())],
        vec![Insert(Key { lo: 9, ..a() }, record)],
        vec![Grow, Finish],
        vec![Renew, Finish],
        vec![Scan(a()), Lookup(a())],
    ]
}

fn setups() -> Vec<Vec<Op>> {
    let dead = vec![Insert(a(), 1), Remove(a(), 2), Bury(a())];
    let words = [vec![], vec![Insert(a(), 1)], dead[..2].to_vec(), dead];
    let crowds = [crowd(0), crowd(1)];
    let growths = [&[][..], &[Grow], &[Renew]];
    let mut setups = Vec::new();
    for crowd in &crowds {
        for words in &words {
            setups.extend(growths.iter().map(|growth| [&crowd[..], words, growth].concat()));
        }
    }
    setups
}

/// Two participants that stop anywhere, and a third that does not.
#[test]
fn whatever_two_participants_leave_the_third_goes_on() {
    for setup in setups() {
        for one in ops(10) {
            for other in ops(20) {
                for steps in 0.. {
                    if two_stops(&setup, &one, steps, &other) {
                        break;
                    }
                }
            }
        }
    }
}

/// Whether the first came to its end.
fn two_stops(setup: &[Op], one: &[Op], one_steps: usize, other: &[Op]) -> bool {
    for other_steps in 0.. {
        let bed = Bed::new(1);
        Part::of(setup).run(&bed);
        let parts = [
            Part::stopping(one, one_steps),
            Part::stopping(other, other_steps),
            Part::of(&[Insert(a(), 30), Lookup(a())]),
        ];
        let outcomes: Vec<_> = parts.iter().map(|part| part.run(&bed)).collect();
        check(&bed, setup, &parts, &outcomes);
        if outcomes[1].len() == other.len() {
            return outcomes[0].len() == one.len();
        }
    }
    unreachable!("a part ends")
}

/// A growth of many buckets, whose grower stops anywhere; and again with a second one.
#[test]
fn a_growth_goes_on_after_every_step_of_its_growers() {
    let setup: Vec<Op> =
        (0..60).map(|at| Insert(key_at(at % 16, 4, at), 100 + at as u32)).collect();
    let probe: Vec<Op> = setup.iter().map(|op| Lookup(op.key().unwrap())).collect();
    for growth in [Grow, Renew] {
        for steps in 0.. {
            let bed = Bed::new(4);
            Part::of(&setup).run(&bed);
            let parts = [
                Part::stopping(&[growth, Finish], steps),
                Part::stopping(&[Insert(a(), 1), Grow, Finish], steps % 37),
                Part::of(&[&[Insert(a(), 2)][..], &probe].concat()),
            ];
            let outcomes: Vec<_> = parts.iter().map(|part| part.run(&bed)).collect();
            check(&bed, &setup, &parts, &outcomes);
            if outcomes[0].len() == 2 {
                break;
            }
        }
    }
}

/// A table that was linked and not used is adopted, with the size that it has.
#[test]
fn an_orphan_is_adopted_with_its_own_size() {
    let bed = Bed::new(1);
    // Creating and linking is one step; the exchange of the root is the next.
    Part::stopping(&[Renew], 1).run(&bed);
    assert_eq!((bed.linked(), bed.root()), (vec![0, 1], Root::stable(0, 1)));
    assert!(bed.join().grow().unwrap());
    assert_eq!(bed.root(), Root::stable(0, 1).migrating(1));
    bed.join().finish_growth().unwrap();
    assert_eq!((bed.linked(), bed.root()), (vec![1], Root::stable(1, 1)));
}

/// The name that a participant left behind when it died after the flip goes with the next growth.
#[test]
fn names_of_dead_generations_go() {
    let bed = Bed::new(0);
    for steps in 0.. {
        if Part::stopping(&[Grow, Finish], steps).run(&bed).len() == 2 {
            break;
        }
    }
    for _ in 0..3 {
        Part::of(&[Grow, Finish]).run(&bed);
    }
    assert_eq!(bed.linked(), [bed.root().generation() as usize]);
}

/// A grower that slept through two growths makes a dead name again, and takes it away itself; but not
/// the name of the current table, which looks the same to it.
#[test]
fn a_slow_grower_unlinks_only_what_the_root_has_passed() {
    let bed = Bed::new(1);
    let slow = bed.join();
    let root = slow.tables.root_load();
    Part::of(&[Insert(a(), 1), Grow, Finish]).run(&bed);
    assert!(!slow.begin_growth(root).unwrap_or(false));
    assert_eq!(bed.linked(), [1]);
    assert_eq!(bed.join().lookup(a()).unwrap().word, live(1));
    Part::of(&[Grow, Finish]).run(&bed);
    assert!(!slow.begin_growth(root).unwrap_or(false));
    assert_eq!(bed.linked(), [2]);
}

/// A word that is none again after a growth is not the none of before: between the two the key may have
/// had a whole life, whose tombstone has a higher number than one that was drawn before it.
#[test]
fn none_does_not_recur() {
    let bed = Bed::new(1);
    let early = bed.join();
    let none = early.lookup(a()).unwrap();
    assert_eq!(none.word, Word::NONE);
    Part::of(&[Insert(a(), 1), Remove(a(), 2), Bury(a()), Grow, Finish]).run(&bed);
    let again = early.publish(a(), none, live(3)).unwrap().unwrap_err();
    assert_eq!(again.word, Word::NONE);
    early.publish(a(), again, live(3)).unwrap().unwrap();
    assert_eq!(bed.join().lookup(a()).unwrap().word, live(3));
}

/// Who saw a dead word loses once, because his own help drops it; then he sees none, though the table
/// that holds the dead word is still looked into.
#[test]
fn a_dead_word_that_will_not_be_copied_reads_as_none() {
    let bed = Bed::new(7);
    Part::of(&[Insert(a(), 1), Remove(a(), 2), Bury(a()), Grow]).run(&bed);
    let index = bed.join();
    let dead = index.lookup(a()).unwrap();
    assert_eq!(dead.word, tomb(2).dead());
    assert!(index.publish(a(), dead, live(3)).unwrap().is_err());
    let none = index.lookup(a()).unwrap();
    assert!(bed.root().is_migrating() && none.word == Word::NONE);
    index.publish(a(), none, live(3)).unwrap().unwrap();
}

/// Exactly the word that was seen, wherever it stands now.
#[test]
fn a_word_that_moved_with_its_table_is_still_the_same() {
    let bed = Bed::new(1);
    Part::of(&[Insert(a(), 1), Grow, Finish]).run(&bed);
    bed.join().publish(a(), Seen::exactly(live(1)), live(2)).unwrap().unwrap();
    assert_eq!(bed.join().lookup(a()).unwrap().word, live(2));
}
