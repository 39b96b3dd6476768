//! Asking the medium to take what was written. A sync that failed is never tried again: what it was for
//! may be gone from the page cache, and the next one would say nothing about it.
#![forbid(unsafe_code)]

use super::files::{Files, SEGMENTS_DIR};
use crate::disk::File;
use crate::error::{Error, ErrorKind, Result};

/// fdatasync, whose failure is an error of its own kind: it must not be tried again.
pub fn sync_data(file: &dyn File) -> Result<()> {
    file.sync_data().map_err(|error| {
        Error::new(ErrorKind::SyncFailed, "the medium did not take what was written").found(error)
    })
}

/// The same for the names of the segments.
pub fn sync_name(files: &Files) -> Result<()> {
    if bug!("names-unsynced") {
        return Ok(());
    }
    files.disk.sync_dir(SEGMENTS_DIR).map_err(|error| match error.kind() {
        // It was not tried at all, for want of a descriptor: nothing is wrong with the medium.
        ErrorKind::Limit => error,
        _ => Error::new(ErrorKind::SyncFailed, "the medium did not take the name of a segment")
            .found(error),
    })
}
