//! What one opened store is in this process: its files, its run, its mapped segments and appenders.
//! The operations in the files beside this one are written against it.
#![forbid(unsafe_code)]

use super::appenders::Appenders;
use super::distrust::Distrusted;
use crate::control::Lost;
use crate::disk::{Access, Disk, File, LockKind};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{Header, Kind};
use crate::format::refs::pin_key;
use crate::format::superblock::Superblock;
use crate::format::word::{Location, Word};
use crate::id::{BlobId, Key};
use crate::index::{Index, Seen};
use crate::process::PerProcess;
use crate::run::{LOCKS_PATH, Run, RunTables, open_locks};
use crate::segment::{Files, Mapped, SegmentSet, publish_foreign};
use crate::sync::epoch::{Guard, Pinned};
use std::path::PathBuf;
use std::sync::Arc;

/// When an operation is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// When it survives the death of any set of processes.
    #[default]
    Buffered,
    /// When it survives power loss, too.
    Synced,
}

/// Whether `get` checks the bytes against the digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Verify {
    /// No: the header's digest is checked, and its checksum at the first look under a mapping; the
    /// payload is handed out as it is.
    #[default]
    No,
    /// The chunks of 2 MiB that are read, each time; what is handed out as one slice counts as read
    /// from end to end.
    Touched,
    /// The whole payload, each time.
    Whole,
}

/// How a store is used by this process.
#[derive(Clone, Debug)]
pub struct Settings {
    /// For operations that do not say otherwise.
    pub durability: Durability,
    /// For reads that do not say otherwise.
    pub verify: Verify,
    /// Threads that hash large blobs.
    pub threads: usize,
    /// Most mappings kept, views aside.
    pub map_limit: usize,
}

/// Byte of the file `locks` that every read-write opener holds shared.
const USERS_BYTE: u64 = 0;

/// An opened store.
pub struct Engine {
    /// Where it is.
    pub path: PathBuf,
    /// What it is for ever.
    pub superblock: Superblock,
    /// How this process uses it.
    pub settings: Settings,
    /// The segment files.
    pub files: Files,
    /// The run.
    pub run: Run,
    /// The segments mapped for reading.
    pub segments: SegmentSet,
    /// The segments open for appending.
    pub appenders: PerProcess<Appenders>,
    /// Records that were found damaged.
    pub distrusted: Distrusted,
    /// The shared lock that says that this process uses the store.
    users: PerProcess<Option<Arc<dyn File>>>,
    /// Bytes of the file system.
    pub total_bytes: u64,
    /// What was left out of the run, if this opening has built it.
    pub recovered: Option<Lost>,
}

/// A record that the index names, checked.
#[derive(Clone, Copy)]
pub struct Found<'g> {
    /// Where it stands.
    pub location: Location,
    /// Its header.
    pub header: Header,
    /// Its segment, mapped at least to the end of its body.
    pub mapped: Pinned<'g, Mapped>,
}

impl Engine {
    /// Joins a superblock and a run.
    pub fn new(
        path: PathBuf,
        superblock: Superblock,
        settings: Settings,
        files: Files,
        run: Run,
        users: Option<Arc<dyn File>>,
        total_bytes: u64,
    ) -> Self {
        let segments =
            SegmentSet::new(files.clone(), settings.map_limit, run.control.unlink_epoch());
        let appenders = PerProcess::new(Appenders::default());
        Self {
            path,
            superblock,
            settings,
            files,
            run,
            segments,
            appenders,
            distrusted: Distrusted::default(),
            users: PerProcess::new(users),
            total_bytes,
            recovered: None,
        }
    }

