//! Putting large bodies in: they are written and hashed where they will stay, and what names them is
//! appended around them when their ids are known.
#![forbid(unsafe_code)]

use crate::engine::{Durability, Engine, View};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{
    HEADER_BYTES, Kind, alignment, chunk_digests_offset, header_offset, record_bytes,
};
use crate::format::word::Word;
use crate::hash::encode_chunks;
use crate::id::{BlobId, HashAlgorithm};
use crate::naming::Naming;
use crate::protocol::{self, Fate, Named, Pair, PairLog, Shared};
use crate::publish::Op;
use crate::put::Put;
use crate::segment::{Appender, Batch};
use crate::stream::{Body, Hashed, hash_copied, hash_in_place, write_body};
use crate::sync::epoch::Guard;
use crate::sync::machine::{AtomicU64, Ordering};
use crate::units::KIB;

/// Bytes compared at a time.
const PIECE_BYTES: usize = 256 * KIB as usize;

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
    /// Whether its header is in the log: the index may name it, and it is never written again.
    pub is_exposed: bool,
}

impl Written {
    /// A body that has been written.
    pub fn new(appender: Appender, at: Layout, hashed: Hashed, is_lone: bool) -> Self {
        Self { appender: Some(appender), at, hashed, is_lone, is_exposed: false }
    }
}

/// Where the parts of a large put stand.
#[derive(Clone, Copy, Debug)]
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

impl Engine {
    /// One attempt; `None` if the blob was there, and gone when it was to be named.
    pub fn put_large(
        &self,
        guard: &Guard,
        body: Body<'_>,
        naming: &Naming<'_>,
        durability: Durability,
    ) -> Result<Option<Put>> {
        let room = self.room_for(naming, body.len() as u64);
        let is_lone = room > self.segment_target() / 4;
        let mut appender =
            if is_lone { self.lone_appender()? } else { self.take_appender(guard, room)? };
        let at = Layout::of(appender.tail(), naming.record_bytes(1), body.len() as u64);
        let written = appender.reserve_to(at.end(self.files.digest_bytes())).and_then(|()| {
            write_body(&**appender.file(), at.body, body, self.superblock.hash, self.pool(guard))
        });
        let hashed = match written {
            Ok(hashed) => hashed,
            Err(error) => {
                appender.give_up();
                return self.put_full(guard, body, naming, durability, error).map(Some);
            }
        };
        let mut written = Written::new(appender, at, hashed, is_lone);
        let put = self.try_commit(guard, &mut written, naming, durability);
        if let (Err(_), Some(appender)) = (&put, written.appender) {
            appender.give_up();
        }
        put
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
        match self.try_commit(guard, written, naming, durability)? {
            Some(put) => Ok(put),
            None => self.put(guard, body, naming, durability),
        }
    }

    /// One attempt; `None` if what was written has been given up, and the blob is gone.
    fn try_commit(
        &self,
        guard: &Guard,
        written: &mut Written,
        naming: &Naming<'_>,
        durability: Durability,
    ) -> Result<Option<Put>> {
        let id = BlobId::from_padded(self.superblock.hash, written.hashed.digest);
        let is_there = self.holds(&id, guard)? && self.is_stored_as(guard, &id, written)?;
        let fate = if is_there {
            Fate::Void
        } else {
            self.publish_written(guard, written, &id, naming, durability)?
        };
        let is_void = fate == Fate::Void && !is_there;
        let is_damaged = is_void && !self.is_stored_as(guard, &id, written)?;
        self.finish(guard, written, durability)?;
        match fate {
            _ if is_damaged => Ok(None),
            Fate::Named(sequence) => Ok(Some(Put { id, named: Named::Done(sequence) })),
            Fate::Unnamed | Fate::Void => self.name_held(guard, id, naming, durability),
        }
    }

    fn publish_written(
        &self,
        guard: &Guard,
        written: &mut Written,
        id: &BlobId,
        naming: &Naming<'_>,
        durability: Durability,
    ) -> Result<Fate> {
        let Some(appender) = &mut written.appender else { return Ok(Fate::Void) };
        let view = View::new(self, guard, durability);
        let name = naming.key(self, std::slice::from_ref(id));
        let mut pair = Pair::look(view.index(), id.key(), name)?;
        let (is_lone, is_exposed) = (written.is_lone, &mut written.is_exposed);
        let body =
            InPlace { id, naming, at: written.at, hashed: &written.hashed, is_lone, is_exposed };
        let put =
            protocol::put(&mut Op::new(view, appender, body), std::slice::from_mut(&mut pair));
        if let Err(error) = put {
            // What may have been named must stay as it is: another attempt writes its bytes elsewhere.
            if written.is_exposed
                && let Some(appender) = written.appender.take()
                && !written.is_lone
            {
                appender.give_up();
            }
            return Err(error);
        }
        Ok(pair.fate())
    }

    /// There is no room for a body: if it is in the store already, that is no matter.
    pub fn put_full(
        &self,
        guard: &Guard,
        body: Body<'_>,
        naming: &Naming<'_>,
        durability: Durability,
        error: Error,
    ) -> Result<Put> {
        if error.kind() != ErrorKind::NoSpace {
            return Err(error);
        }
        let (hash, pool) = (self.superblock.hash, self.pool(guard));
        let hashed = match body {
            Body::Fixed(bytes) => hash_in_place(bytes, hash, pool),
            Body::Racy(_) | Body::Headed(..) => hash_copied(body, hash, pool, |_, _| {}),
        };
        let id = BlobId::from_padded(self.superblock.hash, hashed.digest);
        if !self.holds(&id, guard)? || !self.is_still_stored(guard, &id, body)? {
            return Err(error);
        }
        self.name_held(guard, id, naming, durability)?.ok_or(error)
    }

