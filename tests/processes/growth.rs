//! The index grows under the load of several processes, some of which are killed meanwhile.
#![forbid(unsafe_code)]

use crate::peer::{Peer, say};
use crate::support::{Dice, Scratch};
use drystone::{BlobId, Store};
use std::path::Path;
use std::time::Duration;

const GROUP: u64 = 200;

fn group(seed: u64, round: u64) -> Vec<[u8; 24]> {
    let value = |i: u64| {
        let mut value = [0; 24];
        for (part, number) in value.chunks_exact_mut(8).zip([seed, round, i]) {
            part.copy_from_slice(&number.to_le_bytes());
        }
        value
    };
    (0..GROUP).map(value).collect()
}

/// The role: many small blobs at a time, until it is killed.
pub fn grow(place: &Path, seed: u64) {
    let store = Store::open(place).unwrap();
    for round in 0.. {
        store.put_many(&group(seed, round)).unwrap();
        say(round);
    }
}

#[test]
fn no_key_is_lost_while_the_index_grows_under_processes_that_die() {
    const KILLS: u64 = 16;
    let scratch = Scratch::new();
    let store = scratch.store();
    let mut dice = Dice::new(std::process::id().into());
    let mut seeds = 0..;
    let mut start = || {
        let seed = seeds.next().unwrap();
        (Peer::start("grow", &scratch.path(), seed), seed)
    };
    let mut peers: Vec<(Peer, u64)> = (0..3).map(|_| start()).collect();
    let mut acknowledged = Vec::new();
    for kill in 0..KILLS {
        let (peer, seed) = &mut peers[dice.below(3) as usize];
        // It has begun; then it dies anywhere.
        peer.hear_number();
        std::thread::sleep(Duration::from_micros(dice.below(2000 * (1 + kill))));
        peer.kill();
        let last = peer.last_words().map_or(0, |said| said.parse().unwrap());
        acknowledged.extend((0..=last).map(|round| (*seed, round)));
        (*peer, *seed) = start();
    }
    drop(peers);
    let check = |store: &Store| {
        let guard = store.read_guard();
        for &(seed, round) in &acknowledged {
            let ids: Vec<BlobId> = group(seed, round).iter().map(|value| id_of(value)).collect();
            let mut found = Vec::new();
            guard.get_many(&ids, &mut found).unwrap();
            for (value, found) in group(seed, round).iter().zip(found) {
                assert_eq!(found, Some(&value[..]), "seed {seed}, round {round}");
            }
        }
    };
    check(&store);
    let stats = store.stats().unwrap();
    assert!(stats.index_generation >= 5, "{} generations", stats.index_generation);
    println!("{} keys acknowledged, {stats:?}", acknowledged.len() as u64 * GROUP);
    drop(store);
    check(&scratch.store());
    check(&scratch.rebooted());
}

fn id_of(content: &[u8]) -> BlobId {
    let digest = twox_hash::XxHash3_128::oneshot(content).to_be_bytes();
    BlobId::from_digest(drystone::HashAlgorithm::Xxh3, &digest).unwrap()
}
