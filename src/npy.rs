//! The header of a `.npy` file: an array in the store is such a file, byte for byte.
//!
//! So one descriptor serves C, Fortran and Python: what [`ArrayHeader::encode`] gives is what
//! `numpy.save` writes, and with the data behind it the blob has the id of the file. The format is
//! NumPy's (NEP 1): magic, version, length, and a Python dictionary with the keys `descr`,
//! `fortran_order` and `shape`, padded with blanks so that the data begin at a multiple of 64.
//!
//! I1. [`ArrayHeader::parse`] takes any bytes: it reads at most [`HEADER_BYTES_MAX`] of them, in one
//!     pass, nests at most a few levels deep, and never evaluates anything.
//! I2. What parses, encodes and parses again as the same, but for `fortran_order` where both orders
//!     are the same: there NumPy writes False, and so does [`ArrayHeader::encode`].
#![forbid(unsafe_code)]

mod dtype;
mod literal;

use crate::error::{Error, ErrorKind, Result};
use literal::Literal;
use std::fmt::Write;

/// First six bytes of a `.npy` file.
pub const MAGIC: [u8; 6] = *b"\x93NUMPY";
/// Longest header that is read. NumPy itself warns of ten thousand.
pub const HEADER_BYTES_MAX: usize = 1 << 20;
/// Most dimensions that NumPy knows.
pub const DIMENSIONS_MAX: usize = 64;
/// The data begin at a multiple of this.
pub const DATA_ALIGN: usize = 64;
/// NumPy leaves room for the growing axis to become this many digits long.
const GROWTH_DIGITS: usize = 21;

/// What an array is: element type, order of the dimensions and shape.
///
/// ```
/// use drystone::npy::ArrayHeader;
///
/// let header = ArrayHeader::new::<f64>(&[3, 4]);
/// let bytes = header.encode();
/// assert_eq!(bytes.len() % 64, 0);
/// assert_eq!(ArrayHeader::parse(&bytes)?, (header, bytes.len()));
/// # Ok::<(), drystone::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ArrayHeader {
    /// The element type as NumPy's `dtype.str` has it: `<f8` is a little-endian 64-bit float. For a
    /// structured type, the text of the list: `[('x', '<f8'), ('n', '<i4')]`.
    pub descr: String,
    /// Whether the first index runs fastest in memory, not the last.
    pub fortran_order: bool,
    /// Number of elements along each dimension; empty for a single value.
    pub shape: Vec<u64>,
}

/// A type that NumPy has a name for.
///
/// It says what a value is called, not that every pattern of bits is one.
pub trait Element: sealed::Sealed {
    /// NumPy's `dtype.str` of it.
    const DESCR: &'static str;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! elements {
    ($($type:ty => $descr:literal,)*) => {$(
        impl sealed::Sealed for $type {}
        impl Element for $type {
            const DESCR: &'static str = $descr;
        }
    )*};
}

elements! {
    bool => "|b1",
    u8 => "|u1", u16 => "<u2", u32 => "<u4", u64 => "<u8",
    i8 => "|i1", i16 => "<i2", i32 => "<i4", i64 => "<i8",
    f32 => "<f4", f64 => "<f8",
    // Real part, imaginary part.
    [f32; 2] => "<c8", [f64; 2] => "<c16",
}

impl ArrayHeader {
    /// An array of `T` whose last index runs fastest.
    pub fn new<T: Element>(shape: &[u64]) -> Self {
        Self { descr: T::DESCR.to_owned(), fortran_order: false, shape: shape.to_vec() }
    }

    /// The same array with the first index running fastest.
    #[must_use]
    pub fn fortran(self) -> Self {
        Self { fortran_order: true, ..self }
    }

    /// Whether the elements are `T`s.
    pub fn holds<T: Element>(&self) -> bool {
        self.descr == T::DESCR
    }

    /// Bytes of one element.
    ///
    /// # Errors
    /// `InvalidInput` if the element type is unknown or not of a fixed size.
    pub fn item_bytes(&self) -> Result<u64> {
        dtype::item_bytes(&self.descr)
    }

