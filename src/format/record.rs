//! Record headers (spec/FORMAT.md, section 4).
#![forbid(unsafe_code)]

use crate::units::{CHUNK_BYTES, PAGE_ALIGNED_BYTES_MIN, PAGE_BYTES, STEP_BYTES, align_up};
use xxhash_rust::xxh3::xxh3_64_with_seed;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// First four bytes of a record header: `DRYR`.
pub const MAGIC: u32 = u32::from_le_bytes(*b"DRYR");
/// Bytes of a header.
pub const HEADER_BYTES: u64 = 64;
/// Where in a header the state byte is: the one byte of a segment that ever changes.
pub const STATE_OFFSET: u64 = 5;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A blob; the digest is its id.
    Blob = 1,
    /// A ref; the digest is its key (16 bytes) and the XXH3-128 of its body.
    Ref = 2,
    /// The pin of a blob: a ref in namespace `pins`, whose digest is the blob's.
    Pin = 3,
    /// The tombstone of a blob; the digest is its id.
    BlobTomb = 4,
    /// The tombstone of a ref or pin; the digest is as a ref's.
    RefTomb = 5,
    /// What stands below the offset in its digest was durable when this was written.
    DurablePoint = 6,
}

impl Kind {
    /// The kind with this number; numbers 16 (recipe) and 17 (node) are reserved.
    pub fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Blob,
            2 => Self::Ref,
            3 => Self::Pin,
            4 => Self::BlobTomb,
            5 => Self::RefTomb,
            6 => Self::DurablePoint,
            _ => return None,
        })
    }

    /// Whether the key is that of a ref.
    pub fn is_ref(self) -> bool {
        matches!(self, Self::Ref | Self::Pin | Self::RefTomb)
    }

    /// Whether it is about a key: all but durable points.
    pub fn is_keyed(self) -> bool {
        self != Self::DurablePoint
    }

    /// Whether it is a tombstone.
    pub fn is_tomb(self) -> bool {
        matches!(self, Self::BlobTomb | Self::RefTomb)
    }
}

/// Whether the index has ever named the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Appended; counts for nothing.
    Pending = 0x50,
    /// The index has named it.
    Published = 0xA7,
}

impl State {
    /// The state with this number.
    pub fn from_code(code: u8) -> Option<Self> {
        match code {
            0x50 => Some(Self::Pending),
            0xA7 => Some(Self::Published),
            _ => None,
        }
    }
}

/// The 64 bytes of a header, as they stand in the file.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RawHeader {
    /// [`MAGIC`].
    pub magic: U32,
    /// A [`Kind`].
    pub kind: u8,
    /// A [`State`]; not under the checksum.
    pub state: u8,
    /// Binary logarithm of the payload's alignment: 6 or 12.
    pub align_log2: u8,
    /// How the body is encoded; 0 is as is, others are reserved.
    pub encoding: u8,
    /// Bytes of the body.
    pub body_len: U64,
    /// The sequence number.
    pub sequence: U64,
    /// What the record is about; see [`Kind`].
    pub digest: [u8; 32],
    /// XXH3-64 of the 64 bytes with `state` and `checksum` zero, seeded by [`Place::seed`].
    pub checksum: U64,
}

/// Where a header stands; bound into its checksum, so that neither a copy elsewhere nor a forgery
/// inside a payload is valid.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    segment_seed: u64,
}

impl Place {
    /// The places of one segment of one store.
    pub fn new(store_uuid: &[u8; 16], segment: u32) -> Self {
        Self { segment_seed: xxh3_64_with_seed(store_uuid, u64::from(segment)) }
    }

    /// The seed of the checksum of a header at `offset`.
    #[inline]
    fn seed(self, offset: u64) -> u64 {
        self.segment_seed ^ offset.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
}

/// A header that has been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What it is.
    pub kind: Kind,
    /// Whether the index has named it.
    pub state: State,
    /// Binary logarithm of the payload's alignment.
    pub align_log2: u8,
    /// Bytes of the body.
    pub body_len: u64,
    /// The sequence number.
    pub sequence: u64,
    /// What it is about; see [`Kind`].
    pub digest: [u8; 32],
}

impl Header {
    /// A pending header of a body of `body_len` bytes.
    pub fn pending(kind: Kind, body_len: u64, sequence: u64, digest: [u8; 32]) -> Self {
        let align_log2 = alignment(kind, body_len).trailing_zeros() as u8;
        Self { kind, state: State::Pending, align_log2, body_len, sequence, digest }
    }

