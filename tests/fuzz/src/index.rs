//! The index on words of the heap. Undamaged it does what a map does; with words that say anything, each
//! operation comes to its end.

use super::Input;
use drystone::fuzzing::word::{Location, Root, Word, WordKind};
use drystone::fuzzing::{HeapWords, Index, Tables, Words, header, table_words};
use drystone::index::Key;
use drystone::{BlobId, HashAlgorithm, Result};
use std::cell::{Cell, OnceCell};
use std::collections::HashMap;
use std::ops::ControlFlow;

const STAMP: [u64; 4] = [1, 2, 3, 4];
/// Generations that have names.
const NAMES: usize = 12;
/// No larger table is made.
const WORDS_MAX: usize = 1 << 13;
const OPERATIONS_MAX: usize = 300;
/// Operations on one key in this many.
const KEYS: u64 = 64;

/// The files of a run, on the heap, and which of them are mapped.
struct Heap {
    root: Cell<u64>,
    files: [OnceCell<HeapWords>; NAMES],
    is_named: [Cell<bool>; NAMES],
    is_kept: [Cell<bool>; NAMES],
}

impl Heap {
    fn new(log2: u32) -> Self {
        let heap = Self {
            root: Cell::new(Root::stable(0, log2).0),
            files: std::array::from_fn(|_| OnceCell::new()),
            is_named: std::array::from_fn(|_| Cell::new(false)),
            is_kept: std::array::from_fn(|_| Cell::new(false)),
        };
        heap.create(0, table_words(log2), &header(STAMP, 0, log2)).expect("the first table");
        heap
    }

    /// Writes words into a table, or over the root.
    fn damage(&self, input: &mut Input<'_>) {
        for _ in 0..1 + input.byte() % 16 {
            let (which, at, near) = (input.byte(), input.number() as usize, self.root.get());
            let value = input.edge(near);
            match self.files.get(usize::from(which)).and_then(OnceCell::get) {
                Some(words) => words.store(at % words.len(), value),
                None if which & 1 == 0 => {
                    let size = |of: u8| u32::from(of % 8);
                    let root = Root::stable(u32::from(which >> 4), size(at as u8));
                    let root =
                        if at & 256 == 0 { root } else { root.migrating(size((at >> 9) as u8)) };
                    self.root.set(root.0);
                }
                None => self.root.set(value),
            }
        }
    }
}

impl Tables for Heap {
    type Words = HeapWords;

    fn stamp(&self) -> [u64; 4] {
        STAMP
    }

    fn root_load(&self) -> Root {
        Root(self.root.get())
    }

    fn root_cas(&self, current: Root, new: Root) -> Result<Root, Root> {
        if self.root.get() != current.0 {
            return Err(Root(self.root.get()));
        }
        self.root.set(new.0);
        Ok(current)
    }

    fn open(
        &self,
        generation: u32,
        accept: impl FnOnce(&HeapWords) -> Result<bool>,
    ) -> Result<Option<&HeapWords>> {
        if let Some(kept) = self.kept(generation) {
            return Ok(Some(kept));
        }
        let at = generation as usize;
        let Some(words) = self.files.get(at).and_then(OnceCell::get) else { return Ok(None) };
        if !self.is_named[at].get() || !accept(words)? {
            return Ok(None);
        }
        self.is_kept[at].set(true);
        Ok(Some(words))
    }

    fn kept(&self, generation: u32) -> Option<&HeapWords> {
        let words = self.files.get(generation as usize)?.get()?;
        self.is_kept[generation as usize].get().then_some(words)
    }

    fn create(&self, generation: u32, words: usize, header: &[u64]) -> Result<bool> {
        let Some(file) = self.files.get(generation as usize).filter(|_| words <= WORDS_MAX) else {
            // Some error: there is no room.
            return Err(BlobId::from_digest(HashAlgorithm::Xxh3, &[]).expect_err("no digest"));
        };
        let made = HeapWords::new(words);
        header.iter().enumerate().for_each(|(at, word)| made.store(at, *word));
        self.is_named[generation as usize].set(true);
        Ok(file.set(made).is_ok())
    }

    fn unlink(&self, generation: u32) -> Result<()> {
        if let Some(is_named) = self.is_named.get(generation as usize) {
            is_named.set(false);
        }
        Ok(())
    }
}

