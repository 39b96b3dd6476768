//! A machine with a simulated disk, and the processes on it.
#![forbid(unsafe_code)]

use crate::act::{Action, Actor, look, trace, until_death};
use crate::oracle::Oracle;
use crate::support::{Dice, KIB};
use drystone::disk::{Image, SimDisk};
use drystone::{Durability, Options, Store};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

/// The medium with a new store, all of it durable.
static NEW_STORE: LazyLock<Image> = LazyLock::new(|| {
    let disk = SimDisk::boot(Image::default(), "making");
    let options = options(&disk, Durability::Buffered).create(true);
    drop(options.segment_bytes(256 * KIB as u64).open("simulated").expect("a new store"));
    disk.history().everything()
});

/// How a process opens the store.
pub fn options(disk: &SimDisk, durability: Durability) -> Options {
    let options = Store::options().disk(Arc::new(disk.clone())).durability(durability);
    options.threads(1).map_limit(64).recovery_patience(Duration::ZERO)
}

/// Any durability.
pub fn any_durability(dice: &mut Dice) -> Durability {
    [Durability::Buffered, Durability::Synced][dice.below(2) as usize]
}

/// A machine since it came up.
pub struct World {
    pub disk: SimDisk,
    pub oracle: Arc<Mutex<Oracle>>,
    actors: Vec<Actor>,
    processes: usize,
    /// Contents with numbers below this are put.
    pub blobs: u8,
    /// Of each process that opens the store: with two a compaction may go in two lanes.
    pub threads: usize,
    boot: u32,
}

impl World {
    /// With a new store.
    pub fn new(processes: usize, blobs: u8) -> Self {
        Self::boot(NEW_STORE.clone(), Oracle::default(), processes, blobs, 0)
    }

    fn boot(medium: Image, oracle: Oracle, processes: usize, blobs: u8, boot: u32) -> Self {
        let disk = SimDisk::boot(medium, &format!("boot {boot}"));
        let oracle = Arc::new(Mutex::new(oracle));
        Self { disk, oracle, actors: Vec::new(), processes, blobs, threads: 1, boot }
    }

    /// The machine after it has come up again with this medium, which holds what may be left when so
    /// much had happened.
    pub fn rebooted(&self, medium: Image, at: usize) -> Self {
        let oracle = self.oracle.lock().expect("an oracle").after(at);
        Self::boot(medium, oracle, self.processes, self.blobs, self.boot + 1)
    }

    /// A process opens the store; `None` if it dies over it.
    fn opened(&self, disk: SimDisk, durability: Durability) -> Option<Actor> {
        let store =
            until_death(|| options(&disk, durability).threads(self.threads).open("simulated"))?;
        match store {
            Ok(store) => Some(Actor { disk, store, durability, oracle: self.oracle.clone() }),
            Err(_) if disk.is_dead() => None,
            Err(error) => panic!("the store does not open: {error}"),
        }
    }

    /// A new process with the store; the others stay.
    pub fn open(&mut self, durability: Durability) -> Actor {
        let actor = self.opened(self.disk.process(), durability);
        let actor = actor.expect("nobody kills it");
        self.actors.push(actor.clone());
        actor
    }

    /// Any of the processes that are alive, or a new one.
    pub fn any_actor(&mut self, dice: &mut Dice) -> Actor {
        self.actors.retain(|actor| !actor.disk.is_dead());
        let at = dice.below(self.processes as u64) as usize;
        match self.actors.get(at) {
            Some(actor) => actor.clone(),
            None => self.open(any_durability(dice)),
        }
    }

    /// One step of any process, in which it may die, or in the middle of which another one makes a
    /// step of its own.
    pub fn step(&mut self, dice: &mut Dice) {
        let actor = self.any_actor(dice);
        let action = Action::any(dice, self.blobs);
        match dice.below(24) {
            0 => actor.disk.die_at(1 + dice.below(24), dice.below(2) == 0),
            1..=3 => {
                let (other, another) = (self.any_actor(dice), Action::any(dice, self.blobs));
                let durability = any_durability(dice);
                // A thread does not call itself: only another process comes in between.
                if !other.disk.is_dead() && !other.disk.is_same_process(&actor.disk) {
                    actor.disk.before_call(1 + dice.below(16), move || {
                        other.act(&another, durability);
                    });
                }
            }
            4 if dice.below(3) == 0 => {
                actor.disk.kill();
                return;
            }
            _ => {}
        }
        actor.act(&action, any_durability(dice));
        actor.disk.at_ease();
    }

