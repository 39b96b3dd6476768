//! Who is changing what is counted: between counting a value and publishing it, or between removing an entry and
//! giving its bytes back.
//!
//! - I1 A process that changes something holds a lock of the kernel on the cache's byte of `locks`, shared with
//!   all others that do, and then moves the page's count of changes. So of whoever puts the counters right one
//!   of two things is true: it sees the lock, or it sees the count move (spec/CACHE.md, section 3).
//! - I2 Nobody takes the byte for himself alone, so no change ever waits for it.
//!
//! Death: the lock goes; what was counted and not published is too much, and is seen as that.
#![forbid(unsafe_code)]

use super::cache::Inner;
use crate::disk::{File, LockKind};
use crate::error::Result;
use crate::run::open_locks;
use crate::sync::epoch::pin;
use std::sync::{Arc, Mutex, PoisonError};
use xxhash_rust::xxh3::xxh3_64;

/// The first byte of `locks` that stands for the changes of a cache, and how many do.
const CHANGES_BYTE: u64 = (1 << 61) + (1 << 60);
const CHANGES: u64 = 1 << 60;

/// The changes of this process that are under way.
#[derive(Default)]
pub struct Changes {
    count: u32,
    /// Opened at the first one, and kept.
    locks: Option<Arc<dyn File>>,
}

/// A change, until it is dropped.
pub struct Change<'a>(&'a Inner);

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.0.with_changes(|changes| {
            changes.count = changes.count.saturating_sub(1);
            if changes.count == 0
                && let Some(locks) = &changes.locks
            {
                let _ = locks.unlock(self.0.changes_byte(), 1);
            }
        });
    }
}

/// What was seen of changes before a walk.
pub struct Stillness {
    is_still: bool,
    changes: u64,
}

impl Inner {
    fn with_changes<R>(&self, then: impl FnOnce(&mut Changes) -> R) -> R {
        let guard = pin();
        let changes = self.changes.get(&guard, Mutex::default);
        then(&mut changes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn changes_byte(&self) -> u64 {
        CHANGES_BYTE + xxh3_64(self.namespace.as_bytes()) % CHANGES
    }

    /// Begins a change (I1).
    pub fn begin_change(&self) -> Result<Change<'_>> {
        self.with_changes(|changes| -> Result<()> {
            if changes.count == 0 {
                let locks = match &changes.locks {
                    Some(locks) => locks.clone(),
                    None => changes.locks.insert(open_locks(&**self.engine().disk())?).clone(),
                };
                locks.try_lock(self.changes_byte(), 1, LockKind::Shared)?;
            }
            changes.count += 1;
            Ok(())
        })?;
        self.ledger.note_change();
        Ok(Change(self))
    }

    /// Looks whether anything is being changed; the count comes first (I1).
    pub fn stillness(&self) -> Result<Stillness> {
        let changes = self.ledger.changes();
        let is_still = !open_locks(&**self.engine().disk())?.is_locked(self.changes_byte(), 1)?;
        Ok(Stillness { is_still: is_still || bug!("settled-beside"), changes })
    }

    /// Whether nothing has been changed since.
    pub fn is_still(&self, since: &Stillness) -> bool {
        since.is_still && (self.ledger.changes() == since.changes || bug!("settled-beside"))
    }
}
