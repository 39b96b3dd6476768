//! A recoverer: gather, fold, bury, name the run; and one that comes late.

use super::{Stepping, lowest};
use crate::fold::{Folded, Found, check, fold};
use crate::rules::Rule;
use crate::world::{
    At, Checked, Context, KEYS, Key, Loc, NONE, Record, State, Word, World, is_ref,
};

pub fn step(ctx: &Context<'_>, world: &mut World, me: usize) -> Checked {
    match world.processes[me].at {
        At::Begin => begin(ctx, world, me),
        At::List => {
            world.regs_mut(me).todo = world.list(|segment| !segment.is_unlinked);
            world.go(me, At::Gather);
        }
        At::Gather => gather(ctx, world, me),
        At::Bury => bury_beside(ctx, world, me),
        At::BuryByte => bury_byte(world, me),
        At::BurySync => {
            world.vouch(ctx, world.regs(me).segment);
            world.go(me, after_burial(ctx));
        }
        At::SealWalked => seal_walked(ctx, world, me),
        At::Rename => rename(ctx, world, me)?,
        at => unreachable!("{at:?} is no step of a recovery"),
    }
    Ok(())
}

fn begin(ctx: &Context<'_>, world: &mut World, me: usize) {
    if world.has_run {
        ctx.note(|| "finds a run".into());
        return world.finish(me);
    }
    ctx.note(|| "finds no run, begins to recover".into());
    world.go(me, At::List);
}

fn gather(ctx: &Context<'_>, world: &mut World, me: usize) {
    let todo = world.regs(me).todo;
    if todo != 0 {
        let number = lowest(todo);
        let segment = &world.segments[number as usize];
        let counts = |(at, record): (usize, &Record)| {
            u16::from(record.is_published || segment.lists_published(at)) << at
        };
        let mut published: u16 = segment.records.iter().enumerate().map(counts).sum();
        if segment.is_unlinked {
            published = 0;
        }
        ctx.note(|| format!("reads segment {number}: {published:#b} published"));
        // What stands in it unpublished counts for the numbers.
        let highest = segment.records.iter().map(|record| record.number).max().unwrap_or(0);
        let regs = world.regs_mut(me);
        regs.gathered.push((number, published));
        (regs.todo, regs.number) = (todo & (todo - 1), regs.number.max(highest));
    }
    if world.regs(me).todo == 0 {
        let is_beside = !ctx.keeps(Rule::BuriedUnderRun) && ctx.keeps(Rule::PassedOverBuried);
        world.go(me, if is_beside { At::Bury } else { after_burial(ctx) });
    }
}

fn after_burial(ctx: &Context<'_>) -> At {
    if ctx.keeps(Rule::SealedUnderRun) { At::Rename } else { At::SealWalked }
}

fn folded(ctx: &Context<'_>, world: &World, me: usize) -> Folded {
    let mut found = Vec::new();
    for &(number, published) in &world.processes[me].regs.gathered {
        let records = world.segments[number as usize].records.iter().enumerate();
        for (at, record) in records.filter(|(at, _)| published >> at & 1 == 1) {
            let loc = Loc(number, at as u8);
            found.push(Found { loc, record: *record, is_there: true });
        }
    }
    fold(ctx, &found)
}

/// The records that bury what was passed over, with new numbers.
fn burials(ctx: &Context<'_>, folded: &Folded, highest: u8) -> Vec<Record> {
    let mut burials = Vec::new();
    if !ctx.keeps(Rule::PassedOverBuried) {
        return burials;
    }
    for key in 0..KEYS {
        if folded.passed[key].is_none() {
            continue;
        }
        let number = highest + 1 + burials.len() as u8;
        let instead = folded.winners[key].map(|found| found.record.copied(number));
        let tomb = Record::new(key as Key, number).tomb();
        burials.push(Record { was_named: true, ..instead.unwrap_or(tomb) });
    }
    burials
}

