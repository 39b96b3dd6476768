//! Values on their way into a cache and out of it.
#![forbid(unsafe_code)]

use crate::blob::Blob;
use crate::entry::Version;
use crate::id::BlobId;
use crate::stream::Body;
use crate::sync::racy::Racy;
use std::ops::Deref;
use std::time::SystemTime;

/// Parts of values below this size are handed out as copies, so that one that is held keeps no segment.
pub const COPIED_BELOW: usize = 64 << 10;

/// A part of a value that is to be set.
#[derive(Clone, Copy)]
pub enum Part<'a> {
    /// Bytes.
    Bytes(&'a [u8]),
    /// A short header, and behind it bytes that other threads may be writing: one part.
    Headed(&'a [u8], Racy<'a>),
    /// A blob that the store holds already.
    Blob(BlobId),
}

impl<'a> Part<'a> {
    /// What is to be stored; `None` for what is there already.
    pub(super) fn body(&self) -> Option<Body<'a>> {
        match *self {
            Self::Bytes(bytes) => Some(Body::Fixed(bytes)),
            Self::Headed(header, bytes) => Some(Body::Headed(header, bytes)),
            Self::Blob(_) => None,
        }
    }
}

/// A value that is to be set: a short head, and any number of parts. Large parts become blobs, which the store
/// holds once whatever names them.
#[derive(Clone, Copy)]
pub struct NewValue<'a> {
    /// At most 32 KiB that stand in the entry itself.
    pub head: &'a [u8],
    /// The parts.
    pub parts: &'a [Part<'a>],
}

/// A part of a value that was read.
#[derive(Clone, Debug)]
pub enum CacheBytes {
    /// A copy of fewer than 64 KiB.
    Owned(Vec<u8>),
    /// A view of the store.
    View(Blob),
}

impl Deref for CacheBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Owned(bytes) => bytes,
            Self::View(blob) => blob,
        }
    }
}

impl CacheBytes {
    /// As bytes of one's own.
    pub fn into_vec(self) -> Vec<u8> {
        match self {
            Self::Owned(bytes) => bytes,
            Self::View(blob) => blob.to_vec(),
        }
    }
}

/// A value that was read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Item {
    /// The head.
    pub head: Vec<u8>,
    /// The parts.
    pub parts: Vec<CacheBytes>,
    /// When it expires.
    pub expires: Option<SystemTime>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Which setting of the key it is.
    pub version: Version,
    /// Bytes of key, head and parts.
    pub size: u64,
    /// The number under which its key came.
    pub(super) born: u64,
}

impl Item {
    /// A value that was computed, and is in the cache no more.
    pub(super) fn of_bytes(bytes: Vec<u8>) -> Self {
        let size = bytes.len() as u64;
        Self {
            head: Vec::new(),
            parts: vec![CacheBytes::Owned(bytes)],
            expires: None,
            tags: Vec::new(),
            version: Version::from_number(0),
            size,
            born: 0,
        }
    }

    /// The bytes of a value of one part; of no part, none.
    pub fn bytes(&self) -> &[u8] {
        self.parts.first().map_or(&[], |part| part)
    }

    /// Takes the bytes out.
    pub fn into_bytes(mut self) -> CacheBytes {
        if self.parts.is_empty() {
            return CacheBytes::Owned(Vec::new());
        }
        self.parts.swap_remove(0)
    }
}

impl Deref for Item {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes()
    }
}
