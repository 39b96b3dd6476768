//! How the store carries the publishing protocol (`protocol.rs`): an operation's records go into the
//! segment of the appender that it has to itself.
#![forbid(unsafe_code)]

use crate::engine::{Durability, Engine, View};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{Kind, record_bytes};
use crate::format::refs::ref_digest;
use crate::format::word::{Location, Word};
use crate::id::{BlobId, Key};
use crate::index::Index;
use crate::naming::Naming;
use crate::protocol::{self, Named, RecordLog, RefLog, Shared};
use crate::run::RunTables;
use crate::segment::{Appender, Batch};
use crate::sync::epoch::Guard;

/// An operation under way: a view, and the appender that it has to itself.
pub struct Op<'a, W> {
    /// The store.
    pub view: View<'a>,
    /// Where its records go.
    pub appender: &'a mut Appender,
    /// What it has appended last.
    pub batch: Option<Batch>,
    /// What it is about.
    pub what: W,
}

impl<'a, W> Op<'a, W> {
    /// An operation that has not appended anything yet.
    pub fn new(view: View<'a>, appender: &'a mut Appender, what: W) -> Self {
        Self { view, appender, batch: None, what }
    }

    /// A batch for the next records; the last one's are settled.
    pub fn begin(&mut self) -> Batch {
        if let Some(batch) = self.batch.take() {
            self.appender.recycle(batch);
        }
        self.appender.batch()
    }

    /// Appends a batch.
    pub fn append_batch(&mut self, batch: Batch) -> Result<()> {
        self.appender.append(&batch, &self.view.engine.run.control)?;
        self.batch = Some(batch);
        Ok(())
    }

    /// Sets the state bytes of records of the batch appended last.
    pub fn publish_records(&mut self, records: &[usize]) -> Result<()> {
        match &mut self.batch {
            Some(batch) => self.appender.publish(batch, records),
            None => Ok(()),
        }
    }

    /// The word that will name a record of the batch, whose bytes are told where the batch does not
    /// hold them all.
    pub fn word_of(&self, at: usize, kind: Kind, bytes: Option<u64>) -> Result<Word> {
        let placed = self.batch.as_ref().and_then(|batch| batch.records().get(at));
        let Some(placed) = placed else {
            return Err(Error::new(ErrorKind::Io, "a record that was not appended has no place"));
        };
        let location = self.appender.location(placed.offset)?;
        Ok(if kind.is_tomb() {
            Word::tomb(location, kind.is_ref())
        } else {
            Word::live(location, kind.is_ref(), bytes.unwrap_or(placed.bytes))
        })
    }

    fn append_one(
        &mut self,
        kind: Kind,
        body: &[u8],
        sequence: u64,
        digest: [u8; 32],
    ) -> Result<Word> {
        let mut batch = self.begin();
        batch.push(kind, body, sequence, digest);
        self.append_batch(batch)?;
        self.word_of(0, kind, None)
    }
}

impl<W> Drop for Op<'_, W> {
    /// The buffer serves the next operation.
    fn drop(&mut self) {
        if let Some(batch) = self.batch.take() {
            self.appender.recycle(batch);
        }
    }
}

impl<'a, W> Shared for Op<'a, W> {
    type Tables = RunTables<'a>;

    #[inline]
    fn index(&self) -> &Index<RunTables<'a>> {
        self.view.index()
    }

    #[inline]
    fn draw(&self, count: u64) -> u64 {
        self.view.draw(count)
    }

    #[inline]
    fn is_held(&self, word: Word) -> bool {
        self.view.is_held(word)
    }

    #[inline]
    fn is_synced(&self) -> bool {
        self.view.is_synced()
    }

    fn vouch(&self, key: Key, word: Word) -> Result<Option<u64>> {
        self.view.vouch(key, word)
    }
}

/// Setting a ref to blobs that are in the store.
struct Setting<'a> {
    naming: &'a Naming<'a>,
    ids: &'a [BlobId],
    key: Key,
}

impl RecordLog for Op<'_, Setting<'_>> {
    fn append(&mut self, sequence: u64, held: &[u64]) -> Result<Word> {
        let Setting { naming, ids, key } = self.what;
        let record = naming.record(key, ids, held);
        self.append_one(record.kind, &record.body, sequence, record.digest)
    }

    fn publish(&mut self) -> Result<()> {
        self.publish_records(&[0])
    }
}

impl RefLog for Op<'_, Setting<'_>> {
    fn accepts(&self, word: Word) -> Result<Option<bool>> {
        self.what.naming.accepts(&self.view, self.what.key, word)
    }

    fn blobs(&self) -> usize {
        self.what.ids.len()
    }

    fn blob(&self, at: usize) -> Key {
        self.what.ids[at].key()
    }

    fn peek(&self, at: usize) -> Result<Option<u64>> {
        let found = self.view.engine.find_blob(&self.what.ids[at], self.view.guard)?;
        Ok(found.map(|(_, found)| found.header.sequence))
    }
}

impl RecordLog for Op<'_, &Removal<'_>> {
    fn append(&mut self, sequence: u64, _: &[u64]) -> Result<Word> {
        let &Removal { kind, digest, body, .. } = self.what;
        self.append_one(kind, body, sequence, digest)
    }

    fn publish(&mut self) -> Result<()> {
        self.publish_records(&[0])
    }
}

impl Engine {
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
        let view = View::new(self, guard, durability);
        protocol::set(&mut Op::new(view, appender, Setting { naming, ids, key }), key)
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
        let view = View::new(self, guard, durability);
        let mut op = Op::new(view, appender, target);
        protocol::remove(&mut op, target.key, |word| is_visible(word.location()))
    }
}

impl Engine {
    /// Publishes a tombstone in the place of exactly the version that `word` names; `false` if it has
    /// changed.
    pub fn remove_version(
        &self,
        appender: &mut Appender,
        guard: &Guard,
        target: &Removal<'_>,
        word: Word,
    ) -> Result<bool> {
        let view = View::new(self, guard, Durability::Buffered);
        protocol::remove_seen(&mut Op::new(view, appender, target), target.key, word)
    }
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
        record_bytes(self.kind, self.body.len() as u64, 0)
    }
}

/// The error of an operation on a blob that is not there.
pub fn blob_not_found(id: &BlobId) -> Error {
    Error::new(ErrorKind::NotFound, "no such blob in the store")
        .expected(format!("the blob {id}"))
        .advice("put it first, and name it in the same call if it must last")
}
