//! What is known about a blob, and about the store.
#![forbid(unsafe_code)]

use crate::clock::from_ns;
use crate::engine::{Durability, Engine, Found, View};
use crate::error::Result;
use crate::format::record::{Kind, chunk_count};
use crate::format::refs::{PINS, RefBody, pin_key};
use crate::format::word::{Location, WordKind};
use crate::id::{BlobId, HashAlgorithm, Key};
use crate::protocol::{Shared, is_settled};
use crate::publish::Removal;
use crate::segment::pin_of;
use crate::sync::epoch::Guard;
use std::ops::ControlFlow;
use std::time::SystemTime;

/// What is known about a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlobStat {
    /// Its id.
    pub id: BlobId,
    /// Bytes.
    pub len: u64,
    /// Chunks with a digest of their own; 1 for a small blob.
    pub chunks: u64,
    /// The segment that it stands in.
    pub segment: u32,
    /// Offset of its record there.
    pub offset: u64,
    /// Its sequence number.
    pub sequence: u64,
    /// Whether it is pinned.
    pub pinned: bool,
    /// When it was pinned.
    pub created: Option<SystemTime>,
}

/// What an opening had to leave out when it built the index ([`Store::recovery`](crate::Store::recovery)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// Published records that were not whole.
    pub lost_records: u64,
    /// Refs that were passed over, because a blob of theirs was not there.
    pub lost_refs: u64,
    /// Files of segments that were damaged, or something else.
    pub damaged_segments: u64,
}

impl Recovery {
    /// Whether nothing was left out.
    pub fn is_whole(&self) -> bool {
        *self == Self::default()
    }
}

/// What a store holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Blobs.
    pub blobs: u64,
    /// Refs, pins left out.
    pub refs: u64,
    /// Pins.
    pub pins: u64,
    /// Keys whose newest record is a tombstone.
    pub tombstones: u64,
    /// Bytes of live records, headers included.
    pub live_bytes: u64,
    /// Records that the index names and that cannot be read.
    pub damaged_records: u64,
    /// Published records that were not whole when the index was last built (a crash, or damage).
    pub lost_records: u64,
    /// Refs that were passed over then, because a blob of theirs was not there.
    pub lost_refs: u64,
    /// Files of segments that were damaged then, or something else.
    pub damaged_segments: u64,
    /// Segments.
    pub segments: u64,
    /// Bytes of the segment files.
    pub segment_bytes: u64,
    /// Bytes held back beside them, so that a full disk can be cleared up.
    pub held_back_bytes: u64,
    /// Buckets of the index.
    pub index_buckets: u64,
    /// Bytes of the index's tables.
    pub index_bytes: u64,
    /// How often the index has grown in this run.
    pub index_generation: u32,
    /// Segments that this process has mapped.
    pub mappings: u64,
    /// The next sequence number.
    pub sequence: u64,
    /// Hash algorithm of the ids.
    pub hash: Option<HashAlgorithm>,
    /// The store's uuid.
    pub uuid: [u8; 16],
    /// The file system that it is on.
    pub file_system: String,
    /// Size limit in bytes; `None` for none.
    pub limit: Option<u64>,
    /// Bytes free on the file system.
    pub free_bytes: u64,
}

impl Engine {
    /// What is known about a blob.
    pub fn stat(&self, id: &BlobId, guard: &Guard) -> Result<Option<BlobStat>> {
        match self.find_blob(id, guard)? {
            Some((_, found)) => self.stat_of(&found, guard).map(Some),
            None => Ok(None),
        }
    }

    /// What is known about the blob whose word names a location; `None` if it is gone meanwhile.
    pub fn stat_at(&self, key: Key, location: Location, guard: &Guard) -> Result<Option<BlobStat>> {
        let found = match self.read(location, guard)? {
            Some(found) => Some(found),
            None => self.find(key, guard)?.map(|(_, found)| found),
        };
        found.map(|found| self.stat_of(&found, guard)).transpose()
    }

    fn stat_of(&self, found: &Found<'_>, guard: &Guard) -> Result<BlobStat> {
        let id = self.id_of(&found.header);
        let pin = self.find(pin_key(&self.superblock.uuid, &id), guard)?;
        let pin = pin
            .filter(|(_, pin)| pin.header.kind == Kind::Pin && pin.header.digest == *id.padded());
        let body = pin.and_then(|(_, pin)| pin_of(pin.bytes(guard)?, &pin.header.digest));
        Ok(BlobStat {
            id,
            len: found.header.body_len,
            chunks: chunk_count(found.header.body_len).max(1),
            segment: found.location.segment(),
            offset: found.location.offset(),
            sequence: found.header.sequence,
            pinned: pin.is_some(),
            created: body.map(|pin| from_ns(pin.created_ns.get())),
        })
    }

