//! A compaction in two lanes: whenever its process dies in it, and whenever the power goes, nothing that was
//! durable is lost.
#![forbid(unsafe_code)]

use crate::act::{Action, Actor, BY_SECOND_LANES};
use crate::oracle::State;
use crate::support::{Dice, number};
use crate::world::{World, any_durability};
use drystone::Durability::{self, Buffered};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Histories: DRYSTONE_LANES, or so many; in each the two lanes come in between each other in another way.
const HISTORIES: u64 = 12;
/// Ways in which the power may go, at each moment.
const WAYS: u64 = 3;
/// Operations before the compaction: some segments, with live records and superseded ones in each.
const ACTIONS: u64 = 70;
/// Contents that share a segment with others.
const BLOBS: u8 = 10;
const NAMES: u8 = 4;

/// What makes segments that are worth to be compacted.
fn any_action(dice: &mut Dice) -> Action {
    let blob = dice.below(BLOBS.into()) as u8;
    let name = dice.below(NAMES.into()) as u8;
    match dice.below(10) {
        0..5 => Action::Put(blob),
        5..7 => Action::Remove(blob),
        7 => Action::Set(name, State::One(blob)),
        8 => Action::SetLong(name, blob.max(4)),
        _ => Action::RemoveRef(name),
    }
}

/// A machine with a store that is worth to be compacted, and the process that will.
fn littered(seed: u64) -> (World, Actor) {
    let mut dice = Dice::new(seed);
    let mut world = World::new(2, BLOBS);
    world.threads = 2;
    let durability = any_durability(&mut dice);
    let actor = world.open(durability);
    for at in 0..ACTIONS {
        actor.act(&any_action(&mut dice), any_durability(&mut dice));
        if at == ACTIONS / 2 {
            actor.act(&Action::Sync, Buffered);
        }
    }
    (world, actor)
}

/// The power goes at this moment, in some ways.
fn lose_power(world: &World, at: usize, dice: &mut Dice) -> Result<(), String> {
    let history = world.disk.history();
    for _ in 0..WAYS {
        let seed = dice.next();
        let recovered = world.rebooted(history.cut(at, seed), at).recover_plainly();
        recovered.map_err(|error| format!("at {at} of {}, {seed}: {error}", history.len()))?;
    }
    Ok(())
}

#[test]
fn nothing_durable_is_lost_whenever_the_power_goes_in_two_lanes() {
    let (mut moments, mut dice) = (0, Dice::new(3));
    let histories = number("DRYSTONE_LANES").unwrap_or(HISTORIES);
    for seed in 0..histories {
        let (world, actor) = littered(seed);
        let begin = world.disk.now();
        actor.act(&Action::CompactInLanes, actor.durability);
        let end = world.disk.now();
        for at in begin..=end {
            let lasts = lose_power(&world, at, &mut dice);
            lasts.unwrap_or_else(|error| panic!("history {seed} from {begin}: {error}"));
            moments += 1;
        }
    }
    let by_second = BY_SECOND_LANES.load(Ordering::Relaxed);
    assert!(by_second >= histories, "{by_second} segments by the second lane");
    println!("figure: power, two lanes: {moments} moments of {histories} compactions");
}

/// Dies at its call of this number in the compaction; whether that came.
fn dies_at(seed: u64, call: u64, dice: &mut Dice) -> Result<bool, String> {
    let (mut world, actor) = littered(seed);
    actor.disk.die_at(call, call % 2 == 0);
    actor.act(&Action::CompactInLanes, actor.durability);
    let is_dead = actor.disk.is_dead();
    actor.disk.at_ease();
    lose_power(&world, world.disk.now(), dice)?;
    let other = world.open(Durability::Synced);
    other.act(&Action::Put(0), Durability::Synced);
    other.act(&Action::CompactInLanes, Durability::Synced);
    other.act(&Action::Sync, Durability::Synced);
    lose_power(&world, world.disk.now(), dice)?;
    Ok(is_dead)
}

#[test]
fn a_process_that_dies_at_any_call_in_two_lanes_loses_nothing_durable() {
    let mut dice = Dice::new(4);
    for seed in 0..number("DRYSTONE_LANES").unwrap_or(3) {
        // Every few, another one in each history.
        for call in (1 + seed..).step_by(5) {
            match dies_at(seed, call, &mut dice) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => panic!("history {seed}, call {call}: {error}"),
            }
        }
    }
}

/// Another process does something before this call in the compaction; whether that came.
fn comes_between(seed: u64, call: u64, dice: &mut Dice) -> Result<bool, String> {
    let (mut world, actor) = littered(seed);
    let (other, begin) = (world.open(any_durability(dice)), world.disk.now());
    let actions = [any_action(dice), any_action(dice), Action::Sync];
    let durability = any_durability(dice);
    let has_come = Arc::new(AtomicBool::new(false));
    let coming = Arc::clone(&has_come);
    actor.disk.before_call(call, move || {
        coming.store(true, Ordering::Relaxed);
        actions.iter().take(2 + call as usize % 2).for_each(|action| other.act(action, durability));
    });
    actor.act(&Action::CompactInLanes, actor.durability);
    actor.disk.at_ease();
    let end = world.disk.now();
    for at in [end, begin + dice.below((end - begin) as u64) as usize] {
        lose_power(&world, at, dice)?;
    }
    Ok(has_come.load(Ordering::Relaxed))
}

#[test]
fn nothing_durable_is_lost_whatever_another_process_does_between_two_lanes() {
    let mut dice = Dice::new(5);
    for seed in 0..number("DRYSTONE_LANES").unwrap_or(4) {
        for call in (1 + seed..).step_by(7) {
            match comes_between(seed, call, &mut dice) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => panic!("history {seed}, before call {call}: {error}"),
            }
        }
    }
}
