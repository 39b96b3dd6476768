//! Entering a run that passed versions over: whoever means to write buries them first, by the one way
//! to publish, and makes that last; whoever finds that another has done so relies on it.

use super::{Stepping, rely};
use crate::rules::Rule;
use crate::script::Op;
use crate::world::{At, Checked, Context, KEYS, NONE, Record, World, name_of};

/// Whether the next step of a participant belongs to that.
pub fn is_due(ctx: &Context<'_>, world: &mut World, me: usize) -> bool {
    if matches!(ctx.op(world, me), Op::Recover) {
        return false;
    }
    let process = &mut world.processes[me];
    // Where the rule is removed, only the recoverer buries.
    let buries = process.op > 0 || ctx.keeps(Rule::BuriedBeforeAppends);
    if process.at == At::Begin && (world.unburied == 0 || !buries) {
        process.has_entered = true;
    }
    !process.has_entered
}

pub fn step(ctx: &Context<'_>, world: &mut World, me: usize) -> Checked {
    match world.processes[me].at {
        At::Begin | At::Enter => look(ctx, world, me),
        At::EnterExchange => {
            let regs = world.regs(me);
            let is_moved = world.exchange(ctx, regs.key, regs.seen, regs.loc)?;
            world.go(me, if is_moved { At::EnterPublish } else { At::Enter });
        }
        At::EnterPublish => {
            let loc = world.regs(me).loc;
            world.publish(ctx, loc)?;
            let lasts = ctx.keeps(Rule::BurialLasts);
            world.go(me, if lasts { At::EnterSync } else { At::EnterNext });
        }
        At::EnterSync => {
            let loc = world.regs(me).loc;
            world.vouch(ctx, loc.0);
            world.go(me, At::EnterNext);
        }
        At::EnterNext => {
            world.regs_mut(me).key += 1;
            world.go(me, At::Enter);
        }
        _ => rely::step(ctx, world, me, ctx.keeps(Rule::BurialLasts))?,
    }
    Ok(())
}

fn look(ctx: &Context<'_>, world: &mut World, me: usize) {
    let first = world.regs(me).key;
    let Some(key) = (first..KEYS as u8).find(|key| world.unburied >> key & 1 == 1) else {
        ctx.note(|| "notes that everything is buried".into());
        world.unburied = 0;
        world.restart(me);
        world.processes[me].has_entered = true;
        return;
    };
    let (word, instead) = (world.lookup(key), world.instead[key as usize]);
    world.regs_mut(me).key = key;
    if word != instead {
        ctx.note(|| format!("finds {} at {word}", name_of(key)));
        return world.rely(me, key, word, At::EnterNext, At::Enter);
    }
    let number = world.draw(1);
    let record = match word.names() {
        true => world.record(word.loc).copied(number),
        false => Record::new(key, number).tomb(),
    };
    let record = Record { blob: if record.is_tomb { NONE } else { record.blob }, ..record };
    let loc = world.append(ctx, me, &[record]);
    let regs = world.regs_mut(me);
    (regs.seen, regs.loc) = (word, loc);
    world.go(me, At::EnterExchange);
}
