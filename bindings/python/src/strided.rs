//! Elements that do not stand in a row, as the row of bytes that they are in C's order.
//!
//! What is read is a box at a time: all elements whose indexes lie in one range for each axis, chosen so that
//! a box fits a core's cache, that it is read in runs of whole cache lines, and that it is one piece of the row, or
//! several pieces of equal length. Inside of a box the copy goes in the order of the memory that is read.
//!
//! I1  The boxes are disjoint, and together they are all elements.
//! I2  The pieces of a box are parts of the row, each without a gap.
//! I3  Nothing is claimed about memory that is read: it goes through volatile loads, for another thread may write it.

use crate::bytes::Held;
use std::marker::PhantomData;

/// Bytes of a box that is read in order: they stay in a core's cache between copying and hashing.
const BOX: usize = 512 << 10;
/// A box may be so large where it is read in longer runs then,
const BOX_LONG: usize = 4 << 20;
/// and so large where it is one piece only then, of runs of a line.
const BOX_MAX: usize = 16 << 20;
/// Bytes that are read at a place, if the elements and the boxes allow it; never less than a line where they do.
const RUN: usize = 256;
const LINE: usize = 64;
/// Rows of a box that is not one piece, at most: of each up to a chunk is kept until its turn comes.
const ROWS_MAX: usize = 32;

/// An axis of what is read.
#[derive(Clone, Copy, Debug)]
struct Axis {
    len: usize,
    /// Bytes from one element to the next in memory.
    from: isize,
    /// And in the row.
    to: usize,
    /// Elements in a box.
    step: usize,
}

/// The elements of a buffer in C's order.
pub struct Strided<'a> {
    /// The first element, of a buffer that is held.
    start: *const u8,
    held: PhantomData<&'a Held>,
    /// Bytes of what is moved at a time: 1, 2, 4, 8 or 16.
    unit: usize,
    axes: Vec<Axis>,
    /// The axis whose steps are the pieces of a box; `None` where it is one piece.
    rows: Option<usize>,
    /// The axis from which on a piece takes all, but of this one only its step.
    split: usize,
}

// SAFETY: the buffer is held and only read, by volatile loads, which make no claim about what stands there (I3).
unsafe impl Sync for Strided<'_> {}

/// Where in the row a piece of a box stands, and where in the buffer of the box.
pub struct Piece {
    /// In the row.
    pub at: usize,
    /// In the buffer.
    pub from: usize,
    /// Number of bytes.
    pub len: usize,
}

impl<'a> Strided<'a> {
    /// The elements of a buffer with shape and strides.
    pub fn new(held: &'a Held) -> Self {
        let (start, shape, strides, item) = held.layout();
        let unit = 1 << item.trailing_zeros().min(4);
        let mut axes: Vec<Axis> = Vec::with_capacity(shape.len() + 1);
        let of_items = shape.iter().copied().zip(strides.iter().copied());
        let of_units = (item / unit, unit as isize);
        for (len, from) in of_items.chain([of_units]).filter(|&(len, _)| len != 1) {
            match axes.last_mut() {
                // Both together are one axis.
                Some(last) if last.from == from.wrapping_mul(len as isize) => {
                    *last = Axis { len: last.len * len, from, ..*last };
                }
                _ => axes.push(Axis { len, from, to: 0, step: 1 }),
            }
        }
        if axes.is_empty() {
            axes.push(Axis { len: 1, from: unit as isize, to: 0, step: 1 });
        }
        let mut to = unit;
        for axis in axes.iter_mut().rev() {
            axis.to = to;
            to *= axis.len;
        }
        let mut strided = Self { start, held: PhantomData, unit, axes, rows: None, split: 0 };
        strided.divide();
        strided
    }

    /// Chooses the boxes.
    fn divide(&mut self) {
        let last = self.axes.len() - 1;
        let fast = self.fast();
        let Axis { len, from, to, .. } = self.axes[fast];
        let steps = |bytes: usize| (bytes / from.unsigned_abs().max(1)).clamp(1, len);
        let (few, many) = (steps(LINE), steps(RUN));
        let (rows, bytes) = if fast == last {
            (None, BOX)
        } else if few * to <= BOX_MAX {
            (None, (many * to).clamp(BOX, BOX_LONG).max(few * to))
        } else {
            (Some(fast).filter(|_| many > 1), BOX / many.min(ROWS_MAX))
        };
        // The first axis of which a piece takes some steps, with all that is below them.
        let above = rows.map_or(0, |rows| rows + 1);
        let split = self.axes[above..].iter().position(|axis| axis.to <= bytes);
        (self.rows, self.split) = (rows, split.map_or(last, |split| above + split));
        for (at, axis) in self.axes.iter_mut().enumerate() {
            axis.step = match at {
                _ if at > self.split => axis.len,
                _ if at == self.split => (bytes / axis.to).clamp(1, axis.len),
                _ if Some(at) == rows => many.min(ROWS_MAX),
                _ => 1,
            };
        }
    }

