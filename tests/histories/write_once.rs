//! Blobs that are put once, as intervals: since when a blob may be there, and while it must be.
//!
//! It may be there from the beginning of its put on. It must be there while something holds it for
//! certain: its pin, from the put's end to the beginning of the unpinning; a ref, from the end of the
//! set to the beginning of whatever may have superseded it. Where one hold ends behind the beginning of
//! the next, the two are one. Nothing comes back once it is gone.
#![forbid(unsafe_code)]

/// A stretch of time.
pub type Interval = (u64, u64);

/// What is known about one blob.
#[derive(Clone, Debug)]
pub struct Life {
    /// When it was put; until its process was dead, where that was not acknowledged.
    pub put: Interval,
    /// While it was held for certain.
    pub holds: Vec<Interval>,
    /// While somebody looked for it, and whether it was found.
    pub looks: Vec<(Interval, bool)>,
}

/// Whether what was seen of a blob can have been.
pub fn check(life: &Life) -> Result<(), String> {
    let (put_begin, put_end) = life.put;
    let holds = merged(&life.holds);
    let mut absent_first = None::<Interval>;
    for &((begin, end), is_found) in &life.looks {
        if is_found && end < put_begin {
            return Err(format!("found at {begin}..{end}, and put at {:?}", life.put));
        }
        let is_held = holds.iter().any(|(from, to)| *from <= begin && end <= *to);
        if !is_found && is_held {
            return Err(format!("absent at {begin}..{end}, and held at {holds:?}"));
        }
        let ends_first = absent_first.is_none_or(|(_, first)| end < first);
        if !is_found && begin > put_end && ends_first {
            absent_first = Some((begin, end));
        }
    }
    let Some(absent) = absent_first else { return Ok(()) };
    let back = life.looks.iter().find(|((begin, _), is_found)| *is_found && *begin > absent.1);
    match back {
        Some((found, _)) => {
            Err(format!("put at {:?}, absent at {absent:?}, and back at {found:?}", life.put))
        }
        None => Ok(()),
    }
}

/// Holds that follow each other without a gap are one.
fn merged(holds: &[Interval]) -> Vec<Interval> {
    let mut holds: Vec<Interval> = holds.iter().copied().filter(|(from, to)| from <= to).collect();
    holds.sort_unstable();
    let mut merged: Vec<Interval> = Vec::new();
    for (from, to) in holds {
        match merged.last_mut() {
            Some((_, end)) if from <= *end => *end = to.max(*end),
            _ => merged.push((from, to)),
        }
    }
    merged
}
