//! Cases that random histories come by rarely, each with many ways in which the power may go.
#![forbid(unsafe_code)]

use crate::act::Action;
use crate::support::Dice;
use crate::world::World;
use drystone::Durability;

const SEEDS: u64 = 400;

/// What one process does under `Buffered`, upon what a power loss has left of another history, if any.
fn world(before: Option<&World>, seed: u64, actions: &[Action]) -> Result<World, String> {
    let mut world = match before {
        None => World::new(1, 12),
        Some(before) => {
            let (history, at) = (before.disk.history(), before.disk.now());
            let mut world = before.rebooted(history.cut(at, seed), at);
            world.recover_plainly()?;
            world
        }
    };
    let actor = world.open(Durability::Buffered);
    actions.iter().for_each(|action| actor.act(action, Durability::Buffered));
    Ok(world)
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