    /// The axis along which the memory is read: that of the least stride, but for one that is at an end too soon.
    fn fast(&self) -> usize {
        let last = self.axes.len() - 1;
        let by_stride = |&at: &usize| match self.axes[at].from.unsigned_abs() {
            0 => usize::MAX,
            stride => stride,
        };
        let end = self.axes[last];
        let is_long = end.from.unsigned_abs().saturating_mul(end.len) >= LINE;
        let fast = (0..=last).rev().min_by_key(by_stride).unwrap_or(last);
        if fast == last && !is_long && last > 0 {
            return (0..last).rev().min_by_key(by_stride).unwrap_or(last);
        }
        fast
    }

    /// Number of bytes of the row.
    pub fn len(&self) -> usize {
        self.axes[0].to * self.axes[0].len
    }

    /// Number of boxes.
    pub fn boxes(&self) -> usize {
        self.axes.iter().map(|axis| axis.len.div_ceil(axis.step)).product()
    }

    /// How many boxes are read one behind the other at least, so that few bytes come before their turn.
    pub fn boxes_together(&self, bytes: usize) -> usize {
        let Some(rows) = self.rows else { return bytes.div_ceil(self.box_bytes()) };
        let below = self.axes[rows + 1..].iter().map(|axis| axis.len.div_ceil(axis.step));
        below.product::<usize>().min((4 * bytes).div_ceil(self.box_bytes() / self.axes[rows].step))
    }

    /// Bytes of the largest box.
    pub fn box_bytes(&self) -> usize {
        self.axes.iter().map(|axis| axis.step).product::<usize>() * self.unit
    }

    /// Copies a box into `buffer`, and tells its pieces.
    pub fn copy(&self, number: usize, buffer: &mut [u8]) -> impl Iterator<Item = Piece> + use<> {
        let (mut rest, mut at, mut from) = (number, 0, 0_isize);
        let mut taken = self.axes.clone();
        for (axis, whole) in taken.iter_mut().zip(&self.axes).rev() {
            let count = whole.len.div_ceil(whole.step);
            let start = rest % count * whole.step;
            rest /= count;
            axis.len = whole.step.min(whole.len - start);
            at += start * whole.to;
            from += start as isize * whole.from;
        }
        let len = taken[self.split].len * taken[self.split].to;
        let (count, apart) = self.rows.map_or((1, 0), |rows| (taken[rows].len, taken[rows].to));
        if let Some(rows) = self.rows {
            taken[rows].to = len;
        }
        assert!(count * len <= buffer.len(), "a box fits its buffer");
        taken.retain(|axis| axis.len != 1);
        // SAFETY: `from` and the axes lead to elements of the buffer only, which is held, for `taken` is a part of its
        // shape; in `buffer` they lead to the first `count * len` bytes, each once.
        unsafe { copy_box(self.start.offset(from), buffer.as_mut_ptr(), taken, self.unit) };
        (0..count).map(move |row| Piece { at: at + row * apart, from: row * len, len })
    }
}

/// Copies the elements of a box.
///
/// # Safety
/// Whatever the axes lead to from `from` must be readable; from `to` on, writable, and nobody else's.
unsafe fn copy_box(from: *const u8, to: *mut u8, mut axes: Vec<Axis>, unit: usize) {
    let point = Axis { len: 1, from: 0, to: 0, step: 1 };
    // What is written in a row, what is read in a row, and the others in the order of the memory that is read.
    let along = axes.iter().enumerate().min_by_key(|(_, axis)| axis.to).map(|(at, _)| at);
    let mut along = along.map_or(point, |at| axes.remove(at));
    axes.sort_by_key(|axis| std::cmp::Reverse(axis.from.unsigned_abs()));
    let across = axes.pop().unwrap_or(point);
    let whole = along.len;
    // Where memory is read across, a line of what is written at a time.
    let is_across = across.len > 1 && across.from.unsigned_abs() < along.from.unsigned_abs();
    let width = if is_across { (LINE / unit).max(4) } else { whole };
    // All zero again after each round.
    let mut index = vec![0; axes.len()];
    for start in (0..whole).step_by(width) {
        along.len = width.min(whole - start);
        // SAFETY: `start` is an index of the axis, all of which the caller vouches for.
        let (mut from, mut to) =
            unsafe { (from.offset(start as isize * along.from), to.add(start * along.to)) };
        'all: loop {
            if is_across && start + 2 * width <= whole {
                prefetch(from.wrapping_offset(width as isize * along.from), along, across);
            }
            // SAFETY: the indexes are those of an element, and both axes are what is left of the box.
            unsafe { copy_plane(from, to, along, across, unit) };
            for (index, axis) in index.iter_mut().zip(&axes).rev() {
                *index += 1;
                (from, to) = (from.wrapping_offset(axis.from), to.wrapping_add(axis.to));
                if *index < axis.len {
                    continue 'all;
                }
                *index = 0;
                from = from.wrapping_offset(-(axis.from * axis.len as isize));
                to = to.wrapping_sub(axis.to * axis.len);
            }
            break;
        }
    }
}

