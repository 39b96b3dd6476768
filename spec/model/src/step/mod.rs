//! The steps of the participants. Each changes at most one thing that others see.

mod collect;
mod compact;
mod enter;
mod grow;
mod name;
mod recover;
mod rely;
mod remove;
mod seal;
mod sync;

use crate::rules::Rule;
use crate::script::Op;
use crate::world::{At, Checked, Context, Key, NONE, Registers, Word, World};

/// Where a participant goes next.
pub trait Stepping {
    fn regs(&self, me: usize) -> Registers;
    fn regs_mut(&mut self, me: usize) -> &mut Registers;
    fn go(&mut self, me: usize, at: At);
    /// Begins the operation again.
    fn restart(&mut self, me: usize);
    /// Ends the operation.
    fn finish(&mut self, me: usize);
    /// Relies on what a key's word names, and goes on at `ok`, or at `retry` if it has moved.
    fn rely(&mut self, me: usize, key: Key, word: Word, ok: At, retry: At);
}

impl Stepping for World {
    fn regs(&self, me: usize) -> Registers {
        self.processes[me].regs.clone()
    }

    fn regs_mut(&mut self, me: usize) -> &mut Registers {
        &mut self.processes[me].regs
    }

    fn go(&mut self, me: usize, at: At) {
        self.processes[me].at = at;
    }

    fn restart(&mut self, me: usize) {
        let process = &mut self.processes[me];
        (process.at, process.regs) = (At::Begin, Registers::default());
    }

    fn finish(&mut self, me: usize) {
        self.restart(me);
        self.processes[me].op += 1;
        if self.collector == me as u8 {
            self.collector = NONE;
        }
    }

    fn rely(&mut self, me: usize, key: Key, word: Word, ok: At, retry: At) {
        let regs = self.regs_mut(me);
        (regs.rely_key, regs.rely_word, regs.ok, regs.retry) = (key, word, ok, retry);
        self.go(me, At::Rely);
    }
}

/// Whether a participant can take a step.
pub fn is_enabled(ctx: &Context<'_>, world: &World, me: usize) -> bool {
    let process = &world.processes[me];
    let has_op = process.is_alive && (process.op as usize) < ctx.ops(world, me).len();
    has_op && (world.has_run || matches!(ctx.op(world, me), Op::Recover))
}

/// Takes the next step of a participant.
///
/// # Errors
/// The rule that it breaks.
pub fn step(ctx: &Context<'_>, world: &mut World, me: usize) -> Checked {
    take(ctx, world, me)?;
    let process = &world.processes[me];
    if world.power_losses == 0 && ctx.scenario.death == Some((me, process.op, process.at)) {
        ctx.note(|| "dies".into());
        kill(world, me);
    }
    Ok(())
}

fn take(ctx: &Context<'_>, world: &mut World, me: usize) -> Checked {
    if world.processes[me].at == At::Begin
        && !ctx.keeps(Rule::NumberAfterLoad)
        && world.regs(me).root == 0
    {
        world.regs_mut(me).root = world.draw(2);
    }
    if enter::is_due(ctx, world, me) {
        return enter::step(ctx, world, me);
    }
    match ctx.op(world, me) {
        Op::Put { .. } | Op::Set { .. } | Op::Add { .. } => name::step(ctx, world, me),
        Op::Remove { .. } | Op::Expire { .. } => remove::step(ctx, world, me),
        Op::Sync => sync::step(ctx, world, me),
        Op::Seal => seal::step(ctx, world, me),
        Op::Collect => collect::step(ctx, world, me),
        Op::Compact => compact::step(ctx, world, me),
        Op::Recover => recover::step(ctx, world, me),
        Op::Grow => grow::step(ctx, world, me),
    }
}

/// Kills a participant: the kernel drops its locks.
pub fn kill(world: &mut World, me: usize) {
    world.kills += 1;
    let process = &mut world.processes[me];
    process.is_alive = false;
    (process.at, process.regs, process.segment) = (At::Begin, Registers::default(), NONE);
    for segment in &mut world.segments {
        if segment.owner == me as u8 {
            segment.owner = NONE;
        }
    }
    if world.collector == me as u8 {
        world.collector = NONE;
    }
}

/// The lowest of a set of segments or keys.
fn lowest(set: u16) -> u8 {
    set.trailing_zeros() as u8
}
