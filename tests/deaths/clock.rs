//! Clocks that jump, or differ between processes: nothing without an expiry is lost, what expires does so
//! by the clock of who looks, and no time is too odd.
#![forbid(unsafe_code)]

use crate::peer::{Peer, listen, say};
use crate::support::{Scratch, another_boot, bytes};
use drystone::{SetOptions, Store};
use std::path::Path;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
/// A hundred years.
const AGE_NS: i64 = 100 * 365 * 86_400 * 1_000_000_000;

/// The role: has a clock of its own, and does what it is told.
pub fn live(place: &Path, _: u64) {
    let mut store = None;
    loop {
        let line = listen();
        let fields: Vec<&str> = line.split(' ').collect();
        match (&fields[..], &store) {
            (["shift", ns], _) => drystone::shift_clock(ns.parse().unwrap()),
            (["open", boot], _) => {
                drop(store.take());
                let options = Store::options().create(true).segment_bytes(1 << 18);
                store = Some(options.boot_id(*boot).open(place).unwrap());
            }
            (["put", seed], Some(store)) => do_all(store, seed.parse().unwrap()),
            (["look", seeds, from], Some(store)) => {
                look(store, seeds.parse().unwrap(), from.parse().unwrap());
            }
            (["sees", key], Some(store)) => {
                say(store.refs("clock").get(key).unwrap().is_some());
                continue;
            }
            (["set", key], Some(store)) => {
                let hour = SetOptions::new().expires_in(HOUR);
                store.refs("clock").set_with(key, "v", &hour).unwrap();
            }
            ([""], _) => return,
            (fields, _) => panic!("{fields:?}"),
        }
        say("done");
    }
}

/// Everything into which a time goes.
fn do_all(store: &Store, seed: u64) {
    let refs = store.refs("lasting");
    let id = store.put(&bytes(500, seed)).unwrap();
    refs.set(seed.to_string(), id).unwrap();
    let forever = SetOptions::new().expires_in(Duration::MAX);
    refs.set_with(format!("forever {seed}"), "v", &forever).unwrap();
    store.reserve(300_000).unwrap().commit_as(&refs, format!("draft {seed}")).unwrap();
    let version = refs.get(seed.to_string()).unwrap().unwrap().version;
    let again = refs.compare_and_set(seed.to_string(), Some(version), id).unwrap();
    assert!(again.is_some_and(|again| again > version), "versions follow no clock");
    store.sync().unwrap();
}

/// All that was done since `from` is there, whatever the clock shows.
fn look(store: &Store, seeds: u64, from: u64) {
    let refs = store.refs("lasting");
    for seed in from..seeds {
        let entry = refs.get(seed.to_string()).unwrap().expect("it has no expiry");
        assert!(*store.get(entry.blob().unwrap()).unwrap().unwrap() == *bytes(500, seed));
        let stat = store.stat(entry.blob().unwrap()).unwrap().unwrap();
        assert!(stat.pinned && format!("{stat:?} {entry:?}").len() > 10);
        assert!(refs.get(format!("forever {seed}")).unwrap().is_some());
    }
    assert_eq!(refs.iter().map(Result::unwrap).count() as u64, 3 * seeds);
}

fn is_seen(peer: &mut Peer, key: &str) -> bool {
    peer.ask(&format!("sees {key}")) == "true"
}

#[test]
fn clocks_that_jump_or_differ_lose_nothing() {
    let scratch = Scratch::in_memory();
    let mut peers: Vec<Peer> = (0..3).map(|_| Peer::start("clock", &scratch.path(), 0)).collect();
    let jumps = [0, AGE_NS, -AGE_NS, i64::MAX, i64::MIN, 1, -1_000_000_000];
    let mut seeds = 0;
    for (at, jump) in jumps.iter().enumerate() {
        let boot = another_boot().replace(' ', "-");
        for (who, peer) in peers.iter_mut().enumerate() {
            // One keeps the right time, one has it jump, one has it jump while it has the store open.
            let early = if who == 1 { *jump } else { 0 };
            assert_eq!(peer.ask(&format!("shift {early}")), "done");
            assert_eq!(peer.ask(&format!("open {boot}")), "done");
            let late = if who == 0 { 0 } else { *jump };
            assert_eq!(peer.ask(&format!("shift {late}")), "done");
            assert_eq!(peer.ask(&format!("put {seeds}")), "done");
            seeds += 1;
        }
        for peer in &mut peers {
            assert_eq!(peer.ask(&format!("look {seeds} 0")), "done", "jump {at}");
        }
    }
    println!("figure: clocks: {} jumps, {seeds} times everything, nothing lost", jumps.len());
}

#[test]
fn what_expires_does_so_by_the_clock_of_who_looks() {
    let scratch = Scratch::in_memory();
    let mut peers: Vec<Peer> = (0..2).map(|_| Peer::start("clock", &scratch.path(), 0)).collect();
    let boot = another_boot().replace(' ', "-");
    let [on_time, jumping] = &mut peers[..] else { panic!("two") };
    assert_eq!(on_time.ask(&format!("open {boot}")), "done");
    assert_eq!(jumping.ask(&format!("open {boot}")), "done");
    assert_eq!(on_time.ask("set hour"), "done");
    assert!(is_seen(on_time, "hour") && is_seen(jumping, "hour"));
    jumping.ask(&format!("shift {AGE_NS}"));
    assert!(!is_seen(jumping, "hour"), "a hundred years are more than an hour");
    assert!(is_seen(on_time, "hour"), "another's clock is another's");
    jumping.ask("shift 0");
    assert!(is_seen(jumping, "hour"), "the clock is back, and so is the ref");
    jumping.ask(&format!("shift {}", -AGE_NS));
    assert!(is_seen(jumping, "hour"), "it is not older than it is");
    // Set by a clock far ahead, or behind.
    assert_eq!(jumping.ask("set past"), "done");
    assert!(!is_seen(on_time, "past") && is_seen(jumping, "past"));
    jumping.ask(&format!("shift {}", i64::MAX));
    assert_eq!(jumping.ask("set future"), "done");
    assert!(is_seen(on_time, "future") && is_seen(jumping, "future"));
}
