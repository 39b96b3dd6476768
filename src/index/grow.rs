//! Growth: the next generation is built beside the current one, and whoever changes a key helps.
//!
//! I1  The next table has at least twice the buckets, so copies always fit; one of equal size (to shed
//!     dead words) is filled completely before anybody claims a slot in it.
//! I2  A copy goes from zero to a word, never over one: whatever has happened to the key in the next
//!     table made its word non-zero, for good.
//! I3  MIGRATED is set on a bucket after all its slots are sealed or frozen, and copied.
//! I4  `cursor` is a hint. `low` is moved only over buckets that its mover has seen MIGRATED, and the
//!     root is flipped only when `low` has come to the end.
//! I5  No second growth begins before the flip.
//! I6  A name is unlinked only when the root has passed its generation.
//!
//! Death: at every step another helper does the same again, with no effect where it is done already; a
//! stride that was taken and not done is found from `low`; a file that was linked and not used is
//! adopted by the next grower of that generation.
#![forbid(unsafe_code)]

use super::access::{Index, Step, Stop, Tables};
use super::layout::{
    CURSOR_WORD, LOG2_MAX, LOW_WORD, SLOTS, checked_log2, damaged, header, table_words,
};
use super::table::{Claim, Claimer, Table};
use crate::error::{Error, ErrorKind, Result};
use crate::format::word::{Root, Word, WordKind};
use crate::id::Key;
use crate::sync::Words;

/// Buckets that a mutator copies beside its own path. Under loom the least that shows a stride.
const STRIDE: usize = if cfg!(loom) { 1 } else { 8 };
/// Buckets that it verifies once all strides are taken.
const VERIFIED: usize = if cfg!(loom) { 1 } else { 64 };
/// Buckets from home that make a probe long.
const LONG_PROBE: usize = 64;
/// Buckets looked at to decide whether dead words are worth a growth of equal size.
const SAMPLES: usize = 64;

/// How large the next table is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// As the current one, to shed dead words.
    Same,
    /// Twice as large.
    Twice,
}

/// A growth under way, as a root that is MIGRATING names it.
pub(super) struct Growth<'i, T: Tables> {
    index: &'i Index<T>,
    root: Root,
    current: Table<'i, T::Words>,
    /// The table that everything goes to.
    pub next: Table<'i, T::Words>,
}

impl<W: Words> Table<'_, W> {
    /// Whether a claim `distance` buckets from home should begin a growth.
    pub(super) fn is_growth_due(self, distance: usize) -> bool {
        let used = self.used();
        if distance >= LONG_PROBE && used > self.slots() / 2 {
            return true;
        }
        // Where there is no space for the next table, not every claim should try to make one.
        used > self.limit() && (used - self.limit() - 1).is_multiple_of((self.slots() / 128).max(1))
    }

    /// The size to grow to.
    fn next_size(self) -> Size {
        let step = (self.buckets() / SAMPLES).max(1);
        let kept: usize =
            (0..self.buckets()).step_by(step).map(|bucket| self.kept_in(bucket)).sum();
        let slots = self.buckets().div_ceil(step) * SLOTS;
        // Half of the limit: what is left is worth at least as many inserts as there are copies.
        if kept * 20 > slots * 7 { Size::Twice } else { Size::Same }
    }
}

impl<T: Tables> Index<T> {
    /// Begins a growth, if none is under way; the size follows from what the table holds. Whether
    /// this call began it.
    ///
    /// # Errors
    /// Those of creating the table; `IndexFull` at the largest size.
    pub fn grow(&self) -> Result<bool> {
        let root = self.tables.root_load();
        if root.is_migrating() { Ok(false) } else { self.begin_growth(root) }
    }

    /// Takes part in the growth under way, if there is one, until it is done.
    ///
    /// # Errors
    /// Those of opening a table.
    pub fn finish_growth(&self) -> Result<()> {
        self.attempt(|root| if root.is_migrating() { self.growth(root)?.finish() } else { Ok(()) })
    }

