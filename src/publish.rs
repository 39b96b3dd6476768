//! The one way to publish (spec/CONCURRENCY.md, section "Publishing").
//!
//! Every change of a key is a record: load the word, draw a number, append the record pending, move
//! the word from exactly what was loaded, set the state byte.
//!
//! I1  The number is drawn after the load, so along one key's history the numbers grow.
//! I2  `published` implies that the index named the record.
//! I3  A ref's pending record is in the log before the word of a blob that it names is touched, and
//!     holds the number of the blob record that it relies on.
//! I4  The blobs that a ref names are published (their state bytes set, or set together with the
//!     ref's own in one write) before the ref is acknowledged; whoever relies on a ref relies on them.
//!
//! Death: before the exchange, a pending record that nobody names; after it, a record that counts and
//! whose byte whoever relies on it sets.
#![forbid(unsafe_code)]

use crate::engine::{Durability, Engine, missing_segment};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{Header, Kind};
use crate::format::refs::ref_digest;
use crate::format::word::{Location, Word, WordKind};
use crate::id::{BlobId, Key};
use crate::index::Seen;
use crate::naming::Naming;
use crate::segment::{Appender, Batch};
use crate::sync::epoch::Guard;

/// How an attempt to name blobs ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// The ref is set; its number.
    Done(u64),
    /// The condition of the ref does not hold.
    Declined,
    /// This one of the blobs is not there.
    Missing(usize),
}

impl Engine {
    /// Appends one record.
    fn append_one(&self, appender: &mut Appender, record: &[u8], header: &Header) -> Result<Batch> {
        let mut batch = appender.batch();
        batch.push(header.kind, record, header.sequence, header.digest);
        appender.append(&batch, &self.run.control)?;
        Ok(batch)
    }

    /// Moves the word of `key` from exactly `expected` to the record of a batch, and sets the
    /// record's state byte; `false` if the word has changed.
    fn publish_one(
        &self,
        appender: &mut Appender,
        mut batch: Batch,
        guard: &Guard,
        key: Key,
        expected: Seen,
        kind: Kind,
    ) -> Result<bool> {
        let placed = batch.records()[0];
        let location = appender.location(placed.offset)?;
        let word = if kind.is_tomb() {
            Word::tomb(location, kind.is_ref())
        } else {
            Word::live(location, kind.is_ref(), placed.bytes)
        };
        let won = self.index(guard).publish(key, expected, word)?.is_ok();
        if won {
            appender.publish(&mut batch, &[0])?;
        }
        appender.recycle(batch);
        Ok(won)
    }

    /// Sets a ref to blobs that are in the store.
    pub fn name_blobs(
        &self,
        appender: &mut Appender,
        guard: &Guard,
        naming: &Naming<'_>,
        ids: &[BlobId],
        durability: Durability,
    ) -> Result<Named> {
        let key = naming.key(self, ids);
        loop {
            let seen = self.index(guard).lookup(key)?;
            if !naming.accepts(self, seen.word, guard)? {
                return Ok(Named::Declined);
            }
            let held = match self.peek_numbers(ids, guard)? {
                Ok(held) => held,
                Err(missing) => return Ok(Named::Missing(missing)),
            };
            let sequence = self.run.control.draw_sequences(1);
            let record = naming.record(key, ids, &held);
            let header = Header::pending(record.kind, 0, sequence, record.digest);
            let batch = self.append_one(appender, &record.body, &header)?;
            match self.acquit_blobs(ids, &held, guard, durability)? {
                Acquitted::All => {}
                Acquitted::Changed => {
                    appender.recycle(batch);
                    continue;
                }
                Acquitted::Missing(index) => {
                    appender.recycle(batch);
                    return Ok(Named::Missing(index));
                }
            }
            if self.publish_one(appender, batch, guard, key, seen, record.kind)? {
                return Ok(Named::Done(sequence));
            }
        }
    }

