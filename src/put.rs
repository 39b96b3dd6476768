//! Putting bytes in.
//!
//! A put is one append of two records: the ref that names the blob (a pin, where the caller asks for
//! nothing else) and behind it the blob, so that the ref's pending record is in the log before the
//! blob's word is touched (publish.rs, I3). Then two exchanges in the index, and one write for the two
//! state bytes, which stand side by side.
//!
//! Where anybody else interferes, what was appended stays pending for ever and the put falls back to
//! naming the blob that is there.
#![forbid(unsafe_code)]

use crate::engine::{Durability, Engine, Found};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{
    HEADER_BYTES, Kind, alignment, chunk_digests_offset, header_offset, record_bytes,
};
use crate::format::word::Word;
use crate::hash::{digest, encode_chunks};
use crate::id::{BlobId, HashAlgorithm, Key};
use crate::index::Seen;
use crate::naming::Naming;
use crate::publish::Named;
use crate::segment::{Appender, Batch};
use crate::stream::{Body, Hashed, hash_in_place, write_body};
use crate::sync::epoch::Guard;
use crate::units::{KIB, STEP_BYTES};

/// Bodies up to this size are hashed first and appended by one write.
pub const SMALL_BYTES_MAX: u64 = 64 * KIB;

/// The two records of a put, appended and pending.
struct Logged {
    batch: Batch,
    /// The blob's record, and its size.
    blob: usize,
    record_bytes: u64,
    sequence: u64,
    ref_key: Key,
    ref_seen: Seen,
    blob_seen: Seen,
}

/// How a put ended.
pub struct Put {
    /// The blob.
    pub id: BlobId,
    /// The ref.
    pub named: Named,
}

impl Engine {
    /// Puts a body in and names it.
    pub fn put(
        &self,
        guard: &Guard,
        body: Body<'_>,
        naming: &Naming<'_>,
        durability: Durability,
    ) -> Result<Put> {
        self.enter_writing(guard)?;
        if let Err(error) = self.check_room(body.len() as u64) {
            return self.put_full(guard, body, naming, durability, error);
        }
        if body.len() as u64 <= SMALL_BYTES_MAX {
            return match body {
                Body::Fixed(bytes) => self.put_small(guard, bytes, naming, durability),
                Body::Racy(racy) => {
                    let mut copy = vec![0; racy.len()];
                    racy.copy_to(0, &mut copy);
                    self.put_small(guard, &copy, naming, durability)
                }
            };
        }
        self.put_large(guard, body, naming, durability)
    }

    /// Refuses what would pass the store's size limit.
    pub fn check_room(&self, bytes: u64) -> Result<()> {
        let limit = self.run.control.limit();
        let used = self.run.control.bytes_appended();
        if limit == 0 || used.saturating_add(bytes) <= limit {
            return Ok(());
        }
        Err(Error::new(ErrorKind::NoSpace, "the size limit of the store is reached")
            .expected(format!("at most {limit} bytes"))
            .found(format!("{used} bytes, and {bytes} to come"))
            .advice("remove blobs and compact, or open the store with a higher limit"))
    }

    fn put_small(
        &self,
        guard: &Guard,
        bytes: &[u8],
        naming: &Naming<'_>,
        durability: Durability,
    ) -> Result<Put> {
        let id = BlobId::from_padded(self.superblock.hash, digest(self.superblock.hash, bytes));
        if self.holds(&id, guard)? {
            self.compare(guard, &id, Body::Fixed(bytes))?;
            return self.name_held(guard, id, Body::Fixed(bytes), naming, durability);
        }
        let room = self.room_for(naming, bytes.len() as u64);
        let named = self.with_appender(guard, room, durability, |appender| {
            let logged = self.log_small(appender, guard, bytes, &id, naming)?;
            match logged {
                Some(logged) => self.name_logged(appender, guard, logged, &id),
                None => Ok(Some(Named::Declined)),
            }
        })?;
        match named {
            Some(named) => Ok(Put { id, named }),
            None => {
                self.compare(guard, &id, Body::Fixed(bytes))?;
                self.name_held(guard, id, Body::Fixed(bytes), naming, durability)
            }
        }
    }

    /// Bytes that a put of `len` bytes needs at most in a segment.
    fn room_for(&self, naming: &Naming<'_>, len: u64) -> u64 {
        let blob = record_bytes(Kind::Blob, len, self.files.digest_bytes());
        naming.record_bytes(1) + blob + alignment(Kind::Blob, len) + STEP_BYTES
    }

    /// Whether a live record of the blob is there to rely on: not one in a poisoned segment.
    pub fn holds(&self, id: &BlobId, guard: &Guard) -> Result<bool> {
        Ok(self.is_held(self.index(guard).lookup(id.key())?.word))
    }