    /// Whether a body that was hashed is the blob that has its id; `false` if others have changed it since.
    fn is_still_stored(&self, guard: &Guard, id: &BlobId, body: Body<'_>) -> Result<bool> {
        let is_fixed = matches!(body, Body::Fixed(_));
        if is_fixed || id.algorithm() == HashAlgorithm::Blake3 {
            return self.compare(guard, id, body).map(|()| true);
        }
        let Some((_, found)) = self.find(id.key(), guard)? else { return Ok(false) };
        let is_blob = found.header.kind == Kind::Blob && found.header.digest == *id.padded();
        let stored = found.bytes(guard).filter(|stored| is_blob && stored.len() == body.len());
        let Some(stored) = stored else { return Err(self.collision(guard, id, &found)) };
        // Hashed again, so that another content with this id is told from one that has been changed.
        let differing = AtomicU64::new(0);
        let hashed = hash_copied(body, id.algorithm(), self.pool(guard), |at, piece| {
            if stored[at..at + piece.len()] != *piece && !bug!("full-unlooked") {
                differing.fetch_add(1, Ordering::Relaxed);
            }
        });
        match differing.into_inner() {
            0 => Ok(true),
            _ if hashed.digest == *id.padded() => Err(self.collision(guard, id, &found)),
            _ => Ok(false),
        }
    }

    /// Gives the appender back. A body without a header is written over by the next append, or goes
    /// with a segment that never had a name.
    fn finish(&self, guard: &Guard, written: &mut Written, durability: Durability) -> Result<()> {
        let Some(mut appender) = written.appender.take() else { return Ok(()) };
        match (written.is_lone, written.is_exposed) {
            (true, true) => return self.seal(appender, guard, durability == Durability::Synced),
            (true, false) => return Ok(()),
            (false, true) if durability == Durability::Synced => {
                self.sync_appender(&mut appender, guard)?;
                self.give_back_synced(appender, guard);
                return Ok(());
            }
            (false, _) => {}
        }
        self.appenders(guard).give_back(vec![appender]);
        Ok(())
    }

    /// As [`Engine::is_stored`], of a body that has just been written.
    fn is_stored_as(&self, guard: &Guard, id: &BlobId, written: &Written) -> Result<bool> {
        let compared = self.compare_written(guard, id, written);
        self.or_distrust(guard, id, compared)
    }

    /// Compares a body that has just been written with the blob that has its id.
    fn compare_written(&self, guard: &Guard, id: &BlobId, written: &Written) -> Result<()> {
        let Some((_, found)) = self.find(id.key(), guard)? else { return Ok(()) };
        let is_blob = found.header.kind == Kind::Blob && found.header.digest == *id.padded();
        let stored = found.bytes(guard).filter(|_| is_blob);
        let stored = stored.filter(|stored| stored.len() as u64 == written.at.len);
        let Some(stored) = stored else { return Err(self.collision(guard, id, &found)) };
        let Some(appender) = &written.appender else { return Ok(()) };
        if id.algorithm() == HashAlgorithm::Blake3 {
            return Ok(());
        }
        let mut piece = vec![0; PIECE_BYTES];
        for (part, at) in stored.chunks(PIECE_BYTES).zip((0u64..).step_by(PIECE_BYTES)) {
            let piece = &mut piece[..part.len()];
            let read = appender.file().read_at(piece, written.at.body + at)?;
            if read < part.len() || piece != part {
                return Err(self.collision(guard, id, &found));
            }
        }
        Ok(())
    }
}

/// A body that has been written, and what names it.
struct InPlace<'a> {
    id: &'a BlobId,
    naming: &'a Naming<'a>,
    at: Layout,
    hashed: &'a Hashed,
    is_lone: bool,
    is_exposed: &'a mut bool,
}

impl PairLog for Op<'_, InPlace<'_>> {
    fn accepts(&self, _: usize, word: Word) -> Result<Option<bool>> {
        let InPlace { id, naming, .. } = self.what;
        let at = naming.key(self.view.engine, std::slice::from_ref(id));
        naming.accepts(&self.view, at, word)
    }

    /// Writes ref, header and chunk digests around the body.
    fn append(&mut self, first: u64, pairs: &[Pair]) -> Result<()> {
        let engine = self.view.engine;
        let InPlace { id, naming, at, hashed, .. } = self.what;
        if !hashed.chunks.is_empty() {
            let chunks = encode_chunks(engine.superblock.hash, &hashed.chunks);
            self.appender.file().write_at(&chunks, at.body + chunk_digests_offset(at.len))?;
        }
        let mut batch = Batch::new(self.appender.place(), at.first, Vec::new());
        for pair in pairs {
            let record = naming.record(pair.name(), std::slice::from_ref(id), &[first]);
            batch.push(record.kind, &record.body, first + 1, record.digest);
            batch.push_header(Kind::Blob, at.len, first, *id.padded());
        }
        *self.what.is_exposed = true;
        self.appender.file().write_at(batch.bytes(), batch.start())?;
        let end = at.end(engine.files.digest_bytes());
        self.appender.advance_over(&batch, end, &engine.run.control);
        self.batch = Some(batch);
        // The name comes before the index names what is in it.
        if self.what.is_lone { self.appender.link() } else { Ok(()) }
    }

    fn words(&self, _: usize) -> Result<(Word, Word)> {
        let digest_bytes = self.view.engine.files.digest_bytes();
        let bytes = record_bytes(Kind::Blob, self.what.at.len, digest_bytes);
        let blob = self.word_of(1, Kind::Blob, Some(bytes))?;
        Ok((blob, self.word_of(0, Kind::Ref, None)?))
    }

    fn publish(&mut self, pairs: &[Pair]) -> Result<()> {
        self.publish_pairs(pairs)
    }
}
