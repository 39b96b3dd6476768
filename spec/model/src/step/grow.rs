//! A growth of the index, coarsely: it begins, each key moves, it ends. Whoever changes a key while it
//! lasts moves that key first ([`World::store`]).

use super::Stepping;
use crate::world::{At, Checked, Context, KEYS, World, name_of};

pub fn step(ctx: &Context<'_>, world: &mut World, me: usize) -> Checked {
    match world.processes[me].at {
        At::Begin => {
            ctx.note(|| "begins to grow the index".into());
            let next = 1 - (world.generation as usize & 1);
            world.tables[next] = Default::default();
            world.is_migrating = true;
            world.go(me, At::Move);
        }
        At::Move => {
            let key = world.regs(me).at;
            ctx.note(|| format!("copies {} into the next table", name_of(key)));
            world.move_key(key);
            world.regs_mut(me).at += 1;
            if key as usize + 1 == KEYS {
                world.go(me, At::Flip);
            }
        }
        At::Flip => {
            ctx.note(|| "makes the next table the current one".into());
            // The old one stays as it is for whoever still looks at it, until it is the next one.
            (world.generation, world.is_migrating) = (world.generation + 1, false);
            world.finish(me);
        }
        at => unreachable!("{at:?} is no step of a growth"),
    }
    Ok(())
}
