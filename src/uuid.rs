//! Random uuids.
#![forbid(unsafe_code)]

use crate::error::{Error, Result};
use std::fs::File;
use std::io::Read;

/// A random uuid (version 4).
pub fn random() -> Result<[u8; 16]> {
    let mut bytes = [0; 16];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|error| Error::io("reading random bytes for a uuid", error).path("/dev/urandom"))?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Ok(bytes)
}
