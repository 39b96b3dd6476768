//! When, or how often, entries were used: an array of words beside the index, made only for the policies that ask
//! for it. A key has the word that its hash gives; keys that share one share their uses.
//!
//! Death: a use that was not noted.
#![forbid(unsafe_code)]

use super::cache::{Inner, page_name};
use super::look::Live;
use super::options::EvictionPolicy;
use crate::clock::now_ns;
use crate::disk::Map;
use crate::error::Result;
use crate::id::Key;
use crate::sync::Words;
use crate::sync::epoch::{Guard, pin};
use std::sync::OnceLock;

/// Words at least, and at most.
const WORDS: (u64, u64) = (1 << 16, 1 << 24);

/// The array, once it is there.
#[derive(Default)]
pub struct Uses(OnceLock<Map>);

impl Inner {
    fn uses(&self) -> Result<&Map> {
        if let Some(map) = self.uses.0.get() {
            return Ok(map);
        }
        let slots = self.engine().index(&pin()).stats()?.buckets * 5;
        let words = slots.next_power_of_two().clamp(WORDS.0, WORDS.1) as usize;
        let name = format!("uses-{}", page_name(&self.name));
        let map = self.engine().run.page(&name, || Ok(vec![0; words]))?;
        Ok(self.uses.0.get_or_init(|| map))
    }

    /// When, or how often, a key was used.
    pub fn uses_of(&self, at: Key) -> Result<u64> {
        let uses = self.uses()?;
        Ok(if Words::is_empty(uses) { 0 } else { uses.load(at.hi as usize % Words::len(uses)) })
    }

    /// Notes that an entry was read: one bit, that is set once, unless the policy asks for more.
    #[inline]
    pub fn note_use(&self, live: &Live<'_>, guard: &Guard) {
        if !self.engine().run.is_writable() {
            return;
        }
        match self.known.policy() {
            EvictionPolicy::S3Fifo => self.engine().index(guard).mark_visited(live.seen),
            EvictionPolicy::None | EvictionPolicy::LeastRecentlyStored => {}
            policy => self.note_word(live.at, policy),
        }
    }

    /// Notes that a key was read or set.
    pub fn note_word(&self, at: Key, policy: EvictionPolicy) {
        let Ok(uses) = self.uses() else { return };
        if Words::is_empty(uses) || !policy.counts_uses() {
            return;
        }
        let place = at.hi as usize % Words::len(uses);
        match policy {
            EvictionPolicy::LeastRecentlyUsed => uses.store(place, now_ns()),
            _ => drop(uses.fetch_add(place, 1)),
        }
    }
}
