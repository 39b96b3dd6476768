//! The superblock (spec/FORMAT.md, section 2).
#![forbid(unsafe_code)]

use crate::error::{Error, ErrorKind, Result};
use crate::id::HashAlgorithm;
use crate::units::{CHUNK_BYTES, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use xxhash_rust::xxh3::xxh3_64;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// First eight bytes of each copy.
pub const MAGIC: [u8; 8] = *b"DRYSTONE";
/// The format version that this library writes, and the only one that it knows.
pub const VERSION: u32 = 1;
/// Distance of the two copies.
pub const COPY_BYTES: usize = 4096;
/// Bytes of the file `STORE`.
pub const FILE_BYTES: usize = 2 * COPY_BYTES;

/// One copy, as it stands in the file.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RawSuperblock {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// [`VERSION`].
    pub version: U32,
    /// A [`HashAlgorithm`].
    pub hash: u8,
    /// Reserved, zero.
    pub reserved: [u8; 3],
    /// Names the store, and keys the checksums of its records.
    pub uuid: [u8; 16],
    /// Size at which segments are sealed; 0 lets it grow with the store.
    pub segment_bytes: U64,
    /// Bytes of a chunk.
    pub chunk_bytes: U64,
    /// When the store was made, nanoseconds since 1970.
    pub created_ns: U64,
    /// XXH3-64 of the 56 bytes before.
    pub checksum: U64,
}

/// What a store is, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// The hash algorithm of its ids.
    pub hash: HashAlgorithm,
    /// Names the store.
    pub uuid: [u8; 16],
    /// Size at which segments are sealed; 0 lets it grow with the store.
    pub segment_bytes: u64,
    /// When it was made, nanoseconds since 1970.
    pub created_ns: u64,
}

impl Superblock {
    /// The file: two copies.
    pub fn encode(&self) -> Vec<u8> {
        let mut raw = RawSuperblock {
            magic: MAGIC,
            version: U32::new(VERSION),
            hash: self.hash.code(),
            reserved: [0; 3],
            uuid: self.uuid,
            segment_bytes: U64::new(self.segment_bytes),
            chunk_bytes: U64::new(CHUNK_BYTES),
            created_ns: U64::new(self.created_ns),
            checksum: U64::new(0),
        };
        raw.checksum = U64::new(xxh3_64(&raw.as_bytes()[..56]));
        let mut file = vec![0; FILE_BYTES];
        for copy in [0, COPY_BYTES] {
            file[copy..copy + 64].copy_from_slice(raw.as_bytes());
        }
        file
    }

    /// The superblock in a file, from whichever copy is whole.
    ///
    /// # Errors
    /// `NotAStore` if neither copy begins as one, `UnsupportedVersion`, `Damaged` if no copy is whole.
    pub fn decode(file: &[u8]) -> Result<Self> {
        let copies = || {
            [0, COPY_BYTES]
                .into_iter()
                .filter_map(|at| RawSuperblock::ref_from_bytes(file.get(at..at + 64)?).ok())
        };
        if !copies().any(|raw| raw.magic == MAGIC) {
            return Err(Error::new(ErrorKind::NotAStore, "the file STORE is not a superblock")
                .expected("DRYSTONE in its first eight bytes, or at 4096")
                .found(format!("{} bytes without it", file.len()))
                .advice("check the path: the directory holds something else (if it holds the segments of a store, `blobtool fsck --repair` makes its superblock again)"));
        }
        let looked_at = if bug!("one-superblock") { 1 } else { 2 };
        let whole = copies()
            .take(looked_at)
            .find(|raw| raw.magic == MAGIC && raw.checksum.get() == xxh3_64(&raw.as_bytes()[..56]));
        let raw = whole.ok_or_else(|| {
            Error::new(ErrorKind::Damaged, "both copies of the superblock are damaged")
                .advice("run `blobtool fsck --repair`: it makes it again of what the segments say")
        })?;
        raw.check()
    }
}

impl RawSuperblock {
    fn check(&self) -> Result<Superblock> {
        if self.version.get() != VERSION {
            return Err(Error::new(
                ErrorKind::UnsupportedVersion,
                "the store has another format version",
            )
            .expected(format!("version {VERSION}"))
            .found(format!("version {}", self.version))
            .advice("use the release of drystone that wrote it, or a later one"));
        }
        let damaged = |what: &str, expected: String, found: u64| {
            Err(Error::new(
                ErrorKind::Damaged,
                format!("the superblock names an impossible {what}"),
            )
            .expected(expected)
            .found(found)
            .advice("restore the file STORE from a backup; the segments are untouched"))
        };
        let Some(hash) = HashAlgorithm::from_code(self.hash) else {
            let known = [HashAlgorithm::Xxh3, HashAlgorithm::Blake3];
            let known = known.map(|hash| format!("{} ({hash})", hash.code())).join(" or ");
            return damaged("hash algorithm", known, u64::from(self.hash));
        };
        if self.chunk_bytes.get() != CHUNK_BYTES {
            return damaged("chunk size", CHUNK_BYTES.to_string(), self.chunk_bytes.get());
        }
        let segment_bytes = self.segment_bytes.get();
        if segment_bytes != 0 && !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&segment_bytes) {
            let bounds = format!("{SEGMENT_BYTES_MIN} to {SEGMENT_BYTES_MAX}, or 0");
            return damaged("segment size", bounds, segment_bytes);
        }
        Ok(Superblock { hash, uuid: self.uuid, segment_bytes, created_ns: self.created_ns.get() })
    }
}
