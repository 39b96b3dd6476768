//! Random operations, compared with a `HashMap`.
#![forbid(unsafe_code)]

use super::bed::{Bed, Participant, key_at, live, tomb};
use crate::format::word::{Word, WordKind};
use crate::id::Key;
use crate::index::{Index, Seen};
use std::collections::HashMap;
use std::ops::ControlFlow;

/// A small generator of random numbers (SplitMix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// How keys are spread.
#[derive(Clone, Copy, Debug)]
enum Spread {
    /// Over all buckets.
    Even,
    /// All in the last bucket, whatever the size.
    LastBucket,
    /// With one first half.
    FirstHalf,
}

fn key(spread: Spread, number: u64) -> Key {
    match spread {
        Spread::Even => Key { hi: Random(number).next(), lo: Random(!number).next() },
        Spread::LastBucket => key_at((1 << 20) - 1, 20, number),
        Spread::FirstHalf => Key { hi: 7 << 60, lo: number + 1 },
    }
}

/// Two participants, and what the table must hold.
struct Play {
    participants: [Index<Participant>; 2],
    oracle: HashMap<Key, Word>,
    spread: Spread,
    record: u32,
}

impl Play {
    fn new(spread: Spread, log2: u32) -> Self {
        let bed = Bed::new(log2);
        let participants = [bed.join(), bed.join()];
        Self { participants, oracle: HashMap::new(), spread, record: 0 }
    }

    fn step(&mut self, random: &mut Random, keys: u64) {
        let index = &self.participants[random.below(2) as usize];
        let key = key(self.spread, random.below(keys));
        let seen = index.lookup(key).unwrap();
        let expected = self.oracle.get(&key).copied().unwrap_or(Word::NONE);
        assert_same(seen.word, expected);
        self.record += 1;
        let new = match random.below(16) {
            0..8 => live(self.record),
            8..10 if seen.word.is_live() => tomb(self.record),
            10..13 if expected.kind() == WordKind::Tomb => seen.word.dead(),
            13 => return self.flip_flag(random.below(2) as usize, key, random.below(2) == 0),
            14 => return self.grow(random.below(2) as usize, random.below(4) == 0),
            _ => return,
        };
        // Who saw a dead word loses when his own help drops it; what he gets is enough to go on.
        if let Err(found) = index.publish(key, seen, new).unwrap() {
            assert!(found.word == Word::NONE && seen.word.kind() == WordKind::Dead);
            index.publish(key, found, new).unwrap().unwrap();
        }
        let stale = Seen::exactly(live(0xfff_ffff));
        assert_same(index.publish(key, stale, live(1)).unwrap().unwrap_err().word, new);
        self.oracle.insert(key, new);
    }

    fn flip_flag(&mut self, index: usize, key: Key, set: bool) {
        let (set, clear) = if set { (Word::CONDEMNED, 0) } else { (0, Word::CONDEMNED) };
        let after = self.participants[index].update_flags(key, set, clear).unwrap();
        let expected = self.oracle.get(&key).copied().unwrap_or(Word::NONE);
        if matches!(expected.kind(), WordKind::Live | WordKind::Tomb) {
            self.oracle.insert(key, Word(expected.0 & !clear | set));
            assert_eq!(after.word, self.oracle[&key]);
        } else {
            assert_same(after.word, expected);
        }
    }

    fn grow(&mut self, index: usize, finish: bool) {
        // Dead words make for growths of equal size; the size is kept small enough for the bed.
        if self.participants[index].stats().unwrap().buckets < 4096 {
            self.participants[index].grow().unwrap();
        }
        if finish {
            self.participants[index].finish_growth().unwrap();
        }
    }

    fn check(&self) {
        for index in &self.participants {
            for (&key, &word) in &self.oracle {
                assert_same(index.lookup(key).unwrap().word, word);
            }
            let mut scanned = HashMap::new();
            let done = index.for_each(|key, word| {
                scanned.insert(key, word);
                ControlFlow::<()>::Continue(())
            });
            assert!(done.unwrap().is_continue());
            let kept = |word: &Word| word.kind() != WordKind::Dead;
            let mut expected = self.oracle.clone();
            expected.retain(|_, word| kept(word));
            scanned.retain(|_, word| kept(word));
            let expected = expected.into_iter().map(|(key, w)| (super::super::canonical(key), w));
            assert_eq!(scanned, expected.collect());
        }
    }
}

/// A dead word may be gone, and no other.
fn assert_same(found: Word, expected: Word) {
    let gone = found == Word::NONE && expected.kind() == WordKind::Dead;
    assert!(found == expected || gone, "found {found:?}, expected {expected:?}");
}

#[test]
fn the_table_does_what_a_hash_map_does() {
    for seed in 0..60 {
        for spread in [Spread::Even, Spread::LastBucket, Spread::FirstHalf] {
            let mut random = Random(seed);
            let mut play = Play::new(spread, random.below(4) as u32);
            let keys = [3, 30, 300][random.below(3) as usize];
            for _ in 0..1000 {
                play.step(&mut random, keys);
            }
            play.check();
        }
    }
}
