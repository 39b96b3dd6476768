//! Putting bytes in.
//!
//! A put is one append of two records: the ref that names the blob (a pin, where the caller asks for
//! nothing else) and behind it the blob, so that the ref's pending record is in the log before the
//! blob's word is touched (protocol.rs, I3). Then two exchanges in the index, and one write for the two
//! state bytes, which stand side by side.
//!
//! A stored copy that turns out to be damaged, or to be missing, is no reason to refuse the put: the bytes
//! are here, so they are appended again and the word is moved to them.
//!
//! Where anybody else interferes, what was appended stays pending for ever and the put falls back to
//! naming the blob that is there.
#![forbid(unsafe_code)]

use crate::engine::{Durability, Engine, Found, View};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{Kind, alignment, record_bytes};
use crate::format::word::Word;
use crate::hash::digest;
use crate::id::{BlobId, HashAlgorithm};
use crate::naming::Naming;
use crate::protocol::{self, Fate, Named, Pair, PairLog, Shared, rely};
use crate::publish::Op;
use crate::stream::{Body, hash_in_place};
use crate::sync::epoch::Guard;
use crate::units::{KIB, STEP_BYTES};

/// Bodies up to this size are hashed first and appended by one write.
pub const SMALL_BYTES_MAX: u64 = 64 * KIB;
/// Times that a put begins again because the blob was removed while it was being named.
const ATTEMPTS_MAX: u32 = 1 << 16;

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
        if body.len() as u64 > SMALL_BYTES_MAX {
            return until_named(|| self.put_large(guard, body, naming, durability));
        }
        match body {
            Body::Fixed(bytes) => until_named(|| self.put_small(guard, bytes, naming, durability)),
            Body::Racy(_) | Body::Headed(..) => {
                let mut copy = vec![0; body.len()];
                body.copy_to(0, &mut copy);
                until_named(|| self.put_small(guard, &copy, naming, durability))
            }
        }
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
            .advice(
                "remove what is not needed and compact the store; or open it with a higher limit after a \
                 reboot, or after removing its directory `run` while nobody uses it: a limit holds as \
                 long as the run",
            ))
    }

    /// One attempt; `None` if the blob was there, and gone when it was to be named.
    fn put_small(
        &self,
        guard: &Guard,
        bytes: &[u8],
        naming: &Naming<'_>,
        durability: Durability,
    ) -> Result<Option<Put>> {
        let id = BlobId::from_padded(self.superblock.hash, digest(self.superblock.hash, bytes));
        let ids = std::slice::from_ref(&id);
        // The cache misses of the two keys overlap.
        self.index(guard).prefetch(id.key());
        let name = naming.key(self, ids);
        self.index(guard).prefetch(name);
        if self.holds(&id, guard)? && self.is_stored(guard, &id, Body::Fixed(bytes))? {
            return self.name_held(guard, id, naming, durability);
        }
        let room = self.room_for(naming, bytes.len() as u64);
        let fate = self.with_appender(guard, room, durability, |appender| {
            let view = View::new(self, guard, durability);
            let mut pair = Pair::look(view.index(), id.key(), name)?;
            let values = Values { ids, values: &[bytes], naming };
            let mut op = Op::new(view, appender, values);
            protocol::put(&mut op, std::slice::from_mut(&mut pair))?;
            Ok(pair.fate())
        })?;
        if let Fate::Named(sequence) = fate {
            return Ok(Some(Put { id, named: Named::Done(sequence) }));
        }
        if !self.is_stored(guard, &id, Body::Fixed(bytes))? {
            return Ok(None);
        }
        self.name_held(guard, id, naming, durability)
    }

    /// Bytes that a put of `len` bytes needs at most in a segment.
    pub fn room_for(&self, naming: &Naming<'_>, len: u64) -> u64 {
        let blob = record_bytes(Kind::Blob, len, self.files.digest_bytes());
        naming.record_bytes(1) + blob + alignment(Kind::Blob, len) + STEP_BYTES
    }

    /// Whether a live record of the blob is there to rely on: not one in a poisoned segment, nor one that
    /// was found damaged.
    pub fn holds(&self, id: &BlobId, guard: &Guard) -> Result<bool> {
        Ok(self.is_held(self.index(guard).lookup(id.key())?.word))
    }

    /// Whether a blob's word names a record to rely on.
    pub fn is_held(&self, word: Word) -> bool {
        word.is_live()
            && !self.run.control.is_poisoned(word.location().segment())
            && !self.distrusted.has(word.location())
    }

    /// Names a blob that is there already; `None` if it is not, after all.
    pub fn name_held(
        &self,
        guard: &Guard,
        id: BlobId,
        naming: &Naming<'_>,
        durability: Durability,
    ) -> Result<Option<Put>> {
        if let Some(named) = self.pinned_already(guard, &id, naming, durability)? {
            return Ok(Some(Put { id, named }));
        }
        let room = naming.record_bytes(1) + STEP_BYTES;
        let named = self.with_appender(guard, room, durability, |appender| {
            self.name_blobs(appender, guard, naming, std::slice::from_ref(&id), durability)
        })?;
        let is_missing = matches!(named, Named::Missing(_));
        Ok((!is_missing).then_some(Put { id, named }))
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
        let (seen, pin) = match self.find(key, guard) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(None),
            // A pin that cannot be read is set anew.
            Err(error) if error.kind() == ErrorKind::Damaged => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some((_, blob)) = self.find_blob(id, guard)? else { return Ok(None) };
        let is_pin = pin.header.kind == Kind::Pin && pin.header.digest == *id.padded();
        if !is_pin || !self.is_held(seen.word) {
            return Ok(None);
        }
        if durability == Durability::Synced {
            let relied = rely(&View::new(self, guard, durability), key, seen.word)?;
            return Ok(relied.map(Named::Done));
        }
        self.set_state(&blob)?;
        self.set_state(&pin)?;
        Ok(Some(Named::Done(pin.header.sequence)))
    }

    /// Whether the blob that has this id is stored as it should be. If it is damaged or missing, it is not
    /// relied on from now on.
    ///
    /// # Errors
    /// `IdCollision` if another content has the id.
    pub fn is_stored(&self, guard: &Guard, id: &BlobId, body: Body<'_>) -> Result<bool> {
        let compared = self.compare(guard, id, body);
        self.or_distrust(guard, id, compared)
    }

    /// Whether a comparison with a stored blob went well; `false` if it found that one damaged.
    pub fn or_distrust(&self, guard: &Guard, id: &BlobId, compared: Result<()>) -> Result<bool> {
        match compared {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::Damaged => {
                let word = self.index(guard).lookup(id.key())?.word;
                if word.is_live() {
                    self.distrusted.note(word.location());
                }
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Compares a body with the blob that has its id, by their digests where these cannot collide.
    ///
    /// # Errors
    /// `IdCollision` if they differ, `Damaged` if the blob is not what its id says.
    pub fn compare(&self, guard: &Guard, id: &BlobId, body: Body<'_>) -> Result<()> {
        let Some((_, found)) = self.find(id.key(), guard)? else { return Ok(()) };
        if found.header.kind != Kind::Blob || found.header.digest != *id.padded() {
            return Err(self.collision(guard, id, &found));
        }
        match body {
            Body::Fixed(bytes) if id.algorithm() == HashAlgorithm::Xxh3 => {
                let is_same = found.bytes(guard) == Some(bytes);
                if is_same { Ok(()) } else { Err(self.collision(guard, id, &found)) }
            }
            _ => Ok(()),
        }
    }

    /// What is wrong with a record that has a blob's key and is not that blob.
    pub fn collision(&self, guard: &Guard, id: &BlobId, found: &Found<'_>) -> Error {
        let stored = found.bytes(guard).unwrap_or_default();
        let hashed = hash_in_place(stored, self.superblock.hash, None).digest;
        if found.header.kind == Kind::Blob && hashed != found.header.digest {
            let (segment, offset) = (found.location.segment(), found.location.offset());
            return Error::damaged("the stored blob is not what its id says", segment, offset)
                .expected(id)
                .found(BlobId::from_padded(self.superblock.hash, hashed));
        }
        Error::new(ErrorKind::IdCollision, "another content with this id is in the store already")
            .expected(format!("the {} bytes that were put", id))
            .advice("keep these bytes in a store made with `--hash blake3`")
    }
}

/// Tries until the blob has not been removed in between.
fn until_named(mut attempt: impl FnMut() -> Result<Option<Put>>) -> Result<Put> {
    for _ in 0..ATTEMPTS_MAX {
        if let Some(put) = attempt()? {
            return Ok(put);
        }
    }
    Err(Error::new(ErrorKind::Busy, "the blob is removed again and again while it is being named")
        .advice("try again"))
}

/// Small values that are appended together, and what names them.
#[derive(Clone, Copy)]
pub struct Values<'a> {
    /// Their ids.
    pub ids: &'a [BlobId],
    /// Their bytes.
    pub values: &'a [&'a [u8]],
    /// What names each of them.
    pub naming: &'a Naming<'a>,
}

