//! Reading many blobs without touching a reference count.
#![forbid(unsafe_code)]

use crate::engine::{Engine, Verify};
use crate::error::Result;
use crate::id::BlobId;
use crate::sync::epoch::{Guard, pin};

/// A pinned reader: its slices live as long as it does, and getting one touches no reference count.
///
/// While it lives, mappings that are given up are kept; [`ReadGuard::repin`] now and then in a long
/// loop, or make a new one.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let store = drystone::Store::create(dir.path().join("s"))?;
/// let id = store.put(b"slate")?;
/// let guard = store.read_guard();
/// assert_eq!(guard.get(&id)?, Some(&b"slate"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ReadGuard<'s> {
    engine: &'s Engine,
    guard: Guard,
}

impl<'s> ReadGuard<'s> {
    pub(super) fn new(engine: &'s Engine) -> Self {
        let guard = pin();
        engine.enter(&guard);
        Self { engine, guard }
    }

    /// The bytes of a blob; `None` if it is not in the store.
    ///
    /// # Errors
    /// `Damaged` if the store's files contradict each other.
    #[inline]
    pub fn get<'g>(&'g self, id: &BlobId) -> Result<Option<&'g [u8]>> {
        self.engine.enter(&self.guard);
        self.engine.get(id, self.engine.settings.verify, &self.guard)
    }

    /// Many blobs at a time, their cache misses overlapping; `into` gets one element an id.
    pub fn get_many<'g>(&'g self, ids: &[BlobId], into: &mut Vec<Option<&'g [u8]>>) -> Result<()> {
        self.engine.enter(&self.guard);
        let verify: Verify = self.engine.settings.verify;
        into.reserve(ids.len());
        self.engine
            .get_many(ids, verify, &self.guard, |_, found| into.push(found.map(|(bytes, _)| bytes)))
    }

    /// Lets go of what was read so far.
    pub fn repin(&mut self) {
        self.guard.repin();
    }
}