    /// Whether a blob's word names a record to rely on.
    pub fn is_held(&self, word: Word) -> bool {
        word.is_live() && !self.run.control.is_poisoned(word.location().segment())
    }

    /// Names a blob that somebody has put already; puts it again if it has gone meanwhile.
    fn name_held(
        &self,
        guard: &Guard,
        id: BlobId,
        body: Body<'_>,
        naming: &Naming<'_>,
        durability: Durability,
    ) -> Result<Put> {
        if let Some(named) = self.pinned_already(guard, &id, naming, durability)? {
            return Ok(Put { id, named });
        }
        let room = naming.record_bytes(1) + STEP_BYTES;
        let named = self.with_appender(guard, room, durability, |appender| {
            self.name_blobs(appender, guard, naming, std::slice::from_ref(&id), durability)
        })?;
        if let Named::Missing(_) = named {
            return self.put(guard, body, naming, durability);
        }
        Ok(Put { id, named })
    }

    /// Whether the blob's pin is there, and the two can be relied on.
    fn pinned_already(
        &self,
        guard: &Guard,
        id: &BlobId,
        naming: &Naming<'_>,
        durability: Durability,
    ) -> Result<Option<Named>> {
        if !matches!(naming, Naming::Pin) {
            return Ok(None);
        }
        let key = naming.key(self, std::slice::from_ref(id));
        let Some((_, pin)) = self.find(key, guard)? else { return Ok(None) };
        let Some((_, blob)) = self.find_blob(id, guard)? else { return Ok(None) };
        let is_poisoned =
            |found: &Found<'_>| self.run.control.is_poisoned(found.location.segment());
        if pin.header.kind != Kind::Pin || pin.header.digest != *id.padded() || is_poisoned(&pin) {
            return Ok(None);
        }
        for found in [&blob, &pin] {
            self.rely(found)?;
            if durability == Durability::Synced {
                self.vouch(found, guard)?;
            }
        }
        Ok(Some(Named::Done(pin.header.sequence)))
    }

    /// Compares a body with the blob that has its id.
    ///
    /// # Errors
    /// `IdCollision` if they differ, `Damaged` if the blob is not what its id says.
    pub fn compare(&self, guard: &Guard, id: &BlobId, body: Body<'_>) -> Result<()> {
        let Body::Fixed(bytes) = body else { return Ok(()) };
        if id.algorithm() == HashAlgorithm::Blake3 {
            return Ok(());
        }
        let Some((_, found)) = self.find(id.key(), guard)? else { return Ok(()) };
        if found.header.digest == *id.padded() && found.bytes(guard) == Some(bytes) {
            return Ok(());
        }
        Err(self.collision(guard, id, &found))
    }

    fn collision(&self, guard: &Guard, id: &BlobId, found: &Found<'_>) -> Error {
        let stored = found.bytes(guard).unwrap_or_default();
        let hashed = hash_in_place(stored, self.superblock.hash, None).digest;
        if hashed != found.header.digest {
            let (segment, offset) = (found.location.segment(), found.location.offset());
            return Error::damaged("the stored blob is not what its id says", segment, offset)
                .expected(id)
                .found(BlobId::from_padded(self.superblock.hash, hashed));
        }
        Error::new(ErrorKind::IdCollision, "another content with this id is in the store already")
            .expected(format!("the {} bytes that were put", id))
            .advice("keep these bytes in a store made with `--hash blake3`")
    }

    /// Appends ref and blob of a small put; `None` if the ref's condition does not hold.
    fn log_small(
        &self,
        appender: &mut Appender,
        guard: &Guard,
        bytes: &[u8],
        id: &BlobId,
        naming: &Naming<'_>,
    ) -> Result<Option<Logged>> {
        let Some(mut logged) = self.begin(appender.batch(), guard, id, naming)? else {
            return Ok(None);
        };
        let digest = *id.padded();
        logged.blob = logged.batch.push(Kind::Blob, bytes, logged.sequence, digest);
        logged.record_bytes = logged.batch.records()[logged.blob].bytes;
        appender.append(&logged.batch, &self.run.control)?;
        Ok(Some(logged))
    }

    /// Loads the words, draws the two numbers and puts the ref's record into the batch.
    fn begin(
        &self,
        mut batch: Batch,
        guard: &Guard,
        id: &BlobId,
        naming: &Naming<'_>,
    ) -> Result<Option<Logged>> {
        let ids = std::slice::from_ref(id);
        let ref_key = naming.key(self, ids);
        let (blob_seen, ref_seen) = {
            let index = self.index(guard);
            (index.lookup(id.key())?, index.lookup(ref_key)?)
        };
        if !naming.accepts(self, ref_seen.word, guard)? {
            return Ok(None);
        }
        let sequence = self.run.control.draw_sequences(2);
        let record = naming.record(ref_key, ids, &[sequence]);
        batch.push(record.kind, &record.body, sequence + 1, record.digest);
        Ok(Some(Logged { batch, blob: 0, record_bytes: 0, sequence, ref_key, ref_seen, blob_seen }))
    }

