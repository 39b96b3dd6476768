//! Sizes, and the constants that the layers share.
#![forbid(unsafe_code)]

/// One kibibyte.
pub const KIB: u64 = 1 << 10;
/// One mebibyte.
pub const MIB: u64 = 1 << 20;
/// One gibibyte.
pub const GIB: u64 = 1 << 30;

/// Bytes of a chunk: the unit of parallel hashing and of verification (spec/FORMAT.md, section 1).
pub const CHUNK_BYTES: u64 = 2 * MIB;
/// Everything in a segment begins at a multiple of this (spec/FORMAT.md, section 1).
pub const STEP_BYTES: u64 = 64;
/// Bodies of blobs at least this long begin on a page.
pub const PAGE_ALIGNED_BYTES_MIN: u64 = 64 * KIB;
/// The page that payloads are aligned to.
pub const PAGE_BYTES: u64 = 4 * KIB;
/// Offsets of record headers stay below this, so that a location fits its 24 bits.
pub const SEGMENT_BYTES_MAX: u64 = GIB;
/// Size at which a segment of a young store is sealed.
pub const SEGMENT_BYTES_DEFAULT: u64 = 64 * MIB;
/// Smallest segment size that may be asked for.
pub const SEGMENT_BYTES_MIN: u64 = 256 * KIB;

/// `value` rounded up to a multiple of `to`, a power of two; `None` on overflow.
#[inline]
pub const fn align_up(value: u64, to: u64) -> Option<u64> {
    match value.checked_add(to - 1) {
        Some(sum) => Some(sum & !(to - 1)),
        None => None,
    }
}

/// `bytes` as a person reads it: `1.50 GiB`.
pub fn human_bytes(bytes: u64) -> String {
    const NAMES: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 && unit + 1 < NAMES.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.2} {}", NAMES[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn align_up_rounds_and_refuses_overflow() {
        assert_eq!(align_up(0, 64), Some(0));
        assert_eq!(align_up(1, 64), Some(64));
        assert_eq!(align_up(64, 64), Some(64));
        assert_eq!(align_up(u64::MAX, 64), None);
    }

    #[test]
    fn bytes_read_as_a_person_writes_them() {
        assert_eq!(human_bytes(0), "0 B");
        assert_eq!(human_bytes(1536), "1.50 KiB");
        assert_eq!(human_bytes(u64::MAX), "16384.00 PiB");
    }
}
