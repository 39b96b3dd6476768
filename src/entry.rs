//! What a ref says, as its users see it.
#![forbid(unsafe_code)]

use crate::clock::{from_ns, now_ns};
use crate::engine::{Durability, Engine, Found};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::Kind;
use crate::format::refs::{
    BLOBS_MAX, KEY_BYTES_MAX, METADATA_BYTES_MAX, NAMESPACE_BYTES_MAX, RefBody, TAG_BYTES_MAX,
    TAGS_MAX,
};
use crate::format::word::{Word, WordKind};
use crate::id::{BlobId, Key};
use crate::sync::epoch::Guard;
use std::time::{Duration, SystemTime};

/// Times that a ref may be set while its blobs are looked for.
pub const MOVES_MAX: u32 = 1 << 16;
/// Longer values are stored as blobs.
pub const INLINE_BYTES: usize = 4 << 10;

/// What a ref is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Value {
    /// Bytes that stand in the ref itself. Setting more than 4 KiB stores a blob and names it.
    Bytes(Vec<u8>),
    /// One blob.
    Blob(BlobId),
    /// Several blobs (or none).
    Blobs(Vec<BlobId>),
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

impl<const N: usize> From<&[u8; N]> for Value {
    fn from(bytes: &[u8; N]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Bytes(text.as_bytes().to_vec())
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<BlobId> for Value {
    fn from(id: BlobId) -> Self {
        Self::Blob(id)
    }
}

impl From<&BlobId> for Value {
    fn from(id: &BlobId) -> Self {
        Self::Blob(*id)
    }
}

impl From<Vec<BlobId>> for Value {
    fn from(ids: Vec<BlobId>) -> Self {
        Self::Blobs(ids)
    }
}

/// Which setting of a ref it is; a later one is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub(crate) u64);

impl Version {
    /// As a number.
    pub fn number(self) -> u64 {
        self.0
    }

    /// The version with this number, as [`Version::number`] gave it.
    pub fn from_number(number: u64) -> Self {
        Self(number)
    }
}

/// A ref as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Its namespace.
    pub namespace: String,
    /// Its key.
    pub key: Vec<u8>,
    /// What it is bound to.
    pub value: Value,
    /// Which setting this is.
    pub version: Version,
    /// When it was set.
    pub created: SystemTime,
    /// When it expires.
    pub expires: Option<SystemTime>,
    /// Its tags.
    pub tags: Vec<String>,
    /// User metadata.
    pub metadata: Vec<u8>,
}

impl Entry {
    /// The blob, where the ref names exactly one.
    pub fn blob(&self) -> Option<&BlobId> {
        match &self.value {
            Value::Blob(id) => Some(id),
            _ => None,
        }
    }

    /// The blobs that it names.
    pub fn blobs(&self) -> &[BlobId] {
        match &self.value {
            Value::Bytes(_) => &[],
            Value::Blob(id) => std::slice::from_ref(id),
            Value::Blobs(ids) => ids,
        }
    }

    /// The bytes, where they stand in the ref itself.
    pub fn bytes(&self) -> Option<&[u8]> {
        match &self.value {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }
}

/// What a ref may carry besides its value.
#[derive(Clone, Debug, Default)]
pub struct SetOptions {
    pub(crate) expires: Option<SystemTime>,
    pub(crate) tags: Vec<String>,
    pub(crate) metadata: Vec<u8>,
    pub(crate) durability: Option<Durability>,
}

impl SetOptions {
    /// None of it.
    pub fn new() -> Self {
        Self::default()
    }

    /// From this time on the ref reads as absent.
    pub fn expires_at(mut self, time: SystemTime) -> Self {
        self.expires = Some(time);
        self
    }

    /// So long from now the ref reads as absent; more than can be counted is never.
    pub fn expires_in(mut self, time: Duration) -> Self {
        self.expires = from_ns(now_ns()).checked_add(time);
        self
    }

    /// Adds a tag: 255 bytes at most, 64 tags at most.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// User metadata: 64 KiB at most.
    pub fn metadata(mut self, metadata: impl Into<Vec<u8>>) -> Self {
        self.metadata = metadata.into();
        self
    }

    /// When the setting is acknowledged; the store's default otherwise.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }
}

/// Refuses names and extras that no ref can have.
pub fn check_limits(body: &RefBody, blobs: usize) -> Result<()> {
    let longest_tag = body.tags.iter().map(String::len).max().unwrap_or(0);
    for (what, found, most) in [
        ("the namespace", body.namespace.len(), NAMESPACE_BYTES_MAX),
        ("the key", body.key.len(), KEY_BYTES_MAX),
        ("the metadata", body.metadata.len(), METADATA_BYTES_MAX),
        ("a tag", longest_tag, TAG_BYTES_MAX),
    ] {
        if found > most {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!("{what} of a ref is too long"),
            )
            .expected(format!("at most {most} bytes"))
            .found(format!("{found} bytes")));
        }
    }
    for (what, found, most) in [("tags", body.tags.len(), TAGS_MAX), ("blobs", blobs, BLOBS_MAX)] {
        if found > most {
            return Err(Error::new(ErrorKind::InvalidInput, format!("a ref with too many {what}"))
                .expected(format!("at most {most}"))
                .found(found));
        }
    }
    Ok(())
}

impl Engine {
    /// The ref in a record, if it is `namespace` and `key`'s and can be seen: not expired, and its
    /// blobs all there.
    pub fn entry_of(
        &self,
        found: &Found<'_>,
        namespace: &str,
        key: &[u8],
        guard: &Guard,
    ) -> Result<Option<Entry>> {
        let body = self.ref_body(found, guard)?;
        self.check_name(&body, namespace, key)?;
        self.visible(found.header.kind, found.header.sequence, body, guard)
    }

    /// Whether a ref still has the record that it had when its blobs were looked for. If not, one may be
    /// missing because the ref has let go of it.
    pub fn has_come_to_rest(&self, key: Key, seen: Word, guard: &Guard) -> Result<bool> {
        let now = self.index(guard).lookup(key)?.word;
        Ok(now.is_same_record(seen) || bug!("ref-looked-at-once"))
    }

    /// A ref's body as an entry, if it can be seen.
    pub fn visible(
        &self,
        kind: Kind,
        sequence: u64,
        body: RefBody,
        guard: &Guard,
    ) -> Result<Option<Entry>> {
        let has_lived = || now_ns() - body.created_ns >= body.expires_ns - body.created_ns;
        let has_expired =
            if bug!("age-subtracted") { has_lived() } else { body.expires_ns <= now_ns() };
        if body.expires_ns != 0 && has_expired {
            return Ok(None);
        }
        let mut ids = Vec::with_capacity(body.blobs.len());
        for (digest, _) in &body.blobs {
            let id = BlobId::from_padded(self.superblock.hash, *digest);
            if self.index(guard).lookup(id.key())?.word.kind() != WordKind::Live {
                return Ok(None);
            }
            ids.push(id);
        }
        let is_single = kind == Kind::Pin || body.is_single;
        let value = match (body.inline, &ids[..]) {
            (Some(bytes), _) => Value::Bytes(bytes),
            (None, [id]) if is_single => Value::Blob(*id),
            (None, _) => Value::Blobs(ids),
        };
        Ok(Some(Entry {
            namespace: body.namespace,
            key: body.key,
            value,
            version: Version(sequence),
            created: from_ns(body.created_ns),
            expires: (body.expires_ns != 0).then(|| from_ns(body.expires_ns)),
            tags: body.tags,
            metadata: body.metadata,
        }))
    }
}
