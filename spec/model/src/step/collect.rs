//! The collector: condemn, in flight, walk, sweep (spec/CONCURRENCY.md, section "The collector").

use super::{Stepping, lowest, seal};
use crate::rules::Rule;
use crate::script::Op;
use crate::world::{At, Checked, Context, KEYS, NONE, Record, State, Word, World, name_of};

pub fn step(ctx: &Context<'_>, world: &mut World, me: usize) -> Checked {
    match world.processes[me].at {
        At::Begin => begin(ctx, world, me),
        At::Orphans => orphans(ctx, world, me, At::Condemn),
        At::Seal | At::SealByte | At::SealFooter => seal::step(ctx, world, me)?,
        At::Condemn => condemn(ctx, world, me),
        At::Inflight => list_inflight(ctx, world, me),
        At::InflightRead => read_inflight(ctx, world, me),
        At::InflightAcquit => acquit_inflight(ctx, world, me),
        At::Walk => walk(ctx, world, me),
        At::WalkAcquit => {
            let blob = world.regs(me).key;
            acquit(ctx, world, blob);
            world.go(me, At::Walk);
        }
        At::ExpireAppend | At::ExpireExchange | At::ExpirePublish | At::ExpireLost => {
            expire(ctx, world, me)?;
        }
        At::Sweep => sweep(ctx, world, me)?,
        at => unreachable!("{at:?} is no step of the collector"),
    }
    Ok(())
}

/// One at a time: whoever finds the lock taken goes on without.
pub fn begin(ctx: &Context<'_>, world: &mut World, me: usize) {
    if world.collector != NONE && ctx.keeps(Rule::OneCollector) {
        ctx.note(|| "finds another collector at work".into());
        return world.finish(me);
    }
    world.collector = me as u8;
    world.go(me, At::Orphans);
}

/// Seals what the dead have left open.
pub fn orphans(ctx: &Context<'_>, world: &mut World, me: usize, then: At) {
    let is_orphan = |segment: &crate::world::Segment| segment.is_open() && segment.owner == NONE;
    match world.segments.iter().position(is_orphan) {
        Some(orphan) => {
            ctx.note(|| format!("takes up segment {orphan} to seal it"));
            world.segments[orphan].owner = me as u8;
            seal::begin(world, me, orphan as u8, At::Orphans);
        }
        None => {
            *world.regs_mut(me) = Default::default();
            world.regs_mut(me).root = world.root();
            if !ctx.keeps(Rule::InflightAfterCondemn) {
                world.regs_mut(me).listed = world.list(|segment| segment.is_open());
            }
            world.go(me, then);
        }
    }
}

fn condemn(ctx: &Context<'_>, world: &mut World, me: usize) {
    let key = world.regs(me).at;
    let word = world.lookup(key);
    if word.names() {
        ctx.note(|| format!("condemns {} ({word})", name_of(key)));
        world.store(key, Word { is_condemned: true, ..word });
    }
    world.regs_mut(me).at += 1;
    if key == 1 {
        world.regs_mut(me).at = if ctx.keeps(Rule::InflightSeen) { 0 } else { 2 };
        let looks = ctx.keeps(Rule::InflightSeen);
        world.go(me, if looks { At::Inflight } else { At::Walk });
    }
}

fn list_inflight(ctx: &Context<'_>, world: &mut World, me: usize) {
    if ctx.keeps(Rule::InflightAfterCondemn) {
        world.regs_mut(me).listed = world.list(|segment| segment.is_open());
    }
    let listed = world.regs(me).listed;
    ctx.note(|| format!("lists the open segments {listed:#b}"));
    let regs = world.regs_mut(me);
    (regs.todo, regs.key) = (listed, 0);
    world.go(me, At::InflightRead);
}

/// Reads the next record of the segments that were open.
fn read_inflight(ctx: &Context<'_>, world: &mut World, me: usize) {
    let regs = world.regs(me);
    if regs.todo == 0 {
        world.regs_mut(me).at = 2;
        return world.go(me, At::Walk);
    }
    let number = lowest(regs.todo);
    let records = &world.segments[number as usize].records;
    let from = regs.key as usize;
    let is_pending = |record: &&Record| !record.is_published && record.blob != NONE;
    let next = (from..records.len()).find(|at| is_pending(&&records[*at]));
    let Some(at) = next else {
        let regs = world.regs_mut(me);
        (regs.todo, regs.key) = (regs.todo & (regs.todo - 1), 0);
        return;
    };
    let record = records[at];
    world.regs_mut(me).key = at as u8 + 1;
    if is_void(ctx, world, &record) {
        return ctx.note(|| format!("passes over {record} at {number}.{at}, which is void"));
    }
    ctx.note(|| format!("sees {record} at {number}.{at} in flight"));
    world.regs_mut(me).victims = 1 << record.blob;
    world.go(me, At::InflightAcquit);
}

fn is_void(ctx: &Context<'_>, world: &World, record: &Record) -> bool {
    let word = world.lookup(record.key);
    let is_beyond = |named: &Record| named.number >= record.number;
    word.names() && (is_beyond(world.record(word.loc)) || !ctx.keeps(Rule::VoidWhenSuperseded))
}

