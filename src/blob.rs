//! Views of blobs.
//!
//! `unsafe` stands here because a slice of a shared mapping is made here, and nowhere else
//! (spec/SOUNDNESS.md).

use crate::disk::Map;
use crate::engine::{Engine, Found};
use crate::format::record::{Header, State};
use crate::format::word::Word;
use crate::hash::digest;
use crate::id::BlobId;
use crate::segment::Mapped;
use crate::sync::epoch::{Guard, Pinned};
use crate::whole::is_whole;
use std::ops::Deref;
use std::sync::Arc;
use zerocopy::{FromBytes, Immutable};

impl<'g> Found<'g> {
    /// The record's body, alive as long as the guard; `None` if the mapping does not reach its end.
    #[inline]
    pub fn bytes(&self, _guard: &'g Guard) -> Option<&'g [u8]> {
        let map: &'g Map = &self.mapped.as_ref().map;
        // SAFETY: `Found` is only made of a record that the index names and whose header checks: its
        // body was written before its header, and nobody writes below the tail of a segment again
        // (segment/appender.rs, I2). `slice` checks the bounds. The mapping lives as long as the
        // guard (sync/epoch.rs, I2).
        unsafe { map.slice(self.location.offset() + 64, self.header.body_len) }
    }
}

impl Engine {
    /// The bytes of a blob, if nothing is out of the ordinary: the index is at rest, the segment is
    /// mapped, the header checks. `None` says nothing.
    #[inline]
    pub(crate) fn glance<'g>(
        &self,
        id: &BlobId,
        guard: &'g Guard,
    ) -> Option<(&'g [u8], Pinned<'g, Mapped>)> {
        self.look_at(id, self.index(guard).glance(id.key())?, guard)
    }

    /// The same, where the index shows `word` for the blob.
    #[inline(always)]
    pub(crate) fn look_at<'g>(
        &self,
        id: &BlobId,
        word: Word,
        guard: &'g Guard,
    ) -> Option<(&'g [u8], Pinned<'g, Mapped>)> {
        if !self.is_of_store(id) {
            return None;
        }
        let location = word.location();
        let mapped = self.segments.peek(location.segment(), guard)?;
        let offset = location.offset();
        let len = mapped.as_ref().blob_body_len(offset, id.padded())?;
        // SAFETY: as in `Found::bytes`: the index names the record and its header checks.
        let bytes = unsafe { mapped.as_ref().map.slice(offset + 64, len) };
        bytes.map(|bytes| (bytes, mapped))
    }
}

/// The body of a published record of a mapped segment, for who reads segments without the index;
/// `None` if the mapping does not reach its end.
pub(crate) fn published_body<'m>(map: &'m Map, offset: u64, header: &Header) -> Option<&'m [u8]> {
    if header.state != State::Published {
        return None;
    }
    // SAFETY: as in `Found::bytes`: a published record was named by the index, so its body is written
    // and stays. `slice` checks the bounds, and the slice borrows the mapping.
    unsafe { map.slice(offset.checked_add(64)?, header.body_len) }
}

/// All of a published record behind its header: body, chunk digests and what fills the step up; `None` if
/// the mapping does not reach its end.
pub(crate) fn published_rest<'m>(
    map: &'m Map,
    offset: u64,
    header: &Header,
    bytes: u64,
) -> Option<&'m [u8]> {
    if header.state != State::Published {
        return None;
    }
    // SAFETY: as in `Found::bytes`: a published record was named by the index, so all of it is written
    // and stays. `slice` checks the bounds, and the slice borrows the mapping.
    unsafe { map.slice(offset.checked_add(64)?, bytes.checked_sub(64)?) }
}

impl Engine {
    /// Whether the published record whose header stands at an offset of a segment is what it says.
    pub(crate) fn is_record_whole(&self, map: &Map, offset: u64, header: &Header) -> bool {
        let body = published_body(map, offset, header);
        body.is_some_and(|body| is_whole(header, body, self.files.hash))
    }
}

/// The bytes of a blob: a view of the store's mapping, which nothing copies and nothing changes.
///
/// It stays valid until it is dropped, whatever happens to the blob or the store meanwhile. Cloning
/// costs one atomic increment.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let store = drystone::Store::create(dir.path().join("s"))?;
/// let id = store.put(b"granite")?;
/// let blob = store.get(&id)?.expect("it was just put");
/// drop(store);
/// assert_eq!(&*blob, b"granite");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Blob {
    pointer: *const u8,
    len: usize,
    id: BlobId,
    mapped: Arc<Mapped>,
}

// SAFETY: a blob is an `Arc` of a mapping and a slice of its immutable bytes.
unsafe impl Send for Blob {}
// SAFETY: nothing behind a shared blob changes, so any thread may read it.
unsafe impl Sync for Blob {}

impl Blob {
    /// A view of a record that holds its mapping by itself.
    #[inline]
    pub(crate) fn new(id: BlobId, bytes: &[u8], mapped: Arc<Mapped>) -> Self {
        Self { pointer: bytes.as_ptr(), len: bytes.len(), id, mapped }
    }

    /// The blob's id.
    pub fn id(&self) -> BlobId {
        self.id
    }

    /// Whether the bytes are what the id says, all of which are hashed. A view may show damage of the disk that came
    /// after they were put.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # let store = drystone::Store::create(directory.path())?;
    /// let id = store.put(b"basalt")?;
    /// assert!(store.get(&id)?.is_some_and(|blob| blob.is_intact()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_intact(&self) -> bool {
        digest(self.id.algorithm(), self)[..] == self.id.padded()[..]
    }

    /// The bytes.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: pointer and length are those of a slice of published bytes in `mapped`, which this
        // blob keeps alive (spec/SOUNDNESS.md).
        unsafe { std::slice::from_raw_parts(self.pointer, self.len) }
    }

    /// The bytes as elements; `None` if their length or alignment does not fit.
    pub fn as_slice_of<T: FromBytes + Immutable>(&self) -> Option<&[T]> {
        elements_of(self.as_slice())
    }

    /// The segment that it is a view of.
    pub fn segment(&self) -> u32 {
        self.mapped.number
    }
}

/// Bytes as elements; `None` if their length or alignment does not fit.
pub(crate) fn elements_of<T: FromBytes + Immutable>(bytes: &[u8]) -> Option<&[T]> {
    <[T]>::ref_from_bytes(bytes).ok()
}

impl Deref for Blob {
    type Target = [u8];
    #[inline]
    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl AsRef<[u8]> for Blob {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Blob> for bytes::Bytes {
    fn from(blob: Blob) -> Self {
        bytes::Bytes::from_owner(blob)
    }
}

impl std::fmt::Debug for Blob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blob").field("id", &self.id).field("len", &self.len).finish()
    }
}
