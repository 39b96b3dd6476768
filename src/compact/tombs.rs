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

use crate::engine::Engine;
use crate::error::{ErrorKind, Result};
use crate::format::word::{Location, Word, WordKind};
use crate::id::Key;
use crate::index::{KeyRange, Seen};
use crate::segment::{read_facts, sync_name};
use crate::sync::epoch::Guard;
use rayon::prelude::*;
use std::collections::HashMap;

/// Tombstones that are looked into by one pass over the footers.
const BATCH_MAX: usize = 1 << 20;

impl Engine {
    /// Drops tombstones, up to a million; how many.
    pub(super) fn drop_tombstones(&self, guard: &Guard) -> Result<u64> {
        let mut tombs = self.find_tombs(guard)?;
        if tombs.is_empty() {
            return Ok(0);
        }
        sync_name(&self.files)?;
        self.spare_needed(&mut tombs, guard)?;
        let index = self.index(guard);
        let mut dropped = 0;
        for (key, word) in tombs {
            dropped += u64::from(index.publish(key, Seen::exactly(word), word.dead())?.is_ok());
        }
        Ok(dropped)
    }

    /// Tombstones that no ref needs.
    fn find_tombs(&self, guard: &Guard) -> Result<HashMap<Key, Word>> {
        let mut tombs = HashMap::new();
        let is_free =
            |word: Word| word.is_ref() || word.has(Word::CONDEMNED) || bug!("tomb-of-named");
        for range in KeyRange::parts(0) {
            self.index(guard).for_each_batch(range, |batch| {
                let free = batch
                    .iter()
                    .filter(|(_, word)| word.kind() == WordKind::Tomb && is_free(*word));
                let room = BATCH_MAX - tombs.len();
                tombs.extend(free.take(room).copied());
                Ok(())
            })?;
        }
        Ok(tombs)
    }

    /// Takes out those of whose key a segment holds another record.
    fn spare_needed(&self, tombs: &mut HashMap<Key, Word>, guard: &Guard) -> Result<()> {
        if bug!("tomb-unchecked") {
            return Ok(());
        }
        let numbers = self.files.list()?;
        let needed = |number: &u32| self.needed_by(*number, &*tombs);
        let needed: Result<Vec<Vec<Key>>> = match self.pool(guard) {
            Some(pool) => pool.install(|| numbers.par_iter().map(needed).collect()),
            None => numbers.iter().map(needed).collect(),
        };
        for key in needed?.iter().flatten() {
            tombs.remove(key);
        }
        Ok(())
    }

    /// Those of whose key a segment holds another record.
    fn needed_by(&self, number: u32, tombs: &HashMap<Key, Word>) -> Result<Vec<Key>> {
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