/// Has the lines on their way that will be read next: no processor guesses them.
fn prefetch(from: *const u8, along: Axis, across: Axis) {
    let bytes = (across.from * (across.len - 1) as isize).max(0) as usize;
    for row in 0..along.len {
        let from = from.wrapping_offset(row as isize * along.from);
        (0..bytes)
            .step_by(LINE)
            .chain([bytes])
            .for_each(|at| tile::prefetch(from.wrapping_add(at)));
    }
}

/// Copies elements along two axes, the first of which is that of the row.
///
/// # Safety
/// As of `copy_box`.
unsafe fn copy_plane(from: *const u8, to: *mut u8, along: Axis, across: Axis, unit: usize) {
    // SAFETY: what is read and written is what the caller vouches for.
    unsafe {
        match unit {
            1 => copy_units::<u8>(from, to, along, across),
            2 => copy_units::<u16>(from, to, along, across),
            4 => copy_units::<u32>(from, to, along, across),
            8 => copy_units::<u64>(from, to, along, across),
            _ => copy_units::<u128>(from, to, along, across),
        }
    }
}

/// What is moved at a time, at any address.
#[derive(Clone, Copy)]
#[repr(C, packed)]
struct Unit<T>(T);

/// # Safety
/// As of `copy_box`.
unsafe fn copy_units<T: Copy>(from: *const u8, to: *mut u8, along: Axis, across: Axis) {
    let mut row = 0;
    while row < across.len {
        // SAFETY: an index of the axis, and what the caller vouches for, from this row on.
        unsafe {
            let (from, to) = (from.offset(row as isize * across.from), to.add(row * across.to));
            let rest = Axis { len: across.len - row, ..across };
            row += match tile::rows::<T>(from, to, along, rest) {
                0 if along.from == size_of::<T>() as isize => {
                    copy_run(from, to, along.len * size_of::<T>())
                }
                0 => copy_row::<T>(from, to, along),
                rows => rows,
            };
        }
    }
}

/// One row, where the elements are apart.
///
/// # Safety
/// As of `copy_box`.
#[inline]
unsafe fn copy_row<T: Copy>(from: *const u8, to: *mut u8, along: Axis) -> usize {
    for at in 0..along.len {
        // SAFETY: an index of the axis, all of which the caller vouches for.
        unsafe {
            let unit = from.offset(at as isize * along.from).cast::<Unit<T>>().read_volatile();
            to.add(at * along.to).cast::<Unit<T>>().write(unit);
        }
    }
    1
}

/// One row, where they are not.
///
/// # Safety
/// As of `copy_box`.
#[inline]
unsafe fn copy_run(from: *const u8, to: *mut u8, len: usize) -> usize {
    let mut at = 0;
    // SAFETY: what is moved lies below `len`, for which the caller vouches.
    unsafe {
        while at + 16 <= len {
            tile::load(from.add(at)).store(to.add(at));
            at += 16;
        }
        while at + 4 <= len {
            let unit = from.add(at).cast::<Unit<u32>>().read_volatile();
            to.add(at).cast::<Unit<u32>>().write(unit);
            at += 4;
        }
        while at < len {
            to.add(at).write(from.add(at).read_volatile());
            at += 1;
        }
    }
    1
}

/// Squares of elements, turned in the registers of every x86-64.
#[cfg(target_arch = "x86_64")]
mod tile {
    use super::Axis;
    use std::arch::x86_64::*;

    pub struct Sixteen(__m128i);

    impl Sixteen {
        /// # Safety
        /// 16 bytes at `to` must be writable.
        #[inline]
        pub unsafe fn store(self, to: *mut u8) {
            // SAFETY: as the caller vouches; the instruction takes any address.
            unsafe { _mm_storeu_si128(to.cast(), self.0) }
        }
    }