    /// Number of elements.
    ///
    /// # Errors
    /// `InvalidInput` if there are 2^64 or more, or more than [`DIMENSIONS_MAX`] dimensions.
    pub fn element_count(&self) -> Result<u64> {
        if self.shape.len() > DIMENSIONS_MAX {
            return Err(Error::new(ErrorKind::InvalidInput, "an array of too many dimensions")
                .expected(format!("at most {DIMENSIONS_MAX}"))
                .found(self.shape.len()));
        }
        dtype::product(&self.shape).ok_or_else(|| too_large(self))
    }

    /// Bytes of the data that follow the header.
    ///
    /// # Errors
    /// As for [`ArrayHeader::item_bytes`] and [`ArrayHeader::element_count`].
    pub fn data_bytes(&self) -> Result<u64> {
        let item = self.item_bytes()?;
        self.element_count()?.checked_mul(item).ok_or_else(|| too_large(self))
    }

    /// The header, as `numpy.save` writes it; its length is a multiple of 64. The data follow.
    ///
    /// Where the two orders are the same (one dimension, say) it says C order, as NumPy does.
    pub fn encode(&self) -> Vec<u8> {
        let text = self.dictionary();
        // Latin-1 is the encoding of versions 1 and 2, UTF-8 of version 3.
        let latin1: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
        match latin1 {
            Some(body) if padded_bytes(10, body.len()) - 10 <= usize::from(u16::MAX) => {
                wrap(1, &body)
            }
            Some(body) => wrap(2, &body),
            None => wrap(3, text.as_bytes()),
        }
    }

    /// The dictionary, with NumPy's room for the growing axis.
    fn dictionary(&self) -> String {
        let fortran = self.fortran_order && !self.orders_agree();
        let mut text = String::from("{'descr': ");
        if dtype::is_literal(&self.descr) {
            text.push_str(&self.descr);
        } else {
            let quoted = self.descr.replace('\\', "\\\\").replace('\'', "\\'");
            text.extend(["'", &quoted, "'"]);
        }
        text.push_str(if fortran { ", 'fortran_order': True" } else { ", 'fortran_order': False" });
        text.push_str(", 'shape': (");
        for (i, extent) in self.shape.iter().enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            write!(text, "{separator}{extent}").expect("a string takes everything");
        }
        text.push_str(if self.shape.len() == 1 { ",), }" } else { "), }" });
        let growing = if fortran { self.shape.last() } else { self.shape.first() };
        if let Some(extent) = growing {
            let digits = extent.checked_ilog10().unwrap_or(0) as usize + 1;
            text.extend(std::iter::repeat_n(' ', GROWTH_DIGITS.saturating_sub(digits)));
        }
        text
    }

    /// Whether both orders put every element in the same place.
    fn orders_agree(&self) -> bool {
        self.shape.contains(&0) || self.shape.iter().filter(|&&extent| extent != 1).count() <= 1
    }

    /// The header that these bytes begin with, and where the data begin.
    ///
    /// # Errors
    /// `InvalidInput` if they do not begin as a `.npy` file of version 1, 2 or 3 does.
    pub fn parse(bytes: &[u8]) -> Result<(Self, usize)> {
        let (text, data_offset) = header_text(bytes)?;
        Ok((Self::from_dictionary(&text)?, data_offset))
    }

    /// The header and the data of the `.npy` file in these bytes; what follows them is left out.
    ///
    /// # Errors
    /// As for [`ArrayHeader::parse`] and [`ArrayHeader::data_bytes`], and `InvalidInput` if there are
    /// fewer bytes than the header says.
    pub fn split(bytes: &[u8]) -> Result<(Self, &[u8])> {
        let (header, offset) = Self::parse(bytes)?;
        let (needed, rest) = (header.data_bytes()?, &bytes[offset..]);
        match usize::try_from(needed).ok().and_then(|needed| rest.get(..needed)) {
            Some(data) => Ok((header, data)),
            None => Err(not_npy("the data are shorter than the shape says")
                .expected(format!("{needed} bytes"))
                .found(format!("{} bytes", rest.len()))),
        }
    }

    fn from_dictionary(text: &str) -> Result<Self> {
        let entries = match literal::parse(text) {
            Some(Literal::Dict(entries)) => entries,
            _ => {
                return Err(not_npy("the header is no dictionary of literals").found(excerpt(text)));
            }
        };
        let [mut descr, mut fortran_order, mut shape] = [None; 3];
        for (key, value) in &entries {
            let slot = match key {
                Literal::Text("descr") => &mut descr,
                Literal::Text("fortran_order") => &mut fortran_order,
                Literal::Text("shape") => &mut shape,
                _ => return Err(wrong_keys(text)),
            };
            if slot.replace(value).is_some() {
                return Err(wrong_keys(text));
            }
        }
        let (Some(descr), Some(fortran_order), Some(shape)) = (descr, fortran_order, shape) else {
            return Err(wrong_keys(text));
        };
        let Literal::Bool(fortran_order) = *fortran_order else {
            return Err(not_npy("fortran_order is not True or False").found(excerpt(text)));
        };
        let shape = dtype::shape(shape)
            .filter(|shape| shape.len() <= DIMENSIONS_MAX)
            .ok_or_else(|| not_npy("the shape is impossible").found(excerpt(text)))?;
        let descr = dtype::descr(descr)
            .ok_or_else(|| not_npy("the element type is impossible").found(excerpt(text)))?;
        Ok(Self { descr, fortran_order, shape })
    }
}

