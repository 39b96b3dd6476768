//! What a forked child must not share with its parent: locks, descriptors, threads, mutexes that
//! another thread of the parent may have held.
//!
//! A [`PerProcess`] holds a value that is made anew the first time a child asks for it. The parent's
//! value is never touched or dropped in the child: its descriptors were closed by the fork handler,
//! and its mutexes may be locked for ever.
#![forbid(unsafe_code)]

use crate::disk::fork_generation;
use crate::sync::epoch::{Guard, Slot};
use std::sync::Arc;

struct Tagged<T> {
    fork: u64,
    value: T,
}

/// A value of this process, made anew after a fork.
pub struct PerProcess<T> {
    slot: Slot<Tagged<T>>,
}

impl<T: Send + Sync + 'static> PerProcess<T> {
    /// The value in the process that makes it.
    pub fn new(value: T) -> Self {
        let slot = Slot::new();
        let first = Tagged { fork: fork_generation(), value };
        slot.replace(Some(Arc::new(first)), &crate::sync::epoch::pin());
        Self { slot }
    }

    /// The value in this process.
    #[inline]
    pub fn get<'g>(&self, guard: &'g Guard, make: impl FnOnce() -> T) -> &'g T {
        match self.slot.get(guard).map(|pinned| (pinned, pinned.as_ref())) {
            Some((_, tagged)) if tagged.fork == fork_generation() => &tagged.value,
            old => {
                if let Some((pinned, _)) = old {
                    std::mem::forget(pinned.to_arc());
                }
                self.make(guard, make())
            }
        }
    }

    #[cold]
    fn make<'g>(&self, guard: &'g Guard, value: T) -> &'g T {
        let made = Arc::new(Tagged { fork: fork_generation(), value });
        // Two threads of the child may both make one; either serves.
        self.slot.replace(Some(made), guard);
        match self.slot.get(guard) {
            Some(pinned) => &pinned.as_ref().value,
            None => unreachable!("nobody empties the slot"),
        }
    }
}
