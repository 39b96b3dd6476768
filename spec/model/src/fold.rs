//! What a recovery makes of the records that count (spec/DURABILITY.md, section "Recovery").

use crate::rules::Rule;
use crate::world::{Context, KEYS, Key, Loc, NONE, Record, World, is_ref};

/// A published record that a recovery has found.
#[derive(Clone, Copy)]
pub struct Found {
    pub loc: Loc,
    pub record: Record,
    /// Whether the record is really there, or only a footer that was believed says so.
    pub is_there: bool,
}

/// Of each key the record that counts, and the one that was passed over for it.
pub struct Folded {
    pub winners: [Option<Found>; KEYS],
    pub passed: [Option<Found>; KEYS],
}

/// Of each key the published record with the highest number counts; a version of a ref is passed over
/// if of the blob that it names no record with at least the number that it holds is there.
pub fn fold(ctx: &Context<'_>, found: &[Found]) -> Folded {
    let mut folded = Folded { winners: [None; KEYS], passed: [None; KEYS] };
    for key in 0..KEYS as Key {
        let newest = newest(found, key, |_| true);
        let counts = match is_ref(key) && ctx.keeps(Rule::PassedOver) {
            true => self::newest(found, key, |record| !is_broken(ctx, found, record)),
            false => newest,
        };
        let number = |found: Option<Found>| found.map_or(0, |found| found.record.number);
        folded.winners[key as usize] = counts;
        if number(newest) != number(counts) {
            folded.passed[key as usize] = newest;
        }
    }
    folded
}

fn newest(found: &[Found], key: Key, counts: impl Fn(&Record) -> bool) -> Option<Found> {
    let of_key = found.iter().filter(|found| found.record.key == key && counts(&found.record));
    of_key.max_by_key(|found| found.record.number).copied()
}

fn is_broken(ctx: &Context<'_>, found: &[Found], record: &Record) -> bool {
    let counts = |blob: &Record| !blob.is_tomb || ctx.keeps(Rule::TombsCountForRefs);
    record.blob != NONE
        && newest(found, record.blob, counts).is_none_or(|blob| blob.record.number < record.held)
}

/// Checks what came out of a power loss against what was promised.
///
/// # Errors
/// The promise that is broken.
pub fn check(ctx: &Context<'_>, world: &World, folded: &Folded) -> Result<(), String> {
    for key in 0..KEYS as Key {
        let winner = folded.winners[key as usize];
        check_key(ctx, world, key, winner)?;
        if let Some(Found { record: Record { blob, met, is_tomb: false, .. }, .. }) = winner
            && blob != NONE
        {
            let is_gone = folded.winners[blob as usize].is_none_or(|blob| {
                let is_swept = blob.record.is_tomb && !ctx.scenario.removes_blobs();
                is_swept || blob.record.number < met
            });
            if is_gone {
                return Err("a ref that counts names a blob that is not there".into());
            }
        }
    }
    Ok(())
}

fn check_key(
    ctx: &Context<'_>,
    world: &World,
    key: Key,
    winner: Option<Found>,
) -> Result<(), String> {
    let promise = world.promises[key as usize];
    let name = crate::world::name_of(key);
    ctx.note(|| match winner {
        Some(found) => format!("recovery finds {} at {}", found.record, found.loc),
        None => format!("recovery finds nothing of {name}"),
    });
    match winner {
        Some(found) if !found.is_there => {
            Err(format!("a footer is believed, and its record of {name} is not there"))
        }
        Some(found) if found.record.is_void => {
            Err(format!("a version of {name} that an earlier recovery passed over has come back"))
        }
        Some(found) if !found.record.was_named => {
            Err(format!("a record of {name} counts that the index has never named"))
        }
        Some(found)
            if found.record.version < promise.floor && (is_ref(key) || !found.record.is_tomb) =>
        {
            let (is, was) = (found.record.version, promise.floor);
            Err(format!("version #{is} of {name} counts, and #{was} was to last"))
        }
        None if is_ref(key) && promise.floor > promise.last_tomb => {
            Err(format!("{name} is gone, and version #{} was to last", promise.floor))
        }
        _ => Ok(()),
    }
}
