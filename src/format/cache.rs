//! What a cache keeps in the metadata of a ref (spec/CACHE.md, section 2).
//!
//! ```text
//! EntryHead, 32 bytes | a generation of 8 bytes for each tag | head of the value
//! ```
#![forbid(unsafe_code)]

use zerocopy::little_endian::{U16, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The version of this layout.
const VERSION: u8 = 1;
/// Longest head of a caller, in bytes.
pub const HEAD_BYTES_MAX: usize = 32 << 10;

/// The first bytes of the metadata.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct EntryHead {
    version: u8,
    /// 1 if the value is one part that stands in the ref; else its parts are the blobs.
    pub inline_parts: u8,
    reserved: [u8; 4],
    /// How many generations of tags follow.
    tag_count: U16,
    /// Bytes of key, head and value.
    pub bytes: U64,
    /// Under which clearing it was set.
    pub cleared: U64,
    /// The number under which the key came into the cache; 0: that of this record.
    pub born: U64,
}

/// The metadata of an entry, where they stand.
#[derive(Clone, Copy, Debug)]
pub struct EntryView<'a> {
    /// The fixed part.
    pub fixed: &'a EntryHead,
    /// The generation of each tag, in the order of the ref's tags.
    pub tags: &'a [U64],
    /// What the caller has put there.
    pub head: &'a [u8],
}

impl<'a> EntryView<'a> {
    /// The parts of these metadata; `None` if a cache has not written them.
    pub fn of(metadata: &'a [u8]) -> Option<Self> {
        let (fixed, rest) = EntryHead::ref_from_prefix(metadata).ok()?;
        if fixed.version != VERSION {
            return None;
        }
        let tags = usize::from(fixed.tag_count.get()) * size_of::<U64>();
        let (tags, head) = rest.split_at_checked(tags)?;
        Some(Self { fixed, tags: <[U64]>::ref_from_bytes(tags).ok()?, head })
    }
}

impl EntryHead {
    /// The first bytes for an entry with `tags` tags.
    pub fn new(bytes: u64, cleared: u64, born: u64, tags: usize, has_inline_part: bool) -> Self {
        Self {
            version: VERSION,
            inline_parts: u8::from(has_inline_part),
            reserved: [0; 4],
            tag_count: U16::new(tags as u16),
            bytes: U64::new(bytes),
            cleared: U64::new(cleared),
            born: U64::new(born),
        }
    }
}

/// The metadata of an entry.
pub fn entry_metadata(fixed: &EntryHead, tags: &[u64], head: &[u8]) -> Vec<u8> {
    let mut metadata = Vec::with_capacity(size_of::<EntryHead>() + 8 * tags.len() + head.len());
    metadata.extend_from_slice(fixed.as_bytes());
    tags.iter().for_each(|tag| metadata.extend_from_slice(&tag.to_le_bytes()));
    metadata.extend_from_slice(head);
    metadata
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_come_apart_as_they_were_put_together_and_no_part_of_them_does() {
        let fixed = EntryHead::new(7, 1 << 40, 3, 2, true);
        let bytes = entry_metadata(&fixed, &[5, u64::MAX], b"head");
        let view = EntryView::of(&bytes).expect("an entry");
        assert_eq!((view.fixed.bytes.get(), view.fixed.cleared.get()), (7, 1 << 40));
        assert_eq!((view.fixed.born.get(), view.fixed.inline_parts), (3, 1));
        assert_eq!(view.tags.iter().map(|tag| tag.get()).collect::<Vec<_>>(), [5, u64::MAX]);
        assert_eq!(view.head, b"head");
        for end in 0..48 {
            assert!(EntryView::of(&bytes[..end]).is_none(), "{end}");
        }
        assert!(EntryView::of(&[2; 48]).is_none(), "another version");
    }
}
