//! Space held back, so that removals and a compaction work on a full disk (segment/spare.rs): how much,
//! and who may use it.
//!
//! I1  A segment made of the space for removals serves this process's tombstones only, until a compaction
//!     has made room.
#![forbid(unsafe_code)]

use super::engine::{Durability, Engine};
use crate::error::{Error, ErrorKind, Result};
use crate::segment::{Appender, Purpose, Spare};
use crate::sync::epoch::Guard;
use crate::units::{KIB, MIB, SEGMENT_BYTES_MIN};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A store that holds less holds nothing back.
const HELD_FROM_BYTES: u64 = MIB;
/// Held back for tombstones: some thousands of them.
const REMOVAL_BYTES: u64 = 256 * KIB;

/// Steps in which the space for compactions grows.
const SPARE_STEP_BYTES: u64 = 256 * KIB;

/// Segments that are tried for a tombstone on a full disk.
const ATTEMPTS_MAX: u32 = 64;

/// The segment of the space for removals, once it is needed.
#[derive(Default)]
pub struct HeldBack(Mutex<Option<Appender>>);

impl HeldBack {
    fn open(&self) -> MutexGuard<'_, Option<Appender>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The segment, which is one like any other from now on.
    pub fn take(&self) -> Option<Appender> {
        self.open().take()
    }
}

impl Engine {
    /// Sees to it that space is held back, if the store has grown to where that is worth it. That
    /// there is none is no error of the operation on whose way this is done.
    pub fn hold_back(&self) {
        if self.run.control.bytes_appended() < HELD_FROM_BYTES {
            return;
        }
        self.hold(u64::MAX);
    }

    /// As [`hold_back`](Self::hold_back), after a compaction: a store that has become smaller gives back
    /// what it held.
    pub fn hold_back_anew(&self) {
        if self.run.control.bytes_appended() >= HELD_FROM_BYTES {
            return self.hold(0);
        }
        let _ = Spare::Compaction.release(&self.files);
        let _ = Spare::Removal.release(&self.files);
    }

    /// Holds back what is needed, or what is held if that is not above `most`.
    fn hold(&self, most: u64) {
        if Spare::Removal.hold(&self.files, REMOVAL_BYTES, u64::MAX).is_ok() {
            let bytes = self.compaction_bytes();
            let _ = Spare::Compaction.hold(&self.files, bytes, most.max(bytes));
        }
    }

    /// Bytes that are held back, beside the segments.
    pub fn held_back_bytes(&self) -> Result<u64> {
        Ok(Spare::Compaction.held(&self.files)? + Spare::Removal.held(&self.files)?)
    }

    /// What a compaction needs to begin with: a segment, or what a small store has in one.
    fn compaction_bytes(&self) -> u64 {
        // It grows with the store, a little for each segment: nobody who puts waits for all of it.
        let part = (self.run.control.bytes_appended() / 4).next_multiple_of(SPARE_STEP_BYTES);
        let part_max = (self.total_bytes / 64).max(SEGMENT_BYTES_MIN);
        part.clamp(SEGMENT_BYTES_MIN, part_max).min(self.segment_target())
    }

    /// Runs an operation that appends a tombstone. On a full disk it gets the space that is held back.
    pub fn with_removal_appender<T>(
        &self,
        guard: &Guard,
        bytes: u64,
        durability: Durability,
        mut operation: impl FnMut(&mut Appender) -> Result<T>,
    ) -> Result<T> {
        let is_full = |error: &Error| error.kind() == ErrorKind::NoSpace;
        let appended = match self.with_appender(guard, bytes, durability, &mut operation) {
            Err(error) if is_full(&error) => {
                self.with_appender(guard, bytes, durability, |appender| {
                    appender.set_purpose(Purpose::Removal);
                    operation(appender)
                })
            }
            done => done,
        };
        match appended {
            Err(error) if is_full(&error) => {
                self.with_held_back(guard, bytes, durability, &mut operation)?.ok_or(error)
            }
            done => done,
        }
    }

    /// Runs an operation in space that is held back, or left over; `None` if there is none.
    fn with_held_back<T>(
        &self,
        guard: &Guard,
        bytes: u64,
        durability: Durability,
        operation: &mut impl FnMut(&mut Appender) -> Result<T>,
    ) -> Result<Option<T>> {
        let mut open = self.appenders(guard).held_back.open();
        for _ in 0..ATTEMPTS_MAX {
            let Some(appender) = self.removal_appender(open.take(), bytes, guard)? else { break };
            match appender.attempt(&mut *operation) {
                // Of a file in memory that is long enough not all needs to be there; it is cut now.
                Err(error) if error.kind() == ErrorKind::NoSpace => {}
                Err(error) => return Err(error),
                Ok((mut appender, value)) => {
                    if durability == Durability::Synced {
                        self.sync_appender(&mut appender, guard)?;
                    }
                    *open = Some(appender);
                    return Ok(Some(value));
                }
            }
        }
        Ok(None)
    }

    /// The segment of the space held back, while it has room; `None` if there is none.
    fn removal_appender(
        &self,
        open: Option<Appender>,
        bytes: u64,
        guard: &Guard,
    ) -> Result<Option<Appender>> {
        let is_good = |appender: &Appender| !self.run.control.is_poisoned(appender.number());
        let open = open.filter(is_good);
        if let Some(appender) = open
            && appender.has_reserved(bytes)
        {
            return Ok(Some(appender));
        }
        if let Some(left) = self.reserved_appender(bytes, guard)? {
            return Ok(Some(left));
        }
        Appender::create_from_spare(&self.files, &self.run.control, Spare::Removal)
    }

    /// An open segment that nobody appends to any more and that has space of its own: what another process
    /// has left of the space held back.
    fn reserved_appender(&self, bytes: u64, guard: &Guard) -> Result<Option<Appender>> {
        let mut others = Vec::new();
        let mut found = None;
        while let Some(appender) = self.verifying(guard, |verifier| {
            Appender::adopt(&self.files, &self.run.control, verifier)
        })? {
            if appender.has_reserved(bytes) && !bug!("reserve-left") {
                found = Some(appender);
                break;
            }
            others.push(appender);
        }
        self.appenders(guard).give_back(others);
        Ok(found)
    }
}
