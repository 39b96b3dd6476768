//! A process stopped at any instant blocks nobody.
#![forbid(unsafe_code)]

use crate::peer::Peer;
use crate::support::{Dice, Scratch, bytes, read};
use drystone::{Durability, PutOptions, Store};
use nix::sys::signal::Signal;
use std::time::{Duration, Instant};

/// So long any of it may take beside stopped processes. (On a busy machine most of that is waiting
/// for a turn and for the disk.)
const PATIENCE: Duration = Duration::from_secs(3);

/// One of everything that goes on in a store.
fn do_everything(scratch: &Scratch, store: &Store, seed: u64) {
    let refs = store.refs("stopped");
    let small = store.put(&bytes(100, seed)).unwrap();
    let large = store.put(&bytes(300_000, seed)).unwrap();
    let draft = store.reserve(100_000).unwrap();
    let drafted = draft.commit_as(&refs, "draft").unwrap();
    let synced = PutOptions::new().durability(Durability::Synced);
    store.put_with(&bytes(101, seed), &synced).unwrap();
    let version = refs.set("k", small).unwrap();
    refs.compare_and_set("k", Some(version), large).unwrap().expect("nobody else sets it");
    assert!(refs.wait("k", Duration::ZERO).unwrap().is_some());
    // Enough keys that the index grows now and then.
    let many: Vec<Vec<u8>> = (0..300).map(|i| bytes(40, seed << 16 | i)).collect();
    store.put_many(&many).unwrap();
    store.sync().unwrap();
    assert!(read(store, &large) == bytes(300_000, seed));
    assert!(store.remove(&large).unwrap() && store.unpin(&small).unwrap());
    assert!(store.contains(&drafted).unwrap());
    assert!(store.blobs().count() > 300 && store.stats().unwrap().blobs > 300);
    let another = scratch.store();
    assert_eq!(read(&another, &small), bytes(100, seed));
    another.put(&bytes(102, seed)).unwrap();
    let reader = scratch.open(Store::options().read_only(true));
    assert_eq!(read(&reader, &small), bytes(100, seed));
}

#[test]
fn stopped_writers_block_nobody() {
    let scratch = Scratch::new();
    let made = Store::options().create(true).segment_bytes(1 << 20);
    let store = scratch.open(made);
    let mut dice = Dice::new(std::process::id().into());
    let mut peers: Vec<Peer> =
        (1..4).map(|seed| Peer::start("write", &scratch.path(), seed)).collect();
    for peer in &mut peers {
        peer.hear_number();
    }
    let mut slowest = Duration::ZERO;
    for round in 0..12 {
        std::thread::sleep(Duration::from_micros(dice.below(30_000)));
        peers.iter().for_each(|peer| peer.signal(Signal::SIGSTOP));
        let start = Instant::now();
        do_everything(&scratch, &store, round);
        slowest = slowest.max(start.elapsed());
        assert!(slowest < PATIENCE, "{slowest:?}");
        peers.iter().for_each(|peer| peer.signal(Signal::SIGCONT));
    }
    // Stopped and then killed is as killed.
    peers.iter().for_each(|peer| peer.signal(Signal::SIGSTOP));
    peers.iter_mut().for_each(Peer::kill);
    do_everything(&scratch, &store, 100);
    println!("one of everything beside three stopped writers: {slowest:?} at most");
}
