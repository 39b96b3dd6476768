//! Where the words of a table stand, and which key goes where: pure arithmetic (spec/CONCURRENCY.md,
//! "The table").
//!
//! ```text
//! table     header | bucket[2^log2]
//! bucket    meta | key0[5] | key1[5] | word[5]        128 bytes; meta and all key0 in the first line
//! key0      0 EMPTY | 1 SEALED | first half of a key
//! key1      0 unclaimed | second half of a key
//! ```
//!
//! The home bucket of a key is in the high bits of key0, so bucket j splits into 2j and 2j+1, and
//! growth runs through both tables in order.
#![forbid(unsafe_code)]

use crate::error::{Error, ErrorKind, REMOVE_RUN, Result};
use crate::id::Key;
use crate::sync::Words;

/// Slots of a bucket: what two cache lines hold. Under loom as few as show every protocol step.
pub const SLOTS: usize = if cfg!(not(loom)) {
    5
} else if cfg!(loom_slots = "2") {
    2
} else {
    1
};
/// Words of a bucket.
pub const BUCKET_WORDS: usize = 1 + 3 * SLOTS;
/// Words before the first bucket: lines of their own for each word that moves. Loom has no lines.
pub const HEADER_WORDS: usize = if cfg!(loom) { WRITTEN_WORDS + 3 } else { 64 };
/// Most buckets: 2^40, 128 TiB. Sizes read from shared words are checked against it.
pub const LOG2_MAX: u32 = 40;

/// Words of the header that are written once, before the table has a name.
pub const WRITTEN_WORDS: usize = 8;
const MAGIC_WORD: usize = 0;
const VERSION_WORD: usize = 1;
const STAMP_WORD: usize = 2;
const GENERATION_WORD: usize = 6;
const LOG2_WORD: usize = 7;
/// First bucket of the table before that nobody has taken for copying (a hint).
pub const CURSOR_WORD: usize = if cfg!(loom) { WRITTEN_WORDS } else { 16 };
/// All buckets below, in the table before, are MIGRATED: moved only by who has seen that.
pub const LOW_WORD: usize = if cfg!(loom) { WRITTEN_WORDS + 1 } else { 24 };
/// Slots claimed in this table (a hint; a participant that dies may leave its claim out).
pub const USED_WORD: usize = if cfg!(loom) { WRITTEN_WORDS + 2 } else { 32 };

const MAGIC: u64 = u64::from_le_bytes(*b"DRYINDEX");
const VERSION: u64 = 1;

/// key0 of a slot that was never claimed.
pub const EMPTY: u64 = 0;
/// key0 of a slot that never will be.
pub const SEALED: u64 = 1;
/// key1 of a slot whose claimer has not come that far.
pub const UNCLAIMED: u64 = 0;
/// meta: every slot of this bucket is sealed or frozen, and copied.
pub const MIGRATED: u64 = 1;

const _: () =
    assert!(cfg!(loom) || BUCKET_WORDS == 16 && HEADER_WORDS.is_multiple_of(BUCKET_WORDS));
const _: () = assert!(USED_WORD < HEADER_WORDS && LOG2_MAX < 57);

/// Words of a table of `2^log2` buckets; sizes above the largest count as it.
pub const fn table_words(log2: u32) -> usize {
    let log2 = if log2 < LOG2_MAX { log2 } else { LOG2_MAX };
    HEADER_WORDS + (BUCKET_WORDS << log2)
}

/// The key as the table holds it: the values that mean EMPTY, SEALED and unclaimed are moved aside.
/// Keys that thereby become one are told apart like any two with equal 128 bits: by their records.
#[inline]
pub fn canonical(key: Key) -> Key {
    let hi = if key.hi <= SEALED { key.hi + 2 } else { key.hi };
    Key { hi, lo: key.lo.max(UNCLAIMED + 1) }
}

/// The home of a key in a table of `2^log2` buckets.
#[inline]
pub fn home(hi: u64, log2: u32) -> usize {
    // In two shifts, because the first 64 bits of none are 0, and not hi.
    ((hi >> 1) >> (63 - log2)) as usize
}

/// The first key of the bucket after `bucket`; `None` after the last.
pub fn next_position(bucket: usize, log2: u32) -> Option<u64> {
    let next = bucket as u64 + 1;
    (next < 1 << log2).then(|| next << (64 - log2))
}

/// The header of a fresh table; all words after it are zero.
///
/// `stamp` names the store and the run; a table of another run is never adopted.
pub fn header(stamp: [u64; 4], generation: u32, log2: u32) -> [u64; WRITTEN_WORDS] {
    let mut words = [0; WRITTEN_WORDS];
    words[MAGIC_WORD] = MAGIC;
    words[VERSION_WORD] = VERSION;
    words[STAMP_WORD..GENERATION_WORD].copy_from_slice(&stamp);
    words[GENERATION_WORD] = u64::from(generation);
    words[LOG2_WORD] = u64::from(log2);
    words
}

/// The binary logarithm of a table's buckets, from its header.
///
/// # Errors
/// `Damaged` if it is not the header of this generation of this run, or longer than its file.
pub fn checked_log2(words: &impl Words, stamp: [u64; 4], generation: u32) -> Result<u32> {
    let wrong = |what: &str, expected: u64, found: u64| {
        let message = format!("a table of the index has a wrong {what}");
        Err(damaged(message).expected(format!("{expected:#x}")).found(format!("{found:#x}")))
    };
    if words.len() < table_words(0) {
        return wrong("length", table_words(0) as u64, words.len() as u64);
    }
    let log2 = words.load(LOG2_WORD);
    if log2 > u64::from(LOG2_MAX) {
        return wrong("size", u64::from(LOG2_MAX), log2);
    }
    for (at, expected) in header(stamp, generation, log2 as u32).into_iter().enumerate() {
        if words.load(at) != expected {
            return wrong("header", expected, words.load(at));
        }
    }
    if words.len() < table_words(log2 as u32) {
        return wrong("length", table_words(log2 as u32) as u64, words.len() as u64);
    }
    Ok(log2 as u32)
}

/// An error of the index itself.
#[cold]
pub fn damaged(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Damaged, message).advice(REMOVE_RUN)
}
