//! Getting bytes out: probe the index, find the segment, check the header, hand out the slice.
//!
//! The hot path makes no system call, takes no lock, allocates nothing and stores to no shared line.
#![forbid(unsafe_code)]

use crate::blob::Blob;
use crate::engine::{Engine, Found, Verify};
use crate::error::{Error, Result};
use crate::format::word::Word;
use crate::id::BlobId;
use crate::segment::Mapped;
use crate::stream::hash_in_place;
use crate::sync::epoch::{Guard, Pinned};

/// Lookups of a batch that are under way at a time.
const LANES: usize = 16;

impl Engine {
    /// The bytes of a blob under a guard.
    #[inline]
    pub fn get<'g>(
        &self,
        id: &BlobId,
        verify: Verify,
        guard: &'g Guard,
    ) -> Result<Option<&'g [u8]>> {
        match self.glance(id, guard) {
            Some((bytes, _)) if verify == Verify::No => Ok(Some(bytes)),
            _ => Ok(self.get_slowly(id, verify, guard)?.map(|(bytes, _)| bytes)),
        }
    }

    /// A view of a blob that holds its mapping by itself.
    #[inline]
    pub fn get_blob(&self, id: &BlobId, verify: Verify, guard: &Guard) -> Result<Option<Blob>> {
        let got = match self.glance(id, guard) {
            Some(got) if verify == Verify::No => Some(got),
            _ => self.get_slowly(id, verify, guard)?.map(|(bytes, found)| (bytes, found.mapped)),
        };
        Ok(got.map(|(bytes, mapped)| Blob::new(*id, bytes, mapped.to_arc())))
    }

    /// A blob by all the steps: while the index grows, before its segment is mapped, or to be verified.
    #[inline(never)]
    fn get_slowly<'g>(
        &self,
        id: &BlobId,
        verify: Verify,
        guard: &'g Guard,
    ) -> Result<Option<(&'g [u8], Found<'g>)>> {
        let Some((_, found)) = self.find_blob(id, guard)? else { return Ok(None) };
        let bytes = self.body_of(&found, guard)?;
        if verify != Verify::No {
            self.verify(&found, bytes, guard)?;
        }
        Ok(Some((bytes, found)))
    }

    #[inline]
    fn body_of<'g>(&self, found: &Found<'g>, guard: &'g Guard) -> Result<&'g [u8]> {
        let (segment, offset) = (found.location.segment(), found.location.offset());
        found.bytes(guard).ok_or_else(|| Error::damaged("a blob is cut short", segment, offset))
    }

    fn verify(&self, found: &Found<'_>, bytes: &[u8], guard: &Guard) -> Result<()> {
        let hashed = hash_in_place(bytes, self.superblock.hash, self.pool(guard)).digest;
        if hashed == found.header.digest || bug!("verified-blindly") {
            return Ok(());
        }
        let (segment, offset) = (found.location.segment(), found.location.offset());
        Err(Error::damaged("the stored blob is not what its id says", segment, offset)
            .expected(self.id_of(&found.header))
            .found(BlobId::from_padded(self.superblock.hash, hashed)))
    }

    /// Many blobs at a time, their cache misses overlapping: while the bytes of one batch are handed out,
    /// the headers of the next are on their way, and the buckets of the one after that.
    pub fn get_many<'g>(
        &self,
        ids: &[BlobId],
        verify: Verify,
        guard: &'g Guard,
        mut each: impl FnMut(&BlobId, Option<(&'g [u8], Pinned<'g, Mapped>)>),
    ) -> Result<()> {
        let mut ahead = ids.chunks(LANES);
        self.prefetch_buckets(ahead.next(), guard);
        self.prefetch_buckets(ahead.next(), guard);
        let mut next = self.glance_ahead(ids.chunks(LANES).next(), guard);
        for (at, batch) in ids.chunks(LANES).enumerate() {
            self.prefetch_buckets(ahead.next(), guard);
            let words = next;
            next = self.glance_ahead(ids.chunks(LANES).nth(at + 1), guard);
            for (word, id) in words.into_iter().zip(batch) {
                let got = word.and_then(|word| self.look_at(id, word, guard));
                let got = match got {
                    Some(got) if verify == Verify::No => Some(got),
                    _ => self
                        .get_slowly(id, verify, guard)?
                        .map(|(bytes, found)| (bytes, found.mapped)),
                };
                each(id, got);
            }
        }
        Ok(())
    }

    fn prefetch_buckets(&self, batch: Option<&[BlobId]>, guard: &Guard) {
        let index = self.index(guard);
        batch.into_iter().flatten().for_each(|id| index.prefetch(id.key()));
    }

    /// The words of a batch, as far as one look finds them; their records are prefetched.
    fn glance_ahead(&self, batch: Option<&[BlobId]>, guard: &Guard) -> [Option<Word>; LANES] {
        let index = self.index(guard);
        let mut words = [None; LANES];
        for (word, id) in words.iter_mut().zip(batch.into_iter().flatten()) {
            *word = index.glance(id.key());
        }
        // In a loop of their own: a prefetch waits for the translation of its address, and what stands
        // close together waits together.
        for word in &words {
            if let Some(location) = word.map(Word::location)
                && let Some(mapped) = self.segments.peek(location.segment(), guard)
            {
                mapped.as_ref().prefetch(location.offset());
            }
        }
        words
    }
}
