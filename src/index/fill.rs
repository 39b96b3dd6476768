//! Filling the first table of a run before anybody else sees it.
//!
//! I1  Whoever fills a stretch of buckets has it to itself, and the table holds nothing else yet; so
//!     plain stores do what claims and exchanges do.
//! I2  A key stands where a claim would have put it, or is handed back to be published.
//!
//! Death: the table has no name yet.
#![forbid(unsafe_code)]

use super::layout::{LOG2_MAX, SLOTS, canonical, home};
use super::table::Table;
use crate::format::word::Word;
use crate::id::Key;
use crate::sync::Words;
use std::ops::Range;

/// Puts keys, none twice, into the stretch of buckets that holds all their homes, and adds to `left`
/// those that it has no slot for: they are to be published when all stretches are full.
pub fn fill<W: Words>(
    words: &W,
    log2: u32,
    stretch: Range<usize>,
    keys: impl Iterator<Item = (Key, Word)>,
    left: &mut Vec<(Key, Word)>,
) {
    let Some(table) = Table::new(words, log2) else {
        left.extend(keys);
        return;
    };
    let mut placed = 0;
    for (key, word) in keys {
        let key = canonical(key);
        let first = home(key.hi, log2);
        let is_placed = stretch.contains(&first)
            && (first..stretch.end)
                .flat_map(|bucket| (0..SLOTS).map(move |slot| (bucket, slot)))
                .find_map(|(bucket, slot)| table.put_first(bucket, slot, key, word))
                .unwrap_or(false);
        if is_placed {
            placed += 1;
        } else {
            left.push((key, word));
        }
    }
    table.add_used(placed);
}

/// The buckets of stretch `number` of `2^stretches_log2`; `None` if the table has fewer buckets.
pub fn stretch(number: usize, stretches_log2: u32, log2: u32) -> Option<Range<usize>> {
    let each = log2.checked_sub(stretches_log2).filter(|_| log2 <= LOG2_MAX)?;
    Some(number << each..(number + 1) << each)
}
