//! Looking up a key: no store, no allocation, no system call once the tables are mapped.
//!
//! I1  While growing, the next table is probed first: what it holds is newer. A key that it does not
//!     hold had at that moment the value that the current table shows.
//! I2  A miss counts only if the root is still the same.
//! I3  A frozen dead word reads as none: the next table gets nothing of it.
//!
//! Death: nothing; a reader leaves at most VISITED behind.
#![forbid(unsafe_code)]

use super::access::{Index, Step, Stop, Tables};
use super::layout::canonical;
use super::table::{Find, Table};
use crate::error::Result;
use crate::format::word::{Root, Word, WordKind};
use crate::id::Key;
use crate::sync::Words;

/// A word, and where it was seen.
///
/// A key without a word can be published only in the table in which that was seen: a word that is
/// zero again after a growth (its dead word was dropped) is not the zero of before.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// The word, without FROZEN; [`Word::NONE`] if the key has none.
    pub word: Word,
    /// Its place, for VISITED.
    pub(super) at: usize,
    /// The generation of the table that holds the place.
    pub(super) generation: u32,
    /// The generation in which a mutator had to work then.
    pub(super) epoch: u32,
}

impl Seen {
    /// Exactly this word, which is not [`Word::NONE`], wherever it stands.
    pub fn exactly(word: Word) -> Self {
        Self { word, at: usize::MAX, generation: u32::MAX, epoch: u32::MAX }
    }

    /// No word.
    #[inline]
    pub(super) fn none(epoch: u32) -> Self {
        Self { epoch, ..Self::exactly(Word::NONE) }
    }

    /// A word at its place.
    #[inline]
    pub(super) fn at(word: Word, at: usize, generation: u32, epoch: u32) -> Self {
        Self { word, at, generation, epoch }
    }
}

/// The generation in which mutators work under this root.
#[inline]
pub(super) fn epoch(root: Root) -> u32 {
    root.generation().wrapping_add(u32::from(root.is_migrating()))
}

impl<T: Tables> Index<T> {
    /// The word of `key`, be it live, tomb or dead.
    ///
    /// Whether the record at its location has this key's digest or name is for the caller to check.
    ///
    /// # Errors
    /// Those of opening a table, once per growth; `Damaged` if the index contradicts itself.
    #[inline]
    pub fn lookup(&self, key: Key) -> Result<Seen> {
        let key = canonical(key);
        self.attempt(|root| self.look(root, key))
    }

    /// The live word of `key`, if one look at its home in the current table finds it; `None` says
    /// nothing. It is what [`lookup`](Self::lookup) would have found at that moment: a word that is not
    /// frozen is not in the next table yet.
    #[inline]
    pub fn glance(&self, key: Key) -> Option<Word> {
        let root = self.tables.root_load();
        if root.is_migrating() && !bug!("glance-while-growing") {
            return None;
        }
        let table = self.kept(root)?;
        let word = table.glance(canonical(key))?;
        let is_left = word.has(Word::FROZEN) && !bug!("glance-while-growing");
        (word.is_live() && !is_left).then_some(word)
    }

    #[inline]
    fn look(&self, root: Root, key: Key) -> Step<Seen> {
        if root.is_migrating() {
            return self.look_in_both(root, key);
        }
        match sight(self.current(root)?, root.generation(), epoch(root), key) {
            Some(seen) => Ok(seen),
            None => self.miss(root),
        }
    }

    fn look_in_both(&self, root: Root, key: Key) -> Step<Seen> {
        let (generation, epoch) = (root.generation(), epoch(root));
        let next = || Step::Ok(sight(self.next(root)?, generation.wrapping_add(1), epoch, key));
        let current = || Step::Ok(sight(self.current(root)?, generation, epoch, key));
        let seen = if bug!("current-first") {
            current()?.map_or_else(next, |seen| Ok(Some(seen)))?
        } else {
            next()?.map_or_else(current, |seen| Ok(Some(seen)))?
        };
        seen.map_or_else(|| self.miss(root), Ok)
    }

    #[inline]
    fn miss(&self, root: Root) -> Step<Seen> {
        if self.tables.root_load() == root {
            Ok(Seen::none(epoch(root)))
        } else {
            Err(Stop::StartOver)
        }
    }

    /// Sets VISITED on a word that was looked up, if it is clear and the word still the same. It may
    /// be lost.
    #[inline]
    pub fn mark_visited(&self, seen: Seen) {
        if seen.word.is_live() && !seen.word.has(Word::VISITED) {
            let _ = self.try_mark(seen);
        }
    }

    fn try_mark(&self, seen: Seen) -> Step<()> {
        let root = self.tables.root_load();
        let table = if seen.generation == root.generation() {
            self.current(root)?
        } else if seen.generation == epoch(root) {
            self.next(root)?
        } else {
            return Ok(());
        };
        if seen.at < table.words().len() {
            let visited = seen.word.0 | Word::VISITED;
            let _ = table.words().compare_exchange(seen.at, seen.word.0, visited);
        }
        Ok(())
    }
}

/// The word of `key` in one table; `None` if there is none, or none that will be kept.
#[inline]
fn sight<W: Words>(table: Table<'_, W>, generation: u32, epoch: u32, key: Key) -> Option<Seen> {
    let Find::At(at) = table.find(key) else { return None };
    let raw = Word(table.words().load(at));
    let dropped = is_dropped(raw) && !bug!("frozen-dead");
    let seen = || Seen::at(raw.thawed(), at, generation, epoch);
    (raw.kind() != WordKind::None && !dropped).then(seen)
}

/// Whether the next table gets nothing of this word.
#[inline]
pub(super) fn is_dropped(raw: Word) -> bool {
    raw.has(Word::FROZEN) && raw.kind() == WordKind::Dead
}
