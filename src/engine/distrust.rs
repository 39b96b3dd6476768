//! Records that this process has found damaged, so that a put of the same bytes appends them again
//! instead of relying on what is there.
//!
//! I1  Locations are never used twice, so what was noted once stays true.
//! I2  What is forgotten, because so many were noted since, is found again by the next put.
//!
//! Death: nothing; nothing here is shared.
#![forbid(unsafe_code)]

use crate::format::word::Location;
use crate::sync::{AtomicU64, Ordering};

/// How many are remembered.
const SLOTS: usize = 64;

/// See the head of this file.
pub struct Distrusted {
    /// How many have been noted.
    noted: AtomicU64,
    /// Their locations, plus 1.
    slots: [AtomicU64; SLOTS],
}

impl Default for Distrusted {
    fn default() -> Self {
        Self { noted: AtomicU64::new(0), slots: std::array::from_fn(|_| AtomicU64::new(0)) }
    }
}

impl Distrusted {
    /// Whether the record at a location was found damaged.
    #[inline]
    pub fn has(&self, location: Location) -> bool {
        // Relaxed: it is about bytes that do not change, and orders nothing.
        self.noted.load(Ordering::Relaxed) != 0 && self.is_listed(location)
    }

    #[cold]
    fn is_listed(&self, location: Location) -> bool {
        self.slots.iter().any(|slot| slot.load(Ordering::Relaxed) == location.bits() + 1)
    }

    /// Notes one.
    #[cold]
    pub fn note(&self, location: Location) {
        if !self.is_listed(location) && !bug!("damage-relied-on") {
            let at = self.noted.fetch_add(1, Ordering::Relaxed);
            self.slots[at as usize % SLOTS].store(location.bits() + 1, Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_remembered() {
        let distrusted = Distrusted::default();
        let location = |at: u32| Location::new(at, 64).unwrap();
        assert!(!distrusted.has(location(0)));
        (0..70).for_each(|at| distrusted.note(location(at)));
        assert!(distrusted.has(location(69)) && distrusted.has(location(6)));
        assert!(!distrusted.has(location(5)) && !distrusted.has(location(70)));
    }
}
