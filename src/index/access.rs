//! How an operation gets at its tables: the root, opening a generation, starting over.
//!
//! I1  Every operation loads the root, and whatever makes it start over has changed the root: seals
//!     and frozen words appear in a table only after its growth began, and in the next one only after
//!     that growth was done. So a start over whose root has not moved is damage, never a loop.
//! I2  A mapping is used only if the root was still the same after it was opened: names of dead
//!     generations may be made again by a slow grower, and the root never goes back.
//!
//! Death: nothing; nothing here is written.
#![forbid(unsafe_code)]

use super::layout::{canonical, checked_log2, damaged};
use super::table::Table;
use crate::error::{Error, Result};
use crate::format::word::Root;
use crate::id::Key;
use crate::sync::Words;

/// How the index gets at the tables of its generations.
pub trait Tables {
    /// The words of a table.
    type Words: Words;

    /// What the headers of this run's tables carry: the store's uuid, and what names the run.
    fn stamp(&self) -> [u64; 4];
    /// Loads the root (acquire).
    fn root_load(&self) -> Root;
    /// Exchanges the root (acquire-release; acquire on failure); `Err` carries the root met.
    fn root_cas(&self, current: Root, new: Root) -> Result<Root, Root>;
    /// The table of a generation; `None` if there is no such file, or if it was refused.
    ///
    /// A mapping that was made for this call is shown to `accept` **after** it was made, and may be
    /// used and kept for later calls only if that returns true. One that was kept before is returned
    /// without asking. The hot path is the kept one: plain loads, no reference count.
    fn open(
        &self,
        generation: u32,
        accept: impl FnOnce(&Self::Words) -> Result<bool>,
    ) -> Result<Option<&Self::Words>>;
    /// The table of a generation that was kept from an earlier call.
    fn kept(&self, generation: u32) -> Option<&Self::Words>;
    /// Makes the file of a generation complete (`words` words: the header, then zeros, all of them
    /// backed) and then names it; `false` if the name is taken.
    fn create(&self, generation: u32, words: usize, header: &[u64]) -> Result<bool>;
    /// Removes the name of a generation, if there is one.
    fn unlink(&self, generation: u32) -> Result<()>;
}

impl<T: Tables> Tables for &T {
    type Words = T::Words;

    fn stamp(&self) -> [u64; 4] {
        T::stamp(self)
    }
    #[inline]
    fn root_load(&self) -> Root {
        T::root_load(self)
    }
    fn root_cas(&self, current: Root, new: Root) -> Result<Root, Root> {
        T::root_cas(self, current, new)
    }
    #[inline]
    fn open(
        &self,
        generation: u32,
        accept: impl FnOnce(&Self::Words) -> Result<bool>,
    ) -> Result<Option<&Self::Words>> {
        T::open(self, generation, accept)
    }
    #[inline(always)]
    fn kept(&self, generation: u32) -> Option<&Self::Words> {
        T::kept(self, generation)
    }
    fn create(&self, generation: u32, words: usize, header: &[u64]) -> Result<bool> {
        T::create(self, generation, words, header)
    }
    fn unlink(&self, generation: u32) -> Result<()> {
        T::unlink(self, generation)
    }
}

/// The index of a run: made for each operation, at no cost.
#[derive(Clone, Copy, Debug)]
pub struct Index<T> {
    pub(super) tables: T,
}

/// The size of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Generation of the current table.
    pub generation: u32,
    /// Its buckets.
    pub buckets: u64,
    /// Its slots.
    pub slots: u64,
    /// Slots claimed (a hint: claims of processes that died may be missing).
    pub used: u64,
    /// Bytes of the tables, of both while growing.
    pub bytes: u64,
    /// Whether a growth is under way.
    pub growing: bool,
}

/// Why a step did not come to its end.
pub(super) enum Stop {
    /// The root has moved: begin again with it.
    StartOver,
    /// It cannot be done.
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// The result of a step under one root.
pub(super) type Step<R> = Result<R, Stop>;

/// Most times that one operation starts over. The root moves twice per growth, and the growths that
/// one operation can meet are few; the bound is there for memory that somebody else scribbles on.
const ATTEMPTS_MAX: u32 = 1 << 16;

impl<T: Tables> Index<T> {
    /// The index in these tables.
    #[inline]
    pub fn new(tables: T) -> Self {
        Self { tables }
    }

    /// Its size.
    ///
    /// # Errors
    /// Those of opening a table.
    pub fn stats(&self) -> Result<Stats> {
        self.attempt(|root| {
            let current = self.current(root)?;
            let mut words = current.words().len();
            if root.is_migrating() {
                words += self.next(root)?.words().len();
            }
            Ok(Stats {
                generation: root.generation(),
                buckets: current.buckets() as u64,
                slots: current.slots() as u64,
                used: current.used().min(current.slots()) as u64,
                bytes: words as u64 * 8,
                growing: root.is_migrating(),
            })
        })
    }

    /// Asks for the memory that a lookup of `key` will touch.
    #[inline]
    pub fn prefetch(&self, key: Key) {
        let key = canonical(key);
        let root = self.tables.root_load();
        if let Ok(current) = self.current(root) {
            current.prefetch(key);
        }
        if root.is_migrating()
            && let Ok(next) = self.next(root)
        {
            next.prefetch(key);
        }
    }

    /// Runs `step` under the root, again for as long as it starts over.
    #[inline]
    pub(super) fn attempt<R>(&self, mut step: impl FnMut(Root) -> Step<R>) -> Result<R> {
        let mut root = self.tables.root_load();
        for _ in 0..ATTEMPTS_MAX {
            match step(root) {
                Ok(result) => return Ok(result),
                Err(Stop::Failed(error)) => return Err(error),
                Err(Stop::StartOver) => root = self.moved_on(root)?,
            }
        }
        Err(damaged("the root of the index does not come to rest"))
    }

    #[cold]
    fn moved_on(&self, from: Root) -> Result<Root> {
        let now = self.tables.root_load();
        if now == from {
            return Err(damaged("the index is at odds with its root")
                .expected("a table that exists, and is sealed only while it grows")
                .found(format!("{from:?}")));
        }
        Ok(now)
    }

    /// The table that `root` names.
    #[inline]
    pub(super) fn current(&self, root: Root) -> Step<Table<'_, T::Words>> {
        self.table(root, root.generation(), root.log2())
    }

    /// The table that `root` names, if it was kept from an earlier call.
    #[inline(always)]
    pub(super) fn kept(&self, root: Root) -> Option<Table<'_, T::Words>> {
        Table::new(self.tables.kept(root.generation())?, root.log2())
    }

    /// The table that it grows into.
    #[inline]
    pub(super) fn next(&self, root: Root) -> Step<Table<'_, T::Words>> {
        self.table(root, root.generation().wrapping_add(1), root.log2_next())
    }

    #[inline]
    fn table(&self, root: Root, generation: u32, log2: u32) -> Step<Table<'_, T::Words>> {
        let accept = |words: &T::Words| {
            let same = self.tables.root_load() == root || bug!("no-root-check");
            Ok(same && checked_log2(words, self.tables.stamp(), generation)? == log2)
        };
        let words = self.tables.open(generation, accept)?.ok_or(Stop::StartOver)?;
        Ok(Table::new(words, log2)
            .ok_or_else(|| damaged("a table is shorter than the root says"))?)
    }
}
