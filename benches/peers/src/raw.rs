//! The least that could be done: the system calls alone.

use anyhow::Result;
use nix::fcntl::{FallocateFlags, fallocate};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A file takes this much, as a segment does.
const FILE_BYTES: u64 = 64 << 20;

/// A fresh file to which bytes are appended.
pub struct RawFile {
    file: File,
    end: u64,
    reserved: u64,
}

impl RawFile {
    /// Makes it.
    pub fn create(path: &Path) -> Result<Self> {
        Ok(Self { file: File::create_new(path)?, end: 0, reserved: 0 })
    }

    /// Asks for the space of the next `len` bytes.
    pub fn reserve(&mut self, len: u64) -> Result<()> {
        fallocate(&self.file, FallocateFlags::empty(), self.end as i64, len as i64)?;
        self.reserved = self.end + len;
        Ok(())
    }

    /// `pwrite`, and `fallocate` first where the space has not been asked for.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        if self.end + bytes.len() as u64 > self.reserved {
            self.reserve(bytes.len() as u64)?;
        }
        self.file.write_all_at(bytes, self.end)?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// `pwrite` of one byte that was written before.
    pub fn touch(&self, behind_end: u64) -> Result<()> {
        Ok(self.file.write_all_at(&[0xA7], self.end - behind_end)?)
    }

    /// `fdatasync`.
    pub fn sync(&self) -> Result<()> {
        Ok(self.file.sync_data()?)
    }
}

/// Fresh files in a row, a new one whenever one is full.
pub struct RawFiles {
    dir: PathBuf,
    name: String,
    made: usize,
    last: Option<RawFile>,
}

impl RawFiles {
    /// None yet.
    pub fn new(dir: &Path, name: &str) -> Self {
        Self { dir: dir.to_owned(), name: name.to_owned(), made: 0, last: None }
    }

    /// `fallocate` and `pwrite`.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let file = match self.last.take().filter(|file| file.end < FILE_BYTES) {
            Some(file) => file,
            None => {
                self.made += 1;
                RawFile::create(&self.dir.join(format!("{}-{}", self.name, self.made)))?
            }
        };
        self.last.insert(file).append(bytes)
    }
}
