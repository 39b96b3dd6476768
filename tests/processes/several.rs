//! Writers and readers at once: what one was told is there for all.
#![forbid(unsafe_code)]

use crate::crash::{count_once, counted};
use crate::peer::{Peer, listen, say};
use crate::support::{Scratch, bytes};
use drystone::{BlobId, Store};
use std::path::Path;

const ROUNDS: u64 = 150;

/// The role: counts and puts; tells each id, and reads the ids that it is told.
pub fn count(place: &Path, seed: u64) {
    let store = Store::open(place).unwrap();
    for round in 0..ROUNDS {
        let content = bytes((round * 701 % 90_000) as usize, seed << 32 | round);
        let id = store.put(&content).unwrap();
        store.refs("ids").set(format!("{seed}/{round}"), id).unwrap();
        count_once(&store);
        say(id);
    }
    say("done");
    loop {
        let line = listen();
        if line.is_empty() {
            return;
        }
        let id: BlobId = line.parse().unwrap();
        let blob = store.get(&id).unwrap().unwrap_or_else(|| panic!("{id} is not there"));
        say(blob.len());
    }
}

#[test]
fn every_id_that_one_process_was_told_is_read_by_all() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let reader = scratch.open(Store::options().read_only(true));
    let mut peers: Vec<Peer> =
        (0..4).map(|seed| Peer::start("count", &scratch.path(), seed)).collect();
    let mut ids = Vec::new();
    // In turn, so that each id is read while all the others go on.
    for round in 0..ROUNDS {
        for (seed, peer) in peers.iter_mut().enumerate() {
            let id: BlobId = peer.hear().parse().unwrap();
            let content = bytes((round * 701 % 90_000) as usize, (seed as u64) << 32 | round);
            assert!(*store.get(&id).unwrap().expect("it was told") == *content);
            assert!(*reader.get(&id).unwrap().expect("it was told") == *content);
            ids.push((id, content.len()));
        }
    }
    for peer in &mut peers {
        assert_eq!(peer.hear(), "done");
        for (id, len) in &ids {
            peer.tell(&id.to_string());
            assert_eq!(peer.hear_number(), *len as u64);
        }
        peer.tell("");
    }
    peers.into_iter().for_each(Peer::end);
    assert_eq!(counted(&store), 4 * ROUNDS, "each compare_and_set won exactly once");
    assert_eq!(store.refs("ids").iter().count() as u64, 4 * ROUNDS);
}

#[test]
fn the_same_bytes_from_many_processes_are_stored_once() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let peers: Vec<Peer> = (0..4).map(|_| Peer::start("count", &scratch.path(), 7)).collect();
    for mut peer in peers {
        while peer.hear() != "done" {}
        peer.tell("");
        peer.end();
    }
    let stats = store.stats().unwrap();
    assert_eq!((stats.blobs, stats.pins), (ROUNDS, ROUNDS));
    assert_eq!(counted(&store), 4 * ROUNDS);
    assert_eq!(store.refs("ids").iter().count() as u64, ROUNDS);
}
