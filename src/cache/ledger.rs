//! The page of words that all processes share which use one cache: how much is in it, how it was cleared, what
//! was evicted lately (spec/CACHE.md, section 3).
//!
//! - I1 Bytes and items are counted before an entry is published, and given back after one is gone. So a process
//!   that dies in between leaves the counters too high, never too low, and the limit holds.
//! - I2 A clearing moves the generation that entries must have by one exchange, and with it to another pair of
//!   counters, so that whoever still counts for the one before disturbs nobody.
//!
//! - I3 They are put right only where nobody is between counting and publishing, or between removing and giving
//!   back (changes.rs).
//! - I4 Once the counters have been seen within limits, all that is published is within them until they change: who
//!   counts reads the limits afterwards, so whoever sees new ones sees in the counters all that was counted under old
//!   ones. What the counters show above is on its way, and waits for room.
//!
//! Death: counters that are too high; [`Ledger::settle`] puts them right.
#![forbid(unsafe_code)]

use crate::disk::Map;
use crate::error::{Error, ErrorKind, Result};
use crate::sync::Words;

const MAGIC: u64 = u64::from_le_bytes(*b"DRYCACHE");
const AT_MAGIC: usize = 0;
const AT_CLEARED: usize = 1;
const AT_SETTINGS: usize = 2;
const AT_TAGS: usize = 3;
const AT_WITHIN: usize = 4;
const AT_COUNTS: usize = 16;
const AT_TALLY: usize = 48;
const AT_CHANGES: usize = 56;
const AT_GHOSTS: usize = 64;
/// Pairs of counters.
const PAIRS: u64 = 8;
/// Keys that are remembered after their entries were evicted.
const GHOSTS: usize = 1 << 14;

/// What is counted apart from bytes and items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Lookups that found a value.
    Hits,
    /// Lookups that found none.
    Misses,
    /// Values set.
    Sets,
    /// Entries evicted to make room.
    Evictions,
    /// Entries removed because they had expired, or their tag was evicted.
    Expirations,
}

/// The generation under which a cache was cleared last: entries carry it, and others are not seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cleared(pub u64);

/// The page.
pub struct Ledger(Map);

impl Ledger {
    /// The words of a new page.
    pub fn first(cleared: u64, tag_evictions: u64, bytes: u64, items: u64) -> Vec<u64> {
        let mut words = vec![0; AT_GHOSTS + GHOSTS];
        words[AT_MAGIC] = MAGIC;
        words[AT_TAGS] = tag_evictions;
        words[AT_CLEARED] = cleared;
        words[Self::counts(Cleared(cleared))] = bytes;
        words[Self::counts(Cleared(cleared)) + 1] = items;
        words
    }

    /// The page in a mapping.
    ///
    /// # Errors
    /// `Damaged` if it is something else.
    pub fn new(map: Map) -> Result<Self> {
        if Words::len(&map) == AT_GHOSTS + GHOSTS && map.load(AT_MAGIC) == MAGIC {
            return Ok(Self(map));
        }
        Err(Error::new(ErrorKind::Damaged, "the page of a cache is garbled")
            .advice("stop all users of the store and remove its directory `run`: it is rebuilt"))
    }

    /// The generation that entries must have to be seen.
    #[inline]
    pub fn cleared(&self) -> Cleared {
        Cleared(self.0.load(AT_CLEARED))
    }

    /// Begins a new generation; an older one than the newest changes nothing. `false`: this one would count in
    /// the same pair as the newest, so another is needed.
    pub fn clear(&self, cleared: Cleared) -> bool {
        loop {
            let now = self.cleared();
            if now >= cleared {
                return true;
            }
            let counts = Self::counts(cleared);
            if counts == Self::counts(now) {
                return false;
            }
            let left = (self.0.load(counts), self.0.load(counts + 1));
            if self.0.compare_exchange(AT_CLEARED, now.0, cleared.0).is_ok() {
                // What was left there is taken off, not overwritten: others count there already.
                self.0.fetch_add(counts, left.0.wrapping_neg());
                self.0.fetch_add(counts + 1, left.1.wrapping_neg());
                return true;
            }
        }
    }

    fn counts(cleared: Cleared) -> usize {
        AT_COUNTS + 4 * (cleared.0 % PAIRS) as usize
    }

    /// Bytes and items now.
    #[inline]
    pub fn volume(&self) -> (u64, u64) {
        let at = Self::counts(self.cleared());
        (unsigned(self.0.load(at)), unsigned(self.0.load(at + 1)))
    }

    /// Counts bytes and items in or out; what they are then.
    pub fn add(&self, cleared: Cleared, bytes: i64, items: i64) -> (u64, u64) {
        let at = Self::counts(cleared);
        let add = |at, by: i64| self.0.fetch_add(at, by as u64).wrapping_add(by as u64);
        let bytes = add(at, bytes);
        let items = if items == 0 { self.0.load(at + 1) } else { add(at + 1, items) };
        (unsigned(bytes), unsigned(items))
    }

    /// Says that somebody begins to change what is counted.
    pub fn note_change(&self) {
        self.0.fetch_add(AT_CHANGES, 1);
    }

    /// Moves whenever somebody begins to.
    pub fn changes(&self) -> u64 {
        self.0.load(AT_CHANGES)
    }

