//! The segments that a compaction of this process is copying to.
//!
//! I1  There is nothing in them but copies, and each stands beside its original until the compaction has made
//!     it durable (compact/unlink.rs, I2). So a sync of all leaves them out: it makes the original last,
//!     where the copy does not already. Not so while a segment is poisoned: an original in it may be lost.
//!
//! Who vouches for one record has to look: what it relies on is the copy.
#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Numbers = Mutex<HashSet<u32>>;

fn lock(numbers: &Numbers) -> MutexGuard<'_, HashSet<u32>> {
    numbers.lock().unwrap_or_else(PoisonError::into_inner)
}

/// See the head of this file.
#[derive(Default)]
pub struct Targets {
    numbers: Arc<Numbers>,
}

/// One is a target as long as this is there; it goes before anything but a copy is appended.
pub struct Entry {
    numbers: Arc<Numbers>,
    segment: u32,
}

impl Targets {
    /// Enters a segment.
    pub fn enter(&self, segment: u32) -> Entry {
        lock(&self.numbers).insert(segment);
        Entry { numbers: Arc::clone(&self.numbers), segment }
    }

    /// Whether a segment is one.
    pub fn contains(&self, segment: u32) -> bool {
        lock(&self.numbers).contains(&segment)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        lock(&self.numbers).remove(&self.segment);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use crate::Durability;
    use crate::segment::Appender;
    use crate::store::Store;
    use crate::sync::epoch::pin;

    #[test]
    fn a_sync_of_all_leaves_a_target_out_and_who_relies_on_a_copy_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path().join("store")).unwrap();
        let (engine, guard) = (&store.engine, pin());
        let below = |segment| engine.appenders(&guard).lasting.below(segment);
        store.put(b"a copy").unwrap();
        let segment = engine.files.list().unwrap()[0];
        let entry = engine.appenders(&guard).targets.enter(segment);
        engine.sync(&guard).unwrap();
        assert_eq!(below(segment), 0, "a target is left out");
        store
            .put_with(b"a copy", &crate::PutOptions::new().durability(Durability::Synced))
            .unwrap();
        let relied_on = below(segment);
        assert!(relied_on > 0, "what is acknowledged lasts");
        store.put(b"another one").unwrap();
        engine.sync(&guard).unwrap();
        assert_eq!(below(segment), relied_on);
        drop(entry);
        engine.sync(&guard).unwrap();
        assert!(below(segment) > relied_on, "it is a segment like any other again");
    }

    #[test]
    fn a_copy_whose_original_may_be_lost_is_synced() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(dir.path().join("store")).unwrap();
        let (engine, guard) = (&store.engine, pin());
        store.put(b"a copy").unwrap();
        let target = engine.files.list().unwrap()[0];
        let _entry = engine.appenders(&guard).targets.enter(target);
        let victim = Appender::create(&engine.files, &engine.run.control).unwrap().number();
        engine.sync(&guard).unwrap();
        assert_eq!(engine.appenders(&guard).lasting.below(target), 0);
        engine.run.control.poison(victim);
        engine.sync(&guard).unwrap();
        assert!(engine.appenders(&guard).lasting.below(target) > 0);
    }
}
