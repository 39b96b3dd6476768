//! Bytes that somebody else may be writing: they are only ever copied out, or asked whether they are zero.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ops::Range;

/// A range of memory that other threads may write while it is read.
#[derive(Clone, Copy)]
pub struct Racy<'a> {
    pointer: *const u8,
    len: usize,
    memory: PhantomData<&'a u8>,
}

// SAFETY: the memory is only read, without any claim about what stands in it, from any thread.
unsafe impl Send for Racy<'_> {}
// SAFETY: reads by several threads at once make no claim about the contents either.
unsafe impl Sync for Racy<'_> {}

impl<'a> From<&'a [u8]> for Racy<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self { pointer: bytes.as_ptr(), len: bytes.len(), memory: PhantomData }
    }
}

impl Racy<'_> {
    /// The `len` bytes at `pointer`.
    ///
    /// # Safety
    /// They must stay mapped and readable for the lifetime.
    pub unsafe fn new(pointer: *const u8, len: usize) -> Self {
        Self { pointer, len, memory: PhantomData }
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A part of them.
    pub fn part(&self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.len, "part of the memory");
        // SAFETY: the range was just checked to lie inside.
        let pointer = unsafe { self.pointer.add(range.start) };
        Self { pointer, len: range.len(), memory: PhantomData }
    }

    /// Copies the bytes at `at` out, whatever they are at this moment.
    pub fn copy_to(&self, at: usize, buffer: &mut [u8]) {
        assert!(
            at.checked_add(buffer.len()).is_some_and(|end| end <= self.len),
            "inside the memory"
        );
        // SAFETY: the bounds were just checked, and the memory is readable by the contract of `new`.
        unsafe { copy_volatile(self.pointer.add(at), buffer) }
    }

    /// Whether all bytes are zero; each is looked at once at most.
    pub fn is_zero(&self) -> bool {
        (0..self.len).step_by(PIECE_BYTES).all(|at| {
            let piece = self.part(at..self.len.min(at + PIECE_BYTES));
            let (blocks, rest) = (piece.len / BLOCK_BYTES, piece.len % BLOCK_BYTES);
            let mut last = [0; BLOCK_BYTES];
            piece.copy_to(blocks * BLOCK_BYTES, &mut last[..rest]);
            // SAFETY: so many whole blocks are inside the memory, which is readable by the contract of `new`.
            last == [0; BLOCK_BYTES] && unsafe { are_zero_volatile(piece.pointer, blocks) }
        })
    }
}

/// Bytes of a block that is looked at as a whole.
const BLOCK_BYTES: usize = 64;
/// Bytes that are looked at without a stop.
const PIECE_BYTES: usize = 4096;

/// Whether so many blocks of 64 bytes are zero, by loads of which the compiler knows nothing but that they
/// store nothing.
///
/// # Safety
/// `from` must be readable for so many blocks.
#[cfg(all(target_arch = "x86_64", not(miri)))]
unsafe fn are_zero_volatile(from: *const u8, blocks: usize) -> bool {
    if blocks == 0 {
        return true;
    }
    let ored: std::arch::x86_64::__m128i;
    // SAFETY: what is loaded is readable by the contract; SSE2 is part of every x86-64.
    unsafe {
        std::arch::asm!(
            "pxor {a}, {a}",
            "2:",
            "movdqu {b}, [{from}]",
            "movdqu {c}, [{from} + 16]",
            "movdqu {d}, [{from} + 32]",
            "movdqu {e}, [{from} + 48]",
            "por {b}, {c}",
            "por {d}, {e}",
            "por {a}, {b}",
            "por {a}, {d}",
            "add {from}, 64",
            "dec {blocks}",
            "jnz 2b",
            a = out(xmm_reg) ored,
            b = out(xmm_reg) _,
            c = out(xmm_reg) _,
            d = out(xmm_reg) _,
            e = out(xmm_reg) _,
            from = inout(reg) from => _,
            blocks = inout(reg) blocks => _,
            options(nostack, readonly)
        );
    }
    // SAFETY: any 16 bytes are two words.
    let words: [u64; 2] = unsafe { std::mem::transmute(ored) };
    words == [0, 0]
}

/// Whether so many blocks of 64 bytes are zero, by volatile loads of machine words.
///
/// # Safety
/// `from` must be readable for so many blocks.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
unsafe fn are_zero_volatile(from: *const u8, blocks: usize) -> bool {
    let word = |at: usize| {
        // SAFETY: inside the memory, by the contract; unaligned words are read through an array.
        u64::from_ne_bytes(unsafe { from.add(at).cast::<[u8; 8]>().read_volatile() })
    };
    (0..blocks * BLOCK_BYTES).step_by(8).all(|at| word(at) == 0)
}

/// Copies by the processor's own instruction, of which the compiler knows nothing but that it writes
/// `buffer`: what lands there is some value for each byte, whatever a racing writer does.
///
/// # Safety
/// `from` must be readable for `buffer.len()` bytes.
#[cfg(all(target_arch = "x86_64", not(miri)))]
unsafe fn copy_volatile(from: *const u8, buffer: &mut [u8]) {
    // SAFETY: the source is readable by the contract, the target is a slice of that length, and the direction
    // flag is clear, as the ABI wants it.
    unsafe {
        std::arch::asm!(
            "rep movsb",
            inout("rcx") buffer.len() => _,
            inout("rdi") buffer.as_mut_ptr() => _,
            inout("rsi") from => _,
            options(nostack, preserves_flags)
        );
    }
}

/// Copies by volatile loads of machine words, which the compiler may neither invent nor repeat, so
/// that what lands in `buffer` is one value per word whatever a racing writer does.
///
/// # Safety
/// `from` must be readable for `buffer.len()` bytes.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
unsafe fn copy_volatile(from: *const u8, buffer: &mut [u8]) {
    let mut words = buffer.chunks_exact_mut(8);
    let mut at = 0;
    for word in &mut words {
        // SAFETY: inside the memory, by the contract; unaligned words are read through an array.
        let value = unsafe { from.add(at).cast::<[u8; 8]>().read_volatile() };
        word.copy_from_slice(&value);
        at += 8;
    }
    for byte in words.into_remainder() {
        // SAFETY: the bytes behind the last whole word are inside the memory, too.
        *byte = unsafe { from.add(at).read_volatile() };
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_copied_at_any_alignment() {
        let bytes: Vec<u8> = (0..=255).collect();
        // SAFETY: `bytes` lives longer than `racy`, and nobody writes it.
        let racy = unsafe { Racy::new(bytes.as_ptr(), bytes.len()) };
        assert!(!racy.is_zero() && racy.part(0..1).is_zero() && racy.part(7..7).is_zero());
        for start in 0..17 {
            let part = racy.part(start..256 - start);
            let mut copy = vec![0; part.len() - 3];
            part.copy_to(3, &mut copy);
            assert_eq!(copy, &bytes[start + 3..256 - start]);
        }
    }
    #[test]
    fn one_bit_anywhere_is_not_zero() {
        let mut bytes = vec![0u8; PIECE_BYTES + 200];
        for (start, end) in
            [(0, 0), (0, 64), (3, 130), (1, PIECE_BYTES + 1), (5, PIECE_BYTES + 199)]
        {
            assert!(Racy::from(&bytes[start..end]).is_zero());
            for at in 0..bytes.len() {
                bytes[at] = 1 << (at % 8);
                let is_inside = (start..end).contains(&at);
                assert_eq!(
                    Racy::from(&bytes[start..end]).is_zero(),
                    !is_inside,
                    "{start} {end} {at}"
                );
                bytes[at] = 0;
            }
        }
    }
}
