//! What names a blob: the digest of its bytes.
#![forbid(unsafe_code)]

use crate::error::{Error, ErrorKind, Result};
use std::fmt;
use std::str::FromStr;

/// The hash algorithm of a store, chosen once when it is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
#[repr(u8)]
pub enum HashAlgorithm {
    /// XXH3-128: memory speed, not collision resistant; a put that meets its own id compares bytes.
    Xxh3 = 1,
    /// BLAKE3: collision resistant, for stores that exchange blobs with others.
    Blake3 = 2,
}

impl HashAlgorithm {
    /// The algorithm with this number in a file, if it is known.
    pub fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Xxh3),
            2 => Some(Self::Blake3),
            _ => None,
        }
    }

    /// Its number in files.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Its name, as on a command line: `xxh3`, `blake3`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Xxh3 => "xxh3",
            Self::Blake3 => "blake3",
        }
    }

    /// The prefix of an id's text: `xxh3`, `b3`.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Xxh3 => "xxh3",
            Self::Blake3 => "b3",
        }
    }

    /// Bytes of a digest: 16 or 32.
    pub fn digest_bytes(self) -> usize {
        match self {
            Self::Xxh3 => 16,
            Self::Blake3 => 32,
        }
    }
}

impl fmt::Display for HashAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for HashAlgorithm {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "xxh3" => Ok(Self::Xxh3),
            "blake3" | "b3" => Ok(Self::Blake3),
            _ => Err(Error::new(ErrorKind::InvalidInput, "unknown hash algorithm")
                .expected("xxh3 or blake3")
                .found(text)),
        }
    }
}

/// The name of a blob: algorithm and digest.
///
/// As text `xxh3:` and 32 hexadecimal digits, or `b3:` and 64.
///
/// ```
/// let id: drystone::BlobId = "xxh3:99aa06d3014798d86001c324468d497f".parse()?;
/// assert_eq!(id.to_string(), "xxh3:99aa06d3014798d86001c324468d497f");
/// # Ok::<(), drystone::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobId {
    algorithm: HashAlgorithm,
    digest: [u8; 32],
}

impl BlobId {
    /// The id with this digest: 16 bytes for XXH3 (big-endian, as `xxh128sum` prints it), 32 for BLAKE3.
    ///
    /// # Errors
    /// `InvalidInput` if the digest has another length.
    pub fn from_digest(algorithm: HashAlgorithm, digest: &[u8]) -> Result<Self> {
        if digest.len() != algorithm.digest_bytes() {
            return Err(Error::new(ErrorKind::InvalidInput, "digest of a wrong length")
                .expected(format!("{} bytes for {algorithm}", algorithm.digest_bytes()))
                .found(format!("{} bytes", digest.len())));
        }
        let mut padded = [0; 32];
        padded[..digest.len()].copy_from_slice(digest);
        Ok(Self { algorithm, digest: padded })
    }

    /// The id whose zero-padded digest stands in a record header.
    pub(crate) fn from_padded(algorithm: HashAlgorithm, digest: [u8; 32]) -> Self {
        Self { algorithm, digest }
    }

    /// The algorithm.
    pub fn algorithm(&self) -> HashAlgorithm {
        self.algorithm
    }

    /// The digest: 16 or 32 bytes.
    pub fn digest(&self) -> &[u8] {
        &self.digest[..self.algorithm.digest_bytes()]
    }

    /// The digest, padded with zeros to 32 bytes, as record headers hold it.
    pub(crate) fn padded(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Its text, without an allocation.
    pub(crate) fn text(&self) -> IdText {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = IdText { bytes: [0; 69], len: 0 };
        text.push(self.algorithm.prefix().as_bytes());
        text.push(b":");
        for byte in self.digest() {
            text.push(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        text
    }

    /// The key of this blob in the index: the first 16 bytes of its digest.
    #[inline]
    pub(crate) fn key(&self) -> Key {
        Key::from_digest(&self.digest)
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text().as_str())
    }
}

/// The text of an id, on the stack.
pub(crate) struct IdText {
    bytes: [u8; 5 + 64],
    len: usize,
}

impl IdText {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for BlobId {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            Error::new(ErrorKind::InvalidInput, "not the id of a blob")
                .expected("xxh3: and 32 hexadecimal digits, or b3: and 64")
                .found(text)
        };
        let (prefix, hex) = text.split_once(':').ok_or_else(wrong)?;
        let algorithm = match prefix {
            "xxh3" => HashAlgorithm::Xxh3,
            "b3" => HashAlgorithm::Blake3,
            _ => return Err(wrong()),
        };
        if hex.len() != 2 * algorithm.digest_bytes() || !hex.is_ascii() {
            return Err(wrong());
        }
        let mut digest = [0; 32];
        for (byte, pair) in digest.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            let digit = |c: u8| (c as char).to_digit(16).ok_or_else(wrong);
            *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
        }
        Ok(Self { algorithm, digest })
    }
}

/// A key of the index: 128 bits, as two big-endian words, so that the order of the hexadecimal text
/// is the order of the buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The first eight bytes; the home bucket is in its high bits.
    pub hi: u64,
    /// The next eight bytes.
    pub lo: u64,
}

impl Key {
    /// The first 16 bytes of a digest.
    #[inline]
    pub fn from_digest(digest: &[u8; 32]) -> Self {
        let word = |at: usize| u64::from_be_bytes(std::array::from_fn(|i| digest[at + i]));
        Self { hi: word(0), lo: word(8) }
    }

    /// The key with this 128-bit value.
    #[inline]
    pub fn from_u128(value: u128) -> Self {
        Self { hi: (value >> 64) as u64, lo: value as u64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_their_text() {
        for (algorithm, len) in [(HashAlgorithm::Xxh3, 16), (HashAlgorithm::Blake3, 32)] {
            let digest: Vec<u8> = (0..len).map(|i| i * 7 + 1).collect();
            let id = BlobId::from_digest(algorithm, &digest).unwrap();
            assert_eq!(id.to_string().parse::<BlobId>().unwrap(), id);
        }
    }

    #[test]
    fn texts_that_are_no_ids_are_refused() {
        let hex = "0".repeat(32);
        for text in ["", "xxh3", "xxh3:", "b3:00", "md5:00", &hex, &format!("xxh3:{hex}0")] {
            assert_eq!(text.parse::<BlobId>().unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        let multibyte = format!("xxh3:{}é", "0".repeat(30));
        assert_eq!(multibyte.parse::<BlobId>().unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
