//! Clearing, and evicting tags, in constant time: entries carry the generation of the clearing and of each tag
//! that they were set under, and others than the newest are not seen.
//!
//! - I1 A generation is the number of a ref, so none is used twice, and an entry that is touched keeps the ones
//!   that it was set under: nothing that was cleared comes back.
//! - I2 The ref of a clearing is set before the page says so, and read when the page is made anew.
//!
//! Death: between the two, a clearing that nobody was told of, and that takes effect with the next one or after
//! a reboot.
#![forbid(unsafe_code)]

use super::cache::Inner;
use super::ledger::Cleared;
use crate::error::Result;

/// The key of the ref that stands for clearings.
pub const CLEARED: &[u8] = b"cleared";

/// The key of the ref that stands for a tag.
pub fn tag_key(tag: &str) -> Vec<u8> {
    [b"tag:", tag.as_bytes()].concat()
}

impl Inner {
    /// The generation of a tag.
    pub fn tag_generation(&self, tag: &str) -> Result<u64> {
        if !self.ledger.has_evicted_tags() {
            return Ok(0);
        }
        let entry = self.generations.get(tag_key(tag))?;
        Ok(entry.map_or(0, |entry| entry.version.number()))
    }

    /// Begins a new generation of everything; the thread takes the entries out.
    pub fn clear(&self) -> Result<()> {
        loop {
            let version = self.generations.set(CLEARED, b"")?;
            if self.ledger.clear(Cleared(version.number())) {
                self.call_for_pass();
                return Ok(());
            }
        }
    }

    /// Begins a new generation of a tag; the thread takes its entries out.
    pub fn evict_tag(&self, tag: &str) -> Result<()> {
        self.begin_tag(tag)?;
        self.call_for_pass();
        Ok(())
    }

    /// Begins a new generation of a tag.
    pub fn begin_tag(&self, tag: &str) -> Result<()> {
        // First, so that whoever sees the new generation looks for it.
        self.ledger.note_evicted_tag();
        self.generations.set(tag_key(tag), b"").map(drop)
    }
}
