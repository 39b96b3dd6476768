//! A reader, a writer and who tidies up are stopped for long, in the middle of their work, and the others
//! go on.
#![forbid(unsafe_code)]

use crate::content::{Doer, Op, content};
use crate::figures::{option, seed};
use crate::living::round;
use crate::peer::{Peer, say};
use crate::support::{Dice, KIB, Scratch, bytes};
use drystone::{CompactOptions, Store};
use nix::sys::signal::Signal;
use std::path::Path;
use std::time::{Duration, Instant};

const READER: u64 = 0;
const WRITER: u64 = 1;
const TIDIER: u64 = 2;
/// So long a round of everything may take beside who is stopped. (On a busy machine a process may get no
/// time for a good part of that.)
const PATIENCE: Duration = Duration::from_secs(3);

/// The role: works until it is killed, and says so now and then.
pub fn work(place: &Path, who: u64) {
    let store = Store::open(place).unwrap();
    for turn in 0.. {
        match who {
            READER => {
                store.blobs().take(50).for_each(|stat| {
                    let view = store.get(&stat.unwrap().id).unwrap();
                    drop(view.map(|view| view.to_vec()));
                });
                store.stats().unwrap();
            }
            WRITER => {
                let id = store.put(&bytes(3 * KIB, turn)).unwrap();
                store.refs("stopped").set("writer", id).unwrap();
                store.reserve(80 * KIB as u64).unwrap().commit().unwrap();
                store.put_many(&[bytes(100, turn << 20), bytes(90, turn << 20)]).unwrap();
                store.remove(&id).unwrap();
            }
            TIDIER => tidy(&store),
            who => panic!("no such kind: {who}"),
        }
        say(turn);
    }
}

fn tidy(store: &Store) {
    store.compact(&CompactOptions::new().all(true)).unwrap();
    store.sync().unwrap();
}

/// Rounds for as long as somebody is stopped; the longest.
fn go_on(store: &Store, halt: Duration) -> (u64, Duration) {
    let (start, mut rounds, mut longest) = (Instant::now(), 0, Duration::ZERO);
    while start.elapsed() < halt {
        let began = Instant::now();
        let mut doer = Doer::new(store);
        let all = round(rounds % 2).into_iter().chain([
            Op::Put(content(300 * KIB, 5000 + rounds)),
            Op::Remove(content(300 * KIB, 5000 + rounds)),
            Op::Walk,
            Op::Sync,
        ]);
        all.for_each(|op| doer.act(&op).unwrap());
        drop(Store::open(store.path()).unwrap());
        longest = longest.max(began.elapsed());
        assert!(longest < PATIENCE, "a round took {longest:?} beside who is stopped");
        rounds += 1;
    }
    (rounds, longest)
}

#[test]
#[cfg_attr(not(bug), ignore = "`cargo xtask test deaths` runs it")]
fn a_stopped_reader_writer_or_tidier_stops_nobody() {
    let halt = Duration::from_secs(option("DRYSTONE_HALT_SECONDS").unwrap_or(2));
    let mut dice = Dice::new(seed("long halts"));
    let scratch = Scratch::in_memory();
    let store = scratch.open(Store::options().create(true).segment_bytes(1 << 20));
    let (mut rounds, mut longest) = (0, Duration::ZERO);
    for stopped in [&[READER][..], &[WRITER], &[TIDIER], &[READER, WRITER, TIDIER]] {
        let mut peers: Vec<Peer> = [READER, WRITER, TIDIER]
            .map(|who| Peer::start("stopped", &scratch.path(), who))
            .into_iter()
            .collect();
        peers.iter_mut().for_each(|peer| drop(peer.hear()));
        std::thread::sleep(Duration::from_micros(dice.below(50_000)));
        stopped.iter().for_each(|who| peers[*who as usize].signal(Signal::SIGSTOP));
        let done = go_on(&store, halt);
        (rounds, longest) = (rounds + done.0, longest.max(done.1));
        for who in stopped {
            let peer = &mut peers[*who as usize];
            peer.forget_what_was_said();
            peer.signal(Signal::SIGCONT);
            // It goes on where it was, twice round.
            peer.hear();
            peer.hear();
        }
        peers.iter_mut().for_each(Peer::kill);
    }
    println!(
        "figure: long halts: a reader, a writer, a tidier and all three stopped for {halt:?}; {rounds} \
         rounds beside them, the longest {longest:?}"
    );
}
