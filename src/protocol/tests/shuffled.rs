//! Four to six participants at once, in random schedules.
#![forbid(unsafe_code)]

use super::check::check;
use super::play::{Deed, Op, Op::*};
use super::world::{FIRST, World, Writer};
use crate::sync::shuffled::shuffle;
use shuttle::rand::{Rng, thread_rng};
use std::sync::Arc;

const OPS: [Op; 6] = [Put, Pin, Set, Add, RemoveBlob, RemoveRef];
const BEFORE: [&[Op]; 5] =
    [&[], &[Put], &[Put, RemoveRef], &[Put, RemoveBlob], &[Put, RemoveRef, Collect]];
/// Most participants at once.
const PARTICIPANTS_MAX: usize = 6;

fn play(world: &Arc<World>, number: usize, ops: &[Op], is_synced: bool) -> Vec<Deed> {
    let mut writer = Writer::new(world, number, world.bed.join());
    writer.is_synced = is_synced;
    ops.iter().map(|&op| (op, Some(op.run(&mut writer)))).collect()
}

/// What each of them does: one or two things, and the last one may collect.
fn programs() -> Vec<Vec<Op>> {
    let mut rng = thread_rng();
    let count = rng.gen_range(4..=PARTICIPANTS_MAX);
    let program = |_| {
        let len = 1 + usize::from(rng.gen_ratio(1, 3));
        (0..len).map(|_| OPS[rng.gen_range(0..OPS.len())]).collect()
    };
    let mut programs: Vec<Vec<Op>> = (0..count).map(program).collect();
    if thread_rng().gen_ratio(1, 2) {
        programs[count - 1] = vec![Collect];
    }
    programs
}

fn execute() {
    let before = BEFORE[thread_rng().gen_range(0..BEFORE.len())];
    let (grows, is_synced) = (thread_rng().gen_ratio(1, 3), thread_rng().gen_ratio(1, 3));
    let programs = programs();
    let world = World::new(1);
    play(&world, FIRST, before, false);
    if grows {
        world.bed.join().grow().unwrap();
    }
    let threads: Vec<_> = programs
        .into_iter()
        .enumerate()
        .map(|(at, ops)| {
            let world = world.clone();
            shuttle::thread::spawn(move || play(&world, 1 + at, &ops, is_synced))
        })
        .collect();
    let mut deeds = Vec::new();
    threads.into_iter().for_each(|thread| deeds.extend(thread.join().unwrap()));
    // The collector of what was there before has been told nothing, but must be known of.
    deeds.extend(before.iter().filter(|&&op| op == Collect).map(|&op| (op, None)));
    check(&world, None, &deeds);
}

#[test]
fn up_to_six_publish_remove_and_collect() {
    shuffle("publishing by four to six", 20_000, execute);
}