impl PairLog for Op<'_, Values<'_>> {
    fn accepts(&self, pair: usize, word: Word) -> Result<Option<bool>> {
        let Values { ids, naming, .. } = self.what;
        if matches!(naming, Naming::Pin) {
            return Ok(Some(true));
        }
        let at = naming.key(self.view.engine, &ids[pair..=pair]);
        naming.accepts(&self.view, at, word)
    }

    fn append(&mut self, first: u64, pairs: &[Pair]) -> Result<()> {
        let mut batch = self.begin();
        let Values { ids, values, naming } = self.what;
        for (at, pair) in pairs.iter().enumerate() {
            let sequence = first + 2 * at as u64;
            let record = naming.record(pair.name(), &ids[at..=at], &[sequence]);
            batch.push(record.kind, &record.body, sequence + 1, record.digest);
            batch.push(Kind::Blob, values[at], sequence, *ids[at].padded());
        }
        self.append_batch(batch)
    }

    fn words(&self, pair: usize) -> Result<(Word, Word)> {
        let blob = self.word_of(2 * pair + 1, Kind::Blob, None)?;
        Ok((blob, self.word_of(2 * pair, Kind::Ref, None)?))
    }

    fn publish(&mut self, pairs: &[Pair]) -> Result<()> {
        self.publish_pairs(pairs)
    }
}

impl<W> Op<'_, W> {
    /// Sets the state bytes of the records of pairs that were named.
    pub fn publish_pairs(&mut self, pairs: &[Pair]) -> Result<()> {
        match pairs {
            [pair] => self.publish_records(records_of(pair.fate(), &[0, 1])),
            _ => {
                let named = |(at, pair): (usize, &Pair)| {
                    records_of(pair.fate(), &[0, 1]).iter().map(move |record| 2 * at + record)
                };
                let records: Vec<usize> = pairs.iter().enumerate().flat_map(named).collect();
                self.publish_records(&records)
            }
        }
    }
}

/// Which of a pair's records, ref and blob, the index has named.
fn records_of(fate: Fate, pair: &'static [usize; 2]) -> &'static [usize] {
    match fate {
        Fate::Void => &[],
        Fate::Unnamed => &pair[1..],
        Fate::Named(_) => pair,
    }
}
