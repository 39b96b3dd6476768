//! Putting many small blobs in by few writes: their records are appended together, and their state
//! bytes set together.
#![forbid(unsafe_code)]

use crate::engine::{Durability, Engine};
use crate::error::Result;
use crate::format::record::Kind;
use crate::format::word::Word;
use crate::hash::digest;
use crate::id::{BlobId, Key};
use crate::index::Seen;
use crate::naming::Naming;
use crate::put::SMALL_BYTES_MAX;
use crate::segment::{Appender, Batch, bound};
use crate::stream::Body;
use crate::sync::epoch::Guard;
use crate::units::MIB;
use std::collections::HashSet;

/// Bytes appended by one write.
const GROUP_BYTES_MAX: u64 = MIB;
/// Values whose buckets are prefetched ahead.
const PREFETCH: usize = 8;

/// One value on its way.
struct Pending<'a> {
    index: usize,
    id: BlobId,
    bytes: &'a [u8],
    pin_key: Key,
    blob_seen: Seen,
    pin_seen: Seen,
}

impl Engine {
    /// Puts all values in; their ids in order.
    pub fn put_many(
        &self,
        guard: &Guard,
        values: &[&[u8]],
        durability: Durability,
    ) -> Result<Vec<BlobId>> {
        self.enter_writing(guard)?;
        let hash = self.superblock.hash;
        let ids: Vec<BlobId> =
            values.iter().map(|bytes| BlobId::from_padded(hash, digest(hash, bytes))).collect();
        let mut rest = Vec::new();
        let mut group = Group::default();
        let mut seen = HashSet::new();
        for (index, bytes) in values.iter().enumerate() {
            if let Some(ahead) = ids.get(index + PREFETCH) {
                self.index(guard).prefetch(ahead.key());
            }
            let is_new = seen.insert(ids[index]) && bytes.len() as u64 <= SMALL_BYTES_MAX;
            if !is_new || self.holds(&ids[index], guard)? {
                rest.push(index);
                continue;
            }
            if group.bytes + bytes.len() as u64 > GROUP_BYTES_MAX {
                rest.extend(self.put_group(
                    guard,
                    std::mem::take(&mut group),
                    &ids,
                    values,
                    durability,
                )?);
            }
            group.bytes += bound([24, bytes.len() as u64].into_iter());
            group.indices.push(index);
        }
        rest.extend(self.put_group(guard, group, &ids, values, durability)?);
        for index in rest {
            self.put(guard, Body::Fixed(values[index]), &Naming::Pin, durability)?;
        }
        Ok(ids)
    }

    /// Appends a group of new values; the indices of those that somebody else interfered with.
    fn put_group(
        &self,
        guard: &Guard,
        group: Group,
        ids: &[BlobId],
        values: &[&[u8]],
        durability: Durability,
    ) -> Result<Vec<usize>> {
        if group.indices.is_empty() {
            return Ok(Vec::new());
        }
        self.check_room(group.bytes)?;
        self.with_appender(guard, group.bytes, durability, |appender| {
            let pending = self.load_words(guard, &group.indices, ids, values)?;
            let batch = self.log_group(appender, &pending)?;
            self.name_group(appender, guard, batch, &pending)
        })
    }

    fn load_words<'a>(
        &self,
        guard: &Guard,
        indices: &[usize],
        ids: &[BlobId],
        values: &[&'a [u8]],
    ) -> Result<Vec<Pending<'a>>> {
        let tables = self.index(guard);
        let keys: Vec<Key> = indices
            .iter()
            .map(|&index| {
                let key = Naming::Pin.key(self, std::slice::from_ref(&ids[index]));
                tables.prefetch(key);
                key
            })
            .collect();
        let one = |(&index, &pin_key): (&usize, &Key)| {
            Ok(Pending {
                index,
                id: ids[index],
                bytes: values[index],
                pin_key,
                blob_seen: tables.lookup(ids[index].key())?,
                pin_seen: tables.lookup(pin_key)?,
            })
        };
        indices.iter().zip(&keys).map(one).collect()
    }

    /// Two records for each value, pin before blob.
    fn log_group(&self, appender: &mut Appender, pending: &[Pending<'_>]) -> Result<Batch> {
        let first = self.run.control.draw_sequences(2 * pending.len() as u64);
        let mut batch = appender.batch();
        for (sequence, value) in (first..).step_by(2).zip(pending) {
            let pin =
                Naming::Pin.record(value.pin_key, std::slice::from_ref(&value.id), &[sequence]);
            batch.push(Kind::Pin, &pin.body, sequence + 1, pin.digest);
            batch.push(Kind::Blob, value.bytes, sequence, *value.id.padded());
        }
        appender.append(&batch, &self.run.control)?;
        Ok(batch)
    }

    fn name_group(
        &self,
        appender: &mut Appender,
        guard: &Guard,
        mut batch: Batch,
        pending: &[Pending<'_>],
    ) -> Result<Vec<usize>> {
        let tables = self.index(guard);
        let mut published = Vec::with_capacity(2 * pending.len());
        let mut lost = Vec::new();
        for (at, value) in pending.iter().enumerate() {
            let [pin, blob] = [batch.records()[2 * at], batch.records()[2 * at + 1]];
            let blob_live = Word::live(appender.location(blob.offset)?, false, blob.bytes);
            let pin_live = Word::live(appender.location(pin.offset)?, true, pin.bytes);
            if self.is_held(value.blob_seen.word)
                || tables.publish(value.id.key(), value.blob_seen, blob_live)?.is_err()
            {
                lost.push(value.index);
                continue;
            }
            if tables.publish(value.pin_key, value.pin_seen, pin_live)?.is_ok() {
                published.push(2 * at);
            } else {
                lost.push(value.index);
            }
            published.push(2 * at + 1);
        }
        appender.publish(&mut batch, &published)?;
        appender.recycle(batch);
        Ok(lost)
    }
}

#[derive(Default)]
struct Group {
    indices: Vec<usize>,
    bytes: u64,
}
