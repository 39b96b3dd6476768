//! The body of a ref, and of a ref's tombstone (spec/FORMAT.md, section 5).
#![forbid(unsafe_code)]

use crate::id::{BlobId, Key};
use xxhash_rust::xxh3::{xxh3_128, xxh3_128_with_seed};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The namespace of pins.
pub const PINS: &str = "pins";
/// Longest namespace, in bytes.
pub const NAMESPACE_BYTES_MAX: usize = 255;
/// Longest key of a ref, in bytes.
pub const KEY_BYTES_MAX: usize = 64 << 10;
/// Most blobs that one ref may name.
pub const BLOBS_MAX: usize = 1 << 16;
/// Most tags of one ref.
pub const TAGS_MAX: usize = 64;
/// Longest tag, in bytes.
pub const TAG_BYTES_MAX: usize = 255;
/// Longest user metadata, in bytes.
pub const METADATA_BYTES_MAX: usize = 64 << 10;

/// The first 40 bytes of a body. Behind them, without gaps: namespace, key, blobs, tags (each a byte
/// of length and its text), metadata, inline value.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RawRef {
    /// Bit 0: the value is inline (else it is the blobs). Bit 1: it is one blob, not a list of one.
    pub flags: U16,
    /// Bytes of the namespace.
    pub namespace_len: U16,
    /// Bytes of the key.
    pub key_len: U32,
    /// Number of blobs, of 40 bytes each.
    pub blob_count: U32,
    /// Bytes of the tags.
    pub tags_len: U32,
    /// Bytes of the user metadata.
    pub metadata_len: U32,
    /// Bytes of the inline value.
    pub inline_len: U32,
    /// When it was set, nanoseconds since 1970.
    pub created_ns: U64,
    /// When it expires, nanoseconds since 1970; 0 never.
    pub expires_ns: U64,
}

/// A blob that a ref names.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RawNamed {
    /// Its digest, padded with zeros.
    pub digest: [u8; 32],
    /// Sequence number of the blob record that the ref relies on.
    pub held: U64,
}

const FLAG_INLINE: u16 = 1;
const FLAG_SINGLE: u16 = 2;

/// A ref's body, in parts.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RefBody {
    /// The namespace.
    pub namespace: String,
    /// The key.
    pub key: Vec<u8>,
    /// Digest and held number of each blob named.
    pub blobs: Vec<([u8; 32], u64)>,
    /// The value, where it is bytes.
    pub inline: Option<Vec<u8>>,
    /// Tags.
    pub tags: Vec<String>,
    /// User metadata.
    pub metadata: Vec<u8>,
    /// When it was set, nanoseconds since 1970.
    pub created_ns: u64,
    /// When it expires, nanoseconds since 1970; 0 never.
    pub expires_ns: u64,
    /// Whether the value is one blob, not a list of one.
    pub is_single: bool,
}

impl RefBody {
    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        let tags_len: usize = self.tags.iter().map(|tag| 1 + tag.len()).sum();
        let inline = self.inline.as_deref();
        let raw = RawRef {
            flags: U16::new(
                if inline.is_some() { FLAG_INLINE } else { 0 }
                    | if self.is_single { FLAG_SINGLE } else { 0 },
            ),
            namespace_len: U16::new(self.namespace.len() as u16),
            key_len: U32::new(self.key.len() as u32),
            blob_count: U32::new(self.blobs.len() as u32),
            tags_len: U32::new(tags_len as u32),
            metadata_len: U32::new(self.metadata.len() as u32),
            inline_len: U32::new(inline.map_or(0, <[u8]>::len) as u32),
            created_ns: U64::new(self.created_ns),
            expires_ns: U64::new(self.expires_ns),
        };
        let mut bytes = Vec::with_capacity(raw.total_bytes().unwrap_or(0));
        bytes.extend_from_slice(raw.as_bytes());
        bytes.extend_from_slice(self.namespace.as_bytes());
        bytes.extend_from_slice(&self.key);
        for (digest, held) in &self.blobs {
            let named = RawNamed { digest: *digest, held: U64::new(*held) };
            bytes.extend_from_slice(named.as_bytes());
        }
        for tag in &self.tags {
            bytes.push(tag.len() as u8);
            bytes.extend_from_slice(tag.as_bytes());
        }
        bytes.extend_from_slice(&self.metadata);
        bytes.extend_from_slice(inline.unwrap_or_default());
        bytes
    }

    /// When the ref in these bytes expires (0 never), and the digests of the blobs that it names; `None`
    /// if they are not a ref's body. Nothing else of it is looked at.
    pub fn names(bytes: &[u8]) -> Option<(u64, &[RawNamed])> {
        let (raw, rest) = RawRef::ref_from_prefix(bytes).ok()?;
        if raw.total_bytes()? != bytes.len() {
            return None;
        }
        let skipped = usize::from(raw.namespace_len.get()) + raw.key_len.get() as usize;
        let blobs = rest.get(skipped..)?.get(..raw.blob_count.get() as usize * 40)?;
        Some((raw.expires_ns.get(), <[RawNamed]>::ref_from_bytes(blobs).ok()?))
    }

    /// The body in these bytes, or `None` if they are not one.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let view = RefView::of(bytes)?;
        let flags = view.raw.flags.get();
        Some(Self {
            namespace: String::from_utf8(view.namespace.to_vec()).ok()?,
            key: view.key.to_vec(),
            blobs: view.blobs.iter().map(|blob| (blob.digest, blob.held.get())).collect(),
            inline: (flags & FLAG_INLINE != 0).then(|| view.inline.to_vec()),
            tags: decode_tags(view.tags)?,
            metadata: view.metadata.to_vec(),
            created_ns: view.raw.created_ns.get(),
            expires_ns: view.raw.expires_ns.get(),
            is_single: flags & FLAG_SINGLE != 0,
        })
    }
}

