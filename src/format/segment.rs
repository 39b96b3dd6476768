//! The head, footer and trailer of a segment (spec/FORMAT.md, sections 3 and 6).
#![forbid(unsafe_code)]

use super::record::{BODY_BYTES_MAX, Header, Kind, State};
use crate::units::STEP_BYTES;
use xxhash_rust::xxh3::xxh3_64;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// First eight bytes of a segment.
pub const HEAD_MAGIC: [u8; 8] = *b"DRYSEG\r\n";
/// First eight bytes of a trailer.
pub const TRAILER_MAGIC: [u8; 8] = *b"DRYEND\r\n";
/// The format version of segments.
pub const VERSION: u32 = 1;
/// Bytes of the head; the first record may begin here.
pub const HEAD_BYTES: u64 = 64;
/// Bytes of the trailer.
pub const TRAILER_BYTES: u64 = 64;
/// Bytes of an entry of the footer.
pub const ENTRY_BYTES: u64 = 64;

/// The first 64 bytes of a segment.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Head {
    /// [`HEAD_MAGIC`].
    pub magic: [u8; 8],
    /// [`VERSION`].
    pub version: U32,
    /// Reserved, zero.
    pub flags: U32,
    /// The store's.
    pub uuid: [u8; 16],
    /// The segment's number.
    pub segment: U64,
    /// When it was made, nanoseconds since 1970.
    pub created_ns: U64,
    /// Reserved, zero.
    pub reserved: U64,
    /// XXH3-64 of the 56 bytes before.
    pub checksum: U64,
}

impl Head {
    /// The head of a new segment.
    pub fn new(uuid: [u8; 16], segment: u32, created_ns: u64) -> Self {
        let mut head = Self {
            magic: HEAD_MAGIC,
            version: U32::new(VERSION),
            flags: U32::new(0),
            uuid,
            segment: U64::new(u64::from(segment)),
            created_ns: U64::new(created_ns),
            reserved: U64::new(0),
            checksum: U64::new(0),
        };
        head.checksum = U64::new(xxh3_64(&head.as_bytes()[..56]));
        head
    }

    /// Whether its bytes are not as they were written, so that it says nothing, not even that the
    /// segment is another one.
    pub fn is_garbled(&self) -> bool {
        self.magic != HEAD_MAGIC || self.checksum.get() != xxh3_64(&self.as_bytes()[..56])
    }

    /// What is wrong with it as the head of `segment`, if anything.
    pub fn fault(&self, uuid: &[u8; 16], segment: u32) -> Option<&'static str> {
        if self.magic != HEAD_MAGIC {
            Some("it does not begin as a segment does")
        } else if self.checksum.get() != xxh3_64(&self.as_bytes()[..56]) {
            Some("the checksum of its head does not hold")
        } else if self.version.get() != VERSION {
            Some("its format version is unknown")
        } else if self.uuid != *uuid {
            Some("it belongs to another store")
        } else if self.segment.get() != u64::from(segment) {
            Some("it carries another segment's number")
        } else {
            None
        }
    }
}

/// One record in the directory that a footer is.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Entry {
    /// As in the record's header.
    pub kind: u8,
    /// As in the header when the segment was sealed; read `pending` ones again.
    pub state: u8,
    /// As in the header.
    pub align_log2: u8,
    /// As in the header.
    pub encoding: u8,
    /// Where the header stands, in steps of 64 bytes.
    pub step: U32,
    /// As in the header.
    pub body_len: U64,
    /// As in the header.
    pub sequence: U64,
    /// As in the header.
    pub digest: [u8; 32],
    /// For a pin the number that it holds, else zero.
    pub held: U64,
}

impl Entry {
    /// The entry for a header at `offset`.
    pub fn new(header: &Header, offset: u64, held: u64) -> Self {
        Self {
            kind: header.kind as u8,
            state: header.state as u8,
            align_log2: header.align_log2,
            encoding: 0,
            step: U32::new((offset / STEP_BYTES) as u32),
            body_len: U64::new(header.body_len),
            sequence: U64::new(header.sequence),
            digest: header.digest,
            held: U64::new(held),
        }
    }

    /// The header that it lists, if its kind and state are known and its body can be.
    pub fn header(&self) -> Option<Header> {
        if self.body_len.get() > BODY_BYTES_MAX && !bug!("length-unbounded") {
            return None;
        }
        Some(Header {
            kind: Kind::from_code(self.kind)?,
            state: State::from_code(self.state)?,
            align_log2: self.align_log2,
            body_len: self.body_len.get(),
            sequence: self.sequence.get(),
            digest: self.digest,
        })
    }

    /// Byte offset behind the record; `None` if it lists none that can be.
    pub fn end(&self, digest_bytes: u64) -> Option<u64> {
        self.offset().checked_add(self.header()?.record_bytes(digest_bytes))
    }

    /// Byte offset of the header.
    pub fn offset(&self) -> u64 {
        u64::from(self.step.get()) * STEP_BYTES
    }
}

/// The last 64 bytes of a sealed segment (before a durable point that may follow).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Trailer {
    /// [`TRAILER_MAGIC`].
    pub magic: [u8; 8],
    /// The segment's number.
    pub segment: U64,
    /// Where the entries begin.
    pub entries_offset: U64,
    /// How many there are.
    pub entry_count: U64,
    /// XXH3-64 of the entries.
    pub entries_checksum: U64,
    /// The highest sequence number among them.
    pub sequence_max: U64,
    /// What stands below this offset was durable before the footer was written.
    pub durable_bytes: U64,
    /// XXH3-64 of the 56 bytes before.
    pub checksum: U64,
}

impl Trailer {
    /// The trailer of these entries.
    pub fn new(segment: u32, entries_offset: u64, entries: &[Entry], durable_bytes: u64) -> Self {
        let mut trailer = Self {
            magic: TRAILER_MAGIC,
            segment: U64::new(u64::from(segment)),
            entries_offset: U64::new(entries_offset),
            entry_count: U64::new(entries.len() as u64),
            entries_checksum: U64::new(xxh3_64(entries.as_bytes())),
            sequence_max: U64::new(entries.iter().map(|e| e.sequence.get()).max().unwrap_or(0)),
            durable_bytes: U64::new(durable_bytes),
            checksum: U64::new(0),
        };
        trailer.checksum = U64::new(xxh3_64(&trailer.as_bytes()[..56]));
        trailer
    }

    /// Whether it is a trailer of `segment` at byte `at`: magic, checksum, number, and entries that
    /// end where it begins.
    pub fn is_valid(&self, segment: u32, at: u64) -> bool {
        let entries = self.entry_count.get().checked_mul(ENTRY_BYTES);
        let end = entries.and_then(|bytes| self.entries_offset.get().checked_add(bytes));
        self.magic == TRAILER_MAGIC
            && self.checksum.get() == xxh3_64(&self.as_bytes()[..56])
            && self.segment.get() == u64::from(segment)
            && self.entries_offset.get() >= HEAD_BYTES
            && self.entries_offset.get() % STEP_BYTES == 0
            && end == Some(at)
    }

    /// Whether these are its entries.
    pub fn vouches_for(&self, entries: &[u8]) -> bool {
        self.entries_checksum.get() == xxh3_64(entries)
    }
}
