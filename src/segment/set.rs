//! The process's table of mapped segments.
//!
//! I1  A mapping never reaches past what its file holds when it is made.
//! I2  A mapping lives until its last view is gone: views hold it by `Arc`, guards by epoch.
//! I3  A lookup of a mapped segment is two loads; no lock, no reference count.
//!
//! A segment that has grown past its mapping is mapped again; the old mapping stays with its views.
//! Files are closed after mapping. Mappings of unlinked segments go when `unlink_epoch` has moved (where
//! there is a thread for it, on that: `departed.rs`), idle ones when the limit is reached.
#![forbid(unsafe_code)]

use super::checked::Checked;
use super::departed::{Departed, Outbox};
use super::files::{Files, map_all};
use crate::disk::{Access, Map};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{Header, Place};
use crate::format::word::Location;
use crate::process::PerProcess;
use crate::sync::epoch::{Guard, Pinned, Slot, pin};
use crate::sync::{AtomicU64, Ordering};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

const LEAF_BITS: u32 = 14;
const LEAF_SLOTS: usize = 1 << LEAF_BITS;
const LEAVES: usize = (Location::SEGMENT_MAX as usize + 1) / LEAF_SLOTS;

/// A mapped segment.
#[derive(Debug)]
pub struct Mapped {
    /// Its number.
    pub number: u32,
    /// Its bytes, as far as the file held them.
    pub map: Map,
    place: Place,
    checked: Checked,
}

impl Mapped {
    /// Length of the body of the blob with this digest, if its valid header stands at an offset and the
    /// mapping reaches to the body's end.
    #[inline(always)]
    pub fn blob_body_len(&self, offset: u64, digest: &[u8; 32]) -> Option<u64> {
        let words = self.map.read_words(offset)?;
        let len = Header::blob_body_len(&words, digest)?;
        if !self.checked.has(offset) {
            self.check(&words, offset)?;
        }
        // Cannot overflow: offsets are below 2^30, lengths below 2^57.
        (offset + 64 + len <= self.map.len()).then_some(len)
    }

    #[cold]
    fn check(&self, words: &[u64; 8], offset: u64) -> Option<()> {
        Header::from_words(words, self.place, offset)?;
        self.checked.note(offset);
        Some(())
    }

    /// Asks for what getting the blob whose header stands at an offset will touch.
    #[inline]
    pub fn prefetch(&self, offset: u64) {
        self.map.prefetch(offset);
        self.checked.prefetch(offset);
    }

    /// The valid header at an offset.
    #[inline]
    pub fn header(&self, offset: u64) -> Option<Header> {
        Header::from_words(&self.map.read_words(offset)?, self.place, offset)
    }
}

/// The lengths are part of the types, so that a lookup compares no number with them.
type Leaf = Box<[Slot<Mapped>; LEAF_SLOTS]>;
type Leaves = Box<[OnceLock<Leaf>; LEAVES]>;

/// A boxed array of fresh elements, made where it stays.
fn boxed<T, const N: usize>(fresh: impl Fn() -> T) -> Box<[T; N]> {
    let elements: Box<[T]> = (0..N).map(|_| fresh()).collect();
    elements.try_into().unwrap_or_else(|_| unreachable!("as many elements as were asked for"))
}

/// What of the table is this process's own.
#[derive(Default)]
struct Own {
    /// Numbers of the mapped segments, oldest first.
    list: VecDeque<u32>,
    /// Where those go that have been unlinked.
    departed: Departed,
}

/// All segments that this process has mapped.
pub struct SegmentSet {
    files: Files,
    leaves: Leaves,
    own: PerProcess<Mutex<Own>>,
    limit: usize,
    unlink_epoch: AtomicU64,
}

impl SegmentSet {
    /// An empty table that keeps at most `limit` mappings, views aside.
    pub fn new(files: Files, limit: usize, unlink_epoch: u64) -> Self {
        Self {
            files,
            leaves: boxed(OnceLock::new),
            own: PerProcess::new(Mutex::default()),
            limit: limit.max(1),
            unlink_epoch: AtomicU64::new(unlink_epoch),
        }
    }

    /// How many segments are mapped.
    pub fn mapped_count(&self, guard: &Guard) -> usize {
        self.own(guard).list.len()
    }

