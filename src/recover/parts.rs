//! Published records, parted by their keys so that threads can work on them side by side.
//!
//! I1  A part holds the keys of one stretch of the key space, so of a large enough table it fills one
//!     stretch of the buckets.
#![forbid(unsafe_code)]

use crate::format::word::Word;
use crate::id::Key;

/// Binary logarithm of the number of parts.
pub const PARTS_LOG2: u32 = 8;
const PARTS: usize = 1 << PARTS_LOG2;

/// A published record.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    /// Its key.
    pub key: Key,
    /// Its number.
    pub sequence: u64,
    /// Its word.
    pub word: Word,
}

/// Records, parted.
#[derive(Clone, Debug)]
pub struct Parts(Vec<Vec<Item>>);

impl Default for Parts {
    fn default() -> Self {
        Self(vec![Vec::new(); PARTS])
    }
}

/// The part of a key.
#[inline]
pub fn part_of(key: Key) -> usize {
    (key.hi >> (u64::BITS - PARTS_LOG2)) as usize
}

impl Parts {
    /// Adds a record.
    #[inline]
    pub fn push(&mut self, item: Item) {
        self.0[part_of(item.key)].push(item);
    }

    /// The records of one part in all of these.
    pub fn concat(all: &[Self], part: usize) -> Vec<Item> {
        let pieces: Vec<&[Item]> = all.iter().map(|parts| &parts.0[part][..]).collect();
        pieces.concat()
    }

    /// The numbers of all parts.
    pub fn numbers() -> std::ops::Range<usize> {
        0..PARTS
    }
}