    /// Recovers as openers do, some of whom may die over it or be late, and holds what is seen against
    /// what may be seen.
    ///
    /// # Errors
    /// What is wrong.
    pub fn recover(&mut self, dice: &mut Dice) -> Result<(), String> {
        let way = dice.below(8);
        trace(|| format!("boot {}: recovers in way {way}", self.boot));
        match way {
            0 => {
                for _ in 0..1 + dice.below(3) {
                    let dying = self.disk.process();
                    dying.die_at(1 + dice.below(120), dice.below(2) == 0);
                    drop(self.opened(dying, Durability::Buffered));
                }
            }
            1 => return self.recover_late(dice),
            _ => {}
        }
        let actor = self.open(any_durability(dice));
        self.see(&actor.store)
    }

    /// Recovers by one opener, and holds what is seen against what may be seen.
    ///
    /// # Errors
    /// What is wrong.
    pub fn recover_plainly(&mut self) -> Result<(), String> {
        let actor = self.open(Durability::Buffered);
        self.see(&actor.store)
    }

    /// A recoverer is overtaken somewhere by another one that works with the run that it has built.
    fn recover_late(&mut self, dice: &mut Dice) -> Result<(), String> {
        let late = any_durability(dice);
        let (durability, blobs, mut dice) =
            (any_durability(dice), self.blobs, Dice::new(dice.next()));
        let at = 1 + dice.below(120);
        let work = move |early: &Actor| {
            for _ in 0..dice.below(6) {
                let action = Action::any(&mut dice, blobs);
                early.act(&action, any_durability(&mut dice));
            }
        };
        self.recover_overtaken_as(late, at, durability, work).map(drop)
    }

    /// A recoverer is stopped before its call of this number; another one builds a run and works with
    /// it; then the first goes on. The other one, unless the first has made fewer calls.
    ///
    /// # Errors
    /// What is wrong.
    pub fn recover_overtaken(
        &mut self,
        call: u64,
        durability: Durability,
        work: impl FnOnce(&Actor) + Send + 'static,
    ) -> Result<Option<Actor>, String> {
        self.recover_overtaken_as(Durability::Buffered, call, durability, work)
    }

    fn recover_overtaken_as(
        &mut self,
        late_durability: Durability,
        call: u64,
        durability: Durability,
        work: impl FnOnce(&Actor) + Send + 'static,
    ) -> Result<Option<Actor>, String> {
        let (late, early) = (self.disk.process(), self.disk.process());
        let oracle = self.oracle.clone();
        let seen = Arc::new(Mutex::new(None));
        let said = seen.clone();
        late.before_call(call, move || {
            let store = options(&early, durability).open("simulated").expect("a run of its own");
            let checked =
                look(&store).and_then(|seen| oracle.lock().expect("an oracle").see(&seen));
            let actor = Actor { disk: early, store, durability, oracle };
            work(&actor);
            *said.lock().expect("a result") = Some(checked.map(|()| actor));
        });
        let actor = self.opened(late, late_durability).expect("nobody kills it");
        actor.disk.at_ease();
        self.actors.push(actor.clone());
        let early = seen.lock().expect("a result").take();
        match early {
            Some(checked) => checked.map(Some),
            None => self.see(&actor.store).map(|()| None),
        }
    }

    /// Holds what is seen against what may be seen.
    fn see(&self, store: &Store) -> Result<(), String> {
        let seen = look(store)?;
        trace(|| format!("boot {} at {}: {:?}", self.boot, self.disk.now(), seen.states));
        self.oracle.lock().expect("an oracle").see(&seen)
    }
}
