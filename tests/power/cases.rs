//! Cases that random histories come by rarely, each with many ways in which the power may go.
#![forbid(unsafe_code)]

use crate::act::Action;
use crate::oracle::State;
use crate::support::Dice;
use crate::world::World;
use drystone::Durability::{self, Buffered, Synced};

const SEEDS: u64 = 400;
/// A blob with a segment of its own, sealed at once.
const LARGE: u8 = 11;

/// What one process does under `Buffered`, upon what a power loss has left of another history, if any.
fn world(before: Option<&World>, seed: u64, actions: &[Action]) -> Result<World, String> {
    world_under(Buffered, before, seed, actions)
}

fn world_under(
    durability: Durability,
    before: Option<&World>,
    seed: u64,
    actions: &[Action],
) -> Result<World, String> {
    let mut world = match before {
        None => World::new(1, 12),
        Some(before) => {
            let (history, at) = (before.disk.history(), before.disk.now());
            let mut world = before.rebooted(history.cut(at, seed), at);
            world.recover_plainly()?;
            world
        }
    };
    let actor = world.open(durability);
    actions.iter().for_each(|action| actor.act(action, durability));
    Ok(world)
}

/// What is seen after each of many ways in which the power may go at the end of a history.
#[track_caller]
fn lasts(history: &World) {
    for seed in 0..SEEDS {
        world(Some(history), seed, &[]).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
}

/// The same where the next process does something more before the power goes again.
#[track_caller]
fn lasts_also_after(history: &World, actions: &[Action]) {
    for seed in 0..SEEDS {
        let next = world(Some(history), seed, actions);
        let next = next.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        for again in [!seed, seed << 32] {
            let seen = world(Some(&next), again, &[]);
            seen.unwrap_or_else(|error| panic!("seeds {seed} and {again}: {error}"));
        }
    }
}

/// Refs that are durable and then, no longer durably, name a blob that may be lost without them.
fn refs_to_what_may_be_lost(names: u8) -> World {
    let safe = (0..names).map(|name| Action::Set(name, State::Inline(1)));
    let at_risk = (0..names).map(|name| Action::Set(name, State::One(LARGE)));
    let between = [Action::Sync, Action::Put(LARGE)];
    let actions: Vec<Action> = safe.chain(between).chain(at_risk).collect();
    world(None, 0, &actions).expect("nothing is lost")
}

#[test]
fn what_is_acknowledged_under_synced_lasts() {
    for action in [Action::Put(2), Action::Put(LARGE), Action::Set(0, State::Inline(1))] {
        lasts(&world_under(Synced, None, 0, &[action]).expect("nothing is lost"));
    }
}

#[test]
fn what_is_found_there_and_acknowledged_under_synced_lasts() {
    for blob in [2, 5, LARGE] {
        let mut machine = world(None, 0, &[Action::Put(blob)]).expect("nothing is lost");
        machine.open(Synced).act(&Action::Put(blob), Synced);
        lasts(&machine);
    }
}

#[test]
fn what_is_set_after_a_recovery_counts_after_the_next() {
    let first = world_under(Synced, None, 0, &[Action::Set(0, State::Inline(1))]);
    lasts_also_after(
        &first.expect("nothing is lost"),
        &[Action::Set(0, State::Inline(2)), Action::Sync],
    );
}

#[test]
fn a_ref_whose_blob_is_lost_is_what_it_was_before() {
    lasts(&refs_to_what_may_be_lost(1));
}

#[test]
fn a_ref_whose_blob_was_lost_does_not_come_back_with_the_blob() {
    lasts_also_after(&refs_to_what_may_be_lost(1), &[Action::Put(LARGE), Action::Sync]);
}

#[test]
fn what_a_recoverer_buries_that_comes_too_late_buries_nothing() {
    // What it has read by then of the early one's work gives its own records higher numbers than the
    // early one's next have.
    let history = refs_to_what_may_be_lost(4);
    for seed in 0..SEEDS {
        let seen = overtaken(&history, seed, 1 + seed % LATE_CALLS_MAX);
        seen.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
}

/// The calls of a recovery before which it is overtaken.
const LATE_CALLS_MAX: u64 = 100;

/// A recoverer is overtaken before its call of this number, and the refs are set when it is through.
fn overtaken(history: &World, seed: u64, call: u64) -> Result<(), String> {
    let at = history.disk.now();
    let mut machine = history.rebooted(history.disk.history().cut(at, seed), at);
    let early = machine.recover_overtaken(call, Buffered, |early| {
        (0..3).for_each(|blob| early.act(&Action::Put(blob), Buffered));
    })?;
    let Some(early) = early else { return Ok(()) };
    (0..4).for_each(|name| early.act(&Action::Set(name, State::Inline(2)), Synced));
    world(Some(&machine), !seed, &[]).map(drop)
}

#[test]
fn a_torn_record_in_a_sealed_segment_is_not_vouched_for_by_a_later_sync() {
    // Each of these has a segment of its own, sealed at once.
    let first = world(None, 0, &[Action::Put(10), Action::Put(11)]).expect("nothing is lost");
    let mut dice = Dice::new(1);
    for seed in 0..SEEDS {
        let second = world(Some(&first), seed, &[Action::Sync]);
        let second = second.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let again = dice.next();
        world(Some(&second), again, &[]).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
}

#[test]
fn what_a_recovery_shows_and_a_sync_makes_durable_lasts() {
    // Segments that are sealed at once, with footers that are all that says of their records that they are
    // published, should the state bytes not have reached the medium.
    let first = world(None, 0, &[Action::Put(11), Action::Put(10)]).expect("nothing is lost");
    let mut dice = Dice::new(2);
    for seed in 0..SEEDS {
        let second = world(Some(&first), seed, &[Action::Sync]);
        let second = second.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        for _ in 0..12 {
            let again = dice.next();
            world(Some(&second), again, &[]).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        }
    }
}

#[test]
fn what_is_put_behind_the_copies_of_a_compaction_lasts() {
    let litter = (0..8).map(Action::Put).chain((0..8).step_by(2).map(Action::Unpin));
    let behind = [Action::Compact(true), Action::Put(8), Action::Put(0), Action::Sync];
    let actions: Vec<Action> = litter.chain(behind).collect();
    lasts(&world(None, 0, &actions).expect("nothing is lost"));
}
