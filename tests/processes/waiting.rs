//! Waiting for a ref that another process sets.
#![forbid(unsafe_code)]

use crate::peer::{Peer, listen, say};
use crate::support::Scratch;
use drystone::Store;
use std::path::Path;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(30);

/// The role: waits for the keys that it is told, and tells the value.
pub fn wait(place: &Path) {
    let store = Store::open(place).unwrap();
    say("ready");
    loop {
        let key = listen();
        if key.is_empty() {
            return;
        }
        let entry = store.refs("r").wait(&key, LONG).unwrap().expect("somebody sets it");
        say(String::from_utf8(entry.bytes().unwrap().to_vec()).unwrap());
    }
}

/// The role: sets the keys that it is told; for the last it is killed at once.
pub fn set(place: &Path) {
    let store = Store::open(place).unwrap();
    say("ready");
    loop {
        let key = listen();
        store.refs("r").set(&key, &*key).unwrap();
        say("set");
    }
}

#[test]
fn waiters_in_other_processes_are_woken() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let mut waiters: Vec<Peer> = (0..3).map(|_| Peer::start("wait", &scratch.path(), 0)).collect();
    waiters.iter_mut().for_each(|waiter| assert_eq!(waiter.hear(), "ready"));
    let (mut slowest, mut fastest) = (Duration::ZERO, Duration::MAX);
    for round in 0..20 {
        let key = format!("round {round}");
        waiters.iter_mut().for_each(|waiter| waiter.tell(&key));
        std::thread::sleep(Duration::from_millis(20));
        let start = Instant::now();
        store.refs("r").set(&key, &*key).unwrap();
        waiters.iter_mut().for_each(|waiter| assert_eq!(waiter.hear(), key));
        slowest = slowest.max(start.elapsed());
        fastest = fastest.min(start.elapsed());
    }
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    // They look by themselves now and then; being woken is quicker than that.
    assert!(fastest < Duration::from_millis(5), "{fastest:?}");
    println!("three waiters woken in {fastest:?} to {slowest:?}");
}

#[test]
fn a_setter_that_dies_and_waiters_that_die_leave_the_others_awake() {
    let scratch = Scratch::new();
    let store = scratch.store();
    for round in 0..10 {
        let mut waiter = Peer::start("wait", &scratch.path(), 0);
        let mut doomed = Peer::start("wait", &scratch.path(), 0);
        let mut setter = Peer::start("set", &scratch.path(), 0);
        for peer in [&mut waiter, &mut doomed, &mut setter] {
            assert_eq!(peer.hear(), "ready");
        }
        let key = format!("round {round}");
        waiter.tell(&key);
        doomed.tell(&key);
        doomed.kill();
        setter.tell(&key);
        std::thread::sleep(Duration::from_micros(300 * round));
        setter.kill();
        // It may have died before it set anything.
        let set = store.refs("r").get(&key).unwrap().is_some();
        if !set {
            store.refs("r").set(&key, &*key).unwrap();
        }
        let start = Instant::now();
        assert_eq!(waiter.hear(), key);
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    }
}
