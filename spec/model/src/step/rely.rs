//! Relying on a record of somebody else: its state byte, and that of the blob that it names; under
//! `Synced` both last, and the word is looked at again.

use super::Stepping;
use crate::rules::Rule;
use crate::world::{At, Checked, Context, NONE, Word, World, is_ref, name_of};

pub fn step(ctx: &Context<'_>, world: &mut World, me: usize, is_synced: bool) -> Checked {
    match world.processes[me].at {
        At::Rely => begin(ctx, world, me),
        At::RelyBlob => blob_byte(ctx, world, me, is_synced)?,
        At::RelyBlobSync => {
            world.vouch(ctx, world.regs(me).rely_blob.loc.0);
            world.go(me, At::RelyBlobAgain);
        }
        At::RelyBlobAgain => {
            let regs = world.regs(me);
            let blob = world.record(regs.rely_word.loc).blob;
            let again = same(ctx, world, blob, regs.rely_blob);
            world.go(me, if again { At::RelyByte } else { At::Rely });
        }
        At::RelyByte => byte(ctx, world, me, is_synced)?,
        At::RelySync => {
            if world.is_gone(world.regs(me).rely_word.loc) {
                world.go(me, world.regs(me).retry);
            } else {
                world.vouch(ctx, world.regs(me).rely_word.loc.0);
                world.go(me, At::RelyAgain);
            }
        }
        At::RelyAgain => {
            let regs = world.regs(me);
            let again = same(ctx, world, regs.rely_key, regs.rely_word);
            world.go(me, if again { regs.ok } else { regs.retry });
        }
        at => unreachable!("{at:?} is no step of relying"),
    }
    Ok(())
}

fn same(ctx: &Context<'_>, world: &World, key: u8, word: Word) -> bool {
    let now = world.lookup(key);
    ctx.note(|| format!("looks at {} again: {now}", name_of(key)));
    now.is_same_record(word) || !ctx.keeps(Rule::SecondLook)
}

/// A ref that is live: its blob first.
fn begin(ctx: &Context<'_>, world: &mut World, me: usize) {
    let regs = world.regs(me);
    if world.is_gone(regs.rely_word.loc) {
        return world.go(me, regs.retry);
    }
    let record = *world.record(regs.rely_word.loc);
    let names_blob = is_ref(regs.rely_key) && regs.rely_word.is_live() && record.blob != NONE;
    if !names_blob || !ctx.keeps(Rule::RelierReliesOnBlob) {
        return world.go(me, At::RelyByte);
    }
    let word = world.lookup(record.blob);
    ctx.note(|| format!("sees {} at {word}", name_of(record.blob)));
    world.regs_mut(me).rely_blob = word;
    world.go(me, if word.names() { At::RelyBlob } else { At::RelyByte });
}

fn blob_byte(ctx: &Context<'_>, world: &mut World, me: usize, is_synced: bool) -> Checked {
    let loc = world.regs(me).rely_blob.loc;
    if world.is_gone(loc) {
        world.go(me, At::Rely);
        return Ok(());
    }
    world.publish(ctx, loc)?;
    world.go(me, if is_synced { At::RelyBlobSync } else { At::RelyByte });
    Ok(())
}

fn byte(ctx: &Context<'_>, world: &mut World, me: usize, is_synced: bool) -> Checked {
    let regs = world.regs(me);
    if world.is_gone(regs.rely_word.loc) {
        world.go(me, regs.retry);
        return Ok(());
    }
    if ctx.keeps(Rule::RelierSetsByte) {
        world.publish(ctx, regs.rely_word.loc)?;
    }
    let syncs = is_synced && ctx.keeps(Rule::RelierSyncs);
    world.go(me, if syncs { At::RelySync } else { world.regs(me).ok });
    Ok(())
}
