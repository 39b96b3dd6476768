//! Finding entries: one lookup in the index, and whether what is there counts.
#![forbid(unsafe_code)]

use super::cache::Inner;
use super::item::{COPIED_BELOW, CacheBytes, Item};
use crate::clock::{from_ns, now_ns};
use crate::engine::{Found, Verify};
use crate::entry::{MOVES_MAX, Version};
use crate::error::{Error, ErrorKind, Result};
use crate::format::cache::EntryView;
use crate::format::record::Kind;
use crate::format::refs::{RefView, ref_digest, ref_key};
use crate::format::word::{Word, WordKind};
use crate::id::{BlobId, Key};
use crate::index::Seen;
use crate::sync::epoch::Guard;

/// An entry in its record.
#[derive(Clone, Copy)]
pub struct Live<'g> {
    /// Its key in the index.
    pub at: Key,
    /// Its word.
    pub seen: Seen,
    /// The number of its record.
    pub sequence: u64,
    /// The ref.
    pub view: RefView<'g>,
    /// What a cache has written there; `None` if something else has.
    pub entry: Option<EntryView<'g>>,
}

impl Live<'_> {
    /// Bytes that it counts for.
    pub fn bytes(&self) -> u64 {
        self.entry.map_or(0, |entry| entry.fixed.bytes.get())
    }

    /// The number under which its key came into the cache.
    pub fn born(&self) -> u64 {
        match self.entry.map_or(0, |entry| entry.fixed.born.get()) {
            0 => self.sequence,
            born => born,
        }
    }

    /// The generation of the clearing that it was set under.
    pub fn cleared(&self) -> u64 {
        self.entry.map_or(u64::MAX, |entry| entry.fixed.cleared.get())
    }

    /// Whether it is older than its expiry.
    pub fn has_expired(&self) -> bool {
        let expires = self.view.raw.expires_ns.get();
        expires != 0 && expires <= now_ns()
    }
}

impl Inner {
    /// The key of an entry in the index.
    pub fn key_of(&self, key: &[u8]) -> Key {
        ref_key(&self.engine().superblock.uuid, &self.namespace, key)
    }

