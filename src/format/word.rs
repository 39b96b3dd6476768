//! Locations, and the 64-bit words of the index that carry them (spec/FORMAT.md, section 8).
#![forbid(unsafe_code)]

use crate::units::STEP_BYTES;

/// Where a record's header stands: segment number (28 bits) and offset in steps of 64 bytes (24 bits).
/// Never reused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Location(u64);

impl Location {
    /// Segment numbers end here.
    pub const SEGMENT_MAX: u32 = (1 << 28) - 1;
    const MASK: u64 = (1 << 52) - 1;

    /// The location of the header at byte `offset` of `segment`; `None` if it does not fit.
    #[inline]
    pub fn new(segment: u32, offset: u64) -> Option<Self> {
        let step = offset / STEP_BYTES;
        let fits = segment <= Self::SEGMENT_MAX && offset % STEP_BYTES == 0 && step < 1 << 24;
        fits.then_some(Self(u64::from(segment) << 24 | step))
    }

    /// The location in the low 52 bits.
    #[inline]
    pub fn from_bits(bits: u64) -> Self {
        Self(bits & Self::MASK)
    }

    /// As 52 bits.
    #[inline]
    pub fn bits(self) -> u64 {
        self.0
    }

    /// The segment's number.
    #[inline]
    pub fn segment(self) -> u32 {
        (self.0 >> 24) as u32
    }

    /// Byte offset of the header in the segment.
    #[inline]
    pub fn offset(self) -> u64 {
        (self.0 & 0xff_ffff) * STEP_BYTES
    }
}

impl std::fmt::Debug for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}+{}", self.segment(), self.offset())
    }
}

/// What a word says about its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WordKind {
    /// Nothing: the whole word is zero.
    None,
    /// A blob or ref record stands at the location.
    Live,
    /// A tombstone record stands there.
    Tomb,
    /// Nothing; the old location is kept so that no value recurs.
    Dead,
}

/// A word of the index (`index.md`, layout).
///
/// ```text
/// [63 FROZEN][62:61 KIND][60 VISITED][59 CONDEMNED][58 REF][57 HOT][56:52 size class][51:24 segment][23:0 offset / 64]
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Word(pub u64);

impl Word {
    /// No record yet.
    pub const NONE: Self = Self(0);
    /// The word is being copied to the next table and only VISITED may still change.
    pub const FROZEN: u64 = 1 << 63;
    /// A reader has seen this ref since the bit was last cleared.
    pub const VISITED: u64 = 1 << 60;
    /// The collector has found nobody who names this blob, so far.
    pub const CONDEMNED: u64 = 1 << 59;
    /// The record is a ref (or the tombstone of one), not a blob.
    pub const REF: u64 = 1 << 58;
    /// The record was moved by the compactor to a segment of hot records.
    pub const HOT: u64 = 1 << 57;
    const KIND_SHIFT: u32 = 61;
    const CLASS_SHIFT: u32 = 52;

    /// A live word for a record of `bytes` in all.
    pub fn live(location: Location, is_ref: bool, bytes: u64) -> Self {
        let class = u64::from(Self::size_class(bytes)) << Self::CLASS_SHIFT;
        Self(1 << Self::KIND_SHIFT | Self::ref_bit(is_ref) | class | location.bits())
    }

    /// The word of a key whose newest record is a tombstone.
    pub fn tomb(location: Location, is_ref: bool) -> Self {
        Self(2 << Self::KIND_SHIFT | Self::ref_bit(is_ref) | location.bits())
    }

    /// This word with its record given up; the location stays, so that no value recurs.
    pub fn dead(self) -> Self {
        let kept = (1 << Self::CLASS_SHIFT) - 1 | Self::REF;
        Self(3 << Self::KIND_SHIFT | self.0 & kept)
    }

    /// This word for a copy of its record elsewhere.
    pub fn moved(self, to: Location) -> Self {
        Self(self.thawed().0 & !Location::MASK | to.bits())
    }

    fn ref_bit(is_ref: bool) -> u64 {
        if is_ref { Self::REF } else { 0 }
    }

