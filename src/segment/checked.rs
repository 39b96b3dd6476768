//! Which headers of a mapping have been found valid: a bit for each step of 64 bytes.
//!
//! The checksum of a header is a third of the cost of getting a small blob. It is there against what
//! damages or forges a header, not against memory that changes under a mapping; so once a mapping is
//! enough. What a lookup hands out is held against the digest and the bounds each time.
//!
//! I1  A bit is set only behind a check of the whole header under the same mapping.
//!
//! Of bits that are never set the kernel gives no memory.
#![forbid(unsafe_code)]

use crate::disk::prefetch;
use crate::error::{Error, ErrorKind, Result};
use crate::sync::machine::{AtomicU64, Ordering};
use crate::units::STEP_BYTES;
use zerocopy::FromZeros;

/// See the head of this file.
#[derive(Debug)]
pub struct Checked(Box<[AtomicU64]>);

impl Checked {
    /// No header of a mapping of `bytes` has been checked.
    pub fn new(bytes: u64) -> Result<Self> {
        let words = usize::try_from(bytes.div_ceil(STEP_BYTES).div_ceil(64));
        let bits =
            words.ok().and_then(|words| <[AtomicU64]>::new_box_zeroed_with_elems(words).ok());
        let bits =
            bits.ok_or_else(|| Error::new(ErrorKind::Limit, "no memory to map a segment"))?;
        Ok(Self(bits))
    }

    /// Whether the header at an offset has been found valid.
    #[inline(always)]
    pub fn has(&self, offset: u64) -> bool {
        let (word, bit) = place(offset);
        // Relaxed: the bit says something about bytes that do not change, and orders nothing.
        self.0.get(word).is_some_and(|word| word.load(Ordering::Relaxed) & bit != 0)
    }

    /// Asks for the bit of the header at an offset.
    #[inline]
    pub fn prefetch(&self, offset: u64) {
        if let Some(word) = self.0.get(place(offset).0) {
            prefetch(std::ptr::from_ref(word).cast());
        }
    }

    /// Notes that it has.
    #[cold]
    pub fn note(&self, offset: u64) {
        let (word, bit) = place(offset);
        if let Some(word) = self.0.get(word) {
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }
}

#[inline(always)]
fn place(offset: u64) -> (usize, u64) {
    let step = offset / STEP_BYTES;
    ((step / 64) as usize, 1 << (step % 64))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn each_step_has_a_bit_of_its_own_and_what_lies_beyond_has_none() {
        let checked = Checked::new(100 * STEP_BYTES + 1).unwrap();
        for step in [0, 1, 63, 64, 100] {
            assert!(!checked.has(step * STEP_BYTES));
            checked.note(step * STEP_BYTES);
            assert!(checked.has(step * STEP_BYTES) && !checked.has((step + 7) * STEP_BYTES));
        }
        checked.note(1 << 40);
        assert!(!checked.has(1 << 40));
    }
}
