//! What whoever undoes changes needs: an entry that was read is put back as it was, and a version that was set is
//! removed, each only if nobody has changed the key since.
//!
//! Death: as in setting and removing (write.rs).
#![forbid(unsafe_code)]

use super::cache::{Cache, Inner};
use super::item::{CacheBytes, Item, NewValue, Part};
use super::options::ItemOptions;
use crate::entry::Version;
use crate::error::{ErrorKind, Result};
use std::time::SystemTime;

/// A large part by its name, so that it need not be hashed again.
fn named(part: &CacheBytes) -> Part<'_> {
    match part {
        CacheBytes::Owned(bytes) => Part::Bytes(bytes),
        CacheBytes::View(blob) => Part::Blob(blob.id()),
    }
}

impl Cache {
    /// The value of a key, as [`Cache::get`] returns it; it counts neither as a lookup nor as a use.
    pub fn snapshot(&self, key: impl AsRef<[u8]>) -> Result<Option<Item>> {
        self.inner.take_at(key.as_ref(), false)
    }

    /// Puts an item that was read back under its key, with its expiry, its tags, and its place in the order of
    /// insertion, if the key has the version expected (`None`: no value); its new version, or `None` if it has not.
    ///
    /// # Errors
    /// Those of [`Cache::set`].
    pub fn restore(
        &self,
        key: impl AsRef<[u8]>,
        expected: Option<Version>,
        item: &Item,
    ) -> Result<Option<Version>> {
        self.restore_until(key, expected, item, item.expires)
    }

    /// Like [`Cache::restore`], with another expiry.
    pub fn restore_until(
        &self,
        key: impl AsRef<[u8]>,
        expected: Option<Version>,
        item: &Item,
        expires: Option<SystemTime>,
    ) -> Result<Option<Version>> {
        let (tags, born) = (item.tags.clone(), item.born);
        let options = ItemOptions { expires, tags, born, ..ItemOptions::new() };
        let set = |parts: &[Part<'_>]| {
            let value = NewValue { head: &item.head, parts };
            self.compare_and_set(&key, expected, value, &options)
        };
        let named: Vec<Part<'_>> = item.parts.iter().map(named).collect();
        match set(&named) {
            // A blob has gone meanwhile; its bytes are in the item.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let held: Vec<Part<'_>> = item.parts.iter().map(|part| Part::Bytes(part)).collect();
                set(&held)
            }
            done => done,
        }
    }

    /// Removes a key if its value is the version expected; `false` if it is not.
    pub fn remove_exactly(&self, key: impl AsRef<[u8]>, expected: Version) -> Result<bool> {
        self.inner.remove_exactly(key.as_ref(), expected)
    }
}

impl Inner {
    /// Removes a key if its value is the version expected.
    pub fn remove_exactly(&self, key: &[u8], expected: Version) -> Result<bool> {
        loop {
            let guard = self.enter_writing()?;
            let found = self.find_to_replace(key, &guard)?;
            let Some(live) = found.filter(|live| live.sequence == expected.number()) else {
                return Ok(false);
            };
            let counts = self.counts(&live)?;
            if self.remove_seen(&live, &guard)? {
                return Ok(counts);
            }
        }
    }
}