/// Bytes of prefix, body, padding and line end. NumPy pads by 1 to 64, never by none.
fn padded_bytes(prefix: usize, body: usize) -> usize {
    let unpadded = prefix + body + 1;
    unpadded + DATA_ALIGN - unpadded % DATA_ALIGN
}

fn wrap(version: u8, body: &[u8]) -> Vec<u8> {
    let prefix = if version == 1 { 10 } else { 12 };
    let total = padded_bytes(prefix, body.len());
    let len = (total - prefix) as u32;
    let mut bytes = Vec::with_capacity(total);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&[version, 0]);
    bytes.extend_from_slice(&len.to_le_bytes()[..prefix - 8]);
    bytes.extend_from_slice(body);
    bytes.resize(total - 1, b' ');
    bytes.push(b'\n');
    bytes
}

/// The text of the dictionary, and where it ends.
fn header_text(bytes: &[u8]) -> Result<(String, usize)> {
    let cut = || not_npy("the header is cut short").found(format!("{} bytes", bytes.len()));
    if !bytes.starts_with(&MAGIC) {
        return Err(not_npy("it does not begin as a .npy file does").expected("\\x93NUMPY"));
    }
    let version = *bytes.get(6..8).and_then(|v| v.first_chunk::<2>()).ok_or_else(cut)?;
    let (offset, len) = match version {
        [1, 0] => (10, bytes.get(8..10).map(|len| u32::from(len[0]) | u32::from(len[1]) << 8)),
        [2 | 3, 0] => {
            (12, bytes.get(8..12).and_then(|len| len.try_into().ok()).map(u32::from_le_bytes))
        }
        [major, minor] => {
            return Err(not_npy("unknown version of the .npy format")
                .expected("1.0, 2.0 or 3.0")
                .found(format!("{major}.{minor}")));
        }
    };
    let len = len.ok_or_else(cut)? as usize;
    if len > HEADER_BYTES_MAX {
        return Err(not_npy("the header is too long")
            .expected(format!("at most {HEADER_BYTES_MAX} bytes"))
            .found(len));
    }
    let body = bytes.get(offset..offset + len).ok_or_else(cut)?;
    let text = match version[0] {
        3 => String::from_utf8(body.to_vec()).map_err(|_| not_npy("the header is not UTF-8"))?,
        _ => body.iter().map(|&byte| char::from(byte)).collect(),
    };
    Ok((text, offset + len))
}

fn not_npy(why: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("not an array in the .npy format: {why}"))
}

fn wrong_keys(text: &str) -> Error {
    not_npy("the header has other keys")
        .expected("descr, fortran_order and shape, each once")
        .found(excerpt(text))
}

fn too_large(header: &ArrayHeader) -> Error {
    Error::new(ErrorKind::InvalidInput, "an array of this shape has 2^64 bytes or more")
        .found(format!("shape {:?} of {}", header.shape, excerpt(&header.descr)))
}

/// The beginning of a text, for a message.
fn excerpt(text: &str) -> String {
    let mut short: String = text.trim_end().chars().take(80).collect();
    if short.len() < text.trim_end().len() {
        short.push('…');
    }
    short.escape_debug().to_string()
}

#[cfg(test)]
mod tests;
