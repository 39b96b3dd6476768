//! The files of the segments, and what all parts that touch them need to know.
#![forbid(unsafe_code)]

use crate::disk::{Access, Disk, File};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::Place;
use crate::format::segment::Head;
use crate::format::word::Location;
use crate::id::HashAlgorithm;
use std::sync::Arc;
use zerocopy::{FromZeros, IntoBytes};

/// The directory of the segments in a store.
pub const SEGMENTS_DIR: &str = "segments";

/// The file of a segment.
pub fn segment_path(segment: u32) -> String {
    format!("{SEGMENTS_DIR}/{segment:08x}.seg")
}

/// The number in a file name of [`SEGMENTS_DIR`].
fn segment_number(name: &str) -> Option<u32> {
    let hex = name.strip_suffix(".seg").filter(|hex| hex.len() == 8)?;
    let number = u32::from_str_radix(hex, 16).ok()?;
    (number <= Location::SEGMENT_MAX && segment_path(number) == format!("{SEGMENTS_DIR}/{name}"))
        .then_some(number)
}

/// The segment files of one store.
#[derive(Clone, Debug)]
pub struct Files {
    /// The store directory.
    pub disk: Arc<dyn Disk>,
    /// The store's uuid.
    pub uuid: [u8; 16],
    /// The hash algorithm of its ids.
    pub hash: HashAlgorithm,
}

impl Files {
    /// Where headers of a segment stand, for their checksums.
    pub fn place(&self, segment: u32) -> Place {
        Place::new(&self.uuid, segment)
    }

    /// Bytes of a chunk's digest.
    pub fn digest_bytes(&self) -> u64 {
        self.hash.digest_bytes() as u64
    }

    /// Opens a segment; `None` if it does not exist.
    pub fn open(&self, segment: u32, access: Access) -> Result<Option<Arc<dyn File>>> {
        self.disk.open(&segment_path(segment), access)
    }

    /// The numbers of all segments, in order.
    pub fn list(&self) -> Result<Vec<u32>> {
        let names = self.disk.list(SEGMENTS_DIR)?;
        let mut numbers: Vec<u32> = names.iter().filter_map(|name| segment_number(name)).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Reads and checks the head of a segment.
    pub fn check_head(&self, file: &dyn File, segment: u32) -> Result<()> {
        let mut head = Head::new_zeroed();
        let read = file.read_at(head.as_mut_bytes(), 0)?;
        let fault = if read < size_of::<Head>() {
            Some("it is shorter than a segment's head")
        } else {
            head.fault(&self.uuid, segment)
        };
        match fault {
            None => Ok(()),
            Some(fault) => {
                let mut error =
                    Error::damaged(format!("not a segment of this store: {fault}"), segment, 0);
                if fault.contains("version") {
                    error = Error::new(
                        ErrorKind::UnsupportedVersion,
                        "a segment has another format version",
                    )
                    .advice("use the release of drystone that wrote it, or a later one");
                }
                Err(error.path(segment_path(segment)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_names_are_segments() {
        assert_eq!(segment_number("0000000a.seg"), Some(10));
        for name in [
            "a.seg",
            "0000000A.seg",
            "0000000a",
            "+000000a.seg",
            "00000000a.seg",
            "é000000.seg",
            "10000000.seg",
        ] {
            assert_eq!(segment_number(name), None, "{name}");
        }
    }
}