    /// Loads by an instruction of which the compiler knows nothing but its result: whatever stands there.
    ///
    /// # Safety
    /// 16 bytes at `from` must be readable.
    #[inline]
    pub unsafe fn load(from: *const u8) -> Sixteen {
        let loaded;
        // SAFETY: as the caller vouches; it writes no memory.
        unsafe {
            std::arch::asm!("movdqu {}, [{}]", out(xmm_reg) loaded, in(reg) from,
                options(nostack, preserves_flags, readonly));
        }
        Sixteen(loaded)
    }

    #[inline]
    pub fn prefetch(at: *const u8) {
        // SAFETY: the instruction takes any address, and reads nothing that anybody could see.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }

    /// Copies as many of the next rows as squares cover; how many.
    ///
    /// # Safety
    /// As of `copy_box`.
    #[inline]
    pub unsafe fn rows<T: Copy>(from: *const u8, to: *mut u8, along: Axis, across: Axis) -> usize {
        let unit = size_of::<T>();
        let side = 16 / unit;
        let is_along = across.from == unit as isize && along.to == unit;
        if side < 2 || !is_along || along.len < side || across.len < side {
            return 0;
        }
        let mut at = 0;
        while at + side <= along.len {
            // SAFETY: a square of elements of both axes; the transposed one is written.
            unsafe {
                let (from, to) = (from.offset(at as isize * along.from), to.add(at * unit));
                match unit {
                    1 => square::<16>(from, to, along.from, across.to, |a, b| {
                        (_mm_unpacklo_epi8(a, b), _mm_unpackhi_epi8(a, b))
                    }),
                    2 => square::<8>(from, to, along.from, across.to, |a, b| {
                        (_mm_unpacklo_epi16(a, b), _mm_unpackhi_epi16(a, b))
                    }),
                    4 => square::<4>(from, to, along.from, across.to, |a, b| {
                        (_mm_unpacklo_epi32(a, b), _mm_unpackhi_epi32(a, b))
                    }),
                    _ => square::<2>(from, to, along.from, across.to, |a, b| {
                        (_mm_unpacklo_epi64(a, b), _mm_unpackhi_epi64(a, b))
                    }),
                }
            }
            at += side;
        }
        for row in 0..side {
            let rest = Axis { len: along.len - at, ..along };
            // SAFETY: what the squares do not cover of these rows, for which the caller vouches.
            unsafe {
                let from = from.offset(row as isize * across.from + at as isize * along.from);
                super::copy_row::<T>(from, to.add(row * across.to + at * unit), rest);
            }
        }
        side
    }

    /// Turns a square: to interleave the first half of the rows with the second one, as often as the side has bits, is
    /// to exchange the bits of the row with those of the column.
    ///
    /// # Safety
    /// `SIDE` rows of 16 bytes must be readable, `apart` bytes from each other, and as many writable.
    #[inline]
    unsafe fn square<const SIDE: usize>(
        from: *const u8,
        to: *mut u8,
        apart: isize,
        apart_to: usize,
        interleave: impl Fn(__m128i, __m128i) -> (__m128i, __m128i),
    ) {
        // SAFETY: what is read and written is what the caller vouches for.
        let mut rows: [__m128i; SIDE] =
            std::array::from_fn(|row| unsafe { load(from.offset(row as isize * apart)).0 });
        for _ in 0..SIDE.trailing_zeros() {
            let before = rows;
            for pair in 0..SIDE / 2 {
                (rows[2 * pair], rows[2 * pair + 1]) =
                    interleave(before[pair], before[pair + SIDE / 2]);
            }
        }
        for (row, turned) in rows.into_iter().enumerate() {
            // SAFETY: what is read and written is what the caller vouches for.
            unsafe { Sixteen(turned).store(to.add(row * apart_to)) }
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod tile {
    use super::{Axis, Unit};

    pub struct Sixteen(Unit<u128>);

    impl Sixteen {
        /// # Safety
        /// 16 bytes at `to` must be writable.
        pub unsafe fn store(self, to: *mut u8) {
            // SAFETY: as the caller vouches; the type takes any address.
            unsafe { to.cast::<Unit<u128>>().write(self.0) }
        }
    }

    /// # Safety
    /// 16 bytes at `from` must be readable.
    pub unsafe fn load(from: *const u8) -> Sixteen {
        // SAFETY: as the caller vouches; the type takes any address.
        Sixteen(unsafe { from.cast::<Unit<u128>>().read_volatile() })
    }

    pub fn prefetch(_: *const u8) {}

    /// # Safety
    /// None is needed.
    pub unsafe fn rows<T: Copy>(_: *const u8, _: *mut u8, _: Axis, _: Axis) -> usize {
        0
    }
}
