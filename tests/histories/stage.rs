//! Where a history is played: a store, a board that all see, the tapes, and processes that are killed
//! and replaced.
#![forbid(unsafe_code)]

use crate::entries::Entry;
use crate::support::{Dice, Scratch, another_boot};
use crate::tape::{Shared, Tape, now};
use crate::worker::{Worker, options};
use crate::{peer, worker};
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Processes at a time.
const PROCESSES: usize = 6;
/// Operations between two kills, about.
const KILL_EVERY: u64 = 80_000;
/// Nobody may stand still for so long.
const STANDSTILL: Duration = Duration::from_secs(20);

/// Words of the board.
pub const BOARD: usize = 512;
/// Word that says that it is over.
pub const IS_OVER: usize = 0;
/// Word that counts the blobs that are put once.
pub const NEXT_BLOB: usize = 64;

pub fn board(place: &Path) -> Shared {
    Shared::open(&place.join("board"), BOARD)
}

pub fn tape_path(place: &Path, number: u64) -> PathBuf {
    place.join(format!("tape.{number}"))
}

/// See the head of this file.
pub struct Stage {
    scratch: Scratch,
    seed: u64,
    kills: Cell<u64>,
}

struct Actor {
    process: Child,
    tape: u64,
    watched: Tape,
}

/// What a process has left.
type Left = Vec<Entry>;

/// All tapes, the last one from after the reboot, and what the store says of its growth.
pub struct Recorded {
    pub tapes: Vec<Left>,
    pub growths: u64,
}

impl Stage {
    pub fn new(seed: u64) -> Self {
        Self { scratch: Scratch::in_memory(), seed, kills: Cell::new(0) }
    }

    pub fn kills(&self) -> u64 {
        self.kills.get()
    }

    /// Records so many operations, and then what is there, before and after a reboot.
    pub fn play(&self, operations: u64) -> Recorded {
        let place = self.scratch.dir();
        let board = board(place);
        let store = self.scratch.open(options().create(true).segment_bytes(1 << 20));
        let mut tapes = self.act(place, &board, operations);
        let number = tapes.len() as u64;
        let next = board.at(NEXT_BLOB).load(Ordering::Acquire);
        let room = (next + worker::SUBJECTS) as usize;
        tapes.push(look_around(place, number, room, next, store.clone()));
        let growths = store.stats().unwrap().index_generation.into();
        // Where the power is cut, what was only buffered may go.
        store.sync().unwrap();
        drop(store);
        let rebooted = self.scratch.open(options().boot_id(another_boot()));
        tapes.push(look_around(place, number + 1, room, next, rebooted));
        Recorded { tapes, growths }
    }

    fn act(&self, place: &Path, board: &Shared, operations: u64) -> Vec<Left> {
        let mut dice = Dice::new(self.seed);
        // More than one process can need before the others have seen that it is over.
        let room = 2 * operations as usize;
        let mut next_tape = 0;
        let mut start = |dice: &mut Dice| {
            let tape = next_tape;
            next_tape += 1;
            let watched = Tape::open(&tape_path(place, tape), room);
            Actor { process: peer::start(place, tape, dice.next(), room), tape, watched }
        };
        let mut actors: Vec<Actor> = (0..PROCESSES).map(|_| start(&mut dice)).collect();
        let mut left: Vec<(u64, Left)> = Vec::new();
        let mut ended = 0;
        let mut next_kill = KILL_EVERY / 2 + dice.below(KILL_EVERY);
        let mut watch = Watch::new();
        loop {
            std::thread::sleep(Duration::from_micros(500 + dice.below(2000)));
            let done = ended + actors.iter().map(|actor| actor.watched.ended()).sum::<u64>();
            watch.see(done);
            for actor in &mut actors {
                let is_gone = actor.process.try_wait().unwrap();
                assert!(is_gone.is_none(), "a process ended by itself: {is_gone:?}");
            }
            if done >= operations {
                break;
            }
            if done >= next_kill {
                let victim = dice.below(PROCESSES as u64) as usize;
                let dead = std::mem::replace(&mut actors[victim], start(&mut dice));
                let (tape, entries) = dead.kill();
                ended += entries.len() as u64;
                left.push((tape, entries));
                self.kills.set(self.kills.get() + 1);
                next_kill = done + KILL_EVERY / 2 + dice.below(KILL_EVERY);
            }
        }
        board.at(IS_OVER).store(1, Ordering::Release);
        left.extend(actors.into_iter().map(Actor::end));
        left.sort_unstable_by_key(|(tape, _)| *tape);
        left.into_iter().map(|(_, entries)| entries).collect()
    }
}

/// Sees to it that somebody does something.
struct Watch {
    done: u64,
    since: std::time::Instant,
}

impl Watch {
    fn new() -> Self {
        Self { done: 0, since: std::time::Instant::now() }
    }

    fn see(&mut self, done: u64) {
        if done != self.done {
            *self = Self { done, since: std::time::Instant::now() };
        }
        assert!(self.since.elapsed() < STANDSTILL, "nothing has ended for {STANDSTILL:?}");
    }
}

impl Actor {
    fn kill(mut self) -> (u64, Left) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        // Whatever it was at, it is not any more.
        let dead = now();
        (self.tape, read(&self.watched, dead))
    }

    fn end(mut self) -> (u64, Left) {
        let status = self.process.wait().unwrap();
        assert!(status.success(), "a process failed: {status}");
        (self.tape, read(&self.watched, now()))
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn read(tape: &Tape, dead: u64) -> Left {
    tape.read().iter().map(|noted| Entry::decode(noted, dead)).collect()
}

/// Looks at everything once.
fn look_around(place: &Path, tape: u64, room: usize, next: u64, store: drystone::Store) -> Left {
    let mut worker = Worker::new(place, store, tape, 0, room);
    worker.look_at_all(next);
    read(worker.tape(), u64::MAX)
}