/// As it must not be done: the burials stand among the segments before the run has its name.
fn bury_beside(ctx: &Context<'_>, world: &mut World, me: usize) {
    let burials = burials(ctx, &folded(ctx, world, me), world.regs(me).number);
    if burials.is_empty() {
        return world.go(me, after_burial(ctx));
    }
    let segment = world.make_segment();
    world.segments[segment].owner = me as u8;
    for record in &burials {
        ctx.note(|| format!("buries: {record} in segment {segment}"));
    }
    world.segments[segment].records = burials;
    world.regs_mut(me).segment = segment as u8;
    world.go(me, At::BuryByte);
}

fn bury_byte(world: &mut World, me: usize) {
    let segment = &mut world.segments[world.processes[me].regs.segment as usize];
    segment.records.iter_mut().for_each(|record| record.is_published = true);
    let listed = (1 << segment.records.len()) - 1;
    (segment.footer, segment.owner) = (Some(listed), NONE);
    world.go(me, At::BurySync);
}

/// As it must not be done: the next open segment is sealed by what this recovery's index names, before
/// the run has its name.
fn seal_walked(ctx: &Context<'_>, world: &mut World, me: usize) {
    let gathered = world.regs(me).gathered;
    let at = world.regs(me).at as usize;
    let Some(&(number, published)) = gathered.get(at) else { return world.go(me, At::Rename) };
    world.regs_mut(me).at += 1;
    let segment = &mut world.segments[number as usize];
    if segment.is_open() && segment.owner == NONE {
        ctx.note(|| format!("seals segment {number}, {published:#b} listed as published"));
        segment.footer = Some(published);
    }
}

/// Gives the run its name, unless there is one; what it buries comes with it.
fn rename(ctx: &Context<'_>, world: &mut World, me: usize) -> Checked {
    if world.has_run {
        ctx.note(|| "finds another run in place, and uses that".into());
        world.finish(me);
        return Ok(());
    }
    let folded = folded(ctx, world, me);
    let highest = world.regs(me).number;
    let burials = burials(ctx, &folded, highest);
    ctx.note(|| "gives its run its name".into());
    check(ctx, world, &folded)?;
    world.has_run = true;
    world.counter = highest + 1 + burials.len() as u8;
    for (key, winner) in folded.winners.iter().enumerate() {
        settle_history(world, me, key as Key, winner.map(|found| found.record));
        if let Some(found) = winner {
            let state = found.record.state();
            world.tables[0][key] = Word { state, loc: found.loc, ..Word::default() };
        }
    }
    if ctx.keeps(Rule::BuriedUnderRun) {
        // Whoever enters the run to write does it.
        for burial in &burials {
            world.unburied |= 1 << burial.key;
            world.instead[burial.key as usize] = world.lookup(burial.key);
        }
    } else {
        name_burials(world, me, &burials);
    }
    world.finish(me);
    Ok(())
}

/// As it must not be done: the run begins with the burials that stand among the segments.
fn name_burials(world: &mut World, me: usize, burials: &[Record]) {
    for (at, burial) in burials.iter().enumerate() {
        let (key, state) = (burial.key as usize, burial.state());
        let loc = Loc(world.regs(me).segment, at as u8);
        world.tables[0][key] = Word { state, loc, ..Word::default() };
        let promise = &mut world.promises[key];
        promise.last = burial.number;
        if state == State::Tomb {
            (promise.last_tomb, promise.floor) = (burial.version, burial.version);
        }
    }
}

/// What came out is what the key's history goes on from; later versions are void.
fn settle_history(world: &mut World, me: usize, key: Key, winner: Option<Record>) {
    let version = winner.map_or(0, |record| record.version);
    for (number, _) in world.regs(me).gathered {
        let records = world.segments[number as usize].records.iter_mut();
        let of_key = records.filter(|record| record.key == key);
        // What nobody has named and never will is void anyway.
        of_key.filter(|record| record.version > version && is_ref(key)).for_each(|record| {
            record.is_void = true;
        });
    }
    let promise = &mut world.promises[key as usize];
    promise.last = winner.map_or(0, |record| record.number);
    if is_ref(key) {
        promise.floor = version;
        promise.last_tomb = match winner {
            Some(record) if !record.is_tomb => 0,
            _ => version,
        };
    }
}