    pub(super) fn growth(&self, root: Root) -> Step<Growth<'_, T>> {
        let (current, next) = (self.current(root)?, self.next(root)?);
        if next.log2() < current.log2() {
            return Err(damaged("the next table is smaller than the current one").into());
        }
        Ok(Growth { index: self, root, current, next })
    }

    /// For a newcomer that found no slot: whatever gives it one in another generation.
    pub(super) fn make_room(&self, root: Root) -> Step<()> {
        if root.is_migrating() {
            return self.growth(root)?.finish();
        }
        match self.begin_growth(root) {
            Ok(_) => Ok(()),
            Err(error) if matches!(error.kind(), ErrorKind::NoSpace | ErrorKind::Limit) => {
                Err(Error::new(ErrorKind::IndexFull, "the index is full and cannot grow")
                    .found(error)
                    .advice("free space on the file system that holds the store; keys that are there can still be changed")
                    .into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Begins the growth of the table that `root`, which is stable, names.
    pub(super) fn begin_growth(&self, root: Root) -> Result<bool> {
        match self.current(root) {
            Ok(current) => self.begin_growth_to(root, current.next_size()),
            Err(Stop::StartOver) => Ok(false),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    pub(super) fn begin_growth_to(&self, root: Root, size: Size) -> Result<bool> {
        let log2 = root.log2() + u32::from(size == Size::Twice);
        let Some(generation) = root.generation().checked_add(1).filter(|_| log2 <= LOG2_MAX) else {
            return Err(Error::new(ErrorKind::IndexFull, "the index has its largest size")
                .found(format!("{root:?}"))
                .advice(
                    "remove blobs, compact the store, and rebuild the index by opening it alone",
                ));
        };
        let head = header(self.tables.stamp(), generation, log2);
        let linked = self.tables.create(generation, table_words(log2), &head)?;
        let begun = match self.adopt(root, generation)? {
            Some(log2) => self.tables.root_cas(root, root.migrating(log2)).is_ok(),
            None => false,
        };
        if linked && !begun && self.has_passed(generation) {
            self.tables.unlink(generation)?;
        }
        if begun && let Some(before) = root.generation().checked_sub(1) {
            // Mostly gone since the last flip, unless who flipped died right behind it.
            let _ = self.tables.unlink(before);
        }
        Ok(begun)
    }

    /// Whether the name of `generation` is nobody's any more. Not yet when the root has reached it: a
    /// file of that name, whoever linked it, is then the current table.
    fn has_passed(&self, generation: u32) -> bool {
        let now = self.tables.root_load().generation();
        now > generation || bug!("loser-unlinks") && now >= generation
    }

    /// The size of the table that has the next generation's name, whoever made it; `None` if the root
    /// has moved.
    fn adopt(&self, root: Root, generation: u32) -> Result<Option<u32>> {
        let accept = |words: &T::Words| {
            let same = self.tables.root_load() == root;
            Ok(same && checked_log2(words, self.tables.stamp(), generation)? >= root.log2())
        };
        let Some(words) = self.tables.open(generation, accept)? else { return Ok(None) };
        checked_log2(words, self.tables.stamp(), generation).map(Some)
    }
}

impl<T: Tables> Growth<'_, T> {
    /// What every mutator does before it looks at the next table.
    pub fn assist(&self, key: Key) -> Step<()> {
        if !bug!("no-path-help") {
            self.help_path(key)?;
        }
        let equal = self.next.log2() == self.current.log2();
        if equal || self.next.used() > self.next.limit() {
            self.finish()
        } else {
            self.take_stride()
        }
    }

    fn help_path(&self, key: Key) -> Step<()> {
        for bucket in self.current.path_of(key) {
            self.help(bucket)?;
            if self.current.ends_in(bucket) {
                break;
            }
        }
        Ok(())
    }

    /// Moves a bucket.
    fn help(&self, bucket: usize) -> Step<()> {
        if self.current.is_migrated(bucket) {
            return Ok(());
        }
        if bug!("migrated-early") {
            self.current.set_migrated(bucket);
        }
        let mut claimed = 0;
        for slot in 0..SLOTS {
            if let Some((key, word)) = self.current.freeze(bucket, slot) {
                claimed += u64::from(self.copy(key, word)?);
            }
        }
        if claimed > 0 {
            self.next.add_used(claimed);
        }
        self.current.set_migrated(bucket);
        Ok(())
    }

    /// Copies a word, unless the next table has one already; whether a slot was claimed for it.
    fn copy(&self, key: Key, word: Word) -> Step<bool> {
        let (at, new) = match self.next.claim(key, Claimer::Copier) {
            Claim::Mine { at, new, .. } => (at, new),
            // The next table is itself being left: this growth was done long ago.
            Claim::Sealed => return Err(Stop::StartOver),
            Claim::Full => {
                return Err(damaged("the next table has no room for the current one").into());
            }
        };
        match self.next.words().compare_exchange(at, Word::NONE.0, word.0) {
            Err(found) if Word(found).has(Word::FROZEN) => Err(Stop::StartOver),
            Err(found) if bug!("copy-over-tomb") && Word(found).kind() == WordKind::Tomb => {
                let _ = self.next.words().compare_exchange(at, found, word.0);
                Ok(new)
            }
            _ => Ok(new),
        }
    }

    /// A stride that nobody has taken; when all are, a stretch of what nobody has verified.
    fn take_stride(&self) -> Step<()> {
        let Some(start) = self.next_stride() else {
            return self.verify(self.low()).map(drop);
        };
        let end = (start + STRIDE).min(self.current.buckets());
        (start..end).try_for_each(|bucket| self.help(bucket))
    }

    fn next_stride(&self) -> Option<usize> {
        let (words, buckets) = (self.next.words(), self.current.buckets() as u64);
        // Looked at before it is moved, or it would not stop to grow.
        let is_spent = words.load(CURSOR_WORD) >= buckets;
        let start = || words.fetch_add(CURSOR_WORD, STRIDE as u64);
        (!is_spent).then(start).filter(|&start| start < buckets).map(|start| start as usize)
    }

    fn low(&self) -> usize {
        let buckets = self.current.buckets();
        usize::try_from(self.next.words().load(LOW_WORD)).map_or(buckets, |low| low.min(buckets))
    }

    /// Sees to it that the buckets after `low` are moved, says so, and flips the root behind the last.
    fn verify(&self, low: usize) -> Step<usize> {
        let end = (low + VERIFIED).min(self.current.buckets());
        if !bug!("low-unverified") {
            (low..end).try_for_each(|bucket| self.help(bucket))?;
        }
        if low < end {
            let _ = self.next.words().compare_exchange(LOW_WORD, low as u64, end as u64);
        }
        if end == self.current.buckets() {
            self.flip();
        }
        Ok(end)
    }

    /// Takes part until nothing is left to do.
    pub fn finish(&self) -> Step<()> {
        for _ in 0..self.current.buckets().div_ceil(STRIDE) {
            match self.next_stride() {
                Some(start) => {
                    let end = (start + STRIDE).min(self.current.buckets());
                    (start..end).try_for_each(|bucket| self.help(bucket))?;
                }
                None => break,
            }
        }
        let mut low = self.low();
        while self.verify(low)? < self.current.buckets() {
            low = self.low().max(low + VERIFIED);
        }
        Ok(())
    }

    fn flip(&self) {
        let tables = &self.index.tables;
        if tables.root_cas(self.root, self.root.flipped()).is_ok() {
            // If it cannot be unlinked, only its space is lost, until the run is rebuilt.
            let _ = tables.unlink(self.root.generation());
        }
    }
}
