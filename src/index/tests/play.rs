//! Operations on the index as its users combine them, what each of them means for one key, and
//! whether outcomes of several participants can be explained by any order of their operations.
#![forbid(unsafe_code)]

use super::bed::{Bed, Participant, STAMP, live, tomb, until_stopped};
use crate::format::word::{Word, WordKind};
use crate::id::Key;
use crate::index::grow::Size;
use crate::index::{Index, canonical, header, table_words};
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

/// An operation. Numbers are records, of which no two share one.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(not(loom), allow(dead_code, reason = "some are only played in the schedules of loom"))]
pub enum Op {
    /// Publishes a record unless the key is live.
    Insert(Key, u32),
    /// Publishes a record whatever is there.
    Replace(Key, u32),
    /// Publishes a tombstone if the key is live.
    Remove(Key, u32),
    /// Moves a live word from one record to another, as the compactor does.
    Relocate(Key, u32, u32),
    /// Gives a tombstone up.
    Bury(Key),
    /// Gives a condemned blob up.
    Sweep(Key),
    /// Sets CONDEMNED.
    Condemn(Key),
    /// Clears CONDEMNED.
    Acquit(Key),
    /// Looks a key up.
    Lookup(Key),
    /// Looks a key up, and says that it was read.
    Visit(Key),
    /// Walks over all keys until it meets this one.
    Scan(Key),
    /// Begins a growth to twice the size.
    Grow,
    /// Begins a growth to the same size.
    Renew,
    /// Takes part in a growth to its end.
    Finish,
    /// Makes the name of this generation again, as a grower does that slept since then.
    Stray(u32),
}

use Op::*;

impl Op {
    /// The key that it is about.
    pub fn key(self) -> Option<Key> {
        match self {
            Insert(key, _) | Replace(key, _) | Remove(key, _) | Relocate(key, ..) => Some(key),
            Bury(key) | Sweep(key) | Condemn(key) | Acquit(key) => Some(key),
            Lookup(key) | Visit(key) | Scan(key) => Some(key),
            Grow | Renew | Finish | Stray(_) => None,
        }
    }

    /// What becomes of a word.
    pub fn effect(self, word: Word) -> Word {
        let kind = word.kind();
        let held = matches!(kind, WordKind::Live | WordKind::Tomb);
        match self {
            Insert(_, record) if kind != WordKind::Live => live(record),
            Replace(_, record) => live(record),
            Remove(_, record) if kind == WordKind::Live => tomb(record),
            Relocate(_, from, to) if word.location() == live(from).location() && word.is_live() => {
                Word(live(to).0 | word.0 & (Word::CONDEMNED | Word::VISITED))
            }
            Bury(_) if kind == WordKind::Tomb => word.dead(),
            Sweep(_) if kind == WordKind::Live && word.has(Word::CONDEMNED) => word.dead(),
            Condemn(_) if held => Word(word.0 | Word::CONDEMNED),
            Acquit(_) if held => Word(word.0 & !Word::CONDEMNED),
            _ => word,
        }
    }

    /// Does it; the word that it worked on, as it was before (after it, of flags).
    pub fn run(self, index: &Index<Participant>) -> Word {
        match self {
            Condemn(key) => index.update_flags(key, Word::CONDEMNED, 0).unwrap().word,
            Acquit(key) => index.update_flags(key, 0, Word::CONDEMNED).unwrap().word,
            Grow => index.begin(Size::Twice),
            Renew => index.begin(Size::Same),
            Finish => {
                index.finish_growth().unwrap();
                Word::NONE
            }
            Stray(generation) => {
                let (words, head) = (table_words(1), header(STAMP, generation, 1));
                index.tables.bed().link(generation, words, &head);
                Word::NONE
            }
            Visit(key) => {
                let seen = index.lookup(key).unwrap();
                index.mark_visited(seen);
                seen.word
            }
            Scan(key) => scan_for(index, canonical(key)),
            _ => self.publish(index, self.key().unwrap()),
        }
    }

    /// Looks up and publishes what follows from what was seen, until that has not changed meanwhile.
    fn publish(self, index: &Index<Participant>, key: Key) -> Word {
        let mut seen = index.lookup(key).unwrap();
        for _ in 0..100 {
            let new = self.effect(seen.word);
            if new == seen.word {
                return seen.word;
            }
            if index.publish(key, seen, new).unwrap().is_ok() {
                return seen.word;
            }
            seen = index.lookup(key).unwrap();
        }
        panic!("{self:?} loses for ever, from {seen:?}");
    }
}

fn scan_for(index: &Index<Participant>, key: Key) -> Word {
    let visit = |known, word| {
        if known == key { ControlFlow::Break(word) } else { ControlFlow::Continue(()) }
    };
    index.for_each(visit).unwrap().break_value().unwrap_or(Word::NONE)
}

impl Index<Participant> {
    fn begin(&self, size: Size) -> Word {
        let root = self.tables.bed().root();
        if !root.is_migrating() {
            self.begin_growth_to(root, size).unwrap();
        }
        Word::NONE
    }
}

