//! Segments in memory, made of an input.

use super::Input;
use drystone::HashAlgorithm;
use drystone::fuzzing::{Blocks, Disk, Files, OpenOptions, RealDisk};
use std::sync::{Arc, OnceLock};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The segment's number.
pub const NUMBER: u32 = 7;
const UUID: [u8; 16] = [0x5A; 16];
/// No segment is longer.
const STEPS_MAX: usize = 64;

/// The bytes of a segment.
pub struct Image(pub Vec<u8>);

impl Blocks for Image {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn block(&self, offset: u64) -> Option<[u8; 64]> {
        let at = usize::try_from(offset).ok().filter(|at| at.is_multiple_of(64))?;
        self.0.get(at..at.checked_add(64)?)?.try_into().ok()
    }

    fn copy_to(&self, offset: u64, out: &mut [u8]) -> bool {
        let range =
            usize::try_from(offset).ok().and_then(|at| Some(at..at.checked_add(out.len())?));
        let bytes = range.and_then(|range| self.0.get(range));
        bytes.map(|bytes| out.copy_from_slice(bytes)).is_some()
    }
}

/// What the code that reads segments wants to know of their store.
pub fn files(hash: HashAlgorithm) -> Files {
    static DISK: OnceLock<(tempfile::TempDir, Arc<dyn Disk>)> = OnceLock::new();
    let (_, disk) = DISK.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a directory");
        let options = OpenOptions { writable: true, ..OpenOptions::default() };
        let disk = RealDisk::open(dir.path(), &options).expect("a disk");
        (dir, disk)
    });
    Files { disk: disk.clone(), uuid: UUID, hash }
}

/// A record header of these bytes, as far as `how` asks for it: with magic, codes that are known, a length
/// that fits, and a checksum that holds.
pub fn header(input: &mut Input<'_>, offset: u64, left: u64) -> [u8; 64] {
    let mut bytes: [u8; 64] = input.bytes(64).try_into().expect("64 bytes");
    let how = input.byte();
    if how & 1 != 0 {
        bytes[..4].copy_from_slice(b"DRYR");
    }
    if how & 2 != 0 {
        bytes[4] = 1 + bytes[4] % 6;
        bytes[5] = if bytes[5] & 1 == 0 { 0x50 } else { 0xA7 };
        bytes[6] = if bytes[6] & 1 == 0 { 6 } else { 12 };
        bytes[7] = 0;
    }
    if how & 4 != 0 {
        let len = input.edge(left.saturating_sub(64));
        bytes[8..16].copy_from_slice(&len.to_le_bytes());
    }
    if how & 8 != 0 {
        let len = u64::from(input.byte()) % left.max(1);
        bytes[8..16].copy_from_slice(&len.to_le_bytes());
    }
    if how & 128 == 0 {
        seal(&mut bytes, offset);
    }
    bytes
}

/// Sets the checksum of a header.
pub fn seal(header: &mut [u8; 64], offset: u64) {
    let mut summed = *header;
    summed[5] = 0;
    summed[56..].fill(0);
    let place = xxh3_64_with_seed(&UUID, u64::from(NUMBER));
    let checksum = xxh3_64_with_seed(&summed, place ^ offset.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    header[56..].copy_from_slice(&checksum.to_le_bytes());
}

/// A head, and steps that are headers, bodies of any bytes, or nothing.
pub fn segment(input: &mut Input<'_>) -> Image {
    let steps = 1 + usize::from(input.byte()) % STEPS_MAX;
    let mut bytes = vec![0; 64 * (1 + steps)];
    for step in 1..=steps {
        let at = 64 * step;
        let left = (bytes.len() - at) as u64;
        match input.byte() % 4 {
            0 => {}
            1 => bytes[at..at + 64].copy_from_slice(&input.bytes(64)),
            _ => bytes[at..at + 64].copy_from_slice(&header(input, at as u64, left)),
        }
        if input.is_empty() {
            break;
        }
    }
    Image(bytes)
}
