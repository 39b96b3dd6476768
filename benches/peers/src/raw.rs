//! The least that could be done: the system calls alone.

use anyhow::Result;
use nix::fcntl::{FallocateFlags, fallocate};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A fresh file to which bytes are appended, each time space first.
pub struct RawFile {
    file: File,
    end: u64,
}

impl RawFile {
    /// Makes it.
    pub fn create(path: &Path) -> Result<Self> {
        Ok(Self { file: File::create_new(path)?, end: 0 })
    }

    /// Bytes appended.
    pub fn len(&self) -> u64 {
        self.end
    }

    /// `fallocate` and `pwrite`.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        fallocate(&self.file, FallocateFlags::empty(), self.end as i64, bytes.len() as i64)?;
        self.file.write_all_at(bytes, self.end)?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// `fdatasync`.
    pub fn sync(&self) -> Result<()> {
        Ok(self.file.sync_data()?)
    }
}