/// Operations on a table, which is damaged or not.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let how = input.byte();
    let heap = Heap::new(u32::from(how % 4));
    if how & 4 == 0 {
        let index = Index::new(&heap);
        return operate(&mut Played { index, model: Some(HashMap::new()), step: 0 }, &mut input);
    }
    for round in 0..4 {
        let index = Index::new(&heap);
        let mut played = Played { index, model: None, step: round << 16 };
        for _ in 0..input.byte() % 32 {
            played.operate(&mut input);
        }
        heap.damage(&mut input);
        heap.is_kept.iter().for_each(|kept| kept.set(input.byte() & 1 == 0));
        played.walk();
    }
    operate(&mut Played { index: Index::new(&heap), model: None, step: 8 << 16 }, &mut input);
}

fn operate(played: &mut Played<'_>, input: &mut Input<'_>) {
    for _ in 0..OPERATIONS_MAX {
        if input.is_empty() {
            break;
        }
        played.operate(input);
    }
    played.walk();
}

/// An index, and what it must hold where it is undamaged.
struct Played<'a> {
    index: Index<&'a Heap>,
    model: Option<HashMap<(u64, u64), Word>>,
    step: u64,
}

impl Played<'_> {
    fn operate(&mut self, input: &mut Input<'_>) {
        let (what, number) = (input.byte(), u64::from(input.byte()) % KEYS);
        // Half of the keys share a home.
        let hi = if number & 1 == 0 { number << 57 | 0xFFFF } else { 0xFFFF_0000 + number };
        let key = Key { hi, lo: number + 1 };
        match what % 8 {
            0..4 => self.publish(key, what & 8 != 0),
            4 => self.flag(key),
            5 => self.grow(),
            6 => drop(self.index.finish_growth().map_err(|error| self.must(error))),
            _ => drop(self.index.stats().map_err(|error| self.must(error))),
        }
        self.look(key);
    }

    /// An error, which an undamaged index has none of.
    #[track_caller]
    fn must(&self, error: drystone::Error) {
        assert!(self.model.is_none(), "{error}");
    }

    fn publish(&mut self, key: Key, is_tomb: bool) {
        self.step += 1;
        let Some(location) =
            Location::new(1 + (self.step >> 20) as u32, self.step % (1 << 20) * 64)
        else {
            return;
        };
        let word =
            if is_tomb { Word::tomb(location, true) } else { Word::live(location, true, 100) };
        let done = self.index.lookup(key).and_then(|seen| self.index.publish(key, seen, word));
        match (done, &mut self.model) {
            (Ok(Ok(())), Some(model)) => drop(model.insert((key.hi, key.lo), word)),
            (Ok(Err(met)), Some(_)) => panic!("{:?} came between", met.word),
            // A table that cannot grow is full: that is told.
            (Err(error), Some(_)) => assert!(self.index.stats().is_ok(), "{error}"),
            _ => {}
        }
    }

    fn flag(&mut self, key: Key) {
        let flagged = self.index.update_flags(key, Word::CONDEMNED, 0);
        let Some(model) = &mut self.model else { return };
        let flagged = flagged.expect("an undamaged index").word;
        if let Some(word) = model.get_mut(&(key.hi, key.lo)) {
            *word = Word(word.0 | Word::CONDEMNED);
            assert_eq!(flagged, *word);
        }
    }

    fn grow(&self) {
        // Where no larger table can be made it cannot grow.
        let _ = self.index.grow();
    }

    fn look(&self, key: Key) {
        let seen = self.index.lookup(key);
        let glanced = self.index.glance(key);
        let Some(model) = &self.model else { return };
        let seen = seen.expect("an undamaged index").word;
        let is = model.get(&(key.hi, key.lo)).copied().unwrap_or(Word::NONE);
        assert_eq!(seen, is);
        assert!(glanced.is_none_or(|word| word == is), "a glance at something else");
    }

    fn walk(&self) {
        let mut met = HashMap::new();
        let walked = self.index.for_each(|key, word| {
            met.insert((key.hi, key.lo), word);
            ControlFlow::<()>::Continue(())
        });
        let Some(model) = &self.model else { return };
        assert!(walked.is_ok(), "{walked:?}");
        for (key, word) in model.iter().filter(|(_, word)| word.kind() != WordKind::None) {
            assert_eq!(met.get(key), Some(word));
        }
    }
}
