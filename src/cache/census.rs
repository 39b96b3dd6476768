//! Counting what is in a cache, by one pass over the index: when its page is made, and when the counters have
//! too much because a process died.
#![forbid(unsafe_code)]

use super::cache::Inner;
use super::generations::CLEARED;
use super::ledger::{Count, Ledger};
use super::look::Live;
use crate::error::Result;
use crate::format::cache::EntryView;
use crate::format::refs::RefView;
use crate::refs::Refs;
use crate::store::Store;
use crate::sync::epoch::pin;

/// The words of a new page: what is there is counted. Nobody sets anything in the cache meanwhile, because
/// nobody has the page.
pub fn first_words(store: &Store, namespace: &str, generations: &Refs) -> Result<Vec<u64>> {
    let newest = generations.get(CLEARED)?.map_or(0, |entry| entry.version.number());
    let cleared = if bug!("clearing-forgotten") { 0 } else { newest };
    let (mut bytes, mut items) = (0_u64, 0);
    let engine = &store.engine;
    let mut guard = pin();
    let mut found = Vec::new();
    let mut cursor = Some(crate::index::Cursor::default());
    let mut tags = 0;
    while let Some(from) = cursor {
        found.clear();
        cursor = engine.index(&guard).scan(from, &mut found)?;
        for (_, word) in found.iter().filter(|(_, word)| word.is_live() && word.is_ref()) {
            let Ok(Some(record)) = engine.read(word.location(), &guard) else { continue };
            let Some(view) = record.bytes(&guard).and_then(RefView::of) else { continue };
            if view.namespace == generations.namespace().as_bytes() {
                tags += u64::from(view.key != CLEARED);
            }
            if view.namespace != namespace.as_bytes() {
                continue;
            }
            if let Some(entry) = EntryView::of(view.metadata)
                && entry.fixed.cleared.get() == cleared
            {
                bytes = bytes.saturating_add(entry.fixed.bytes.get());
                items += 1;
            }
        }
        guard.repin();
    }
    Ok(Ledger::first(cleared, tags, bytes, items))
}

impl Inner {
    /// Removes what does not count any more, and puts the counters right; how many entries were removed.
    pub fn expire(&self) -> Result<u64> {
        self.expire_before(0)
    }

    /// Like [`Inner::expire`], and removes what will have expired at a time, too.
    pub fn expire_before(&self, now_ns: u64) -> Result<u64> {
        let stillness = self.stillness()?;
        let (cleared, before) = (self.cleared(), self.ledger.volume());
        let (mut bytes, mut items, mut removed) = (0_u64, 0_u64, 0_u64);
        let mut guard = self.enter_writing()?;
        self.for_each(&mut guard, |live: &Live<'_>, guard| {
            let expires = live.view.raw.expires_ns.get();
            let is_late = expires != 0 && expires <= now_ns;
            if !is_late && self.counts(live)? {
                bytes = bytes.saturating_add(live.bytes());
                items += 1;
            } else if live.entry.is_some() && self.remove_seen(live, guard)? {
                removed += 1;
            }
            Ok(())
        })?;
        self.ledger.tally(Count::Expirations, removed);
        if self.is_still(&stillness) {
            self.ledger.settle(cleared, before, (bytes, items));
        }
        Ok(removed)
    }
    /// Begins a new generation of a tag, and removes the entries of the one before; how many.
    pub fn evict_tag_counted(&self, tag: &str) -> Result<u64> {
        let before = self.tag_generation(tag)?;
        self.begin_tag(tag)?;
        let (cleared, mut removed) = (self.cleared().0, 0);
        let mut guard = self.enter_writing()?;
        self.for_each(&mut guard, |live, guard| {
            let Some(entry) = live.entry else { return Ok(()) };
            let mut tags = live.view.tags().zip(entry.tags);
            let is_of_it = tags.any(|(it, generation)| it == tag && generation.get() == before);
            let counted = live.cleared() == cleared && !live.has_expired();
            if is_of_it && counted && self.remove_seen(live, guard)? {
                removed += 1;
            }
            Ok(())
        })?;
        self.ledger.tally(Count::Expirations, removed);
        // Not before: what the thread takes out is not counted here.
        self.call_for_pass();
        Ok(removed)
    }

    /// The keys of the entries that count and carry a tag.
    pub fn tagged_keys(&self, tag: &str) -> Result<Vec<Vec<u8>>> {
        let mut keys = Vec::new();
        let mut guard = self.enter();
        self.for_each(&mut guard, |live, _| {
            if live.view.tags().any(|it| it == tag) && self.counts(live)? {
                keys.push(live.view.key.to_vec());
            }
            Ok(())
        })?;
        // A key whose word moved during the walk may have come twice.
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }
}
