//! A file of a simulated disk, and the memory behind it.
#![forbid(unsafe_code)]

use super::device::SimDisk;
use super::history::Op;
use super::image::Bytes;
use super::state::Lock;
use crate::disk::file::RealFile;
use crate::disk::{Access, File, LockKind, Map, Reserve};
use crate::error::{Error, Result};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

/// A file's memory: bytes of an image until somebody writes or maps it, then a file in memory.
#[derive(Debug)]
pub struct Inode {
    base: Arc<Bytes>,
    memory: OnceLock<RealFile>,
}

impl Inode {
    /// With these bytes in it.
    pub fn new(base: Arc<Bytes>) -> Self {
        Self { base, memory: OnceLock::new() }
    }

    /// The file in memory.
    pub fn memory(&self) -> Result<&RealFile> {
        if let Some(memory) = self.memory.get() {
            return Ok(memory);
        }
        let fd = memfd_create("drystone-sim", MFdFlags::MFD_CLOEXEC)
            .map_err(|errno| Error::io("cannot make a file in memory", errno.into()))?;
        let memory = RealFile::new(fd, PathBuf::from("simulated"), true);
        memory.write_at(&self.base, 0)?;
        Ok(self.memory.get_or_init(|| memory))
    }

    fn len(&self) -> Result<u64> {
        match self.memory.get() {
            Some(memory) => memory.len(),
            None => Ok(self.base.len() as u64),
        }
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        if let Some(memory) = self.memory.get() {
            return memory.read_at(buffer, offset);
        }
        let from = self.base.len().min(usize::try_from(offset).unwrap_or(usize::MAX));
        let count = buffer.len().min(self.base.len() - from);
        buffer[..count].copy_from_slice(&self.base[from..from + count]);
        Ok(count)
    }

    /// All that it holds. What cannot be read is left out, and the tests will miss it.
    pub fn read_all(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len().unwrap_or(0) as usize];
        let read = self.read_at(&mut bytes, 0).unwrap_or(0);
        bytes.truncate(read);
        bytes
    }
}

/// An open file.
#[derive(Debug)]
pub struct SimFile {
    pub disk: SimDisk,
    pub file: usize,
    pub handle: u64,
    pub inode: Arc<Inode>,
    /// Whether stores through its mappings are of no interest: they belong to a run.
    pub is_volatile: bool,
}

impl SimFile {
    /// Sets the length, for who has entered.
    fn cut_or_grow(&self, len: u64) -> Result<()> {
        let mut state = self.disk.state();
        state.absorb(self.file);
        self.inode.memory()?.set_len(len)?;
        state.note(Op::Len { file: self.file, len });
        Ok(())
    }

    fn write(&self, bytes: &[u8], offset: u64) -> Result<()> {
        let mut state = self.disk.state();
        state.absorb(self.file);
        self.inode.memory()?.write_at(bytes, offset)?;
        state.note(Op::Write { file: self.file, offset, bytes: bytes.to_vec() });
        Ok(())
    }
}

impl File for SimFile {
    fn len(&self) -> Result<u64> {
        self.disk.enter()?;
        self.inode.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        self.disk.enter()?;
        self.inode.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.disk.enter_writing(|| drop(self.write(&bytes[..bytes.len() / 2], offset)))?;
        self.write(bytes, offset)
    }

    fn reserve(&self, _: u64, len: u64, _: Reserve) -> Result<()> {
        self.disk.enter()?;
        if self.inode.len()? < len { self.cut_or_grow(len) } else { Ok(()) }
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.disk.enter()?;
        self.cut_or_grow(len)
    }

    fn sync_data(&self) -> Result<()> {
        self.disk.enter()?;
        let mut state = self.disk.state();
        state.absorb(self.file);
        state.note(Op::Sync { file: self.file });
        Ok(())
    }

    fn set_mode(&self, mode: u32) -> Result<()> {
        self.disk.enter()?;
        let mut state = self.disk.state();
        state.files[self.file].mode = mode;
        state.note(Op::Mode { file: self.file, mode });
        Ok(())
    }

    fn is_owner_writable(&self) -> Result<bool> {
        self.disk.enter()?;
        Ok(self.disk.state().files[self.file].mode & 0o200 != 0)
    }

    fn map(&self, len: u64, access: Access) -> Result<Map> {
        self.disk.enter()?;
        if access == Access::Write && !self.is_volatile {
            self.disk.state().watch(self.file);
        }
        self.inode.memory()?.map(len, access)
    }

    fn try_lock(&self, start: u64, len: u64, kind: LockKind) -> Result<bool> {
        self.disk.enter()?;
        let (process, handle) = (self.disk.process_number(), self.handle);
        let lock = Lock { file: self.file, process, handle, start, len, kind };
        Ok(self.disk.state().try_lock(lock))
    }

    fn unlock(&self, start: u64, len: u64) -> Result<()> {
        self.disk.enter()?;
        self.disk.state().unlock(self.handle, Some((start, len)));
        Ok(())
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.disk.state().unlock(self.handle, None);
    }
}
