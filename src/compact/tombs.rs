//! Tombstones that nothing needs any more.
//!
//! I1  A tombstone goes (its word from tomb to dead) only when no segment, sealed or open, holds another
//!     record of its key, published or pending, and no unlink of one that did may be undone: the
//!     directory is synced first.
//! I2  That of a blob only while its word is condemned: no ref names the blob, not even one in flight.
//!     Else a recovery would pass the ref over, which its number holds to the tombstone.
//! I3  A record that is appended after its segment was looked at belongs to an operation that has seen
//!     the tomb: its exchange fails once the word is dead, and the record stays pending for ever; or it
//!     comes first, and then the exchange to dead fails.
//!
//! Death: some words dead, whose tombstone records are garbage now.
#![forbid(unsafe_code)]

use crate::collect::Cycle;
use crate::engine::Engine;
use crate::error::{ErrorKind, Result};
use crate::format::word::{Location, Word, WordKind};
use crate::id::Key;
use crate::index::Seen;
use crate::segment::{read_facts, sync_name};
use crate::sync::epoch::{Guard, pin};
use rayon::prelude::*;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

/// Tombstones of one range of keys that are looked into by one pass over the footers.
const RANGE_BATCH_MAX: usize = 1 << 14;
/// Tombstones that one thread drops at a time.
const SHARE: usize = 1 << 10;
/// Words that are prefetched at a time.
const LANES: usize = 16;

/// Tombstones by their keys.
type Tombs = HashMap<Key, Word, BuildHasherDefault<OfDigest>>;

/// A hash of what is a hash already.
#[derive(Default)]
struct OfDigest(u64);

impl Hasher for OfDigest {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(byte.into()));
    }

    fn write_u64(&mut self, half: u64) {
        self.0 = self.0.rotate_left(23) ^ half;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Engine {
    /// Drops tombstones, up to a million; how many.
    pub(super) fn drop_tombstones(&self, cycle: &Cycle<'_>, guard: &Guard) -> Result<u64> {
        let found = self.find_tombs(cycle, guard)?;
        if found.is_empty() {
            return Ok(0);
        }
        sync_name(&self.files)?;
        let needed = self.needed(&found.iter().copied().collect(), guard)?;
        let free: Vec<_> = found.into_iter().filter(|(key, _)| !needed.contains(key)).collect();
        let drop_share = |share: &[(Key, Word)]| self.drop_share(share, &pin());
        match self.pool(guard) {
            Some(pool) => pool.install(|| free.par_chunks(SHARE).map(drop_share).sum()),
            None => free.chunks(SHARE).map(drop_share).sum(),
        }
    }

    fn drop_share(&self, tombs: &[(Key, Word)], guard: &Guard) -> Result<u64> {
        let (index, mut dropped) = (self.index(guard), 0);
        for lane in tombs.chunks(LANES) {
            lane.iter().for_each(|(key, _)| index.prefetch(*key));
            for &(key, word) in lane {
                let gone = index.publish(key, Seen::exactly(word), word.dead())?;
                dropped += u64::from(gone.is_ok());
            }
        }
        Ok(dropped)
    }

    /// Tombstones that no ref needs.
    fn find_tombs(&self, cycle: &Cycle<'_>, guard: &Guard) -> Result<Vec<(Key, Word)>> {
        let is_free =
            |word: Word| word.is_ref() || word.has(Word::CONDEMNED) || bug!("tomb-of-named");
        let found = cycle.in_parallel(guard, |index, range, _| {
            let mut tombs = Vec::new();
            index.for_each_batch(range, |batch| {
                let is_tomb = |(_, word): &&(Key, Word)| word.kind() == WordKind::Tomb;
                let free = batch.iter().filter(is_tomb).filter(|(_, word)| is_free(*word));
                tombs.extend(free.take(RANGE_BATCH_MAX - tombs.len()).copied());
                Ok(())
            })?;
            Ok(tombs)
        })?;
        Ok(found.concat())
    }

    /// Those of whose key a segment holds another record.
    fn needed(&self, tombs: &Tombs, guard: &Guard) -> Result<HashSet<Key>> {
        if bug!("tomb-unchecked") {
            return Ok(HashSet::new());
        }
        let numbers = self.files.list()?;
        let needed = |number: &u32| self.needed_by(*number, tombs);
        let needed: Result<Vec<Vec<Key>>> = match self.pool(guard) {
            Some(pool) => pool.install(|| numbers.par_iter().map(needed).collect()),
            None => numbers.iter().map(needed).collect(),
        };
        Ok(needed?.concat().into_iter().collect())
    }

    /// Those of whose key this segment holds another record.
    fn needed_by(&self, number: u32, tombs: &Tombs) -> Result<Vec<Key>> {
        let facts = match read_facts(&self.files, number) {
            Ok(Some(facts)) => facts,
            Ok(None) => return Ok(Vec::new()),
            // It is another segment, or another store's: nothing in it is ours.
            Err(error) if error.kind() == ErrorKind::Damaged => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut needed = Vec::new();
        for entry in &facts.records {
            let Some(header) = entry.header() else { continue };
            let key = crate::index::canonical(self.key_of(&header));
            let here = Location::new(number, entry.offset());
            if tombs.get(&key).is_some_and(|word| Some(word.location()) != here) {
                needed.push(key);
            }
        }
        Ok(needed)
    }
}