    /// The store directory.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.files.disk
    }

    /// The index under a guard.
    #[inline]
    pub fn index<'g>(&'g self, guard: &'g Guard) -> Index<RunTables<'g>> {
        Index::new(self.run.tables(guard))
    }

    /// What every operation does first.
    #[inline]
    pub fn enter(&self, guard: &Guard) {
        self.segments.note_unlinks(self.run.control.unlink_epoch(), guard);
    }

    /// What every operation that changes the store does first.
    pub fn enter_writing(&self, guard: &Guard) -> Result<()> {
        if !self.run.is_writable() {
            return Err(Error::new(ErrorKind::ReadOnly, "the store was opened read-only")
                .path(&self.path)
                .advice("open it without `read_only` to change it"));
        }
        self.enter(guard);
        self.run.control.check_draw()?;
        // In a forked child the parent's lock is not ours.
        self.users.get(guard, || take_users_lock(&**self.disk()).ok().flatten());
        Ok(())
    }

    /// The key of a record in the index.
    pub fn key_of(&self, header: &Header) -> Key {
        match header.kind {
            Kind::Pin => pin_key(&self.superblock.uuid, &self.id_of(header)),
            _ => Key::from_digest(&header.digest),
        }
    }

    /// The id whose digest a header carries.
    pub fn id_of(&self, header: &Header) -> BlobId {
        BlobId::from_padded(self.superblock.hash, header.digest)
    }

    /// Whether an id can be one of this store's.
    #[inline]
    pub fn is_of_store(&self, id: &BlobId) -> bool {
        id.algorithm() == self.superblock.hash
    }

    /// The record at a location that `word` names, read through the mapping.
    ///
    /// `None` if its segment is gone: then the word has changed, or is about to be found wanting.
    #[inline]
    pub fn read<'g>(&self, location: Location, guard: &'g Guard) -> Result<Option<Found<'g>>> {
        let offset = location.offset();
        let Some(mapped) = self.segments.get(location.segment(), offset + 64, guard)? else {
            return Ok(None);
        };
        let Some(header) = mapped.as_ref().header(offset) else {
            return Err(no_record(location));
        };
        let end = offset + 64 + header.body_len;
        if mapped.as_ref().map.len() >= end {
            return Ok(Some(Found { location, header, mapped }));
        }
        let longer = self.segments.get(location.segment(), end, guard)?;
        Ok(longer.map(|mapped| Found { location, header, mapped }))
    }

    /// The record that `word` names, if it is live; looks again while the word moves.
    #[inline]
    pub fn find<'g>(&self, key: Key, guard: &'g Guard) -> Result<Option<(Seen, Found<'g>)>> {
        let mut before = Word::NONE;
        loop {
            let seen = self.index(guard).lookup(key)?;
            let word = seen.word;
            if !word.is_live() {
                return Ok(None);
            }
            if let Some(found) = self.read(word.location(), guard)? {
                return Ok(Some((seen, found)));
            }
            if word.location() == before.location() && before.is_live() {
                return Err(missing_segment(word.location()));
            }
            before = word;
        }
    }

    /// The live record of a blob, its digest checked.
    #[inline]
    pub fn find_blob<'g>(
        &self,
        id: &BlobId,
        guard: &'g Guard,
    ) -> Result<Option<(Seen, Found<'g>)>> {
        if !self.is_of_store(id) {
            return Ok(None);
        }
        let Some((word, found)) = self.find(id.key(), guard)? else { return Ok(None) };
        if found.header.digest != *id.padded() || found.header.kind != Kind::Blob {
            // 128 bits agree and the rest does not: another blob has this key.
            return Ok(None);
        }
        Ok(Some((word, found)))
    }

    /// Sees to it that the state byte of a record that the index names is set.
    pub fn set_state(&self, found: &Found<'_>) -> Result<()> {
        if found.header.state == crate::format::record::State::Pending {
            publish_foreign(&self.files, found.location.segment(), found.location.offset())?;
        }
        Ok(())
    }

    /// Whether the index names the record with this header at this location.
    pub fn is_named(&self, header: &Header, location: Location, guard: &Guard) -> Result<bool> {
        use crate::format::word::WordKind::{Live, Tomb};
        let word = self.index(guard).lookup(self.key_of(header))?.word;
        Ok(matches!(word.kind(), Live | Tomb) && word.location() == location)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if self.run.is_writable() {
            self.part(&crate::sync::epoch::pin());
        }
        self.segments.end_departures();
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("path", &self.path).finish_non_exhaustive()
    }
}

#[cold]
fn no_record(location: Location) -> Error {
    Error::damaged(
        "the index names a record that is not there",
        location.segment(),
        location.offset(),
    )
    .expected("a record header that checks")
    .found("other bytes")
}

/// The error for a word whose segment is not there, and which has not moved on.
#[cold]
pub fn missing_segment(location: Location) -> Error {
    Error::damaged(
        "a segment that the index names is missing",
        location.segment(),
        location.offset(),
    )
    .path(crate::segment::segment_path(location.segment()))
}

/// Takes the shared users lock of a store; `None` while somebody holds it exclusively.
pub fn take_users_lock(disk: &dyn Disk) -> Result<Option<Arc<dyn File>>> {
    let file = open_locks(disk)?;
    Ok(file.try_lock(USERS_BYTE, 1, LockKind::Shared)?.then_some(file))
}

/// Whether somebody uses the store, seen without taking a lock. Who repairs it does, too.
pub fn is_in_use(disk: &dyn Disk) -> Result<bool> {
    let file = disk.open(LOCKS_PATH, Access::Read)?;
    file.map_or(Ok(false), |file| file.is_locked(USERS_BYTE, 1))
}

/// Does something while nobody else uses the store; `false`, and nothing done, if somebody does. The
/// shared lock is kept in any case: exchanging it in place for another kind is one step.
pub fn is_sole_user(users: &dyn File, then: impl FnOnce() -> Result<()>) -> Result<bool> {
    if !users.try_lock(USERS_BYTE, 1, LockKind::Exclusive)? {
        return Ok(false);
    }
    let done = then();
    users.try_lock(USERS_BYTE, 1, LockKind::Shared)?;
    done.map(|()| true)
}
