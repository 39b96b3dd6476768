//! Changing a word: publishing, and flags that stick.
//!
//! I1  One compare-and-swap of the word, from exactly the value seen, is the moment at which an
//!     insert, replacement, removal or relocation takes effect.
//! I2  A frozen word is never changed; the mutator helps and does its work in the next table.
//! I3  Under MIGRATING a mutator has helped the whole probe path of its key before it looks at the
//!     next table, so what it finds there is all there is.
//! I4  From no word only in the table in which none was seen (`Seen`).
//! I5  A flag that must stick is a successful read-modify-write, also when it has its value already:
//!     the order of changes of this one word is what setter and collector rely on.
//!
//! Death: before the exchange a reserved slot, after it a complete entry.
#![forbid(unsafe_code)]

use super::access::{Index, Step, Stop, Tables};
use super::layout::canonical;
use super::read::{Seen, epoch};
use super::table::{Claim, Claimer, Find, Table};
use crate::error::Result;
use crate::format::word::{Root, Word, WordKind};
use crate::id::Key;
use crate::sync::Words;

/// The table in which a key may be changed, with everything of the key in it.
struct Target<'t, W> {
    table: Table<'t, W>,
    generation: u32,
    root: Root,
}

/// A place to publish at.
struct Place {
    at: usize,
    /// Buckets from home, if the slot was claimed just now.
    claimed: Option<usize>,
}

/// Flags that [`Index::update_flags`] may change.
const FLAGS: u64 = Word::VISITED | Word::CONDEMNED | Word::HOT;

impl<T: Tables> Index<T> {
    /// Moves the word of `key` from exactly what was seen to `new`.
    ///
    /// `Err` carries what stands there instead: the operation has lost, and what it does next begins
    /// with that. A key without a word also loses when the table has changed since it was seen.
    ///
    /// # Errors
    /// `IndexFull` for a new key if the table is full and cannot grow; those of opening a table.
    pub fn publish(&self, key: Key, expected: Seen, new: Word) -> Result<Result<(), Seen>> {
        debug_assert!(new.kind() != WordKind::None && new == new.thawed());
        let key = canonical(key);
        self.attempt(|root| self.try_publish(root, key, expected, new))
    }

    fn try_publish(
        &self,
        root: Root,
        key: Key,
        expected: Seen,
        new: Word,
    ) -> Step<Result<(), Seen>> {
        let target = self.target(root, key)?;
        let found_none = expected.word == Word::NONE;
        if found_none && expected.epoch != target.generation && !bug!("none-recurs") {
            return Ok(Err(target.seen(key)?));
        }
        let place = if found_none { self.claim(&target, key)? } else { target.find(key)? };
        let Some(place) = place else { return Ok(Err(Seen::none(target.generation))) };
        if bug!("moved-by-way-of-dead") && expected.word.is_live() {
            let dead = expected.word.dead();
            return match target.exchange(place.at, expected.word, dead)? {
                Ok(()) => target.exchange(place.at, dead, new),
                lost => Ok(lost),
            };
        }
        let done = target.exchange(place.at, expected.word, new)?;
        if let Some(distance) = place.claimed {
            self.grow_if_due(&target, distance);
        }
        Ok(done)
    }

    /// Sets and clears flags (VISITED, CONDEMNED, HOT) of a live word or a tomb, by a successful
    /// read-modify-write in any case. Returns the word **after** it; a key without a word, or with a
    /// dead one, is left alone, and that is returned.
    ///
    /// # Errors
    /// Those of opening a table.
    pub fn update_flags(&self, key: Key, set: u64, clear: u64) -> Result<Seen> {
        debug_assert!((set | clear) & !FLAGS == 0 && set & clear == 0);
        let key = canonical(key);
        self.attempt(|root| self.try_update_flags(root, key, set, clear))
    }

    fn try_update_flags(&self, root: Root, key: Key, set: u64, clear: u64) -> Step<Seen> {
        let target = self.target(root, key)?;
        let mut seen = target.seen(key)?;
        // Another participant's change of this word has succeeded whenever this goes round again.
        while matches!(seen.word.kind(), WordKind::Live | WordKind::Tomb) {
            let changed = Word(seen.word.0 & !clear | set);
            let after = Seen { word: changed, ..seen };
            if bug!("flag-skip") && changed == seen.word {
                return Ok(after);
            }
            match target.exchange(seen.at, seen.word, changed)? {
                Ok(()) => return Ok(after),
                Err(found) => seen = found,
            }
        }
        Ok(seen)
    }

    fn target(&self, root: Root, key: Key) -> Step<Target<'_, T::Words>> {
        let table = if root.is_migrating() {
            let growth = self.growth(root)?;
            growth.assist(key)?;
            growth.next
        } else {
            self.current(root)?
        };
        Ok(Target { table, generation: epoch(root), root })
    }

    fn claim(&self, target: &Target<'_, T::Words>, key: Key) -> Step<Option<Place>> {
        match target.table.claim(key, Claimer::Newcomer) {
            Claim::Mine { at, new, distance } => {
                if new {
                    target.table.add_used(1);
                }
                Ok(Some(Place { at, claimed: new.then_some(distance) }))
            }
            Claim::Sealed => Err(Stop::StartOver),
            Claim::Full => {
                self.make_room(target.root)?;
                Err(Stop::StartOver)
            }
        }
    }

    /// After a claim: begins a growth if the table asks for one. Its failure is nobody's now; when the
    /// table is really full, a newcomer gets it.
    fn grow_if_due(&self, target: &Target<'_, T::Words>, distance: usize) {
        if !target.root.is_migrating() && target.table.is_growth_due(distance) {
            let _ = self.begin_growth(target.root);
        }
    }
}

impl<W: Words> Target<'_, W> {
    fn seen(&self, key: Key) -> Step<Seen> {
        match self.find(key)? {
            Some(place) => self.sight(place.at, self.table.words().load(place.at)),
            None => Ok(Seen::none(self.generation)),
        }
    }

    fn find(&self, key: Key) -> Step<Option<Place>> {
        match self.table.find(key) {
            Find::At(at) => Ok(Some(Place { at, claimed: None })),
            Find::Absent => Ok(None),
            Find::Sealed => Err(Stop::StartOver),
        }
    }

    fn sight(&self, at: usize, raw: u64) -> Step<Seen> {
        if Word(raw).has(Word::FROZEN) {
            return Err(Stop::StartOver);
        }
        Ok(Seen::at(Word(raw), at, self.generation, self.generation))
    }

    fn exchange(&self, at: usize, from: Word, to: Word) -> Step<Result<(), Seen>> {
        match self.table.words().compare_exchange(at, from.0, to.0) {
            Ok(_) => Ok(Ok(())),
            Err(found) if bug!("cas-frozen") && found == from.0 | Word::FROZEN => {
                self.table.words().compare_exchange(at, found, to.0 | Word::FROZEN).ok();
                Ok(Ok(()))
            }
            Err(found) => Ok(Err(self.sight(at, found)?)),
        }
    }
}
