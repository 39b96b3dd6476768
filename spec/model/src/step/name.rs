//! Setting a ref, and putting a blob together with a ref to it (spec/CONCURRENCY.md, section
//! "Publishing").

use super::{Stepping, rely};
use crate::rules::Rule;
use crate::script::Op;
use crate::world::{At, Checked, Context, Key, Loc, NONE, Record, Registers, World, name_of};

/// What is to be named how.
struct Naming {
    blob: Key,
    name: Key,
    is_synced: bool,
    is_add: bool,
    is_put: bool,
}

fn naming(op: Op) -> Naming {
    let (blob, name, is_synced, is_add, is_put) = match op {
        Op::Put { blob, name, sync } => (blob, name, sync, false, true),
        Op::Set { blob, name, sync } => (blob, name, sync, false, false),
        Op::Add { name, sync } => (NONE, name, sync, true, false),
        _ => unreachable!("not an operation that names"),
    };
    Naming { blob, name, is_synced, is_add, is_put }
}

pub fn step(ctx: &Context<'_>, world: &mut World, me: usize) -> Checked {
    let op = naming(ctx.op(world, me));
    match world.processes[me].at {
        At::Begin if op.is_put => look_blob(ctx, world, me, &op),
        At::Begin | At::Name => look_name(ctx, world, me, &op),
        At::Peek => peek(ctx, world, me, &op),
        At::AppendRef => append_ref(ctx, world, me, &op),
        At::Acquit => acquit(ctx, world, me, &op),
        At::AcquitRelied => acquit_relied(ctx, world, me, &op),
        At::ExchangeRef => exchange_ref(ctx, world, me, &op)?,
        At::PublishRef => publish_ref(ctx, world, me, &op)?,
        At::SyncOwn => sync_own(ctx, world, me, &op),
        At::LookName => look_pair(ctx, world, me, &op),
        At::AppendPair => append_pair(ctx, world, me, &op),
        At::ExchangeBlob => exchange_blob(ctx, world, me, &op)?,
        At::ExchangeName => exchange_name(ctx, world, me, &op)?,
        At::PublishPair => publish_pair(ctx, world, me, &op)?,
        At::PublishBlob => publish_blob(ctx, world, me)?,
        At::Pinned => look_pinned(ctx, world, me, &op),
        At::Done => {
            let Registers { rely_key, held, .. } = world.regs(me);
            if op.is_synced && rely_key == op.name {
                world.promise(ctx, op.name, held);
            }
            world.finish(me);
        }
        _ => rely::step(ctx, world, me, op.is_synced)?,
    }
    Ok(())
}

fn look_name(ctx: &Context<'_>, world: &mut World, me: usize, op: &Naming) {
    let seen = world.lookup(op.name);
    ctx.note(|| format!("sees {} at {seen}", name_of(op.name)));
    let regs = world.regs_mut(me);
    regs.name_seen = seen;
    if op.is_add && seen.is_live() {
        // Declined, on the strength of what is there.
        let version = world.record(seen.loc).version;
        world.regs_mut(me).held = version;
        return world.rely(me, op.name, seen, At::Done, At::Name);
    }
    world.go(me, if op.blob == NONE { At::AppendRef } else { At::Peek });
}

fn peek(ctx: &Context<'_>, world: &mut World, me: usize, op: &Naming) {
    let word = world.lookup(op.blob);
    ctx.note(|| format!("peeks at {}: {word}", name_of(op.blob)));
    if !word.is_live() {
        return missing(world, me, op);
    }
    world.regs_mut(me).held = world.record(word.loc).number;
    let is_late = !ctx.keeps(Rule::RefBeforeBlob);
    world.go(me, if is_late { At::Acquit } else { At::AppendRef });
}

/// The blob is not there: a set fails, a put begins again.
fn missing(world: &mut World, me: usize, op: &Naming) {
    if op.is_put { world.restart(me) } else { world.finish(me) }
}

fn append_ref(ctx: &Context<'_>, world: &mut World, me: usize, op: &Naming) {
    let number = draw(ctx, world, me, 1);
    if !ctx.keeps(Rule::NumberAfterLoad) {
        world.regs_mut(me).name_seen = world.lookup(op.name);
    }
    let held = world.regs(me).held;
    let record =
        Record::new(op.name, number).naming(op.blob, if op.blob == NONE { 0 } else { held });
    let loc = world.append(ctx, me, &[record]);
    let is_late = !ctx.keeps(Rule::RefBeforeBlob);
    let regs = world.regs_mut(me);
    (regs.loc, regs.number) = (loc, number);
    world.go(me, if op.blob == NONE || is_late { At::ExchangeRef } else { At::Acquit });
}

/// Draws numbers; where the rule is removed, those that were drawn before the load.
pub fn draw(ctx: &Context<'_>, world: &mut World, me: usize, count: u8) -> u8 {
    match world.regs(me).root {
        early if !ctx.keeps(Rule::NumberAfterLoad) && early > 0 => early,
        _ => world.draw(count),
    }
}

fn acquit(ctx: &Context<'_>, world: &mut World, me: usize, op: &Naming) {
    let word = world.lookup(op.blob);
    if !word.is_live() {
        ctx.note(|| format!("finds {} gone: {word}", name_of(op.blob)));
        return missing(world, me, op);
    }
    if ctx.keeps(Rule::SetterAcquits) {
        ctx.note(|| format!("acquits {}", name_of(op.blob)));
        world.store(op.blob, word.acquitted());
    }
    if !ctx.keeps(Rule::SetterReliesOnBlob) {
        world.regs_mut(me).rely_word = word.acquitted();
        return world.go(me, At::AcquitRelied);
    }
    world.rely(me, op.blob, word.acquitted(), At::AcquitRelied, At::Name);
}

