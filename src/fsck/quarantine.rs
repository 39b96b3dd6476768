//! The directory for what a repair takes out.
#![forbid(unsafe_code)]

use crate::disk::Disk;
use crate::error::{Error, ErrorKind, Result};
use crate::segment::{SEGMENTS_DIR, segment_number};

/// The directory.
pub const QUARANTINE_DIR: &str = "quarantine";
/// Files of one name that it may hold.
const NAMESAKES_MAX: u32 = 10_000;

/// Moves a file there; its new path. The caller makes it durable.
pub fn take_out(disk: &dyn Disk, path: &str) -> Result<String> {
    take_out_as(disk, path, path.rsplit('/').next().unwrap_or(path))
}

/// As [`take_out`], under another name.
pub fn take_out_as(disk: &dyn Disk, path: &str, name: &str) -> Result<String> {
    for attempt in 0..NAMESAKES_MAX {
        let to = match attempt {
            0 => format!("{QUARANTINE_DIR}/{name}"),
            _ => format!("{QUARANTINE_DIR}/{name}.{attempt}"),
        };
        if disk.rename(path, &to)? {
            return Ok(to);
        }
    }
    Err(Error::new(ErrorKind::AlreadyExists, "the quarantine holds too many files of one name")
        .path(path)
        .advice("empty the directory `quarantine`"))
}

/// Makes durable what was moved.
pub fn settle(disk: &dyn Disk) -> Result<()> {
    disk.sync_dir(QUARANTINE_DIR)?;
    disk.sync_dir(SEGMENTS_DIR)
}

/// The highest number of a segment that was ever moved there: no other segment must get it.
pub fn segment_max(disk: &dyn Disk) -> Result<Option<u32>> {
    let names = disk.list(QUARANTINE_DIR)?;
    let number = |name: &String| segment_number(name.split_inclusive(".seg").next()?);
    Ok(names.iter().filter_map(number).max())
}
