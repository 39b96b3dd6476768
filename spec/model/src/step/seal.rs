//! Sealing: the bytes of the pending records that the index names (or of what it names instead),
//! then the footer, which lists the states as they were read and set.

use super::{Stepping, lowest};
use crate::rules::Rule;
use crate::world::{At, Checked, Context, Loc, NONE, World, name_of};

pub fn step(ctx: &Context<'_>, world: &mut World, me: usize) -> Checked {
    match world.processes[me].at {
        At::Begin => {
            let own = world.processes[me].segment;
            if own == NONE {
                world.finish(me);
            } else {
                begin(world, me, own, At::Done);
            }
        }
        At::Seal => seal(ctx, world, me),
        At::SealByte => {
            let loc = world.regs(me).rely_word.loc;
            if !world.is_gone(loc) {
                world.publish(ctx, loc)?;
            }
            world.go(me, At::Seal);
        }
        At::SealFooter => footer(ctx, world, me),
        at => unreachable!("{at:?} is no step of sealing"),
    }
    Ok(())
}

/// Begins to seal a segment whose appender one holds.
pub fn begin(world: &mut World, me: usize, segment: u8, then: At) {
    let records = &world.segments[segment as usize].records;
    let bit = |(at, record): (usize, &crate::world::Record)| u16::from(record.is_published) << at;
    let listed = records.iter().enumerate().map(bit).sum();
    let regs = world.regs_mut(me);
    (regs.segment, regs.at, regs.listed, regs.after_seal) = (segment, 0, listed, then);
    world.go(me, At::Seal);
}

/// Looks at the next record that was pending when the list was made.
fn seal(ctx: &Context<'_>, world: &mut World, me: usize) {
    let regs = world.regs(me);
    let count = world.segments[regs.segment as usize].records.len();
    let left = !regs.listed & ((1u32 << count) - 1) as u16 & (u16::MAX << regs.at);
    if left == 0 || !ctx.keeps(Rule::SealSettles) {
        return world.go(me, At::SealFooter);
    }
    let loc = Loc(regs.segment, lowest(left));
    let key = world.record(loc).key;
    let word = world.lookup(key);
    ctx.note(|| format!("asks for the pending record at {loc}: {} is {word}", name_of(key)));
    let regs = world.regs_mut(me);
    (regs.at, regs.rely_word) = (loc.1 + 1, word);
    if word.names() && word.loc == loc {
        regs.listed |= 1 << loc.1;
        world.go(me, At::SealByte);
    } else if word.names() && ctx.keeps(Rule::SuperseederSettled) {
        world.go(me, At::SealByte);
    }
}

fn footer(ctx: &Context<'_>, world: &mut World, me: usize) {
    let regs = world.regs(me);
    ctx.note(|| format!("seals segment {}, {:#b} listed as published", regs.segment, regs.listed));
    let segment = &mut world.segments[regs.segment as usize];
    (segment.footer, segment.owner) = (Some(regs.listed), NONE);
    if world.processes[me].segment == regs.segment {
        world.processes[me].segment = NONE;
    }
    match regs.after_seal {
        At::Done => world.finish(me),
        then => world.go(me, then),
    }
}
