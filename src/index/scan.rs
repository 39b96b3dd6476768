//! Walking over all keys, across growths, without holding anything.
//!
//! I1  A walk goes through the space of keys, not of buckets, so its position means the same in every
//!     generation; a step takes all keys whose home is one bucket of the current table.
//! I2  A key that has a word all along is visited at least once: a step looks, like a lookup, into the
//!     next table first, and counts only if the root is still the same at its end.
//!
//! Death: nothing; nothing here is written.
#![forbid(unsafe_code)]

use super::access::{Index, Step, Stop, Tables};
use super::layout::{home, next_position};
use super::read::is_dropped;
use super::table::Table;
use crate::error::Result;
use crate::format::word::{Root, Word, WordKind};
use crate::id::Key;
use crate::sync::Words;
use std::ops::ControlFlow;

/// Keys after which a step ends, and buckets.
const BATCH_KEYS: usize = 64;
const BATCH_BUCKETS: usize = 256;

/// A stretch of the space of keys: those whose first half is in `first..=last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRange {
    first: u64,
    last: u64,
}

impl KeyRange {
    /// The whole space, in `2^log2` parts of one size.
    pub fn parts(log2: u32) -> impl Iterator<Item = Self> {
        let size = u64::MAX >> log2;
        (0..1u64 << log2).map(move |part| {
            let first = part << (u64::BITS - log2).min(63);
            Self { first, last: first + size }
        })
    }
}

/// Where a walk goes on: the first key not visited yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor(u64);

impl Cursor {
    /// A walk that begins at the keys whose first half is at least this.
    pub fn at(hi: u64) -> Self {
        Self(hi)
    }

    /// The first half of the first key not visited yet.
    pub fn position(self) -> u64 {
        self.0
    }
}

impl<T: Tables> Index<T> {
    /// Adds the next stretch of keys, and their words (live, tomb or dead), to `found`, and returns
    /// where to go on; `None` at the end. A stretch may hold no key. A walk begins at
    /// `Cursor::default()` and visits every key that has a word all along at least once.
    ///
    /// Keys come out as [`canonical`](super::canonical).
    ///
    /// # Errors
    /// Those of opening a table.
    pub fn scan(&self, from: Cursor, found: &mut Vec<(Key, Word)>) -> Result<Option<Cursor>> {
        let before = found.len();
        self.attempt(|root| {
            found.truncate(before);
            self.scan_under(root, from, found)
        })
    }

    /// Calls `visit` with every key that has a word all along, at least once, until it breaks.
    ///
    /// # Errors
    /// Those of opening a table.
    pub fn for_each<B>(
        &self,
        mut visit: impl FnMut(Key, Word) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>> {
        let mut found = Vec::with_capacity(2 * BATCH_KEYS);
        let mut cursor = Some(Cursor::default());
        while let Some(from) = cursor {
            cursor = self.scan(from, &mut found)?;
            for (key, word) in found.drain(..) {
                if let ControlFlow::Break(value) = visit(key, word) {
                    return Ok(ControlFlow::Break(value));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Hands out the keys of a range that have a word all along, and their words, at least once, some at
    /// a time, so that whoever takes them can ask for memory ahead.
    ///
    /// # Errors
    /// Those of opening a table, and of `take`.
    pub fn for_each_batch(
        &self,
        range: KeyRange,
        mut take: impl FnMut(&[(Key, Word)]) -> Result<()>,
    ) -> Result<()> {
        let mut found = Vec::with_capacity(4 * BATCH_KEYS);
        let mut cursor = Some(Cursor(range.first));
        while let Some(from) = cursor.filter(|cursor| cursor.0 <= range.last) {
            cursor = self.scan(from, &mut found)?;
            // A bucket may reach across the ends of a range.
            found.retain(|(key, _)| range.first <= key.hi && key.hi <= range.last);
            take(&found)?;
            found.clear();
        }
        Ok(())
    }

    fn scan_under(
        &self,
        root: Root,
        from: Cursor,
        found: &mut Vec<(Key, Word)>,
    ) -> Step<Option<Cursor>> {
        let current = self.current(root)?;
        let next = if root.is_migrating() { Some(self.growth(root)?.next) } else { None };
        let before = found.len();
        let first = home(from.0, current.log2());
        let mut position = None;
        for bucket in first..current.buckets().min(first + BATCH_BUCKETS) {
            visit_home(current, next, bucket, found);
            position = next_position(bucket, current.log2());
            if found.len() - before >= BATCH_KEYS {
                break;
            }
        }
        if self.tables.root_load() != root {
            return Err(Stop::StartOver);
        }
        Ok(position.map(Cursor))
    }
}

/// Adds the keys whose home in the current table is `bucket`.
fn visit_home<W: Words>(
    current: Table<'_, W>,
    next: Option<Table<'_, W>>,
    bucket: usize,
    found: &mut Vec<(Key, Word)>,
) {
    let before = found.len();
    if let Some(next) = next {
        let shift = next.log2() - current.log2();
        for child in bucket << shift..(bucket + 1) << shift {
            next.for_each_at_home(child, |key, word| add(found, before, key, word));
        }
    }
    current.for_each_at_home(bucket, |key, word| add(found, before, key, word));
}

fn add(found: &mut Vec<(Key, Word)>, since: usize, key: Key, raw: Word) {
    let is_known = || found[since..].iter().any(|(known, _)| *known == key);
    if raw.kind() != WordKind::None && !is_dropped(raw) && !is_known() {
        found.push((key, raw.thawed()));
    }
}
