//! The first byte of each value (spec/VALUES.md, section 2).

/// The first byte of a head.
pub const VERSION: u8 = 1;
/// The first byte of a head whose structure is the first part.
pub const OUTSIDE: u8 = 2;
/// In place of `VERSION`: containers are numbered, and stand for what is the same object again.
pub const SHARED: u8 = 3;

pub const NONE: u8 = 0;
pub const FALSE: u8 = 1;
pub const TRUE: u8 = 2;
/// A whole number that fits 64 bits: zigzag, seven bits a byte.
pub const INT: u8 = 3;
/// Any other: length, two's complement, the lowest byte first.
pub const LONG: u8 = 4;
pub const FLOAT: u8 = 5;
pub const COMPLEX: u8 = 6;
pub const STR: u8 = 7;
pub const BYTES: u8 = 8;
pub const BYTEARRAY: u8 = 9;
pub const TUPLE: u8 = 10;
pub const LIST: u8 = 11;
pub const DICT: u8 = 12;
pub const SET: u8 = 13;
pub const FROZENSET: u8 = 14;
/// The number of a part, as bytes, bytearray, text, or a `.npy` array.
pub const BYTES_PART: u8 = 15;
pub const BYTEARRAY_PART: u8 = 16;
pub const STR_PART: u8 = 17;
pub const ARRAY_PART: u8 = 18;
/// A `.npy` array that stands here: length, bytes.
pub const ARRAY: u8 = 19;
/// Something else: its name, and the value that it is put together of.
pub const OTHER: u8 = 20;
/// The number of a part, as a buffer.
pub const BUFFER_PART: u8 = 21;
/// The number of a container, of which this is the same object.
pub const SAME: u8 = 22;

/// Where containers are written out each time, so often that is done for those that were met before.
pub const REPEATS_MAX: usize = 1 << 23;
/// Containers in containers.
pub const DEPTH_MAX: usize = 200;
/// From here on bytes are a part of their own.
pub const PART_BYTES_MIN: usize = 64 << 10;
/// A longer structure is the first part.
pub const HEAD_BYTES_MAX: usize = 4 << 10;