    /// The record of a key, whether it counts or not.
    pub fn find<'g>(&self, key: &[u8], guard: &'g Guard) -> Result<Option<Live<'g>>> {
        let at = self.key_of(key);
        let Some((seen, found)) = self.engine().find(at, guard)? else { return Ok(None) };
        let live = self.parse(at, seen, &found, guard)?;
        if live.view.namespace == self.namespace.as_bytes() && live.view.key == key {
            return Ok(Some(live));
        }
        Err(Error::new(ErrorKind::IdCollision, "two keys of caches have one 128-bit key")
            .expected(String::from_utf8_lossy(key))
            .found(String::from_utf8_lossy(live.view.key))
            .advice("choose another key"))
    }

    /// The entry in a record.
    pub fn parse<'g>(
        &self,
        at: Key,
        seen: Seen,
        found: &Found<'g>,
        guard: &'g Guard,
    ) -> Result<Live<'g>> {
        let (segment, offset) = (found.location.segment(), found.location.offset());
        let damaged = |what| Error::damaged(what, segment, offset);
        let body = found.bytes(guard).ok_or_else(|| damaged("a ref's body is cut short"))?;
        let key = Key::from_digest(&found.header.digest);
        if found.header.kind != Kind::Ref || ref_digest(key, body) != found.header.digest {
            return Err(damaged("the body of a ref does not check"));
        }
        let view = RefView::of(body).ok_or_else(|| damaged("the body of a ref makes no sense"))?;
        let entry = EntryView::of(view.metadata);
        Ok(Live { at, seen, sequence: found.header.sequence, view, entry })
    }

    /// Whether an entry counts: neither expired, nor cleared, nor of a tag that was evicted since.
    pub fn counts(&self, live: &Live<'_>) -> Result<bool> {
        let Some(entry) = live.entry else { return Ok(false) };
        if entry.fixed.cleared.get() != self.ledger.cleared().0 || live.has_expired() {
            return Ok(false);
        }
        if entry.tags.is_empty() || !self.ledger.has_evicted_tags() {
            return Ok(true);
        }
        for (tag, generation) in live.view.tags().zip(entry.tags) {
            if self.tag_generation(tag)? != generation.get() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether all blobs of an entry are there.
    pub fn is_whole(&self, live: &Live<'_>, guard: &Guard) -> Result<bool> {
        for blob in live.view.blobs {
            let key = Key::from_digest(&blob.digest);
            if self.engine().index(guard).lookup(key)?.word.kind() != WordKind::Live {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What `read` makes of the entry of a key; `None` if there is none that counts. `read` says `None` where a
    /// blob is missing: then the entry has let go of it, or has lost it.
    pub fn read<R>(
        &self,
        key: &[u8],
        guard: &Guard,
        mut read: impl FnMut(&Live<'_>) -> Result<Option<R>>,
    ) -> Result<Option<R>> {
        for _ in 0..MOVES_MAX {
            let Some(live) = self.find(key, guard)? else { return Ok(None) };
            if !self.counts(&live)? {
                return Ok(None);
            }
            if let Some(made) = read(&live)? {
                self.note_use(&live, guard);
                return Ok(Some(made));
            }
            if self.engine().has_come_to_rest(live.at, live.seen.word, guard)? {
                return Ok(None);
            }
        }
        Err(Error::new(ErrorKind::Busy, "the key is set again and again while it is being read")
            .advice("try again"))
    }

    /// The parts of an entry; `None` if one is missing.
    pub fn parts(&self, live: &Live<'_>, guard: &Guard) -> Result<Option<Vec<CacheBytes>>> {
        if live.entry.is_some_and(|entry| entry.fixed.inline_parts != 0) {
            return Ok(Some(vec![CacheBytes::Owned(live.view.inline.to_vec())]));
        }
        let mut parts = Vec::with_capacity(live.view.blobs.len());
        for named in live.view.blobs {
            let id = BlobId::from_padded(self.engine().superblock.hash, named.digest);
            let Some(blob) = self.engine().get_blob(&id, Verify::No, guard)? else {
                return Ok(None);
            };
            parts.push(if blob.len() < COPIED_BELOW {
                CacheBytes::Owned(blob.to_vec())
            } else {
                CacheBytes::View(blob)
            });
        }
        Ok(Some(parts))
    }

    /// An entry as it is handed out; `None` if a part is missing.
    pub fn item(&self, live: &Live<'_>, guard: &Guard) -> Result<Option<Item>> {
        let Some(parts) = self.parts(live, guard)? else { return Ok(None) };
        let expires = live.view.raw.expires_ns.get();
        Ok(Some(Item {
            head: live.entry.map_or_else(Vec::new, |entry| entry.head.to_vec()),
            parts,
            expires: (expires != 0).then(|| from_ns(expires)),
            tags: live.view.tags().map(Into::into).collect(),
            version: Version::from_number(live.sequence),
            size: live.bytes(),
            born: live.born(),
        }))
    }

    /// Calls `visit` with every entry of this cache, whether it counts or not, in no order. One pass over the
    /// whole index.
    pub fn for_each(
        &self,
        guard: &mut Guard,
        mut visit: impl FnMut(&Live<'_>, &Guard) -> Result<()>,
    ) -> Result<()> {
        let mut found: Vec<(Key, Word)> = Vec::new();
        let mut cursor = Some(crate::index::Cursor::default());
        while let Some(from) = cursor {
            found.clear();
            cursor = self.engine().index(guard).scan(from, &mut found)?;
            for &(key, word) in &found {
                if word.is_live() && word.is_ref() {
                    self.visit(key, word, guard, &mut visit)?;
                }
            }
            guard.repin();
        }
        Ok(())
    }

    fn visit(
        &self,
        key: Key,
        word: Word,
        guard: &Guard,
        visit: &mut impl FnMut(&Live<'_>, &Guard) -> Result<()>,
    ) -> Result<()> {
        let engine = self.engine();
        let (seen, found) = match engine.read(word.location(), guard) {
            Ok(Some(found)) => (Seen::exactly(word), found),
            // It has moved.
            Ok(None) => match engine.find(key, guard)? {
                Some(found) => found,
                None => return Ok(()),
            },
            Err(error) if error.is_damage() => return Ok(()),
            Err(error) => return Err(error),
        };
        if found.header.kind != Kind::Ref {
            return Ok(());
        }
        match self.parse(key, seen, &found, guard) {
            Ok(live) if live.view.namespace == self.namespace.as_bytes() => visit(&live, guard),
            Err(error) if !error.is_damage() => Err(error),
            _ => Ok(()),
        }
    }
}
