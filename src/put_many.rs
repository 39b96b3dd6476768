//! Putting many small blobs in by few writes: their records are appended together, and their state
//! bytes set together.
#![forbid(unsafe_code)]

use crate::engine::{Durability, Engine, View};
use crate::error::Result;
use crate::hash::digest;
use crate::id::{BlobId, Key};
use crate::naming::Naming;
use crate::protocol::{self, Fate, Pair, Shared};
use crate::publish::Op;
use crate::put::{SMALL_BYTES_MAX, Values};
use crate::segment::bound;
use crate::stream::Body;
use crate::sync::epoch::Guard;
use crate::units::MIB;
use std::collections::HashSet;

/// Bytes appended by one write.
const GROUP_BYTES_MAX: u64 = MIB;
/// Times that values are appended together, before those that are left are put in one by one.
const GROUP_ATTEMPTS: u32 = 3;
/// Values whose buckets are prefetched ahead.
const PREFETCH: usize = 8;

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
        let (mut singly, mut together) = (Vec::new(), Vec::new());
        let mut seen = HashSet::new();
        for (index, bytes) in values.iter().enumerate() {
            let is_new = seen.insert(ids[index]) && bytes.len() as u64 <= SMALL_BYTES_MAX;
            if is_new { together.push(index) } else { singly.push(index) }
        }
        for _ in 0..if bug!("lost-put-singly") { 1 } else { GROUP_ATTEMPTS } {
            let mut absent = Vec::with_capacity(together.len());
            for (at, &index) in together.iter().enumerate() {
                if let Some(&ahead) = together.get(at + PREFETCH) {
                    self.index(guard).prefetch(ids[ahead].key());
                }
                let is_held = self.holds(&ids[index], guard)?;
                if is_held { singly.push(index) } else { absent.push(index) }
            }
            together = self.put_groups(guard, absent, &ids, values, durability)?;
            if together.is_empty() {
                break;
            }
        }
        for index in singly.into_iter().chain(together) {
            self.put(guard, Body::Fixed(values[index]), &Naming::Pin, durability)?;
        }
        Ok(ids)
    }

    /// Appends new values in groups; the indices of those that somebody else interfered with, if only by
    /// letting the index grow.
    fn put_groups(
        &self,
        guard: &Guard,
        indices: Vec<usize>,
        ids: &[BlobId],
        values: &[&[u8]],
        durability: Durability,
    ) -> Result<Vec<usize>> {
        let (mut group, mut lost) = (Group::default(), Vec::new());
        for index in indices {
            let len = values[index].len() as u64;
            if group.bytes + len > GROUP_BYTES_MAX {
                let full = std::mem::take(&mut group);
                lost.extend(self.put_group(guard, full, ids, values, durability)?);
            }
            group.bytes += bound([24, len].into_iter());
            group.indices.push(index);
        }
        lost.extend(self.put_group(guard, group, ids, values, durability)?);
        Ok(lost)
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
        let ids: Vec<BlobId> = group.indices.iter().map(|&index| ids[index]).collect();
        let values: Vec<&[u8]> = group.indices.iter().map(|&index| values[index]).collect();
        let values = Values { ids: &ids, values: &values, naming: &Naming::Pin };
        let pairs = self.with_appender(guard, group.bytes, durability, |appender| {
            let view = View::new(self, guard, durability);
            let mut pairs = look_all(&view, &ids)?;
            protocol::put(&mut Op::new(view, appender, values), &mut pairs)?;
            Ok(pairs)
        })?;
        let is_lost = |pair: &Pair| !matches!(pair.fate(), Fate::Named(_));
        let lost = group.indices.iter().zip(&pairs).filter(|(_, pair)| is_lost(pair));
        Ok(lost.map(|(&index, _)| index).collect())
    }
}

/// Loads the words of blobs and their pins.
fn look_all(view: &View<'_>, ids: &[BlobId]) -> Result<Vec<Pair>> {
    let prefetched = |id| {
        let key = Naming::Pin.key(view.engine, std::slice::from_ref(id));
        view.index().prefetch(key);
        key
    };
    let names: Vec<Key> = ids.iter().map(prefetched).collect();
    let look = |(id, &name): (&BlobId, &Key)| Pair::look(view.index(), id.key(), name);
    ids.iter().zip(&names).map(look).collect()
}

#[derive(Default)]
struct Group {
    indices: Vec<usize>,
    bytes: u64,
}