    fn own<'g>(&self, guard: &'g Guard) -> MutexGuard<'g, Own> {
        // A panic while it was held leaves a list that is at worst short of an entry; a forked child
        // begins with an empty one, and what it inherited stays mapped.
        let own = self.own.get(guard, Mutex::default);
        own.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    #[inline]
    fn leaf(&self, segment: u32) -> Option<&Slot<Mapped>> {
        let leaf = self.leaves[(segment >> LEAF_BITS) as usize % LEAVES].get()?;
        Some(&leaf[segment as usize % LEAF_SLOTS])
    }

    /// A segment whose mapping reaches `end`, mapped anew if need be; `None` if there is no file.
    ///
    /// # Errors
    /// `Damaged` when the file is shorter than `end`, or another segment.
    #[inline]
    pub fn get<'g>(
        &self,
        segment: u32,
        end: u64,
        guard: &'g Guard,
    ) -> Result<Option<Pinned<'g, Mapped>>> {
        match self.leaf(segment).and_then(|slot| slot.get(guard)) {
            Some(mapped) if mapped.as_ref().map.len() >= end => Ok(Some(mapped)),
            _ => self.map_segment(segment, end, guard),
        }
    }

    /// The segment if it is mapped already.
    #[inline]
    pub fn peek<'g>(&self, segment: u32, guard: &'g Guard) -> Option<Pinned<'g, Mapped>> {
        self.leaf(segment)?.get(guard)
    }

    #[cold]
    fn map_segment<'g>(
        &self,
        segment: u32,
        end: u64,
        guard: &'g Guard,
    ) -> Result<Option<Pinned<'g, Mapped>>> {
        let mut own = self.own(guard);
        let list = &mut own.list;
        let leaf = &self.leaves[(segment >> LEAF_BITS) as usize % LEAVES];
        let slot = &leaf.get_or_init(|| boxed(Slot::new))[segment as usize % LEAF_SLOTS];
        // Another thread may have been faster.
        if let Some(mapped) = slot.get(guard).filter(|mapped| mapped.as_ref().map.len() >= end) {
            return Ok(Some(mapped));
        }
        let Some(file) = self.files.open(segment, Access::Read)? else { return Ok(None) };
        self.files.is_head_whole(&*file, segment)?;
        let known = slot.get(guard).is_some();
        if !known && list.len() >= self.limit {
            // Views may have held more than the limit for a while.
            let over = list.len() - self.limit;
            self.drop_idle(list, over + self.limit.div_ceil(8), guard);
        }
        let map = match map_all(&*file) {
            Err(error) if error.kind() == ErrorKind::Limit => {
                let all = list.len();
                self.drop_idle(list, all, guard);
                map_all(&*file)?
            }
            other => other?,
        };
        if map.len() < end {
            return Err(too_short(segment, end, map.len()));
        }
        let place = self.files.place(segment);
        let checked = Checked::new(map.len())?;
        slot.replace(Some(Arc::new(Mapped { number: segment, map, place, checked })), guard);
        if known {
            // An old mapping keeps the file's space when that is unlinked, as long as this thread is idle.
            guard.flush();
        } else {
            list.push_back(segment);
        }
        Ok(slot.get(guard))
    }

    /// Drops up to `count` mappings that no view holds, the longest mapped first.
    fn drop_idle(&self, list: &mut VecDeque<u32>, count: usize, guard: &Guard) {
        let mut dropped = 0;
        list.retain(|&segment| {
            let idle =
                dropped < count && self.leaf(segment).is_some_and(|slot| slot.is_unshared(guard));
            if idle && let Some(slot) = self.leaf(segment) {
                slot.replace(None, guard);
                dropped += 1;
            }
            !idle
        });
        guard.flush();
    }

    /// Forgets the mappings of segments that have been unlinked, when the epoch says there are some.
    #[inline]
    pub fn note_unlinks(&self, epoch: u64, guard: &Guard) {
        if self.unlink_epoch.load(Ordering::Relaxed) != epoch {
            self.drop_unlinked(epoch, guard);
        }
    }

    #[cold]
    fn drop_unlinked(&self, epoch: u64, guard: &Guard) {
        let mut own = self.own(guard);
        let Ok(present) = self.files.list() else { return };
        let outbox = own.departed.outbox();
        own.list.retain(|segment| {
            let kept = present.binary_search(segment).is_ok();
            if !kept && let Some(slot) = self.leaf(*segment) {
                match outbox.clone() {
                    Some(outbox) => slot.replace_and(None, guard, move |old| outbox.send(old)),
                    None => slot.replace(None, guard),
                }
            }
            kept
        });
        guard.flush();
        // Stored last: whoever sees it finds the table clean.
        self.unlink_epoch.store(epoch, Ordering::Release);
    }

    /// From now on, for a while, mappings of unlinked segments go on a thread of their own; where other things
    /// of theirs may be sent. `None` if there is no thread to be had.
    pub fn begin_departures(&self, guard: &Guard) -> Option<Outbox> {
        let mut own = self.own(guard);
        own.departed.begin();
        own.departed.outbox()
    }

    /// Waits until what was sent to that thread is given back, but for what somebody still holds. Not under
    /// a guard, which holds everything.
    pub fn end_departures(&self) {
        let thread = self.own(&pin()).departed.end();
        if let Some(thread) = thread {
            // Dropping a mapping does not panic.
            let _ = thread.join();
        }
    }
}

#[cold]
fn too_short(segment: u32, end: u64, len: u64) -> Error {
    Error::damaged("a segment is shorter than the records in it", segment, len)
        .path(super::segment_path(segment))
        .expected(format!("at least {end} bytes"))
        .found(format!("{len} bytes"))
}

impl std::fmt::Debug for SegmentSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SegmentSet").field("limit", &self.limit).finish_non_exhaustive()
    }
}