fn acquit_inflight(ctx: &Context<'_>, world: &mut World, me: usize) {
    let blobs = world.regs(me).victims;
    acquit(ctx, world, lowest(blobs));
    world.regs_mut(me).victims = blobs & (blobs - 1);
    if blobs & (blobs - 1) == 0 {
        world.go(me, At::InflightRead);
    }
}

fn acquit(ctx: &Context<'_>, world: &mut World, blob: u8) {
    let word = world.lookup(blob);
    if word.names() {
        ctx.note(|| format!("acquits {} ({word})", name_of(blob)));
        world.store(blob, word.acquitted());
    }
}

fn walk(ctx: &Context<'_>, world: &mut World, me: usize) {
    let regs = world.regs(me);
    if regs.at as usize == KEYS || !ctx.keeps(Rule::WalkAcquits) {
        let regs = world.regs_mut(me);
        (regs.at, regs.key) = (0, 0);
        let has_expired = regs.name_seen.names();
        return world.go(me, if has_expired { At::ExpireAppend } else { At::Sweep });
    }
    let word = match ctx.keeps(Rule::WalkSeesGrowth) {
        true => world.lookup(regs.at),
        // The table of the time when the walk began.
        false => world.tables[(regs.root >> 1 & 1) as usize][regs.at as usize],
    };
    ctx.note(|| format!("walks over {}: {word}", name_of(regs.at)));
    let record = word.is_live().then(|| *world.record(word.loc));
    let is_expired =
        |(key, number)| record.is_some_and(|record| record.key == key && record.version <= number);
    let blob = match ctx.scenario.expired.is_some_and(is_expired) {
        true => {
            ctx.note(|| "finds it expired".into());
            world.regs_mut(me).name_seen = word;
            NONE
        }
        false => record.map_or(NONE, |record| record.blob),
    };
    let regs = world.regs_mut(me);
    (regs.at, regs.key) = (regs.at + 1, blob);
    if blob != NONE {
        world.go(me, At::WalkAcquit);
    }
}

/// Removes the ref that was found expired.
fn expire(ctx: &Context<'_>, world: &mut World, me: usize) -> Checked {
    let regs = world.regs(me);
    let name = world.record(regs.name_seen.loc).key;
    match world.processes[me].at {
        At::ExpireAppend => {
            let number = world.draw(1);
            let loc = world.append(ctx, me, &[Record::new(name, number).tomb()]);
            world.regs_mut(me).loc = loc;
            world.go(me, At::ExpireExchange);
        }
        At::ExpireExchange => {
            let seen = match ctx.keeps(Rule::ExpiredExactly) {
                true => regs.name_seen,
                false => world.lookup(name),
            };
            let is_moved = world.exchange(ctx, name, seen, regs.loc)?;
            world.go(me, if is_moved { At::ExpirePublish } else { At::ExpireLost });
        }
        At::ExpirePublish => {
            world.publish(ctx, regs.loc)?;
            world.go(me, At::Sweep);
        }
        _ => {
            let word = world.lookup(name);
            let blob = if word.is_live() { world.record(word.loc).blob } else { NONE };
            if blob != NONE {
                acquit(ctx, world, blob);
            }
            world.go(me, At::Sweep);
        }
    }
    Ok(())
}

fn sweep(ctx: &Context<'_>, world: &mut World, me: usize) -> Checked {
    let regs = world.regs(me);
    if regs.at == 2 {
        match ctx.op(world, me) {
            Op::Compact => world.go(me, At::Victims),
            _ => world.finish(me),
        }
        return Ok(());
    }
    let word = world.lookup(regs.at);
    let is_swept = word.is_live() && word.is_condemned;
    if !ctx.keeps(Rule::SweepExact) && regs.key != 1 {
        // Looks first, and sweeps whatever is there then.
        let regs = world.regs_mut(me);
        (regs.key, regs.at) = if is_swept { (1, regs.at) } else { (0, regs.at + 1) };
        return Ok(());
    }
    if is_swept || regs.key == 1 && !ctx.keeps(Rule::SweepExact) {
        ctx.note(|| format!("sweeps {} ({word})", name_of(regs.at)));
        sweep_one(ctx, world, me, regs.at, word)?;
    }
    let regs = world.regs_mut(me);
    (regs.key, regs.at) = (0, regs.at + 1);
    Ok(())
}

fn sweep_one(ctx: &Context<'_>, world: &mut World, me: usize, key: u8, word: Word) -> Checked {
    if ctx.keeps(Rule::SweepWithoutTombstone) {
        world.store(key, Word { state: State::Dead, is_condemned: false, ..word });
        return Ok(());
    }
    let number = world.draw(1);
    let loc = world.append(ctx, me, &[Record::new(key, number).tomb()]);
    if world.exchange(ctx, key, word, loc)? {
        world.publish(ctx, loc)?;
    }
    Ok(())
}