    /// Moves the two words and sets the two state bytes. `None` if the blob's word has changed or the
    /// ref's has: then the blob that is there is to be named anew.
    fn name_logged(
        &self,
        appender: &mut Appender,
        guard: &Guard,
        mut logged: Logged,
        id: &BlobId,
    ) -> Result<Option<Named>> {
        if self.is_held(logged.blob_seen.word) {
            appender.recycle(logged.batch);
            return Ok(None);
        }
        let blob_at = appender.location(logged.batch.records()[logged.blob].offset)?;
        let ref_record = logged.batch.records()[0];
        let ref_at = appender.location(ref_record.offset)?;
        let blob_live = Word::live(blob_at, false, logged.record_bytes);
        if self.index(guard).publish(id.key(), logged.blob_seen, blob_live)?.is_err() {
            appender.recycle(logged.batch);
            return Ok(None);
        }
        let ref_live = Word::live(ref_at, true, ref_record.bytes);
        let won = self.index(guard).publish(logged.ref_key, logged.ref_seen, ref_live)?.is_ok();
        let published: &[usize] = if won { &[0, logged.blob] } else { &[logged.blob] };
        appender.publish(&mut logged.batch, published)?;
        appender.recycle(logged.batch);
        Ok(won.then_some(Named::Done(logged.sequence + 1)))
    }

    fn put_large(
        &self,
        guard: &Guard,
        body: Body<'_>,
        naming: &Naming<'_>,
        durability: Durability,
    ) -> Result<Put> {
        let room = self.room_for(naming, body.len() as u64);
        let is_lone = room > self.segment_target() / 4;
        let mut appender = if is_lone {
            Appender::create_unnamed(&self.files, &self.run.control)?
        } else {
            self.take_appender(guard, room)?
        };
        let at = Layout::of(appender.tail(), naming.record_bytes(1), body.len() as u64);
        let written = appender.reserve_to(at.end(self.files.digest_bytes())).and_then(|()| {
            write_body(&**appender.file(), at.body, body, self.superblock.hash, self.pool(guard))
        });
        let hashed = match written {
            Err(error) if error.kind() == ErrorKind::NoSpace => {
                drop(appender);
                return self.put_full(guard, body, naming, durability, error);
            }
            other => other?,
        };
        let mut written = Written::new(appender, at, hashed, is_lone);
        self.commit(guard, &mut written, body, naming, durability)
    }

    /// Names a body that has been written and hashed, or the blob that was there before it.
    pub fn commit(
        &self,
        guard: &Guard,
        written: &mut Written,
        body: Body<'_>,
        naming: &Naming<'_>,
        durability: Durability,
    ) -> Result<Put> {
        let id = BlobId::from_padded(self.superblock.hash, written.hashed.digest);
        let Some(appender) = &mut written.appender else {
            return self.name_held(guard, id, body, naming, durability);
        };
        if self.holds(&id, guard)? {
            self.compare_written(guard, &id, appender, &written.at)?;
            self.give_up(guard, written);
            return self.name_held(guard, id, body, naming, durability);
        }
        let Some(logged) =
            self.log_large(appender, guard, &written.at, &written.hashed, &id, naming)?
        else {
            self.give_up(guard, written);
            return Ok(Put { id, named: Named::Declined });
        };
        if written.is_lone && !written.is_linked {
            appender.link()?;
            written.is_linked = true;
        }
        written.is_exposed = true;
        let named = self.name_logged(appender, guard, logged, &id)?;
        if named.is_none() {
            self.compare_written(guard, &id, appender, &written.at)?;
        }
        self.finish_large(guard, written, durability)?;
        match named {
            Some(named) => Ok(Put { id, named }),
            None => self.name_held(guard, id, body, naming, durability),
        }
    }

    /// A written body is not needed: its bytes are written over by the next append, or go with a
    /// segment that never had a name.
    fn give_up(&self, guard: &Guard, written: &mut Written) {
        if let Some(appender) = written.appender.take()
            && !written.is_lone
        {
            self.appenders(guard).give_back(vec![appender]);
        }
    }