    /// The bytes for `offset` of a segment.
    pub fn encode(&self, place: Place, offset: u64) -> [u8; 64] {
        let mut raw = RawHeader {
            magic: U32::new(MAGIC),
            kind: self.kind as u8,
            state: 0,
            align_log2: self.align_log2,
            encoding: 0,
            body_len: U64::new(self.body_len),
            sequence: U64::new(self.sequence),
            digest: self.digest,
            checksum: U64::new(0),
        };
        raw.checksum = U64::new(xxh3_64_with_seed(raw.as_bytes(), place.seed(offset)));
        raw.state = self.state as u8;
        zerocopy::transmute!(raw)
    }

    /// The header in these bytes of `offset`, or `None` if they are not a valid one.
    #[inline]
    pub fn decode(bytes: &[u8; 64], place: Place, offset: u64) -> Option<Self> {
        Self::from_words(&zerocopy::transmute!(*bytes), place, offset)
    }

    /// The header in these words, little-endian as the machine is, or `None` if they are not a valid
    /// one.
    ///
    /// Every get comes through here. The words stay in registers: bytes that are stored one width and
    /// loaded another cost more than the checksum does.
    #[inline(always)]
    pub fn from_words(words: &[u64; 8], place: Place, offset: u64) -> Option<Self> {
        let [magic, kind, state, align_log2, encoding] =
            [0, 32, 40, 48, 56].map(|shift| words[0] >> shift);
        let [kind, state, align_log2] = [kind as u8, state as u8, align_log2 as u8];
        let checksum = xxh3_of_block(&summed(words), place.seed(offset));
        if magic as u32 != MAGIC || words[7] != checksum {
            return None;
        }
        let body_len = words[1];
        if encoding != 0 || !matches!(align_log2, 6 | 12) || body_len > BODY_BYTES_MAX {
            return None;
        }
        let digest = [words[3], words[4], words[5], words[6]];
        Some(Self {
            kind: Kind::from_code(kind)?,
            state: State::from_code(state)?,
            align_log2,
            body_len,
            sequence: words[2],
            digest: zerocopy::transmute!(digest),
        })
    }

    /// The length of the body, if these words say that they are the header of the blob with this digest.
    /// Whether they are valid, [`Header::from_words`] tells.
    #[inline(always)]
    pub fn blob_body_len(words: &[u64; 8], digest: &[u8; 32]) -> Option<u64> {
        /// Magic, a blob, any state, any alignment, encoding 0.
        const FIRST_WORD: u64 = MAGIC as u64 | (Kind::Blob as u64) << 32;
        let [first, body_len, _, digest_words @ .., _] = *words;
        let digest: [U64; 4] = zerocopy::transmute!(*digest);
        let other = digest.iter().zip(digest_words).fold(0, |or, (a, b)| or | (a.get() ^ b));
        let is_blob =
            first & 0xFF00_00FF_FFFF_FFFF == FIRST_WORD && other == 0 && body_len <= BODY_BYTES_MAX;
        is_blob.then_some(body_len)
    }

    /// Where a record with this header stands behind one that ends at `end`.
    pub fn offset_after(&self, end: u64) -> Option<u64> {
        header_offset(end, 1 << self.align_log2)
    }

    /// Bytes from the header to the end of the record: header, body, chunk digests of `digest_bytes`
    /// each, rounded up to a step.
    #[inline]
    pub fn record_bytes(&self, digest_bytes: u64) -> u64 {
        record_bytes(self.kind, self.body_len, digest_bytes)
    }
}

/// What the checksum is over: all but the state byte and itself.
#[inline]
fn summed(words: &[u64; 8]) -> [u64; 8] {
    let [first, rest @ .., _] = *words;
    let state = 0xFF << (8 * STATE_OFFSET);
    let [a, b, c, d, e, f] = rest;
    [first & !state, a, b, c, d, e, f, 0]
}

