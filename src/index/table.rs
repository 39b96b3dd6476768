//! One table: probing, claiming, freezing. Open addressing over buckets of two cache lines.
//!
//! I1  key0 goes once from EMPTY to a key or to SEALED, key1 once from unclaimed to a key; a word
//!     never returns to zero, and after FROZEN only VISITED may still change.
//! I2  A key has at most one slot: who claims a later one has passed the earlier one, and found in
//!     it, for good, another key.
//! I3  A slot whose key1 is unclaimed is passed by readers; it is not the end of a probe.
//!
//! Death: a slot with half a key, or a key and no word. Both read as absent; the next claimer of
//! such a key takes the slot over, and the next growth drops it.
#![forbid(unsafe_code)]

use super::layout::{
    BUCKET_WORDS, EMPTY, HEADER_WORDS, LOG2_MAX, MIGRATED, SEALED, SLOTS, UNCLAIMED, USED_WORD,
    home, table_words,
};
use crate::format::word::{Word, WordKind};
use crate::id::Key;
use crate::sync::Words;

/// What a probe found.
pub enum Find {
    /// The word's place.
    At(usize),
    /// No slot has this key.
    Absent,
    /// As absent, and the end of the probe was a sealed slot: a growth has begun.
    Sealed,
}

/// How a claim ended.
pub enum Claim {
    /// The slot with the word at this place is the key's.
    Mine {
        /// Place of the word.
        at: usize,
        /// Whether the slot was empty before.
        new: bool,
        /// Buckets from home.
        distance: usize,
    },
    /// A growth has begun.
    Sealed,
    /// No slot is left, or none for newcomers.
    Full,
}

/// How a claim of one slot ended.
enum Slot {
    Mine { new: bool },
    Other,
    Sealed,
    Full,
}

/// Who claims.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Claimer {
    /// A mutator: the last sixteenth of the slots is not for it.
    Newcomer,
    /// A copier: what was in the table before always has a place.
    Copier,
}

/// A table of `2^log2` buckets, checked to lie within its words.
pub struct Table<'t, W> {
    words: &'t W,
    log2: u32,
}

impl<W> Clone for Table<'_, W> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<W> Copy for Table<'_, W> {}

impl<'t, W: Words> Table<'t, W> {
    /// `None` if the words are too few.
    #[inline]
    pub fn new(words: &'t W, log2: u32) -> Option<Self> {
        (log2 <= LOG2_MAX && words.len() >= table_words(log2)).then_some(Self { words, log2 })
    }

    /// Binary logarithm of its buckets.
    pub fn log2(self) -> u32 {
        self.log2
    }

    /// Number of its buckets.
    #[inline]
    pub fn buckets(self) -> usize {
        1 << self.log2
    }

    /// Number of its slots.
    #[inline]
    pub fn slots(self) -> usize {
        SLOTS << self.log2
    }