    /// The size class of a record of `bytes`: twice the binary logarithm above 64 bytes, at most 31.
    fn size_class(bytes: u64) -> u8 {
        let steps = bytes.div_ceil(STEP_BYTES).max(1);
        let log2 = steps.ilog2();
        let half = if log2 == 0 { 0 } else { steps >> (log2 - 1) & 1 };
        (2 * u64::from(log2) + half).min(31) as u8
    }

    /// What it says about its key.
    #[inline]
    pub fn kind(self) -> WordKind {
        match self.0 >> Self::KIND_SHIFT & 3 {
            0 => WordKind::None,
            1 => WordKind::Live,
            2 => WordKind::Tomb,
            _ => WordKind::Dead,
        }
    }

    /// Whether a record can be read through it.
    #[inline]
    pub fn is_live(self) -> bool {
        self.kind() == WordKind::Live
    }

    /// Whether all of `flags` are set.
    #[inline]
    pub fn has(self, flags: u64) -> bool {
        self.0 & flags == flags
    }

    /// Whether the record is a ref or the tombstone of one.
    #[inline]
    pub fn is_ref(self) -> bool {
        self.has(Self::REF)
    }

    /// Where the record stands; meaningless for [`WordKind::None`].
    #[inline]
    pub fn location(self) -> Location {
        Location::from_bits(self.0)
    }

    /// Whether both name one record, and say the same about it; flags aside.
    #[inline]
    pub fn is_same_record(self, other: Self) -> bool {
        self.kind() == other.kind() && self.location() == other.location()
    }

    /// Without FROZEN: what the operation that froze it saw, and what the next table gets.
    #[inline]
    pub fn thawed(self) -> Self {
        Self(self.0 & !Self::FROZEN)
    }

    /// The record's bytes, rounded up to steps and down to its size class (the top class is open).
    pub fn bytes_hint(self) -> u64 {
        let class = (self.0 >> Self::CLASS_SHIFT & 31) as u32;
        let (log2, half) = (class / 2, u64::from(class % 2));
        STEP_BYTES * ((1 << log2) + if log2 == 0 { 0 } else { half << (log2 - 1) })
    }
}

impl std::fmt::Debug for Word {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.kind())?;
        if self.kind() != WordKind::None {
            write!(f, "({:?})", self.location())?;
        }
        for (name, bit) in [
            ("FROZEN", Self::FROZEN),
            ("VISITED", Self::VISITED),
            ("CONDEMNED", Self::CONDEMNED),
            ("REF", Self::REF),
            ("HOT", Self::HOT),
        ] {
            if self.has(bit) {
                write!(f, "|{name}")?;
            }
        }
        Ok(())
    }
}

/// The root word of the index (`index.md`, layout).
///
/// ```text
/// [63:32 generation][31:26 log2 buckets now][25:20 log2 buckets next][19 MIGRATING][18:0 0]
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root(pub u64);

impl Root {
    /// One table of `2^log2` buckets.
    pub fn stable(generation: u32, log2: u32) -> Self {
        Self(u64::from(generation) << 32 | u64::from(log2 & 63) << 26)
    }

    /// This root with a growth to `2^log2_next` buckets begun.
    pub fn migrating(self, log2_next: u32) -> Self {
        Self::stable(self.generation(), self.log2()).with(u64::from(log2_next & 63) << 20 | 1 << 19)
    }

    fn with(self, bits: u64) -> Self {
        Self(self.0 | bits)
    }

    /// This growth finished.
    pub fn flipped(self) -> Self {
        Self::stable(self.generation().wrapping_add(1), self.log2_next())
    }

    /// The generation of the current table.
    #[inline]
    pub fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Binary logarithm of its buckets.
    #[inline]
    pub fn log2(self) -> u32 {
        (self.0 >> 26 & 63) as u32
    }

    /// Binary logarithm of the next table's buckets.
    #[inline]
    pub fn log2_next(self) -> u32 {
        (self.0 >> 20 & 63) as u32
    }

    /// Whether a growth is under way.
    #[inline]
    pub fn is_migrating(self) -> bool {
        self.0 >> 19 & 1 == 1
    }
}