/// XXH3-64 of a block of 64 bytes that is in registers: what the algorithm does for 17 to 128 bytes.
#[inline]
fn xxh3_of_block(words: &[u64; 8], seed: u64) -> u64 {
    /// The first 64 bytes of XXH3's default secret.
    const SECRET: [u64; 8] = [
        0xBE4B_A423_396C_FEB8,
        0x1CAD_21F7_2C81_017C,
        0xDB97_9083_E96D_D4DE,
        0x1F67_B3B7_A4A4_4072,
        0x78E5_C0CC_4EE6_79CB,
        0x2172_FFCC_7DD0_5A82,
        0x8E24_43F7_7446_08B8,
        0x4C26_3A81_E690_35E0,
    ];
    const LENGTH_PRIME: u64 = 0x9E37_79B1_85EB_CA87;
    const AVALANCHE_PRIME: u64 = 0x1656_6791_9E37_79F9;
    let mix = |at: usize, secret: usize| {
        let low = words[at] ^ SECRET[secret].wrapping_add(seed);
        let high = words[at + 1] ^ SECRET[secret + 1].wrapping_sub(seed);
        let product = u128::from(low) * u128::from(high);
        product as u64 ^ (product >> 64) as u64
    };
    let sum = [mix(0, 0), mix(6, 2), mix(2, 4), mix(4, 6)]
        .into_iter()
        .fold(LENGTH_PRIME.wrapping_mul(HEADER_BYTES), u64::wrapping_add);
    let folded = (sum ^ (sum >> 37)).wrapping_mul(AVALANCHE_PRIME);
    folded ^ (folded >> 32)
}

/// No body is longer: far above any file, and far from overflow.
pub const BODY_BYTES_MAX: u64 = 1 << 56;
/// Highest sequence number: a record that carries a higher one does not count.
pub const SEQUENCE_MAX: u64 = (1 << 63) - 1;

/// The alignment of a body of `body_len` bytes: a page for large blobs. A ref stands right before its
/// blob, however long it is.
#[inline]
pub fn alignment(kind: Kind, body_len: u64) -> u64 {
    if kind == Kind::Blob && body_len >= PAGE_ALIGNED_BYTES_MIN { PAGE_BYTES } else { STEP_BYTES }
}

/// The chunks of a body: none for a body of one chunk, whose digest is the blob's.
#[inline]
pub fn chunk_count(body_len: u64) -> u64 {
    if body_len <= CHUNK_BYTES { 0 } else { body_len.div_ceil(CHUNK_BYTES) }
}

/// Where the chunk digests begin, from the start of the body.
#[inline]
pub fn chunk_digests_offset(body_len: u64) -> u64 {
    body_len.next_multiple_of(STEP_BYTES)
}

/// Bytes of a whole record; see [`Header::record_bytes`].
#[inline]
pub fn record_bytes(kind: Kind, body_len: u64, digest_bytes: u64) -> u64 {
    let chunks = if kind == Kind::Blob { chunk_count(body_len) * digest_bytes } else { 0 };
    HEADER_BYTES + chunk_digests_offset(body_len) + chunks.next_multiple_of(STEP_BYTES)
}

/// The first offset at or above `tail` at which a header may stand before a body of this alignment.
#[inline]
pub fn header_offset(tail: u64, align: u64) -> Option<u64> {
    Some(align_up(tail.checked_add(HEADER_BYTES)?, align)? - HEADER_BYTES)
}

/// The body of a pin (spec/FORMAT.md, section 5).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RawPin {
    /// Sequence number of the blob record that it relies on.
    pub held: U64,
    /// When it was made, nanoseconds since 1970.
    pub created_ns: U64,
    /// XXH3-64 of the two, seeded by the first eight bytes of the digest.
    pub checksum: U64,
}

/// Bytes of a pin's body.
pub const PIN_BYTES: u64 = 24;

impl RawPin {
    /// The body of a pin of the blob with this digest.
    pub fn new(digest: &[u8; 32], held: u64, created_ns: u64) -> Self {
        let mut pin =
            Self { held: U64::new(held), created_ns: U64::new(created_ns), checksum: U64::new(0) };
        pin.checksum = U64::new(pin.sum(digest));
        pin
    }

    /// Whether its checksum holds.
    pub fn is_valid(&self, digest: &[u8; 32]) -> bool {
        self.checksum.get() == self.sum(digest)
    }

    fn sum(&self, digest: &[u8; 32]) -> u64 {
        let seed = u64::from_le_bytes(std::array::from_fn(|i| digest[i]));
        xxh3_64_with_seed(&self.as_bytes()[..16], seed)
    }
}
