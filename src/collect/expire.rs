//! Refs that have expired: removed by tombstones, like all that is removed, or an older version would
//! come back after a power loss.
//!
//! I1  A tombstone takes the place of exactly the version that was seen expired. One that was set again
//!     meanwhile stays, and its setter has acquitted its blobs.
#![forbid(unsafe_code)]

use super::steps::acquit;
use crate::engine::{Durability, Engine};
use crate::error::{ErrorKind, Result};
use crate::format::refs::RefBody;
use crate::format::word::Word;
use crate::id::Key;
use crate::publish::Removal;
use crate::sync::epoch::Guard;

/// Most refs that one collection removes; the others are left to the next.
const EXPIRED_MAX: usize = 1 << 20;

/// Refs that have expired, and their words as they were seen.
#[derive(Default)]
pub struct Expired(Vec<(Key, Word)>);

impl Expired {
    /// Adds one; `false` if there are enough.
    pub fn push(&mut self, key: Key, word: Word) -> bool {
        let has_room = self.0.len() < EXPIRED_MAX;
        if has_room {
            self.0.push((key, word));
        }
        has_room
    }

    /// Adds what another thread has found.
    pub fn merge(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// How many.
    pub fn len(&self) -> u64 {
        self.0.len() as u64
    }
}

impl Engine {
    /// Removes refs that have expired; how many. The blobs of those that stay, because there is no
    /// space for a tombstone, are acquitted.
    pub(super) fn remove_expired(&self, expired: Expired, guard: &Guard) -> Result<u64> {
        let (mut removed, mut is_full) = (0, false);
        for (key, word) in expired.0 {
            let done = if is_full { Ok(false) } else { self.remove_one_expired(key, word, guard) };
            match done {
                Ok(true) => removed += 1,
                Ok(false) => self.acquit_named_by(key, guard)?,
                Err(error) if error.kind() == ErrorKind::NoSpace => {
                    is_full = true;
                    self.acquit_named_by(key, guard)?;
                }
                Err(error) => return Err(error),
            }
        }
        if removed > 0 {
            self.run.control.announce_change();
        }
        Ok(removed)
    }

    /// Whether the ref was removed; it stays if its word has changed.
    fn remove_one_expired(&self, key: Key, word: Word, guard: &Guard) -> Result<bool> {
        let Some(found) = self.read(word.location(), guard)? else { return Ok(false) };
        let body = self.ref_body(&found, guard)?;
        let name =
            RefBody { namespace: body.namespace, key: body.key, ..RefBody::default() }.encode();
        let removal = Removal::of_ref(key, &name);
        let bytes = removal.record_bytes();
        self.with_removal_appender(guard, bytes, Durability::Buffered, |appender| {
            self.remove_version(appender, guard, &removal, word)
        })
    }

    /// Acquits what a ref names that was not removed.
    fn acquit_named_by(&self, key: Key, guard: &Guard) -> Result<()> {
        let Some((_, found)) = self.find(key, guard)? else { return Ok(()) };
        let body = self.ref_body(&found, guard)?;
        let blobs: Vec<Key> =
            body.blobs.iter().map(|(digest, _)| Key::from_digest(digest)).collect();
        acquit(&self.index(guard), &blobs)
    }
}