fn acquit_relied(ctx: &Context<'_>, world: &mut World, me: usize, op: &Naming) {
    let regs = world.regs(me);
    let number = world.record(regs.rely_word.loc).number;
    if number != regs.held && ctx.keeps(Rule::HeldIsMet) {
        ctx.note(|| format!("met {} #{number}, not #{}", name_of(op.blob), regs.held));
        return world.go(me, At::Name);
    }
    if !ctx.keeps(Rule::RefBeforeBlob) {
        return world.go(me, At::AppendRef);
    }
    world.record_mut(regs.loc).met = number;
    world.go(me, At::ExchangeRef);
}

fn exchange_ref(ctx: &Context<'_>, world: &mut World, me: usize, op: &Naming) -> Checked {
    let regs = world.regs(me);
    if !ctx.keeps(Rule::PublishedWhenNamed) {
        world.publish(ctx, regs.loc)?;
    }
    if world.exchange(ctx, op.name, regs.name_seen, regs.loc)? {
        world.go(me, At::PublishRef);
    } else {
        if !ctx.keeps(Rule::LoserStaysPending) {
            world.publish(ctx, regs.loc)?;
        }
        if !ctx.keeps(Rule::NewNumberWhenLost) {
            // The same record, under the old number, over what has come in between.
            world.regs_mut(me).name_seen = world.lookup(op.name);
            return Ok(());
        }
        world.go(me, At::Name);
    }
    Ok(())
}

fn publish_ref(ctx: &Context<'_>, world: &mut World, me: usize, op: &Naming) -> Checked {
    let loc = world.regs(me).loc;
    world.publish(ctx, loc)?;
    if op.is_synced {
        world.go(me, At::SyncOwn)
    } else {
        world.finish(me)
    }
    Ok(())
}

fn sync_own(ctx: &Context<'_>, world: &mut World, me: usize, op: &Naming) {
    let (loc, number) = (world.regs(me).loc, world.regs(me).number);
    world.vouch(ctx, loc.0);
    world.promise(ctx, op.name, number);
    world.finish(me);
}

fn look_blob(ctx: &Context<'_>, world: &mut World, me: usize, op: &Naming) {
    let seen = world.lookup(op.blob);
    ctx.note(|| format!("sees {} at {seen}", name_of(op.blob)));
    world.regs_mut(me).seen = seen;
    world.go(me, if seen.is_live() { At::Pinned } else { At::LookName });
}

/// The blob is there, and its pin, too: both are relied on.
fn look_pinned(ctx: &Context<'_>, world: &mut World, me: usize, op: &Naming) {
    let seen = world.lookup(op.name);
    ctx.note(|| format!("sees {} at {seen}", name_of(op.name)));
    if !seen.is_live() || world.record(seen.loc).blob != op.blob {
        return world.go(me, At::Name);
    }
    world.regs_mut(me).held = world.record(seen.loc).version;
    world.rely(me, op.name, seen, At::Done, At::Begin);
}

fn look_pair(ctx: &Context<'_>, world: &mut World, me: usize, op: &Naming) {
    let seen = world.lookup(op.name);
    ctx.note(|| format!("sees {} at {seen}", name_of(op.name)));
    world.regs_mut(me).name_seen = seen;
    world.go(me, At::AppendPair);
}

fn append_pair(ctx: &Context<'_>, world: &mut World, me: usize, op: &Naming) {
    let number = draw(ctx, world, me, 2);
    if !ctx.keeps(Rule::NumberAfterLoad) {
        let (blob, name) = (world.lookup(op.blob), world.lookup(op.name));
        let regs = world.regs_mut(me);
        (regs.seen, regs.name_seen) = (blob, name);
    }
    let name = Record::new(op.name, number + 1).naming(op.blob, number);
    let loc = world.append(ctx, me, &[name, Record::new(op.blob, number)]);
    let regs = world.regs_mut(me);
    (regs.loc, regs.number) = (loc, number + 1);
    world.go(me, At::ExchangeBlob);
}

fn blob_of(world: &World, me: usize) -> Loc {
    let name = world.regs(me).loc;
    Loc(name.0, name.1 + 1)
}

fn exchange_blob(ctx: &Context<'_>, world: &mut World, me: usize, op: &Naming) -> Checked {
    let (seen, loc) = (world.regs(me).seen, blob_of(world, me));
    if !ctx.keeps(Rule::PublishedWhenNamed) {
        world.publish(ctx, loc)?;
    }
    let is_moved = world.exchange(ctx, op.blob, seen, loc)?;
    if !is_moved && !ctx.keeps(Rule::LoserStaysPending) {
        world.publish(ctx, loc)?;
    }
    world.go(me, if is_moved { At::ExchangeName } else { At::Begin });
    Ok(())
}

fn exchange_name(ctx: &Context<'_>, world: &mut World, me: usize, op: &Naming) -> Checked {
    let (seen, loc) = (world.regs(me).name_seen, world.regs(me).loc);
    let is_moved = world.exchange(ctx, op.name, seen, loc)?;
    world.go(me, if is_moved { At::PublishPair } else { At::PublishBlob });
    Ok(())
}

fn publish_pair(ctx: &Context<'_>, world: &mut World, me: usize, op: &Naming) -> Checked {
    let loc = world.regs(me).loc;
    world.publish(ctx, blob_of(world, me))?;
    world.publish(ctx, loc)?;
    if op.is_synced {
        world.go(me, At::SyncOwn)
    } else {
        world.finish(me)
    }
    Ok(())
}

fn publish_blob(ctx: &Context<'_>, world: &mut World, me: usize) -> Checked {
    world.publish(ctx, blob_of(world, me))?;
    world.go(me, At::Begin);
    Ok(())
}
