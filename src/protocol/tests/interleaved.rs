//! One participant is held up, or stops for ever, before each of its changes, and others go on.
#![forbid(unsafe_code)]

use super::check::check;
use super::play::{Deed, Op, Op::*};
use super::world::{FIRST, World, Writer};
use crate::index::bed::until_stopped;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

const OPS: [Op; 7] = [Put, Pin, Set, Add, RemoveBlob, RemoveRef, Collect];

/// What may have been done before.
const BEFORE: [&[Op]; 6] = [
    &[],
    &[Put],
    &[Put, RemoveRef],
    &[Put, RemoveBlob],
    &[Put, RemoveBlob, RemoveRef],
    &[Put, RemoveRef, Collect],
];

fn all(count: usize) -> Vec<Vec<Op>> {
    let longer = |ops: Vec<Op>| OPS.map(|op| [&ops[..], &[op]].concat());
    (0..count).fold(vec![vec![]], |all, _| all.into_iter().flat_map(longer).collect())
}

fn prepare(before: &[Op], grows: bool) -> Arc<World> {
    let world = World::new(1);
    play(&world, FIRST, before);
    if grows {
        world.bed.join().grow().unwrap();
    }
    world
}

fn play(world: &Arc<World>, number: usize, ops: &[Op]) -> Vec<Deed> {
    let mut writer = Writer::new(world, number, world.bed.join());
    ops.iter().map(|&op| (op, Some(op.run(&mut writer)))).collect()
}

/// Whether the one comes as far as its change number `steps`.
fn hold_up(before: &[Op], one: Op, meanwhile: &[Op], steps: usize, grows: bool) -> bool {
    let world = prepare(before, grows);
    let deeds = Rc::new(RefCell::new(Vec::new()));
    let others = {
        let (world, deeds, meanwhile) = (world.clone(), deeds.clone(), meanwhile.to_vec());
        move || *deeds.borrow_mut() = play(&world, 2, &meanwhile)
    };
    let mut writer = Writer::new(&world, 1, world.bed.join_beside(steps, others));
    writer.is_synced = meanwhile.len() == 2;
    let outcome = one.run(&mut writer);
    let mut deeds = deeds.take();
    deeds.push((one, Some(outcome)));
    // The collector of what was there before has been told nothing, but must be known of.
    deeds.extend(before.iter().filter(|&&op| op == Collect).map(|&op| (op, None)));
    check(&world, None, &deeds);
    writer.index.participant().has_met()
}

#[test]
fn others_come_between_any_two_steps() {
    let mut held_up = 0;
    for before in BEFORE {
        for one in OPS {
            for meanwhile in [all(1), all(2)].concat() {
                let collects = meanwhile.iter().filter(|op| **op == Collect).count();
                if collects + usize::from(one == Collect) > 1 {
                    continue; // there is one collector at a time
                }
                let grows = held_up % 3 == 0;
                held_up += (0..)
                    .take_while(|&steps| hold_up(before, one, &meanwhile, steps, grows))
                    .count();
            }
        }
    }
    println!("held up at {held_up} places");
    assert!(held_up > 10_000);
}

/// Whether the one comes to its end before its change number `steps`.
fn stop(before: &[Op], one: Op, others: &[Op], steps: usize) -> bool {
    let world = prepare(before, steps % 2 == 1);
    let mut writer = Writer::new(&world, 1, world.bed.join_for(steps));
    let outcome = until_stopped(|| one.run(&mut writer));
    let mut deeds = play(&world, 2, others);
    deeds.push((one, outcome));
    deeds.extend(before.iter().filter(|&&op| op == Collect).map(|&op| (op, None)));
    check(&world, Some(1), &deeds);
    outcome.is_some()
}

#[test]
fn one_stops_for_ever_anywhere_and_others_go_on() {
    for before in BEFORE {
        for one in OPS {
            for others in [all(0), all(1), all(2)].concat() {
                (0..).take_while(|&steps| !stop(before, one, &others, steps)).count();
            }
        }
    }
}