    /// The words, for the header's hints.
    pub fn words(self) -> &'t W {
        self.words
    }

    /// Slots claimed (a hint).
    #[inline]
    pub fn used(self) -> usize {
        usize::try_from(self.words.load(USED_WORD)).unwrap_or(usize::MAX)
    }

    /// Adds to the slots claimed; returns their number.
    #[inline]
    pub fn add_used(self, slots: u64) -> usize {
        let used = self.words.fetch_add(USED_WORD, slots).saturating_add(slots);
        usize::try_from(used).unwrap_or(usize::MAX)
    }

    /// Slots above which the table ought to grow.
    #[inline]
    pub fn limit(self) -> usize {
        // Under loom a table grows only when it is full, or every second claim would begin a growth.
        if cfg!(loom) { self.slots() } else { self.slots() / 10 * 7 + self.slots() % 10 * 7 / 10 }
    }

    /// Slots above which newcomers are refused.
    #[inline]
    pub fn newcomers_max(self) -> usize {
        if cfg!(loom) { self.slots() } else { self.slots() - self.slots().div_ceil(16) }
    }

    #[inline]
    fn meta_at(self, bucket: usize) -> usize {
        HEADER_WORDS + bucket * BUCKET_WORDS
    }

    #[inline]
    fn key0_at(self, bucket: usize, slot: usize) -> usize {
        self.meta_at(bucket) + 1 + slot
    }

    #[inline]
    fn key1_at(self, bucket: usize, slot: usize) -> usize {
        self.meta_at(bucket) + 1 + SLOTS + slot
    }

    #[inline]
    fn word_at(self, bucket: usize, slot: usize) -> usize {
        self.meta_at(bucket) + 1 + 2 * SLOTS + slot
    }

    /// All buckets, from one on, with wrap-around.
    #[inline]
    fn path(self, from: usize) -> impl Iterator<Item = usize> {
        let mask = self.buckets() - 1;
        (0..=mask).map(move |distance| (from + distance) & mask)
    }

    /// All buckets in the order in which `key` looks for a slot.
    #[inline]
    pub fn path_of(self, key: Key) -> impl Iterator<Item = usize> {
        self.path(home(key.hi, self.log2))
    }

    /// Asks for both lines of the home bucket.
    #[inline]
    pub fn prefetch(self, key: Key) {
        let meta = self.meta_at(home(key.hi, self.log2));
        self.words.prefetch(meta);
        self.words.prefetch(meta + BUCKET_WORDS / 2);
    }

    /// The slot of `key`.
    #[inline]
    pub fn find(self, key: Key) -> Find {
        for bucket in self.path_of(key) {
            for slot in 0..SLOTS {
                let key0 = self.words.load(self.key0_at(bucket, slot));
                if key0 == key.hi && self.words.load(self.key1_at(bucket, slot)) == key.lo {
                    return Find::At(self.word_at(bucket, slot));
                }
                if key0 <= SEALED {
                    return if key0 == SEALED { Find::Sealed } else { Find::Absent };
                }
            }
        }
        Find::Absent
    }

    /// The word of `key`, if the home bucket has it; `None` says nothing.
    #[inline(always)]
    pub fn glance(self, key: Key) -> Option<Word> {
        let meta = self.meta_at(home(key.hi, self.log2));
        // Which slot it is cannot be predicted: without this the second line waits for the first.
        self.words.prefetch(meta + 1 + 2 * SLOTS);
        let bucket = self.words.row::<BUCKET_WORDS>(meta)?;
        let slot = (0..SLOTS).find(|slot| bucket(1 + slot) == key.hi)?;
        (bucket(1 + SLOTS + slot) == key.lo).then(|| Word(bucket(1 + 2 * SLOTS + slot)))
    }

    /// Makes a slot the key's, if none is yet.
    pub fn claim(self, key: Key, claimer: Claimer) -> Claim {
        for (distance, bucket) in self.path_of(key).enumerate() {
            for slot in 0..SLOTS {
                match self.claim_slot(bucket, slot, key, claimer) {
                    Slot::Mine { new } => {
                        return Claim::Mine { at: self.word_at(bucket, slot), new, distance };
                    }
                    Slot::Sealed => return Claim::Sealed,
                    Slot::Full => return Claim::Full,
                    Slot::Other => {}
                }
            }
        }
        Claim::Full
    }

    /// Puts a key and its word into a slot of a table that nobody else sees, if it is empty: `true`.
    /// `false` if the key is there already, `None` if another one is.
    #[inline]
    pub fn put_first(self, bucket: usize, slot: usize, key: Key, word: Word) -> Option<bool> {
        let at = self.key0_at(bucket, slot);
        let key0 = self.words.load(at);
        if key0 == EMPTY {
            self.words.store(at, key.hi);
            self.words.store(self.key1_at(bucket, slot), key.lo);
            self.words.store(self.word_at(bucket, slot), word.0);
            return Some(true);
        }
        let is_there = key0 == key.hi && self.words.load(self.key1_at(bucket, slot)) == key.lo;
        is_there.then_some(false)
    }

    fn claim_slot(self, bucket: usize, slot: usize, key: Key, claimer: Claimer) -> Slot {
        let at = self.key0_at(bucket, slot);
        let mut key0 = self.words.load(at);
        let mut new = false;
        if key0 == EMPTY {
            if claimer == Claimer::Newcomer && self.used() >= self.newcomers_max() {
                return Slot::Full;
            }
            match self.words.compare_exchange(at, EMPTY, key.hi) {
                Ok(_) => (new, key0) = (true, key.hi),
                Err(found) => key0 = found,
            }
        }
        if key0 == SEALED {
            return Slot::Sealed;
        }
        if key0 == key.hi && self.claim_second_half(bucket, slot, key.lo) {
            return Slot::Mine { new };
        }
        if new {
            // Somebody with the same first half was faster: the slot is used, but not by this key.
            self.add_used(1);
        }
        Slot::Other
    }

    fn claim_second_half(self, bucket: usize, slot: usize, lo: u64) -> bool {
        let at = self.key1_at(bucket, slot);
        let key1 = self.words.load(at);
        if key1 != UNCLAIMED {
            return key1 == lo;
        }
        match self.words.compare_exchange(at, UNCLAIMED, lo) {
            Ok(_) => true,
            Err(found) => found == lo,
        }
    }

    /// Whether all of a bucket is in the next table.
    #[inline]
    pub fn is_migrated(self, bucket: usize) -> bool {
        self.words.load(self.meta_at(bucket)) & MIGRATED != 0
    }

    /// Says so: its release is what a helper that skips the bucket acquires.
    pub fn set_migrated(self, bucket: usize) {
        self.words.fetch_or(self.meta_at(bucket), MIGRATED);
    }

    /// Whether a probe that comes into this bucket ends in it.
    pub fn ends_in(self, bucket: usize) -> bool {
        (0..SLOTS).any(|slot| self.words.load(self.key0_at(bucket, slot)) <= SEALED)
    }

    /// Ends all change of a slot, and returns what the next table must hold: a live word or a tomb.
    pub fn freeze(self, bucket: usize, slot: usize) -> Option<(Key, Word)> {
        let at = self.key0_at(bucket, slot);
        let mut hi = self.words.load(at);
        if hi == EMPTY && !bug!("no-seal") {
            hi = self.words.compare_exchange(at, EMPTY, SEALED).map_or_else(|hi| hi, |_| SEALED);
        }
        if hi <= SEALED {
            return None;
        }
        // The read-modify-write that decides: a publisher's exchange of this very word came before it
        // and is in the value returned, or comes after it and fails.
        let raw = self.words.fetch_or(self.word_at(bucket, slot), Word::FROZEN);
        let lo = self.words.load(self.key1_at(bucket, slot));
        let word = Word(raw).thawed();
        let moves = lo != UNCLAIMED && matches!(word.kind(), WordKind::Live | WordKind::Tomb);
        moves.then_some((Key { hi, lo }, word))
    }

    /// Calls `found` with every key whose home is `bucket`, and its word as it stands.
    pub fn for_each_at_home(self, bucket: usize, mut found: impl FnMut(Key, Word)) {
        for at in self.path(bucket) {
            for slot in 0..SLOTS {
                let hi = self.words.load(self.key0_at(at, slot));
                if hi <= SEALED {
                    return;
                }
                let lo = self.words.load(self.key1_at(at, slot));
                if home(hi, self.log2) == bucket && lo != UNCLAIMED {
                    found(Key { hi, lo }, Word(self.words.load(self.word_at(at, slot))));
                }
            }
        }
    }

    /// Live words and tombs in `bucket`.
    pub fn kept_in(self, bucket: usize) -> usize {
        let kept = |slot: &usize| {
            let word = Word(self.words.load(self.word_at(bucket, *slot)));
            matches!(word.kind(), WordKind::Live | WordKind::Tomb)
        };
        (0..SLOTS).filter(kept).count()
    }
}
