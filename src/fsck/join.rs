//! Holding the index against the segments, both ways, by one pass over both in the order of their keys.
//!
//! The two are not of one moment. What does not fit is only suspect, and is judged by itself
//! (`judge.rs`).
#![forbid(unsafe_code)]

use crate::error::Result;
use crate::format::word::{Word, WordKind};
use crate::id::Key;
use crate::index::{Cursor, Index, canonical};
use crate::recover::{Item, PARTS_LOG2, part_of};
use crate::run::Run;
use crate::sync::epoch::pin;
use rayon::prelude::*;

/// A key at which index and segments differ.
#[derive(Clone, Copy, Debug)]
pub struct Suspect {
    /// The key, as the index has it.
    pub key: Key,
    /// The published record with the highest number, where one was found.
    pub item: Option<Item>,
}

/// What the pass gave.
#[derive(Default)]
pub struct Joined {
    /// What does not fit.
    pub suspects: Vec<Suspect>,
    /// Published blobs that the index does not name: they have been collected, if no ref names them.
    pub unnamed: Vec<Item>,
    /// Live words.
    pub keys: u64,
}

impl Joined {
    fn merge(mut self, mut other: Self) -> Self {
        self.suspects.append(&mut other.suspects);
        self.unnamed.append(&mut other.unnamed);
        self.keys += other.keys;
        self
    }

    fn suspect(&mut self, key: Key, item: Option<Item>) {
        self.suspects.push(Suspect { key, item });
    }

    /// A record that counts, and the word of its key.
    fn compare(&mut self, item: Item, word: Option<Word>) {
        let word = word.filter(|word| matches!(word.kind(), WordKind::Live | WordKind::Tomb));
        match word {
            Some(word) if is_same(word, item.word) => {}
            Some(_) => self.suspect(item.key, Some(item)),
            // The words of what was collected are gone, or dead.
            None if !item.word.is_live() => {}
            None if item.word.is_ref() => self.suspect(item.key, Some(item)),
            None => self.unnamed.push(item),
        }
    }
}

/// Whether a word is the one of a record, flags of its life aside.
pub fn is_same(word: Word, right: Word) -> bool {
    const FLAGS: u64 = Word::FROZEN | Word::VISITED | Word::CONDEMNED | Word::HOT;
    word.0 & !FLAGS == right.0 & !FLAGS
}

/// Compares the records that count with the words of the index; in parallel on the current pool.
pub fn join(run: &Run, sorted: &[Vec<Item>]) -> Result<Joined> {
    let one = |joined: Joined, (part, items): (usize, &Vec<Item>)| {
        Ok(joined.merge(join_part(run, part, items)?))
    };
    let parts = sorted.par_iter().enumerate().try_fold(Joined::default, one);
    parts.try_reduce(Joined::default, |a, b| Ok(a.merge(b)))
}

fn join_part(run: &Run, part: usize, items: &[Item]) -> Result<Joined> {
    let mut joined = Joined::default();
    let words = words_of(run, part)?;
    joined.keys = words.iter().filter(|(_, word)| word.is_live()).count() as u64;
    let mut words = words.into_iter().peekable();
    let winners = winners(items);
    for item in winners {
        while let Some((key, word)) = words.next_if(|(key, _)| *key < item.key) {
            only_named(&mut joined, key, word);
        }
        // Left where it is: keys that are one in the index may be two.
        let word = words.peek().filter(|(key, _)| *key == item.key).map(|(_, word)| *word);
        joined.compare(item, word);
        if word.is_some_and(|word| is_same(word, item.word)) {
            words.next();
        }
    }
    words.for_each(|(key, word)| only_named(&mut joined, key, word));
    Ok(joined)
}

/// A word of which no record was found.
fn only_named(joined: &mut Joined, key: Key, word: Word) {
    if matches!(word.kind(), WordKind::Live | WordKind::Tomb) {
        joined.suspect(key, None);
    }
}

/// The newest record of each key, in the order of the keys as the index has them.
fn winners(items: &[Item]) -> Vec<Item> {
    let newest = items.chunk_by(|a, b| a.key == b.key).map(|versions| versions[0]);
    let mut winners: Vec<Item> =
        newest.map(|item| Item { key: canonical(item.key), ..item }).collect();
    if !winners.is_sorted_by_key(|item| item.key) {
        winners.sort_unstable_by_key(|item| item.key);
    }
    winners
}

/// The words of a part of the keys, in their order.
fn words_of(run: &Run, part: usize) -> Result<Vec<(Key, Word)>> {
    let guard = pin();
    let index = Index::new(run.tables(&guard));
    let is_within = |hi: u64| part_of(Key { hi, lo: 0 }) == part;
    let mut cursor = Some(Cursor::at((part as u64) << (u64::BITS - PARTS_LOG2)));
    let mut words = Vec::new();
    while let Some(from) = cursor.filter(|cursor| is_within(cursor.position())) {
        cursor = index.scan(from, &mut words)?;
    }
    words.retain(|(key, _)| is_within(key.hi));
    words.sort_unstable_by_key(|(key, _)| *key);
    words.dedup_by_key(|(key, _)| *key);
    Ok(words)
}
