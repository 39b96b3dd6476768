//! Processes that stop for ever before each of their changes, one after the other.
#![forbid(unsafe_code)]

use super::lives::{Life, check_handed_over, live};
use super::page::{Process, Shared};
use crate::format::control as at;
use crate::index::bed::until_stopped;
use crate::sync::Words;

/// What is listed is found, wherever whoever listed it stopped.
#[test]
fn a_listed_segment_is_poisoned_wherever_its_poisoner_stops() {
    for steps in 0.. {
        let shared = Shared::new();
        let poisoner = Process::new(&shared, 1, steps);
        let poisoned = until_stopped(|| poisoner.control.poison(3));
        let reader = Process::new(&shared, 2, usize::MAX);
        let reader = &reader.control;
        let is_listed = reader.page.load(at::POISON_WORD) == 3 + 1;
        assert_eq!(reader.is_poisoned(3), is_listed, "stopped before its change {steps}");
        assert!(!reader.is_poisoned(2));
        if poisoned.is_some() {
            assert!(is_listed && steps == 2);
            break;
        }
    }
}

#[test]
fn when_the_list_is_full_every_segment_is_poisoned() {
    let process = Process::new(&Shared::new(), 1, usize::MAX);
    let control = &process.control;
    for segment in 0..at::POISON_SLOTS as u32 {
        assert!(!control.is_poisoned(1 << 20));
        assert!(control.poison(segment) && control.poison(segment), "twice is as once");
    }
    assert!(control.is_poisoned(1 << 20) && !control.poison(1 << 20));
}

/// Whatever two processes leave, one after the other, the third gets an appender; and not a new one
/// where a good one is free.
#[test]
fn appenders_are_handed_over_wherever_their_processes_stop() {
    const LIVES: [Life; 4] = [Life::Ends, Life::Closes, Life::Seals, Life::Fails];
    for first in LIVES {
        for second in LIVES {
            (0..).take_while(|&steps| !hand_over_twice(first, steps, second)).count();
        }
    }
}

/// Whether the first comes to its end before its change number `steps`.
fn hand_over_twice(first: Life, steps: usize, second: Life) -> bool {
    for second_steps in 0.. {
        let shared = Shared::new();
        let has_first_ended = live(&shared, 1, &[first], steps);
        let has_second_ended = live(&shared, 2, &[second], second_steps);
        check_handed_over(&shared);
        if has_second_ended {
            return has_first_ended;
        }
    }
    unreachable!("a life ends")
}
