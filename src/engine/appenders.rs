//! The open segments of this process, and who may append to which.
//!
//! I1  An operation has its appender to itself until its records are published or void.
//! I2  After an error inside an operation its appender is given up, lock and all; the next who needs
//!     one finds the segment's tail anew.
//!
//! Buffered operations, and large ones, take any idle appender of the process, so parallel threads
//! write to different segments. Small `Synced` operations share one, so that they share its syncs
//! (`group.rs`).
#![forbid(unsafe_code)]

use super::group::Group;
use crate::engine::{Durability, Engine};
use crate::error::Result;
use crate::segment::Appender;
use crate::sync::epoch::Guard;
use crate::units::{GIB, KIB, SEGMENT_BYTES_DEFAULT, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Synced operations up to this size share one appender.
const GROUP_BYTES_MAX: u64 = 256 * KIB;

/// See the head of this file.
#[derive(Default)]
pub struct Appenders {
    idle: Mutex<Vec<Appender>>,
    /// The appender that small synced operations share.
    pub group: Group,
    /// What this process knows of each segment's durability.
    durable: Mutex<HashMap<u32, Known>>,
    /// The threads that hash large blobs.
    pub pool: OnceLock<Option<rayon::ThreadPool>>,
}

/// What is known of a segment's durability.
#[derive(Clone, Copy, Default)]
struct Known {
    /// What was appended below has been synced.
    synced: u64,
    /// And every record below was published or void before that. What a dead process left may be
    /// named by the index without its state byte; so this stops where such a segment was taken up,
    /// until `sync` has looked at it.
    settled: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Appenders {
    fn pop_idle(&self) -> Option<Appender> {
        lock(&self.idle).pop()
    }

    fn push_idle(&self, appender: Appender) {
        lock(&self.idle).push(appender);
    }

    /// All idle appenders, for `sync`; to be given back.
    pub fn take_all_idle(&self) -> Vec<Appender> {
        std::mem::take(&mut lock(&self.idle))
    }

    /// Gives appenders back.
    pub fn give_back(&self, appenders: Vec<Appender>) {
        lock(&self.idle).extend(appenders);
    }

    fn known(&self, segment: u32) -> Known {
        lock(&self.durable).get(&segment).copied().unwrap_or_default()
    }

    /// Bytes of a segment that have been synced after this process appended them.
    pub fn synced_bytes(&self, segment: u32) -> u64 {
        self.known(segment).synced
    }

    /// Bytes of a segment known to be durable, their state bytes as well.
    pub fn durable_bytes(&self, segment: u32) -> u64 {
        self.known(segment).settled
    }

    /// Notes that a segment is durable up to `bytes`.
    pub fn note_durable(&self, segment: u32, bytes: u64) {
        self.note_synced(segment, 0..bytes);
    }

    /// Notes that a range of a segment, in which every record was published or void, has been synced.
    pub fn note_synced(&self, segment: u32, range: Range<u64>) {
        let mut durable = lock(&self.durable);
        let known = durable.entry(segment).or_default();
        known.synced = known.synced.max(range.end);
        if known.settled >= range.start {
            known.settled = known.settled.max(range.end);
        }
    }

    /// Forgets the segments that are gone.
    pub fn retain_durable(&self, is_present: impl Fn(u32) -> bool) {
        lock(&self.durable).retain(|&segment, _| is_present(segment));
    }
}

impl Engine {
    /// This process's appenders.
    pub fn appenders<'g>(&self, guard: &'g Guard) -> &'g Appenders {
        self.appenders.get(guard, Appenders::default)
    }

    /// The size at which segments are sealed: what the store was made with, or a sixteenth of what it
    /// holds between 64 MiB and 1 GiB, and never above 1/64 of the size limit or the file system.
    pub fn segment_target(&self) -> u64 {
        if self.superblock.segment_bytes != 0 {
            return self.superblock.segment_bytes;
        }
        let bytes = self.run.control.bytes_appended();
        if bytes < GIB && self.room() >= 64 * SEGMENT_BYTES_DEFAULT {
            return SEGMENT_BYTES_DEFAULT;
        }
        let grown = (bytes / 16).clamp(SEGMENT_BYTES_DEFAULT, SEGMENT_BYTES_MAX);
        grown.min(self.room() / 64).max(SEGMENT_BYTES_MIN)
    }

    /// The size limit or the size of the file system, whichever is less.
    fn room(&self) -> u64 {
        let limit = self.run.control.limit();
        if limit == 0 { self.total_bytes } else { limit.min(self.total_bytes) }
    }

    /// Runs an operation that appends `bytes` at most, and makes its records durable if asked to.
    pub fn with_appender<T>(
        &self,
        guard: &Guard,
        bytes: u64,
        durability: Durability,
        operation: impl FnOnce(&mut Appender) -> Result<T>,
    ) -> Result<T> {
        let appenders = self.appenders(guard);
        if durability == Durability::Synced && bytes <= GROUP_BYTES_MAX {
            return self.with_group(&appenders.group, guard, bytes, operation);
        }
        let mut appender = self.take_appender(guard, bytes)?;
        let value = operation(&mut appender)?;
        if durability == Durability::Synced {
            self.sync_appender(&mut appender, guard)?;
        }
        appenders.push_idle(appender);
        Ok(value)
    }

    /// An appender with room for `bytes`: an idle one, an orphan, or a new one.
    pub fn take_appender(&self, guard: &Guard, bytes: u64) -> Result<Appender> {
        let appenders = self.appenders(guard);
        let target = self.segment_target();
        while let Some(appender) = appenders.pop_idle() {
            if self.run.control.is_poisoned(appender.number()) {
                continue;
            }
            if appender.fits(bytes, target) {
                return Ok(appender);
            }
            self.seal(appender, guard, false)?;
        }
        while let Some(appender) = Appender::adopt(&self.files, &self.run.control)? {
            if appender.fits(bytes, target) {
                return Ok(appender);
            }
            self.seal(appender, guard, false)?;
        }
        Appender::create(&self.files, &self.run.control)
    }

    /// Seals an appender's segment. Without `durable` nothing waits for the disk.
    ///
    /// A footer only makes a segment quicker to read: where it cannot be written the segment stays as
    /// it is, is taken up by nobody, and is sealed by the next recovery. That is no error of whoever
    /// needs another segment; that its records are not durable is.
    pub fn seal(&self, mut appender: Appender, guard: &Guard, durable: bool) -> Result<()> {
        let (number, control) = (appender.number(), &self.run.control);
        let listed = appender
            .list_to_seal(&|header, location| self.is_named(header, location, guard))
            .inspect_err(|_| appender.leave(control));
        if durable {
            self.sync_appender(&mut appender, guard)?;
        }
        match listed.and_then(|entries| appender.write_seal(&entries, control, durable)) {
            Ok(()) if durable => self.appenders(guard).note_durable(number, u64::MAX),
            _ => {}
        }
        Ok(())
    }

    /// Makes an appender's records durable; on failure its segment is poisoned and its records are
    /// appended elsewhere.
    pub fn sync_appender(&self, appender: &mut Appender, guard: &Guard) -> Result<()> {
        self.settle_inherited(appender, guard)?;
        if let Err(error) = appender.sync() {
            return Err(self.abandon_segment(appender.number(), error, guard));
        }
        self.appenders(guard).note_synced(appender.number(), appender.own());
        Ok(())
    }
}
