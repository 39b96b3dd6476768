//! Threads on real memory: nothing that was acknowledged is lost, and nobody sees a key go back.
#![forbid(unsafe_code)]

use super::bed::{Bed, Participant, live, tomb};
use super::oracle::Random;
use crate::format::word::Word;
use crate::id::Key;
use crate::index::Index;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

const THREADS: u64 = 4;
const KEYS: u64 = if cfg!(miri) { 40 } else { 4000 };
const ROUNDS: u64 = if cfg!(miri) { 3 } else { 12 };

/// A key of one thread; keys of all threads are spread over all buckets.
fn key(thread: u64, number: u64) -> Key {
    let mut random = Random(thread << 32 | number);
    Key { hi: random.next(), lo: random.next() }
}

/// Changes its own keys, round by round, with records that grow; returns what must be there.
fn write(bed: &Arc<Bed>, thread: u64) -> HashMap<Key, Word> {
    let index = bed.join();
    let mut random = Random(thread);
    let mut words = HashMap::new();
    for round in 1..=ROUNDS {
        for number in 0..KEYS {
            let key = key(thread, number);
            let record = (round * 2) as u32;
            let mut seen = index.lookup(key).unwrap();
            let new = if random.below(4) == 0 && seen.word.is_live() {
                tomb(record)
            } else {
                live(record)
            };
            // Nobody else changes this key, but flags and growth may.
            while let Err(found) = index.publish(key, seen, new).unwrap() {
                assert!(found.word.location() == seen.word.location() || found.word == Word::NONE);
                seen = found;
            }
            words.insert(key, new);
        }
    }
    words
}

/// Reads everybody's keys, and marks them; records must not go back.
fn read(index: &Index<Participant>, thread: u64) {
    let mut random = Random(!thread);
    let mut seen_before = HashMap::new();
    for _ in 0..ROUNDS * KEYS {
        let key = key(random.below(THREADS), random.below(KEYS));
        let seen = index.lookup(key).unwrap();
        index.mark_visited(seen);
        let record = if seen.word == Word::NONE { 0 } else { seen.word.location().segment() };
        let before = seen_before.insert(key, record).unwrap_or(0);
        assert!(record >= before, "{key:?} went from record {before} back to {record}");
    }
}

fn same(found: Word, expected: Word) -> bool {
    found.0 & !Word::VISITED == expected.0
}

#[test]
fn threads_lose_nothing_while_the_table_grows() {
    let bed = Bed::new(0);
    let words: Vec<HashMap<Key, Word>> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let bed = &bed;
                scope.spawn(move || write(bed, thread))
            })
            .collect();
        let bed = &bed;
        scope.spawn(move || read(&bed.join(), 9));
        scope.spawn(move || {
            for _ in 0..if cfg!(miri) { 2 } else { 6 } {
                bed.join().grow().unwrap();
                bed.join().finish_growth().unwrap();
            }
        });
        writers.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let index = bed.join();
    let mut scanned = HashMap::new();
    let done = index.for_each(|key, word| {
        assert!(scanned.insert(key, word).is_none(), "{key:?} has two slots");
        ControlFlow::<()>::Continue(())
    });
    assert!(done.unwrap().is_continue());
    for (key, word) in words.into_iter().flatten() {
        assert!(same(index.lookup(key).unwrap().word, word));
        assert!(same(scanned[&key], word));
    }
}

/// All threads insert the same keys: exactly one wins each of them, and all others learn who.
#[test]
fn one_of_many_inserters_wins() {
    let bed = Bed::new(0);
    let won: Vec<HashMap<Key, Word>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (1..=THREADS)
            .map(|thread| {
                let bed = &bed;
                scope.spawn(move || insert_all(&bed.join(), live(thread as u32)))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for number in 0..KEYS {
        let key = key(0, number);
        let winners =
            (1..=THREADS).filter(|&thread| won[thread as usize - 1][&key] == live(thread as u32));
        assert_eq!(winners.count(), 1);
        assert!(won.iter().all(|words| words[&key] == won[0][&key]));
    }
}

/// What stands at each key after this thread has tried to insert its word.
fn insert_all(index: &Index<Participant>, word: Word) -> HashMap<Key, Word> {
    let insert = |key| {
        let mut seen = index.lookup(key).unwrap();
        while !seen.word.is_live() {
            match index.publish(key, seen, word).unwrap() {
                Ok(()) => return word,
                Err(found) => seen = found,
            }
        }
        seen.word
    };
    (0..KEYS).map(|number| (key(0, number), insert(key(0, number)))).collect()
}