    /// The numbers of the blobs' records, or the index of one that is not there.
    fn peek_numbers(&self, ids: &[BlobId], guard: &Guard) -> Result<Result<Vec<u64>, usize>> {
        let mut held = Vec::with_capacity(ids.len());
        for (index, id) in ids.iter().enumerate() {
            match self.find_blob(id, guard)? {
                Some((_, found)) => held.push(found.header.sequence),
                None => return Ok(Err(index)),
            }
        }
        Ok(Ok(held))
    }

    /// For each blob a successful read-modify-write on its word that clears CONDEMNED, in any case;
    /// then its state byte, and under `Synced` its durability.
    fn acquit_blobs(
        &self,
        ids: &[BlobId],
        held: &[u64],
        guard: &Guard,
        durability: Durability,
    ) -> Result<Acquitted> {
        for (index, (id, &held)) in ids.iter().zip(held).enumerate() {
            let word = self.index(guard).update_flags(id.key(), 0, Word::CONDEMNED)?.word;
            if !word.is_live() {
                return Ok(Acquitted::Missing(index));
            }
            let Some(found) = self.read(word.location(), guard)? else {
                return Ok(Acquitted::Changed);
            };
            if found.header.sequence != held {
                return Ok(Acquitted::Changed);
            }
            self.rely(&found)?;
            if durability == Durability::Synced {
                self.vouch(&found, guard)?;
            }
        }
        Ok(Acquitted::All)
    }

    /// Publishes a tombstone for a key; `false` if there is nothing to remove, or nothing that could
    /// be seen: that is what `is_visible` says of the record at a location.
    pub fn remove_key(
        &self,
        appender: &mut Appender,
        guard: &Guard,
        target: &Removal<'_>,
        durability: Durability,
        is_visible: &dyn Fn(Location) -> Result<bool>,
    ) -> Result<bool> {
        let key = target.key;
        let mut before = Word::NONE;
        loop {
            let seen = self.index(guard).lookup(key)?;
            match seen.word.kind() {
                WordKind::Live => {}
                WordKind::Tomb if durability == Durability::Synced => {
                    // Acknowledging on somebody else's tombstone: see that it lasts.
                    let Some(found) = self.read(seen.word.location(), guard)? else {
                        if seen.word == before {
                            return Err(missing_segment(before.location()));
                        }
                        before = seen.word;
                        continue;
                    };
                    self.rely(&found)?;
                    self.vouch(&found, guard)?;
                    return Ok(false);
                }
                _ => return Ok(false),
            }
            let sequence = self.run.control.draw_sequences(1);
            let header = Header::pending(target.kind, 0, sequence, target.digest);
            let batch = self.append_one(appender, target.body, &header)?;
            // Asked as late as can be, so that it holds when the word moves.
            let was_visible = is_visible(seen.word.location())?;
            if self.publish_one(appender, batch, guard, key, seen, target.kind)? {
                return Ok(was_visible);
            }
        }
    }
}

enum Acquitted {
    All,
    Changed,
    Missing(usize),
}

/// What a tombstone is for.
pub struct Removal<'a> {
    kind: Kind,
    key: Key,
    digest: [u8; 32],
    body: &'a [u8],
}

impl<'a> Removal<'a> {
    /// The tombstone of a blob.
    pub fn of_blob(id: &BlobId) -> Self {
        Self { kind: Kind::BlobTomb, key: id.key(), digest: *id.padded(), body: &[] }
    }

    /// The tombstone of a ref or pin, whose body names it.
    pub fn of_ref(key: Key, body: &'a [u8]) -> Self {
        Self { kind: Kind::RefTomb, key, digest: ref_digest(key, body), body }
    }

    /// The key.
    pub fn key(&self) -> Key {
        self.key
    }

    /// Bytes of the record.
    pub fn record_bytes(&self) -> u64 {
        crate::format::record::record_bytes(self.kind, self.body.len() as u64, 0)
    }
}

/// The error of an operation on a blob that is not there.
pub fn blob_not_found(id: &BlobId) -> Error {
    Error::new(ErrorKind::NotFound, "no such blob in the store")
        .expected(format!("the blob {id}"))
        .advice("put it first, and name it in the same call if it must last")
}
