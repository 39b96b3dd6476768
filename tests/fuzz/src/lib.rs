//! Fuzz targets: each takes any bytes, and must not panic, run on for ever, read what is not its own, or
//! break what the module says.
//!
//! Most structures stand under checksums that no fuzzer finds, so the targets make them where a byte of the
//! input asks for it: what lies behind is what has to be hit.
#![forbid(unsafe_code)]

pub mod footer;
mod image;
pub mod index;
pub mod npy;
pub mod record;
pub mod refs;
pub mod store;
pub mod superblock;

use arbitrary::Unstructured;

/// Bytes to be taken from the input; zeros once it has ended.
pub(crate) struct Input<'a>(Unstructured<'a>);

impl<'a> Input<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self(Unstructured::new(data))
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.0.arbitrary().unwrap_or_default()
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0.arbitrary().unwrap_or_default()
    }

    /// A number at an edge of what can be, or any.
    pub(crate) fn edge(&mut self, near: u64) -> u64 {
        const EDGES: [u64; 8] =
            [0, 1, 1 << 30, 1 << 56, u64::MAX >> 1, 1 << 63, u64::MAX - 63, u64::MAX];
        match self.byte() {
            kind @ 0..8 => EDGES[usize::from(kind)],
            by @ 8..128 => near.wrapping_add_signed(i64::from(by) - 64),
            128..192 => u64::from(self.byte()) * 64,
            _ => self.number(),
        }
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        // Short input leaves zeros.
        let _ = self.0.fill_buffer(&mut bytes);
        bytes
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.0.take_rest()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
