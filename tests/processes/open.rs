//! Opening at the same time: one makes the store, one builds the run, and all use the same.
#![forbid(unsafe_code)]

use crate::peer::{Peer, listen, say};
use crate::support::{MIB, Scratch, another_boot, bytes, read};
use drystone::Store;
use std::path::Path;
use std::time::{Duration, Instant};

/// The role: opens when it is told to, as which boot it is told to, and tells how long it took.
pub fn open(place: &Path, seed: u64) {
    say("ready");
    let boot = listen();
    let start = Instant::now();
    let options = Store::options().create(true);
    let options = if boot == "this" { options } else { options.boot_id(boot) };
    let store = options.open(place).unwrap();
    say(start.elapsed().as_micros());
    let id = store.put(&bytes(1000, seed)).unwrap();
    say(id);
    assert_eq!(listen(), "go");
    say(store.blobs().count());
    drop(listen());
}

/// The role: has the store open, and does nothing.
pub fn hold(place: &Path) {
    let store = Store::open(place).unwrap();
    store.put(b"held").unwrap();
    say("open");
    drop(listen());
}

fn open_together(place: &Path, boot: &str, from: u64, blobs: u64) {
    let mut peers: Vec<Peer> =
        (from..from + 6).map(|seed| Peer::start("open", place, seed)).collect();
    peers.iter_mut().for_each(|peer| assert_eq!(peer.hear(), "ready"));
    peers.iter_mut().for_each(|peer| peer.tell(boot));
    for peer in &mut peers {
        let took = Duration::from_micros(peer.hear_number());
        assert!(took < Duration::from_secs(5), "an open took {took:?}");
        peer.hear();
    }
    peers.iter_mut().for_each(|peer| peer.tell("go"));
    for mut peer in peers {
        assert_eq!(peer.hear_number(), blobs, "one run for all");
        peer.tell("bye");
        peer.end();
    }
}

#[test]
fn processes_that_make_or_recover_a_store_together_get_the_same_one() {
    let scratch = Scratch::new();
    open_together(&scratch.path(), "this", 0, 6);
    for (round, boot) in ["second", "third", "fourth"].iter().enumerate() {
        let round = round as u64 + 1;
        open_together(&scratch.path(), boot, 6 * round, 6 * (round + 1));
    }
    let store = scratch.rebooted();
    for seed in 0..24 {
        let id = store.put(&bytes(1000, seed)).unwrap();
        assert_eq!(read(&store, &id), bytes(1000, seed));
    }
    assert_eq!(store.stats().unwrap().blobs, 24);
    let runs = std::fs::read_dir(scratch.path().join("run")).unwrap().count();
    assert!(runs <= 2, "{runs} runs are left");
}

#[test]
fn a_killed_recoverer_leaves_the_store_to_the_next() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let ids: Vec<_> = (0..40).map(|seed| store.put(&bytes(MIB, seed)).unwrap()).collect();
    drop(store);
    for round in 0..12 {
        let mut peer = Peer::start("open", &scratch.path(), 0);
        assert_eq!(peer.hear(), "ready");
        peer.tell(&another_boot());
        std::thread::sleep(Duration::from_millis(3 * round));
        peer.kill();
    }
    let start = Instant::now();
    let store = scratch.rebooted();
    println!("recovered in {:?}", start.elapsed());
    for (seed, id) in ids.iter().enumerate() {
        assert!(read(&store, id) == bytes(MIB, seed as u64));
    }
}

#[test]
fn a_store_whose_users_were_killed_opens_as_fast_as_any() {
    let scratch = Scratch::new();
    let store = scratch.store();
    for seed in 0..2000 {
        store.put(&bytes(1000, seed)).unwrap();
    }
    drop(store);
    let mut peers: Vec<Peer> = (0..4).map(|_| Peer::start("hold", &scratch.path(), 0)).collect();
    peers.iter_mut().for_each(|peer| assert_eq!(peer.hear(), "open"));
    peers.iter_mut().for_each(Peer::kill);
    let start = Instant::now();
    let store = scratch.store();
    let took = start.elapsed();
    assert!(took < Duration::from_millis(500), "{took:?}");
    assert_eq!(store.stats().unwrap().blobs, 2001);
}
