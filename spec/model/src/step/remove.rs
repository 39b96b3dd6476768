//! Removing a ref or a blob by a tombstone; the collector does it to a ref that has expired.

use super::{Stepping, name::draw, rely};
use crate::rules::Rule;
use crate::script::Op;
use crate::world::{At, Checked, Context, Key, Record, State, World, name_of};

pub fn step(ctx: &Context<'_>, world: &mut World, me: usize) -> Checked {
    let (key, is_synced, expires) = match ctx.op(world, me) {
        Op::Remove { key, sync } => (key, sync, false),
        Op::Expire { key } => (key, false, true),
        _ => unreachable!("not a removal"),
    };
    match world.processes[me].at {
        At::Begin => look(ctx, world, me, key, is_synced, expires),
        At::AppendTomb => append(ctx, world, me, key),
        At::ExchangeTomb => exchange(ctx, world, me, key)?,
        At::PublishTomb => {
            let loc = world.regs(me).loc;
            world.publish(ctx, loc)?;
            if is_synced { world.go(me, At::SyncOwn) } else { world.finish(me) }
        }
        At::SyncOwn => {
            let (loc, number) = (world.regs(me).loc, world.regs(me).number);
            world.vouch(ctx, loc.0);
            world.promise(ctx, key, number);
            world.finish(me);
        }
        At::Done => {
            // There is nothing to remove, and what says so lasts.
            let version = world.record(world.regs(me).rely_word.loc).version;
            if is_synced {
                world.promise(ctx, key, version);
            }
            world.finish(me);
        }
        _ => rely::step(ctx, world, me, is_synced)?,
    }
    Ok(())
}

fn look(ctx: &Context<'_>, world: &mut World, me: usize, key: Key, is_synced: bool, expires: bool) {
    let seen = world.lookup(key);
    ctx.note(|| format!("sees {} at {seen}", name_of(key)));
    world.regs_mut(me).seen = seen;
    let writes_none =
        !ctx.keeps(Rule::RemovalIsTombstone) || (expires && !ctx.keeps(Rule::ExpiryIsTombstone));
    match seen.state {
        State::Live if writes_none => {
            ctx.note(|| format!("makes {} dead", name_of(key)));
            let number = world.record(seen.loc).number;
            // The version that is gone, as of now.
            world.promises[key as usize].last_tomb = number + 1;
            world.promises[key as usize].last = number + 1;
            world.draw(1);
            world.store(key, crate::world::Word { state: State::Dead, ..seen });
            if is_synced {
                world.promise(ctx, key, number + 1);
            }
            world.finish(me);
        }
        State::Live => world.go(me, At::AppendTomb),
        State::Tomb => world.rely(me, key, seen, At::Done, At::Begin),
        State::None | State::Dead => world.finish(me),
    }
}

fn append(ctx: &Context<'_>, world: &mut World, me: usize, key: Key) {
    let number = draw(ctx, world, me, 1);
    if !ctx.keeps(Rule::NumberAfterLoad) {
        world.regs_mut(me).seen = world.lookup(key);
    }
    let loc = world.append(ctx, me, &[Record::new(key, number).tomb()]);
    let regs = world.regs_mut(me);
    (regs.loc, regs.number) = (loc, number);
    world.go(me, At::ExchangeTomb);
}

fn exchange(ctx: &Context<'_>, world: &mut World, me: usize, key: Key) -> Checked {
    let (seen, loc) = (world.regs(me).seen, world.regs(me).loc);
    let is_moved = world.exchange(ctx, key, seen, loc)?;
    if !is_moved && !ctx.keeps(Rule::LoserStaysPending) {
        world.publish(ctx, loc)?;
    }
    world.go(me, if is_moved { At::PublishTomb } else { At::Begin });
    Ok(())
}