    /// There is no room for a body: if it is in the store already, that is no matter.
    fn put_full(
        &self,
        guard: &Guard,
        body: Body<'_>,
        naming: &Naming<'_>,
        durability: Durability,
        error: Error,
    ) -> Result<Put> {
        let Body::Fixed(bytes) = body else { return Err(error) };
        let hashed = hash_in_place(bytes, self.superblock.hash, self.pool(guard));
        let id = BlobId::from_padded(self.superblock.hash, hashed.digest);
        if !self.holds(&id, guard)? {
            return Err(error);
        }
        self.compare(guard, &id, body)?;
        self.name_held(guard, id, body, naming, durability)
    }

    /// Appends ref, header and chunk digests around a body that has been written.
    fn log_large(
        &self,
        appender: &mut Appender,
        guard: &Guard,
        at: &Layout,
        hashed: &Hashed,
        id: &BlobId,
        naming: &Naming<'_>,
    ) -> Result<Option<Logged>> {
        if !hashed.chunks.is_empty() {
            let chunks = encode_chunks(self.superblock.hash, &hashed.chunks);
            appender.file().write_at(&chunks, at.body + chunk_digests_offset(at.len))?;
        }
        let batch = Batch::new(appender.place(), at.first, Vec::new());
        let Some(mut logged) = self.begin(batch, guard, id, naming)? else { return Ok(None) };
        logged.blob = logged.batch.push_header(Kind::Blob, at.len, logged.sequence, *id.padded());
        logged.record_bytes = record_bytes(Kind::Blob, at.len, self.files.digest_bytes());
        appender.file().write_at(logged.batch.bytes(), logged.batch.start())?;
        let last = logged.batch.records()[logged.blob];
        appender.advance(Some(&last), at.end(self.files.digest_bytes()), &self.run.control);
        Ok(Some(logged))
    }

    fn finish_large(
        &self,
        guard: &Guard,
        written: &mut Written,
        durability: Durability,
    ) -> Result<()> {
        let Some(mut appender) = written.appender.take() else { return Ok(()) };
        if written.is_lone {
            return self.seal(appender, guard, durability == Durability::Synced);
        }
        if durability == Durability::Synced {
            self.sync_appender(&mut appender, guard)?;
        }
        self.appenders(guard).give_back(vec![appender]);
        Ok(())
    }

    /// Compares a body that has just been written with the blob that has its id.
    fn compare_written(
        &self,
        guard: &Guard,
        id: &BlobId,
        appender: &Appender,
        at: &Layout,
    ) -> Result<()> {
        if id.algorithm() == HashAlgorithm::Blake3 {
            return Ok(());
        }
        let Some((_, found)) = self.find(id.key(), guard)? else { return Ok(()) };
        let stored = found.bytes(guard).filter(|_| found.header.digest == *id.padded());
        let Some(stored) = stored.filter(|stored| stored.len() as u64 == at.len) else {
            return Err(self.collision(guard, id, &found));
        };
        let mut written = vec![0; 256 * KIB as usize];
        for (index, part) in stored.chunks(written.len()).enumerate() {
            let piece = &mut written[..part.len()];
            appender.file().read_at(piece, at.body + index as u64 * (256 * KIB))?;
            if piece != part {
                return Err(self.collision(guard, id, &found));
            }
        }
        Ok(())
    }
}

/// A large body in its place in a segment, without a header yet.
pub struct Written {
    /// The segment; taken when it is finished or given up.
    pub appender: Option<Appender>,
    /// Where the parts stand.
    pub at: Layout,
    /// Its digests.
    pub hashed: Hashed,
    /// Whether the segment is for this blob alone.
    pub is_lone: bool,
    /// Whether a lone segment has its name.
    pub is_linked: bool,
    /// Whether the index may name it.
    pub is_exposed: bool,
}

impl Written {
    /// A body that has been written.
    pub fn new(appender: Appender, at: Layout, hashed: Hashed, is_lone: bool) -> Self {
        let appender = Some(appender);
        Self { appender, at, hashed, is_lone, is_linked: false, is_exposed: false }
    }
}

/// Where the parts of a large put stand.
#[derive(Debug)]
pub struct Layout {
    /// The ref's header.
    pub first: u64,
    /// The blob's body.
    pub body: u64,
    /// Its length.
    pub len: u64,
}

impl Layout {
    /// Behind `tail`, with a ref record of `ref_bytes` right before the blob's header.
    pub fn of(tail: u64, ref_bytes: u64, len: u64) -> Self {
        let align = alignment(Kind::Blob, len);
        // Cannot overflow: tails are file offsets, far below 2^63.
        let header = header_offset(tail + ref_bytes, align).unwrap_or(u64::MAX / 2);
        Self { first: header - ref_bytes, body: header + HEADER_BYTES, len }
    }

    /// Offset behind the blob's record.
    pub fn end(&self, digest_bytes: u64) -> u64 {
        self.body - HEADER_BYTES + record_bytes(Kind::Blob, self.len, digest_bytes)
    }
}