/// What one participant does.
#[derive(Clone, Debug)]
pub struct Part {
    pub ops: Vec<Op>,
    /// The shared change before which it stops for ever.
    pub steps: usize,
}

/// What came of it: the word that each operation worked on; fewer than operations if it stopped.
pub type Outcome = Vec<Word>;

impl Part {
    pub fn of(ops: &[Op]) -> Self {
        Self { ops: ops.to_vec(), steps: usize::MAX }
    }

    pub fn stopping(ops: &[Op], steps: usize) -> Self {
        Self { ops: ops.to_vec(), steps }
    }

    pub fn run(&self, bed: &Arc<Bed>) -> Outcome {
        self.run_as(&bed.join_for(self.steps))
    }

    /// Does it as this participant, which may stop.
    pub fn run_as(&self, index: &Index<Participant>) -> Outcome {
        let mut outcome = Vec::new();
        for op in &self.ops {
            match until_stopped(|| op.run(index)) {
                Some(word) => outcome.push(word),
                None => break,
            }
        }
        outcome
    }
}

type State = Vec<(Key, Word)>;

fn word_of(state: &State, key: Key) -> Word {
    state.iter().find(|(known, _)| *known == key).map_or(Word::NONE, |(_, word)| *word)
}

fn with(state: &State, key: Key, word: Word) -> State {
    let mut state: State = state.iter().copied().filter(|(known, _)| *known != key).collect();
    state.push((key, word));
    state
}

/// Whether a word that was found is the one that must be there. A dead one may be gone.
/// VISITED may be lost.
pub fn is_same(found: Word, expected: Word) -> bool {
    found.0 & !Word::VISITED == expected.0 & !Word::VISITED
        || found == Word::NONE && expected.kind() == WordKind::Dead
}

/// Whether some order of the operations explains all outcomes and the words at the end.
fn is_explained(state: &State, left: &[(&[Op], &[Word])], end: &State) -> bool {
    let is_end = end.iter().all(|&(key, word)| is_same(word, word_of(state, key)));
    // What a participant that stopped was about to do, it may have done or not.
    if is_end && left.iter().all(|(_, outcome)| outcome.is_empty()) {
        return true;
    }
    (0..left.len()).any(|who| {
        let (ops, outcome) = left[who];
        let Some(op) = ops.first() else { return false };
        let mut rest = left.to_vec();
        rest[who] =
            (if outcome.is_empty() { &[] } else { &ops[1..] }, outcome.get(1..).unwrap_or(&[]));
        let Some(key) = op.key() else { return is_explained(state, &rest, end) };
        let before = word_of(state, key);
        let after = op.effect(before);
        let shown = if matches!(op, Condemn(_) | Acquit(_)) { after } else { before };
        let agrees = outcome.first().is_none_or(|&found| is_same(found, shown));
        agrees && is_explained(&with(state, key, after), &rest, end)
    })
}

/// Checks what participants did, one after the other or at once, after `setup`.
pub fn check(bed: &Arc<Bed>, setup: &[Op], parts: &[Part], outcomes: &[Outcome]) {
    let mut state = State::new();
    for op in setup {
        if let Some(key) = op.key() {
            state = with(&state, key, op.effect(word_of(&state, key)));
        }
    }
    let keys: HashSet<Key> =
        parts.iter().flat_map(|part| part.ops.iter().filter_map(|op| op.key())).collect();
    let index = bed.join();
    let look =
        || -> State { keys.iter().map(|&key| (key, index.lookup(key).unwrap().word)).collect() };
    let end = look();
    let left: Vec<(&[Op], &[Word])> =
        parts.iter().zip(outcomes).map(|(part, outcome)| (&part.ops[..], &outcome[..])).collect();
    assert!(
        is_explained(&state, &left, &end),
        "no order explains it: from {state:?}\n  {parts:?}\n  found {outcomes:?}\n  in the end {end:?}"
    );
    check_rest(bed, &index, &end);
    for (key, word) in end {
        assert!(is_same(index.lookup(key).unwrap().word, word), "{key:?} has changed by itself");
    }
}

/// Whoever comes later can finish what is under way, and finds a table in order.
fn check_rest(bed: &Arc<Bed>, index: &Index<Participant>, end: &State) {
    index.finish_growth().unwrap();
    let root = bed.root();
    assert!(!root.is_migrating());
    assert!(bed.linked().contains(&(root.generation() as usize)), "the current table has no name");
    let mut scanned = Vec::new();
    let mut cursor = Some(Default::default());
    while let Some(from) = cursor {
        cursor = index.scan(from, &mut scanned).unwrap();
    }
    let keys: HashSet<Key> = scanned.iter().map(|(key, _)| *key).collect();
    assert_eq!(keys.len(), scanned.len(), "a key has two slots: {scanned:?}");
    for (key, word) in end {
        if matches!(word.kind(), WordKind::Live | WordKind::Tomb) {
            assert!(keys.contains(&canonical(*key)), "{key:?} is not visited");
        }
    }
}