/// A ref's body, where it stands.
#[derive(Clone, Copy, Debug)]
pub struct RefView<'a> {
    /// The first 40 bytes.
    pub raw: &'a RawRef,
    /// The namespace.
    pub namespace: &'a [u8],
    /// The key.
    pub key: &'a [u8],
    /// The blobs named.
    pub blobs: &'a [RawNamed],
    /// The tags, each a byte of length and its text.
    pub tags: &'a [u8],
    /// User metadata.
    pub metadata: &'a [u8],
    /// The value; empty also where it is blobs.
    pub inline: &'a [u8],
}

impl<'a> RefView<'a> {
    /// The parts of the body in these bytes; `None` if they are not one.
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        let (raw, rest) = RawRef::ref_from_prefix(bytes).ok()?;
        if raw.total_bytes()? != bytes.len() || raw.flags.get() & !(FLAG_INLINE | FLAG_SINGLE) != 0
        {
            return None;
        }
        let (namespace, rest) = rest.split_at_checked(usize::from(raw.namespace_len.get()))?;
        let (key, rest) = rest.split_at_checked(raw.key_len.get() as usize)?;
        let (blobs, rest) = rest.split_at_checked(raw.blob_count.get() as usize * 40)?;
        let (tags, rest) = rest.split_at_checked(raw.tags_len.get() as usize)?;
        let (metadata, inline) = rest.split_at_checked(raw.metadata_len.get() as usize)?;
        let blobs = <[RawNamed]>::ref_from_bytes(blobs).ok()?;
        Some(Self { raw, namespace, key, blobs, tags, metadata, inline })
    }

    /// The tags as texts; one that is none ends them.
    pub fn tags(&self) -> impl Iterator<Item = &'a str> {
        let mut rest = self.tags;
        std::iter::from_fn(move || {
            let (&len, behind) = rest.split_first()?;
            let (tag, behind) = behind.split_at_checked(usize::from(len))?;
            rest = behind;
            std::str::from_utf8(tag).ok()
        })
    }
}

fn decode_tags(mut bytes: &[u8]) -> Option<Vec<String>> {
    let mut tags = Vec::new();
    while let Some((&len, rest)) = bytes.split_first() {
        let (tag, rest) = rest.split_at_checked(usize::from(len))?;
        tags.push(String::from_utf8(tag.to_vec()).ok()?);
        bytes = rest;
    }
    Some(tags)
}

impl RawRef {
    /// Bytes of the body that it announces; `None` on overflow.
    pub fn total_bytes(&self) -> Option<usize> {
        let blobs = (self.blob_count.get() as usize).checked_mul(size_of::<RawNamed>())?;
        [
            usize::from(self.namespace_len.get()),
            self.key_len.get() as usize,
            blobs,
            self.tags_len.get() as usize,
            self.metadata_len.get() as usize,
            self.inline_len.get() as usize,
        ]
        .into_iter()
        .try_fold(size_of::<Self>(), usize::checked_add)
    }
}

/// The index key of a ref: the XXH3-128 of the namespace's length, the namespace and the key, seeded
/// by the store's uuid.
pub fn ref_key(uuid: &[u8; 16], namespace: &str, key: &[u8]) -> Key {
    let seed = u64::from_le_bytes(std::array::from_fn(|i| uuid[i]));
    let parts = [&(namespace.len() as u64).to_le_bytes()[..], namespace.as_bytes(), key];
    let bytes: usize = parts.iter().map(|part| part.len()).sum();
    let mut buffer = [0; 128];
    // One call over a buffer beats the streaming form many times over for short names.
    if bytes <= buffer.len() {
        let mut at = 0;
        for part in parts {
            buffer[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        return Key::from_u128(xxh3_128_with_seed(&buffer[..bytes], seed));
    }
    Key::from_u128(xxh3_128_with_seed(&parts.concat(), seed))
}

/// The index key of a blob's pin.
pub fn pin_key(uuid: &[u8; 16], id: &BlobId) -> Key {
    ref_key(uuid, PINS, id.text().as_bytes())
}

/// The digest in the header of a ref or its tombstone: the key, and the XXH3-128 of the body.
pub fn ref_digest(key: Key, body: &[u8]) -> [u8; 32] {
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&key.hi.to_be_bytes());
    digest[8..16].copy_from_slice(&key.lo.to_be_bytes());
    digest[16..].copy_from_slice(&xxh3_128(body).to_be_bytes());
    digest
}
