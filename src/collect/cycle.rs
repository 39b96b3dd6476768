//! A collection of the store: its four steps, on the store's own threads.
//!
//! I1  One collector at a time, by an OFD lock that goes with the process. It is tried, never waited
//!     for: whoever finds it taken goes on without.
//! I2  If any ref cannot be read, nothing is given up: the blobs that it names are not known.
//!
//! Death: as steps.rs says; the lock goes with the process.
#![forbid(unsafe_code)]

use super::census::Census;
use super::expire::Expired;
use super::steps::{Roots, Swept, acquit_in_flight, condemn, sweep, walk};
use crate::clock::now_ns;
use crate::disk::{File, LockKind};
use crate::engine::{Engine, Found};
use crate::error::{Error, Result};
use crate::format::record::Kind;
use crate::format::refs::{RefBody, ref_digest};
use crate::format::word::Word;
use crate::id::Key;
use crate::index::{Index, KeyRange};
use crate::run::{RunTables, open_locks};
use crate::sync::epoch::{Guard, pin};
use rayon::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The byte of `locks` that the collector holds.
const COLLECTOR_BYTE: u64 = 1;
/// Binary logarithm of the ranges of keys that threads share out.
const RANGES_LOG2: u32 = 6;

/// The right to collect and to compact.
pub struct Cycle<'a> {
    /// The store.
    pub engine: &'a Engine,
    _lock: Arc<dyn File>,
}

/// What a collection found.
pub struct Collected {
    /// What stays, by segments.
    pub census: Census,
    /// Refs that had expired and were removed.
    pub expired: u64,
    /// How long the walk over the refs took.
    pub walk_time: Duration,
}

impl<'a> Cycle<'a> {
    /// Takes the right; `None` while somebody else has it.
    pub fn begin(engine: &'a Engine) -> Result<Option<Self>> {
        let file = open_locks(&**engine.disk())?;
        let is_free = file.try_lock(COLLECTOR_BYTE, 1, LockKind::Exclusive)?;
        Ok(is_free.then_some(Self { engine, _lock: file }))
    }

    /// Gives up every blob that no ref names, and removes the refs that have expired; `dry` only tells.
    pub fn collect(&self, dry: bool, guard: &Guard) -> Result<Collected> {
        let engine = self.engine;
        let segments = engine.files.list()?;
        self.in_parallel(guard, |index, range, _| condemn(index, range))?;
        let roots = StoreRoots::new(engine, guard);
        acquit_in_flight(&engine.index(guard), &roots)?;
        let (begin, expired) = (Instant::now(), Mutex::new(Expired::default()));
        self.in_parallel(guard, |index, range, guard| {
            let roots = StoreRoots::new(engine, guard);
            walk(index, range, &roots)?;
            let mut all = expired.lock().unwrap_or_else(PoisonError::into_inner);
            all.merge(roots.into_expired());
            Ok(())
        })?;
        let walk_time = begin.elapsed();
        let expired = expired.into_inner().unwrap_or_else(PoisonError::into_inner);
        let expired = if dry { expired.len() } else { engine.remove_expired(expired, guard)? };
        let census = self.in_parallel(guard, |index, range, _| {
            let mut census = Census::new(&segments);
            sweep(index, range, dry, |word, swept| match swept {
                Swept::Kept => census.keep(word),
                Swept::GivenUp => census.give_up(word),
            })?;
            Ok(census)
        })?;
        let sum = census.iter().fold(Census::new(&segments), Census::merge);
        Ok(Collected { census: sum, expired, walk_time })
    }

    /// Does a step for every range of keys, on the store's threads where there are some.
    pub fn in_parallel<R: Send>(
        &self,
        guard: &Guard,
        step: impl Fn(&Index<RunTables<'_>>, KeyRange, &Guard) -> Result<R> + Sync,
    ) -> Result<Vec<R>> {
        let one = |range| {
            let guard = pin();
            step(&self.engine.index(&guard), range, &guard)
        };
        let ranges = KeyRange::parts(RANGES_LOG2);
        match self.engine.pool(guard) {
            Some(pool) => {
                let ranges: Vec<KeyRange> = ranges.collect();
                pool.install(|| ranges.into_par_iter().map(one).collect())
            }
            None => ranges.map(one).collect(),
        }
    }
}

/// The refs of the store.
struct StoreRoots<'a> {
    engine: &'a Engine,
    guard: &'a Guard,
    now_ns: u64,
    expired: std::cell::RefCell<Expired>,
}

impl<'a> StoreRoots<'a> {
    fn new(engine: &'a Engine, guard: &'a Guard) -> Self {
        Self { engine, guard, now_ns: now_ns(), expired: Default::default() }
    }

    fn into_expired(self) -> Expired {
        self.expired.into_inner()
    }

    /// The record of a live ref; `None` if the ref is gone.
    fn record(&self, key: Key, word: Word) -> Result<Option<(Word, Found<'a>)>> {
        if let Some(found) = self.engine.read(word.location(), self.guard)? {
            return Ok(Some((word, found)));
        }
        // It has moved, or was replaced by one that has acquitted its blobs itself.
        let found = self.engine.find(key, self.guard)?;
        Ok(found.map(|(seen, found)| (seen.word, found)))
    }

    fn named_by(&self, key: Key, word: Word, named: &mut Vec<Key>) -> Result<()> {
        let Some((word, found)) = self.record(key, word)? else { return Ok(()) };
        let location = found.location;
        let damaged = |what| Error::damaged(what, location.segment(), location.offset());
        match found.header.kind {
            Kind::Pin => named.push(Key::from_digest(&found.header.digest)),
            Kind::Ref => {
                let body = found.bytes(self.guard);
                let own = Key::from_digest(&found.header.digest);
                let body = body.filter(|body| ref_digest(own, body) == found.header.digest);
                let (expires_ns, blobs) =
                    body.and_then(RefBody::names).ok_or_else(|| damaged("a ref cannot be read"))?;
                if expires_ns != 0
                    && expires_ns <= self.now_ns
                    && self.expired.borrow_mut().push(key, word)
                {
                    return Ok(());
                }
                named.extend(blobs.iter().map(|blob| Key::from_digest(&blob.digest)));
            }
            _ => return Err(damaged("a ref's word names a record of another kind")),
        }
        Ok(())
    }
}

impl Roots for StoreRoots<'_> {
    fn in_flight(&self, named: &mut Vec<Key>) -> Result<()> {
        self.engine.named_in_flight(self.guard, named)
    }

    fn named(&self, refs: &[(Key, Word)], named: &mut Vec<Key>) -> Result<()> {
        for (_, word) in refs {
            let location = word.location();
            if let Some(mapped) = self.engine.segments.peek(location.segment(), self.guard) {
                mapped.as_ref().prefetch(location.offset());
            }
        }
        refs.iter().try_for_each(|&(key, word)| self.named_by(key, word, named))
    }
}
