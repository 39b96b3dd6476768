//! All schedules of participants that publish, within the bound of preemptions, on the code that
//! ships; and with one of them that stops for ever before each of its changes.
#![forbid(unsafe_code)]

use super::check::check;
use super::play::{Deed, Op, Op::*};
use super::world::{FIRST, World, Writer};
use crate::index::bed::until_stopped;
use crate::sync::explorer::Explorer;
use std::sync::{Arc, Mutex};

/// Where all schedules of a kind begin.
#[derive(Clone, Copy)]
struct Scene {
    before: &'static [Op],
    /// Whether the index is growing, so that each change goes to the next table.
    grows: bool,
    is_synced: bool,
}

const CALM: Scene = Scene { before: &[], grows: false, is_synced: false };

impl Scene {
    fn after(before: &'static [Op]) -> Self {
        Self { before, ..CALM }
    }

    fn prepare(&self) -> Arc<World> {
        let world = World::new(1);
        self.play(&world, FIRST, self.before, usize::MAX);
        if self.grows {
            world.bed.join().grow().unwrap();
        }
        world
    }

    fn play(&self, world: &Arc<World>, number: usize, ops: &[Op], steps: usize) -> Vec<Deed> {
        let mut writer = Writer::new(world, number, world.bed.join_for(steps));
        writer.is_synced = self.is_synced;
        let mut deeds = Vec::new();
        for &op in ops {
            let outcome = until_stopped(|| op.run(&mut writer));
            deeds.push((op, outcome));
            if outcome.is_none() {
                break;
            }
        }
        deeds
    }

    /// Explores what these participants do at once, the first stopping before its change number
    /// `steps`; whether it came to its end in all schedules.
    fn explore(
        self,
        explorer: &mut Explorer,
        parts: &'static [&'static [Op]],
        steps: usize,
    ) -> bool {
        let ended = Arc::new(Mutex::new(true));
        let has_ended = ended.clone();
        explorer.model(move || {
            let world = self.prepare();
            let spawn = |at: usize| {
                let world = world.clone();
                let part = move || self.play(&world, 1 + at, parts[at], usize::MAX);
                loom::thread::spawn(part)
            };
            let threads: Vec<_> = (1..parts.len()).map(spawn).collect();
            let mut deeds = self.play(&world, 1, parts[0], steps);
            *has_ended.lock().unwrap() &= deeds.iter().all(|(_, outcome)| outcome.is_some());
            threads.into_iter().for_each(|thread| deeds.extend(thread.join().unwrap()));
            // The collector of what was there before has been told nothing, but must be known of.
            deeds.extend(self.before.iter().filter(|&&op| op == Collect).map(|&op| (op, None)));
            check(&world, (steps < usize::MAX).then_some(1), &deeds);
        });
        *ended.lock().unwrap()
    }

    fn explore_stops(self, explorer: &mut Explorer, parts: &'static [&'static [Op]]) {
        (0..).take_while(|&steps| !self.explore(explorer, parts, steps)).count();
    }
}

/// Two operations, of which each pair is explored.
macro_rules! pairs {
    ($($one:ident $other:ident),*) => { [$(&[&[$one] as &[Op], &[$other]] as &[&[Op]]),*] };
}

