//! What a recovery does when its run is in use: the segments that proved nothing get an end that does,
//! so that the next one need not verify them again. One with torn records proves nothing behind the first
//! of them, for ever.
#![forbid(unsafe_code)]

use super::gather::Unproved;
use crate::engine::Engine;
use crate::error::Result;
use crate::segment::{Appender, Verifier, confirm_sealed};
use crate::sync::epoch::{Guard, pin};

/// Seals the open segments, and confirms the sealed ones in which all is whole. What cannot be done
/// (another one is at it, the disk is full) is no error: such a segment is only slower to read.
pub fn prove(engine: &Engine, unproved: &[Unproved]) {
    let guard = pin();
    for segment in unproved {
        drop(prove_one(engine, *segment, &guard));
    }
}

fn prove_one(engine: &Engine, segment: Unproved, guard: &Guard) -> Result<()> {
    let Unproved { number, is_sealed, is_whole } = segment;
    if is_sealed && is_whole {
        let confirmed = confirm_sealed(&engine.files, number, true);
        return engine.or_abandon(number, confirmed.map(drop), guard);
    }
    // Sealing looks at each of its records.
    let untouched = Verifier { is_named: &|_, _| Ok(true), is_whole: |_, _, _| true };
    match Appender::adopt_orphan(&engine.files, number, untouched)? {
        Some(appender) => engine.seal(appender, guard, true),
        // Sealed, with torn records in it: it proves nothing, until it is compacted.
        None => Ok(()),
    }
}
