//! sync(): sets the byte of whatever the index names instead of, or as, each pending record; lists
//! the segments again, and makes each of them last; at the end their names.

use super::{Stepping, lowest};
use crate::rules::Rule;
use crate::world::{At, Checked, Context, KEYS, Loc, NONE, Segment, State, World, is_ref, name_of};

pub fn step(ctx: &Context<'_>, world: &mut World, me: usize) -> Checked {
    match world.processes[me].at {
        At::Begin => begin(ctx, world, me, At::Done),
        At::Settle => settle(ctx, world, me),
        At::SettleBlob => settle_blob(ctx, world, me)?,
        At::SettleByte => settle_byte(ctx, world, me)?,
        At::List => list(ctx, world, me),
        At::SyncEach => sync_each(ctx, world, me),
        At::SyncNames => {
            ctx.note(|| "syncs the names of the segments".into());
            world.sync_names();
            let is_sealed = |segment: &Segment| segment.is_sealed() && segment.footer_on_medium;
            world.lasting = if ctx.scenario.is_one_process { world.list(is_sealed) } else { 0 };
            let then = world.regs(me).after_sync;
            world.go(me, then);
            if then == At::Done {
                done(ctx, world, me);
            }
        }
        at => unreachable!("{at:?} is no step of a sync"),
    }
    Ok(())
}

/// Begins a sync of the whole store, after which things go on at `then`.
pub fn begin(ctx: &Context<'_>, world: &mut World, me: usize, then: At) {
    let mut visible = [0; KEYS];
    for key in 0..KEYS as u8 {
        let word = world.lookup(key);
        if word.names() && (is_ref(key) || word.state == State::Tomb) {
            visible[key as usize] = world.record(word.loc).version;
        }
    }
    let listed = world.list(|segment| !segment.is_unlinked);
    ctx.note(|| format!("begins to sync, lists segments {listed:#b}"));
    let regs = world.regs_mut(me);
    (regs.visible, regs.after_sync, regs.at) = (visible, then, 0);
    (regs.todo, regs.listed, regs.syncing) = (listed, listed, 0);
    let is_settling = match then {
        At::Unlink => ctx.keeps(Rule::UnlinkSettles),
        _ => ctx.keeps(Rule::SyncSettles),
    };
    world.go(me, if is_settling { At::Settle } else { At::List });
}

/// Looks at the next pending record.
fn settle(ctx: &Context<'_>, world: &mut World, me: usize) {
    let regs = world.regs(me);
    if regs.todo == 0 {
        return world.go(me, if regs.syncing == 0 { At::List } else { At::SyncEach });
    }
    let number = lowest(regs.todo);
    let segment = &world.segments[number as usize];
    let records = segment.records.iter().enumerate().skip(regs.at as usize);
    let mut pending = records.filter(|(_, record)| !record.is_published);
    let Some((at, record)) = pending.next().filter(|_| segment.is_open()) else {
        let regs = world.regs_mut(me);
        (regs.todo, regs.at) = (regs.todo & (regs.todo - 1), 0);
        if regs.todo == 0 {
            let then = if regs.syncing == 0 { At::List } else { At::SyncEach };
            world.go(me, then);
        }
        return;
    };
    let (key, loc) = (record.key, Loc(number, at as u8));
    let word = world.lookup(key);
    ctx.note(|| format!("asks for the pending record at {loc}: {} is {word}", name_of(key)));
    let regs = world.regs_mut(me);
    (regs.at, regs.rely_word) = (at as u8 + 1, word);
    if !word.names() || (word.loc != loc && !ctx.keeps(Rule::SuperseederSettled)) {
        return;
    }
    let names_blob = word.is_live() && word.loc != loc && world.record(word.loc).blob != NONE;
    world.go(me, if names_blob { At::SettleBlob } else { At::SettleByte });
}

fn settle_blob(ctx: &Context<'_>, world: &mut World, me: usize) -> Checked {
    let word = world.lookup(world.record(world.regs(me).rely_word.loc).blob);
    if word.names() {
        world.publish(ctx, word.loc)?;
    }
    world.go(me, At::SettleByte);
    Ok(())
}

fn settle_byte(ctx: &Context<'_>, world: &mut World, me: usize) -> Checked {
    let loc = world.regs(me).rely_word.loc;
    if !world.is_gone(loc) {
        world.publish(ctx, loc)?;
    }
    world.go(me, At::Settle);
    Ok(())
}

/// What superseded a record meanwhile may stand in a segment that is new.
fn list(ctx: &Context<'_>, world: &mut World, me: usize) {
    let listed = match ctx.keeps(Rule::SyncListsAgain) {
        true => world.list(|segment| !segment.is_unlinked),
        false => world.regs(me).listed,
    };
    ctx.note(|| format!("lists segments {listed:#b}"));
    world.regs_mut(me).syncing = listed;
    world.go(me, if listed == 0 { At::SyncNames } else { At::SyncEach });
}

fn sync_each(ctx: &Context<'_>, world: &mut World, me: usize) {
    let regs = world.regs(me);
    let number = lowest(regs.syncing);
    let is_settled = regs.listed >> number & 1 == 1 || !ctx.keeps(Rule::SyncSettles);
    if !is_settled {
        let regs = world.regs_mut(me);
        (regs.todo, regs.at, regs.listed) = (1 << number, 0, regs.listed | 1 << number);
        return world.go(me, At::Settle);
    }
    let is_own = world.segments[number as usize].owner == me as u8;
    if is_own || ctx.keeps(Rule::SyncOfEverySegment) {
        ctx.note(|| format!("syncs segment {number}"));
        world.sync_segment(number);
    }
    let regs = world.regs_mut(me);
    regs.syncing &= regs.syncing - 1;
    if regs.syncing == 0 {
        world.go(me, At::SyncNames);
    }
}

fn done(ctx: &Context<'_>, world: &mut World, me: usize) {
    let visible = world.regs(me).visible;
    for key in (0..KEYS as u8).filter(|key| visible[*key as usize] > 0) {
        world.promise(ctx, key, visible[key as usize]);
    }
    world.finish(me);
}
