//! The files of the segments, and what all parts that touch them need to know.
#![forbid(unsafe_code)]

use crate::disk::{Access, Disk, File, Map};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::Place;
use crate::format::segment::Head;
use crate::format::word::Location;
use crate::id::HashAlgorithm;
use std::sync::Arc;
use zerocopy::{FromZeros, IntoBytes};

/// The directory of the segments in a store.
pub const SEGMENTS_DIR: &str = "segments";
/// Times that a file may have become shorter while it was being mapped.
const MAP_ATTEMPTS_MAX: u32 = 8;

/// The file of a segment.
pub fn segment_path(segment: u32) -> String {
    format!("{SEGMENTS_DIR}/{segment:08x}.seg")
}

/// The number in a file name of [`SEGMENTS_DIR`].
pub fn segment_number(name: &str) -> Option<u32> {
    let hex = name.strip_suffix(".seg").filter(|hex| hex.len() == 8)?;
    let number = u32::from_str_radix(hex, 16).ok()?;
    let is_its_name = segment_path(number) == format!("{SEGMENTS_DIR}/{name}");
    (is_its_name && number <= Location::SEGMENT_MAX).then_some(number)
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

    /// Checks the head of a segment that is to be written to.
    pub fn check_head(&self, file: &dyn File, segment: u32) -> Result<()> {
        match self.head_fault(file, segment)? {
            None => Ok(()),
            Some(fault) => Err(fault.error),
        }
    }

    /// Checks the head of a segment that is to be read: whether it is whole.
    ///
    /// One that has been damaged says nothing. The records do, each by itself: their checksums are bound
    /// to the store, the segment and the offset. So they can be read, and nothing but them is believed.
    ///
    /// # Errors
    /// `Damaged` when it is the head of another segment, `UnsupportedVersion`.
    pub fn is_head_whole(&self, file: &dyn File, segment: u32) -> Result<bool> {
        match self.head_fault(file, segment)? {
            None => Ok(true),
            Some(fault) if fault.is_garbled && !bug!("head-hides") => Ok(false),
            Some(fault) => Err(fault.error),
        }
    }

    /// The number that a whole head of a segment of this store carries.
    pub fn own_number(&self, file: &dyn File) -> Result<Option<u32>> {
        let mut head = Head::new_zeroed();
        file.read_at(head.as_mut_bytes(), 0)?;
        let number = u32::try_from(head.segment.get()).unwrap_or(u32::MAX);
        let is_own = number <= Location::SEGMENT_MAX && head.fault(&self.uuid, number).is_none();
        Ok(is_own.then_some(number))
    }

    fn head_fault(&self, file: &dyn File, segment: u32) -> Result<Option<HeadFault>> {
        if bug!("head-unread") {
            return Ok(None);
        }
        let mut head = Head::new_zeroed();
        let read = file.read_at(head.as_mut_bytes(), 0)?;
        let fault = if read < size_of::<Head>() {
            Some("it is shorter than a segment's head")
        } else {
            head.fault(&self.uuid, segment)
        };
        let Some(fault) = fault else { return Ok(None) };
        let is_garbled = read < size_of::<Head>() || head.is_garbled();
        let error = if !is_garbled && fault.contains("version") {
            Error::new(ErrorKind::UnsupportedVersion, "a segment has another format version")
                .advice("use the release of drystone that wrote it, or a later one")
        } else {
            Error::damaged(format!("not a segment of this store: {fault}"), segment, 0)
        };
        Ok(Some(HeadFault { is_garbled, error: error.path(segment_path(segment)) }))
    }
}

/// Why a head is not that of its segment.
struct HeadFault {
    /// Its bytes have changed; else it is the head of something else.
    is_garbled: bool,
    error: Error,
}

/// Maps all that a file holds, though whoever seals it may be cutting it off meanwhile.
///
/// What it held before says nothing: it is cut behind its last record, and its footer may reach further
/// than what was cut off.
pub fn map_all(file: &dyn File) -> Result<Map> {
    // It is cut once, and grows from then on.
    for _ in 0..MAP_ATTEMPTS_MAX {
        let len = file.len()?;
        match file.map(len, Access::Read) {
            Err(error) if error.kind() == ErrorKind::Damaged && !bug!("mapped-once") => {
                if bug!("grown-back-damaged") && file.len()? >= len {
                    return Err(error);
                }
            }
            mapped => return mapped,
        }
    }
    file.map(file.len()?, Access::Read)
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
            "ffffffff.seg",
        ] {
            assert_eq!(segment_number(name), None, "{name}");
        }
    }
}
