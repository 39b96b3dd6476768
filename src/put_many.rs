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
