//! The compactor: victims, rewriting, unlinking, tombstones (spec/CONCURRENCY.md, section
//! "The compactor").

use super::{Stepping, collect, lowest, sync};
use crate::rules::Rule;
use crate::world::{
    At, Checked, Context, KEYS, Loc, Record, Segment, State, Word, World, is_ref, name_of,
};

pub fn step(ctx: &Context<'_>, world: &mut World, me: usize) -> Checked {
    match world.processes[me].at {
        // Where the rule is removed, what an earlier collector has left is believed.
        At::Orphans if !ctx.keeps(Rule::TombsUnderOwnWalk) => {
            collect::orphans(ctx, world, me, At::Victims);
        }
        At::Victims => victims(ctx, world, me),
        At::Copy => copy(ctx, world, me),
        At::Relocate => relocate(ctx, world, me),
        At::Probe => probe(ctx, world, me),
        At::Unlink => unlink(ctx, world, me),
        At::UnlinkNames => {
            ctx.note(|| "syncs the names of the segments".into());
            world.sync_names();
            world.regs_mut(me).at = 0;
            world.go(me, At::Tombs);
        }
        At::Tombs => tombs(ctx, world, me),
        At::TombScan => scan_for_tomb(ctx, world, me),
        At::TombDrop => drop_tomb(ctx, world, me),
        At::Settle | At::SettleBlob | At::SettleByte | At::List | At::SyncEach | At::SyncNames => {
            sync::step(ctx, world, me)?
        }
        _ => collect::step(ctx, world, me)?,
    }
    Ok(())
}

fn victims(ctx: &Context<'_>, world: &mut World, me: usize) {
    let is_victim = |segment: &Segment| match ctx.keeps(Rule::VictimsSealed) {
        true => segment.is_sealed(),
        false => !segment.is_unlinked && segment.owner != me as u8,
    };
    let victims = world.list(is_victim);
    ctx.note(|| format!("chooses segments {victims:#b}"));
    let regs = world.regs_mut(me);
    (regs.victims, regs.todo, regs.at) = (victims, victims, 0);
    world.go(me, if victims == 0 { At::UnlinkNames } else { At::Copy });
}

/// Copies the next record of the victims that the index names.
fn copy(ctx: &Context<'_>, world: &mut World, me: usize) {
    let regs = world.regs(me);
    if regs.todo == 0 || regs.number == ctx.scenario.budget {
        world.regs_mut(me).todo = regs.victims;
        return world.go(me, At::Probe);
    }
    let from = Loc(lowest(regs.todo), regs.at);
    if from.1 as usize == world.segments[from.0 as usize].records.len() {
        let regs = world.regs_mut(me);
        (regs.todo, regs.at) = (regs.todo & (regs.todo - 1), 0);
        return;
    }
    world.regs_mut(me).at += 1;
    let record = *world.record(from);
    let word = world.lookup(record.key);
    if !word.names() || word.loc != from {
        return;
    }
    if record.is_tomb && !ctx.keeps(Rule::TombsCopied) {
        ctx.note(|| format!("drops {record}"));
        return world.store(record.key, Word { state: State::Dead, ..word });
    }
    // Published at once: the index has named what it is a copy of.
    let copy =
        Record { is_published: true, was_named: record.was_named, ..record.copied(record.number) };
    let loc = world.append(ctx, me, &[copy]);
    let regs = world.regs_mut(me);
    (regs.loc, regs.seen, regs.number) = (loc, word, regs.number + 1);
    world.go(me, At::Relocate);
}

/// Moves the word, whatever its flags.
fn relocate(ctx: &Context<'_>, world: &mut World, me: usize) {
    let (to, seen) = (world.regs(me).loc, world.regs(me).seen);
    let key = world.record(to).key;
    let word = world.lookup(key);
    if word.names() && word.loc == seen.loc || !ctx.keeps(Rule::RelocateExact) {
        ctx.note(|| format!("moves {} from {} to {to}", name_of(key), seen.loc));
        world.store(key, Word { state: seen.state, loc: to, ..word });
    } else {
        ctx.note(|| format!("finds {} at {word}: the copy is garbage", name_of(key)));
    }
    world.go(me, At::Copy);
}

/// Keeps the victims of which something is named.
fn probe(ctx: &Context<'_>, world: &mut World, me: usize) {
    let regs = world.regs(me);
    if regs.todo == 0 || !ctx.keeps(Rule::ProbedBeforeUnlink) {
        return match ctx.keeps(Rule::SyncBeforeUnlink) {
            true => sync::begin(ctx, world, me, At::Unlink),
            false => world.go(me, At::Unlink),
        };
    }
    let number = lowest(regs.todo);
    let is_named = |at: usize| {
        let loc = Loc(number, at as u8);
        let word = world.lookup(world.record(loc).key);
        word.names() && word.loc == loc
    };
    let keeps = (0..world.segments[number as usize].records.len()).any(is_named);
    let regs = world.regs_mut(me);
    regs.todo &= regs.todo - 1;
    if keeps {
        ctx.note(|| format!("keeps segment {number}"));
        regs.victims &= !(1 << number);
    }
}

fn unlink(ctx: &Context<'_>, world: &mut World, me: usize) {
    let victims = world.regs(me).victims;
    if victims == 0 {
        return world.go(me, At::UnlinkNames);
    }
    let number = lowest(victims);
    ctx.note(|| format!("unlinks segment {number}"));
    world.segments[number as usize].is_unlinked = true;
    world.regs_mut(me).victims &= victims - 1;
    if victims & (victims - 1) == 0 {
        world.go(me, At::UnlinkNames);
    }
}

/// Looks for the next tombstone that may not be needed any more.
fn tombs(ctx: &Context<'_>, world: &mut World, me: usize) {
    let key = world.regs(me).at;
    if key as usize == KEYS {
        return world.finish(me);
    }
    let word = world.lookup(key);
    let is_unnamed = is_ref(key) || word.is_condemned || !ctx.keeps(Rule::TombStillCondemned);
    if word.state != State::Tomb || !is_unnamed {
        world.regs_mut(me).at += 1;
        return;
    }
    let regs = world.regs_mut(me);
    (regs.seen, regs.key) = (word, key);
    world.go(me, if ctx.keeps(Rule::TombAlone) { At::TombScan } else { At::TombDrop });
}

fn scan_for_tomb(ctx: &Context<'_>, world: &mut World, me: usize) {
    let regs = world.regs(me);
    let others = |(number, segment): (usize, &Segment)| {
        let is_other = |(at, record): (usize, &Record)| {
            record.key == regs.key && Loc(number as u8, at as u8) != regs.seen.loc
        };
        !segment.is_unlinked && segment.records.iter().enumerate().any(is_other)
    };
    let is_needed = world.segments.iter().enumerate().any(others);
    ctx.note(|| {
        let needed = if is_needed { "is needed" } else { "stands alone" };
        format!("the tombstone of {} {needed}", name_of(regs.key))
    });
    if is_needed {
        world.regs_mut(me).at += 1;
    }
    world.go(me, if is_needed { At::Tombs } else { At::TombDrop });
}

fn drop_tomb(ctx: &Context<'_>, world: &mut World, me: usize) {
    let regs = world.regs(me);
    let word = world.lookup(regs.key);
    if word == regs.seen {
        ctx.note(|| format!("drops the tombstone of {}", name_of(regs.key)));
        world.store(regs.key, Word { state: State::Dead, is_condemned: false, ..word });
    }
    world.regs_mut(me).at += 1;
    world.go(me, At::Tombs);
}
