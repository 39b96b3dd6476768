//! All schedules of processes that hand appenders over, and that wait for changes, within the bound of
//! preemptions; and with one of them that stops for ever before each of its changes.
#![forbid(unsafe_code)]

use super::lives::{Life, Life::*, check_handed_over, check_noted, live};
use super::page::{Process, Shared};
use crate::index::bed::until_stopped;
use crate::sync::explorer::Explorer;
use crate::sync::{HeapWords, Words};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Explores these processes, the first stopping before its change number `steps`, after another one
/// left an open segment; whether the first came to its end in all schedules.
fn hand_over(explorer: &mut Explorer, parts: &'static [&'static [Life]], steps: usize) -> bool {
    let ended = Arc::new(Mutex::new(true));
    let has_ended = ended.clone();
    explorer.model(move || {
        let shared = Shared::new();
        live(&shared, 0, &[Closes], usize::MAX);
        let spawn = |at: usize| {
            let shared = shared.clone();
            loom::thread::spawn(move || live(&shared, 1 + at as u64, parts[at], usize::MAX))
        };
        let threads: Vec<_> = (1..parts.len()).map(spawn).collect();
        *has_ended.lock().unwrap() &= live(&shared, 1, parts[0], steps);
        for thread in threads {
            assert!(thread.join().unwrap(), "a stopped process has held up another");
        }
        let may_lack =
            steps < usize::MAX || parts.concat().iter().any(|life| matches!(life, Fails));
        if !may_lack {
            check_noted(&shared);
        }
        check_handed_over(&shared);
    });
    *ended.lock().unwrap()
}

#[test]
fn appenders_are_handed_over() {
    let mut explorer = Explorer::new("handing appenders over", 3);
    for parts in [
        &[&[Closes] as &[Life], &[Closes]] as &[&[Life]],
        &[&[Ends], &[Seals]],
        &[&[Seals], &[Closes]],
        &[&[Seals], &[Seals]],
        &[&[Fails], &[Closes]],
        &[&[Fails], &[Fails]],
    ] {
        hand_over(&mut explorer, parts, usize::MAX);
    }
    explorer.bound(2);
    hand_over(&mut explorer, &[&[Seals, Closes], &[Seals]], usize::MAX);
    hand_over(&mut explorer, &[&[Seals], &[Fails], &[Closes]], usize::MAX);
}

#[test]
fn appenders_are_handed_over_wherever_one_stops() {
    let mut explorer = Explorer::new("holders that stop", 2);
    for first in [&[Closes] as &[Life], &[Seals], &[Fails], &[Seals, Closes]] {
        for second in [&[Closes] as &[Life], &[Seals]] {
            let parts: &'static [&'static [Life]] = Box::leak(Box::new([first, second]));
            (0..).take_while(|&steps| !hand_over(&mut explorer, parts, steps)).count();
        }
    }
}

/// Changes that are waited for.
struct Waiting {
    shared: Arc<Shared>,
    value: HeapWords,
}

impl Waiting {
    /// Changes the value and tells of it, `times`; whether it came to the end.
    fn publish(&self, times: u64, steps: usize) -> bool {
        let process = Process::new(&self.shared, 1, steps);
        let publish = || {
            for _ in 0..times {
                process.step();
                self.value.fetch_add(0, 1);
                process.control.announce_change();
            }
        };
        let has_ended = until_stopped(publish).is_some();
        if !has_ended {
            self.shared.let_time_run_out();
        }
        has_ended
    }

    /// Waits until the value has been changed so often, or all that could change it are dead.
    fn wait(&self, changes: u64, steps: usize) -> Option<u64> {
        let process = Process::new(&self.shared, 2, steps);
        let wait = || {
            loop {
                let is_late = self.shared.is_late();
                let ticket = process.control.change_ticket();
                let value = self.value.load(0);
                if value >= changes || is_late {
                    return value;
                }
                process.control.await_change(ticket, Duration::MAX);
            }
        };
        until_stopped(wait)
    }
}

/// What takes part in a wait.
#[derive(Clone, Copy)]
enum Role {
    Publisher(u64),
    Waiter,
}

use Role::*;

/// Explores these, the first stopping before its change number `steps`. Nobody's time runs out, unless
/// somebody stopped: a waiter that is not woken is a deadlock, which loom reports.
fn wait(explorer: &mut Explorer, roles: &'static [Role], steps: usize) -> bool {
    let ended = Arc::new(Mutex::new(true));
    let has_ended = ended.clone();
    let changes: u64 =
        roles.iter().map(|role| if let Publisher(times) = role { *times } else { 0 }).sum();
    explorer.model(move || {
        let waiting = Arc::new(Waiting { shared: Shared::new(), value: HeapWords::new(1) });
        let spawn = |at: usize| {
            let waiting = waiting.clone();
            loom::thread::spawn(move || waiting.play(roles[at], changes, usize::MAX))
        };
        let threads: Vec<_> = (1..roles.len()).map(spawn).collect();
        let has_first_ended = waiting.play(roles[0], changes, steps).is_some();
        *has_ended.lock().unwrap() &= has_first_ended;
        let seen: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        let is_complete = has_first_ended || matches!(roles[0], Waiter);
        let value = waiting.value.load(0);
        assert!(!is_complete || value == changes);
        assert!(seen.iter().all(|seen| *seen == Some(value)), "{seen:?} instead of {value}");
    });
    *ended.lock().unwrap()
}

impl Waiting {
    /// What is seen in the end; `None` if it stopped.
    fn play(&self, role: Role, changes: u64, steps: usize) -> Option<u64> {
        match role {
            Publisher(times) => self.publish(times, steps).then_some(changes),
            Waiter => self.wait(changes, steps),
        }
    }
}

#[test]
fn every_waiter_is_woken() {
    let mut explorer = Explorer::new("waiting for changes", 3);
    wait(&mut explorer, &[Publisher(2), Waiter], usize::MAX);
    wait(&mut explorer, &[Publisher(3), Waiter], usize::MAX);
    explorer.bound(2);
    wait(&mut explorer, &[Publisher(1), Publisher(1), Waiter], usize::MAX);
    wait(&mut explorer, &[Publisher(2), Waiter, Waiter], usize::MAX);
}

#[test]
fn a_waiter_sees_what_a_publisher_did_that_stopped() {
    let mut explorer = Explorer::new("publishers that stop before they tell", 3);
    (0..).take_while(|&steps| !wait(&mut explorer, &[Publisher(2), Waiter], steps)).count();
}

#[test]
fn waiters_are_woken_wherever_another_one_stops() {
    let mut explorer = Explorer::new("waiters that stop", 2);
    (0..).take_while(|&steps| !wait(&mut explorer, &[Waiter, Waiter, Publisher(2)], steps)).count();
}