    /// Makes the counters what a walk found that began when they showed `before`, if they still do (I3).
    pub fn settle(&self, cleared: Cleared, before: (u64, u64), walked: (u64, u64)) {
        if self.cleared() != cleared || self.volume() != before {
            return;
        }
        let at = Self::counts(cleared);
        let _ = self.0.compare_exchange(at, before.0, walked.0);
        let _ = self.0.compare_exchange(at + 1, before.1, walked.1);
    }

    /// Whether any tag was ever evicted.
    #[inline]
    pub fn has_evicted_tags(&self) -> bool {
        self.0.load(AT_TAGS) != 0
    }

    /// Says that a tag was evicted.
    pub fn note_evicted_tag(&self) {
        self.0.fetch_add(AT_TAGS, 1);
    }

    /// Moves whenever settings change.
    #[inline]
    pub fn settings_version(&self) -> u64 {
        self.0.load(AT_SETTINGS)
    }

    /// Says that settings have changed.
    pub fn note_settings(&self) {
        self.0.fetch_add(AT_SETTINGS, 1);
    }

    /// Whether the counters were seen within the limits of these settings.
    #[inline]
    pub fn was_within(&self, settings_version: u64) -> bool {
        self.0.load(AT_WITHIN) == settings_version.wrapping_add(1)
    }

    /// Says that they were.
    pub fn note_within(&self, settings_version: u64) {
        let before = self.0.load(AT_WITHIN);
        if before <= settings_version {
            // Who fails has been overtaken by newer settings, or by somebody who has seen the same.
            let _ = self.0.compare_exchange(AT_WITHIN, before, settings_version.wrapping_add(1));
        }
    }

    /// Adds to a count.
    pub fn tally(&self, count: Count, by: u64) {
        if by != 0 {
            self.0.fetch_add(AT_TALLY + count as usize, by);
        }
    }

    /// A count.
    pub fn tallied(&self, count: Count) -> u64 {
        self.0.load(AT_TALLY + count as usize)
    }

    /// Sets all counts to zero.
    pub fn reset_tally(&self) {
        (AT_TALLY..AT_TALLY + 8).for_each(|at| self.0.store(at, 0));
    }

    /// Remembers a key whose entry was evicted.
    pub fn remember(&self, hi: u64, lo: u64) {
        self.0.store(AT_GHOSTS + hi as usize % GHOSTS, lo);
    }

    /// Whether a key was evicted lately; it is forgotten.
    pub fn recall(&self, hi: u64, lo: u64) -> bool {
        let at = AT_GHOSTS + hi as usize % GHOSTS;
        self.0.load(at) == lo && self.0.compare_exchange(at, lo, 0).is_ok()
    }
}

/// A count that dead processes, or whoever has removed too much, have brought below zero is none.
fn unsigned(word: u64) -> u64 {
    if word > i64::MAX as u64 { 0 } else { word }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Ledger {
        let words = Ledger::first(5, 0, 100, 2);
        let map = Map::anonymous(words.len() as u64 * 8).unwrap();
        words.iter().enumerate().for_each(|(at, &word)| map.store(at, word));
        Ledger::new(map).unwrap()
    }

    #[test]
    fn whoever_counts_for_an_earlier_clearing_disturbs_nobody() {
        let ledger = ledger();
        let before = ledger.cleared();
        assert_eq!((before, ledger.volume()), (Cleared(5), (100, 2)));
        assert!(ledger.clear(Cleared(9)));
        assert_eq!((ledger.cleared(), ledger.volume()), (Cleared(9), (0, 0)));
        ledger.add(before, -50, -1);
        assert_eq!(ledger.volume(), (0, 0));
        assert_eq!(ledger.add(ledger.cleared(), 7, 1), (7, 1));
        assert!(ledger.clear(Cleared(8)), "an older one changes nothing");
        assert!(!ledger.clear(Cleared(17)), "it would count in the same pair");
        assert_eq!(ledger.cleared(), Cleared(9));
        assert!(ledger.clear(Cleared(13)));
        assert_eq!(
            ledger.volume(),
            (0, 0),
            "what was left of the one before the last is taken off"
        );
    }

    #[test]
    fn counters_are_settled_only_while_nobody_counts() {
        let ledger = ledger();
        let (epoch, before) = (ledger.cleared(), ledger.volume());
        ledger.add(epoch, 10, 1);
        ledger.settle(epoch, before, (60, 1));
        assert_eq!(ledger.volume(), (110, 3));
        ledger.settle(epoch, (110, 3), (60, 1));
        assert_eq!(ledger.volume(), (60, 1));
    }

    #[test]
    fn limits_that_held_are_those_of_the_newest_settings() {
        let ledger = ledger();
        assert!(!ledger.was_within(0), "nobody has looked");
        ledger.note_within(0);
        assert!(ledger.was_within(0));
        ledger.note_settings();
        assert!(!ledger.was_within(ledger.settings_version()));
        ledger.note_within(1);
        ledger.note_within(0);
        assert!(ledger.was_within(1) && !ledger.was_within(0), "an older look changes nothing");
    }

    #[test]
    fn what_was_evicted_is_remembered_once() {
        let ledger = ledger();
        ledger.remember(3, 44);
        assert!(!ledger.recall(3, 45) && ledger.recall(3, 44) && !ledger.recall(3, 44));
    }
}