#[test]
fn two_publish() {
    let mut explorer = Explorer::new("two publish", 1);
    let nothing = pairs!(Put Put, Put Set, Put Add, Put RemoveBlob, Put RemoveRef);
    let there = pairs!(
        Put RemoveBlob, Put RemoveRef, Set Set, Set RemoveBlob, Set RemoveRef,
        RemoveBlob RemoveBlob, RemoveRef RemoveRef
    );
    let unnamed = pairs!(Add Add, Add RemoveBlob, Put Add, Set Put);
    let removed = pairs!(Put Put, Put RemoveBlob, Set Put);
    let scenes: [(&'static [Op], &[&'static [&'static [Op]]]); 4] = [
        (&[], &nothing),
        (&[Put], &there),
        (&[Put, RemoveRef], &unnamed),
        (&[Put, RemoveBlob], &removed),
    ];
    for (before, pairs) in scenes {
        for parts in pairs {
            Scene::after(before).explore(&mut explorer, parts, usize::MAX);
        }
    }
}

/// Between the steps of one, the blob goes and comes again.
#[test]
fn one_publishes_beside_two_changes() {
    let mut explorer = Explorer::new("one beside two changes", 1);
    Scene::after(&[]).explore(&mut explorer, &[&[Put], &[Put, RemoveBlob]], usize::MAX);
    for parts in [
        &[&[Set] as &[Op], &[RemoveBlob, Put]] as &[&[Op]],
        &[&[RemoveBlob], &[RemoveBlob, Put]],
        &[&[RemoveRef], &[RemoveRef, Set]],
        &[&[Put], &[RemoveBlob, RemoveRef]],
    ] {
        Scene::after(&[Put]).explore(&mut explorer, parts, usize::MAX);
    }
}

/// The second and third do one thing each.
#[test]
fn three_publish() {
    let mut explorer = Explorer::new("three publish", 1);
    Scene::after(&[Put]).explore(&mut explorer, &[&[Set], &[RemoveBlob], &[Put]], usize::MAX);
}

#[test]
fn a_setter_a_remover_and_a_collector() {
    let mut explorer = Explorer::new("three with a collector", 1);
    Scene::after(&[Put]).explore(&mut explorer, &[&[Set], &[RemoveRef], &[Collect]], usize::MAX);
}

/// A blob that nobody names yet is condemned, while somebody sets a ref to it.
#[test]
fn one_publishes_beside_a_collector() {
    let mut explorer = Explorer::new("publishing beside a collector", 2);
    for parts in pairs!(Set Collect, Put Collect, Add Collect, RemoveBlob Collect) {
        Scene::after(&[Put, RemoveRef]).explore(&mut explorer, parts, usize::MAX);
    }
    Scene::after(&[Put]).explore(&mut explorer, &[&[RemoveRef, Set], &[Collect]], usize::MAX);
}

#[test]
fn two_publish_while_the_index_grows() {
    let mut explorer = Explorer::new("publishing beside a growth", 1);
    for parts in pairs!(Put Put, Put RemoveBlob, Set RemoveRef, Set Collect) {
        for before in [&[][..], &[Put]] {
            Scene { grows: true, ..Scene::after(before) }.explore(&mut explorer, parts, usize::MAX);
        }
    }
}

#[test]
fn two_publish_durably() {
    let mut explorer = Explorer::new("publishing under Synced", 1);
    for parts in pairs!(Put Put, Put RemoveBlob, Set RemoveBlob, Add Put, RemoveRef RemoveRef) {
        for before in [&[][..], &[Put]] {
            let scene = Scene { is_synced: true, ..Scene::after(before) };
            scene.explore(&mut explorer, parts, usize::MAX);
        }
    }
}

#[test]
fn one_stops_for_ever_and_others_publish() {
    let mut explorer = Explorer::new("publishers that stop", 1);
    for parts in pairs!(Put Put, Put RemoveBlob) {
        Scene::after(&[]).explore_stops(&mut explorer, parts);
    }
    for parts in pairs!(
        Set Set, Set RemoveBlob, RemoveBlob Put, RemoveBlob RemoveBlob, RemoveRef Set, RemoveRef Add
    ) {
        Scene::after(&[Put]).explore_stops(&mut explorer, parts);
    }
}

#[test]
fn a_setter_or_a_collector_stops_for_ever() {
    let mut explorer = Explorer::new("setters and collectors that stop", 1);
    for parts in pairs!(Set Collect, Put Collect, Collect Set, Collect Put) {
        Scene::after(&[Put, RemoveRef]).explore_stops(&mut explorer, parts);
    }
}