    /// Removes the pin of a blob; `false` if there was none.
    pub fn unpin(&self, guard: &Guard, id: &BlobId, durability: Durability) -> Result<bool> {
        self.enter_writing(guard)?;
        let key = pin_key(&self.superblock.uuid, id);
        if let Some((_, pin)) = self.find(key, guard)?
            && (pin.header.kind != Kind::Pin || pin.header.digest != *id.padded())
        {
            return Ok(false);
        }
        let name = RefBody {
            namespace: PINS.into(),
            key: id.to_string().into_bytes(),
            ..RefBody::default()
        };
        let body = name.encode();
        let removal = Removal::of_ref(key, &body);
        // The pin of a blob that was removed reads as absent.
        let is_visible = |_| Ok(self.find_blob(id, guard)?.is_some());
        self.remove(guard, &removal, durability, &is_visible)
    }

    /// Removes a blob, whoever names it; `false` if there was none.
    pub fn remove_blob(&self, guard: &Guard, id: &BlobId, durability: Durability) -> Result<bool> {
        self.enter_writing(guard)?;
        if !self.is_of_store(id) {
            return Ok(false);
        }
        match self.find(id.key(), guard) {
            // Another blob with these 128 bits is not this one.
            Ok(Some((_, found))) if found.header.digest != *id.padded() => return Ok(false),
            // What cannot be read any more can be given up.
            Err(error) if !error.is_damage() => return Err(error),
            _ => {}
        }
        self.remove(guard, &Removal::of_blob(id), durability, &|_| Ok(true))
    }

    /// Publishes a tombstone; `false` if there was nothing that could be seen.
    pub fn remove(
        &self,
        guard: &Guard,
        removal: &Removal<'_>,
        durability: Durability,
        is_visible: &dyn Fn(Location) -> Result<bool>,
    ) -> Result<bool> {
        // Nothing to remove needs no appender.
        let view = View::new(self, guard, durability);
        let word = view.index().lookup(removal.key())?.word;
        if !word.is_live() && is_settled(&view, removal.key(), word)? {
            return Ok(false);
        }
        let removed =
            self.with_removal_appender(guard, removal.record_bytes(), durability, |appender| {
                self.remove_key(appender, guard, removal, durability, is_visible)
            })?;
        self.run.control.announce_change();
        Ok(removed)
    }

    /// What this opening left out of the index, if it has built it.
    pub fn recovery(&self) -> Option<Recovery> {
        self.recovered.map(|lost| Recovery {
            lost_records: lost.records,
            lost_refs: lost.refs,
            damaged_segments: lost.segments,
        })
    }

    /// What the store holds, by a walk over the index and a look at every segment.
    pub fn stats(&self, guard: &Guard) -> Result<Stats> {
        let mut stats = Stats {
            hash: Some(self.superblock.hash),
            uuid: self.superblock.uuid,
            sequence: self.run.control.sequence(),
            mappings: self.segments.mapped_count(guard) as u64,
            limit: Some(self.run.control.limit()).filter(|&limit| limit != 0),
            free_bytes: self.disk().space()?.free,
            file_system: self.disk().file_system().to_owned(),
            held_back_bytes: self.held_back_bytes()?,
            lost_records: self.run.control.lost().records,
            lost_refs: self.run.control.lost().refs,
            damaged_segments: self.run.control.lost().segments,
            ..Stats::default()
        };
        let index = self.index(guard);
        let shape = index.stats()?;
        (stats.index_buckets, stats.index_bytes) = (shape.buckets, shape.bytes);
        stats.index_generation = shape.generation;
        let mut failed = Ok(());
        let _ = index.for_each(|_, word| match self.count(word, &mut stats, guard) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) if error.is_damage() => {
                stats.damaged_records += 1;
                ControlFlow::Continue(())
            }
            Err(error) => {
                failed = Err(error);
                ControlFlow::Break(())
            }
        })?;
        failed?;
        for segment in self.files.list()? {
            if let Some(file) = self.files.open(segment, crate::disk::Access::Read)? {
                stats.segments += 1;
                stats.segment_bytes += file.len()?;
            }
        }
        Ok(stats)
    }

    fn count(
        &self,
        word: crate::format::word::Word,
        stats: &mut Stats,
        guard: &Guard,
    ) -> Result<()> {
        match word.kind() {
            WordKind::Tomb => stats.tombstones += 1,
            WordKind::Live => {
                let Some(found) = self.read(word.location(), guard)? else { return Ok(()) };
                stats.live_bytes += found.header.record_bytes(self.files.digest_bytes());
                match found.header.kind {
                    Kind::Pin => stats.pins += 1,
                    Kind::Ref => stats.refs += 1,
                    _ => stats.blobs += 1,
                }
            }
            WordKind::None | WordKind::Dead => {}
        }
        Ok(())
    }
}
