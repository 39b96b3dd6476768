//! The only way to the disk: [`Disk`] and [`File`].
//!
//! One small trait, so that crash tests and fault injection need no second code path. Paths are
//! relative to the store directory, with `/` between their parts, and never leave it; no symbolic
//! link in them is followed.
#![deny(unsafe_code)] // `map`, `fork` and `sys` allow it; the others forbid it

mod fault;
mod file;
mod fork;
mod guard;
mod lock;
mod map;
mod real;
mod sim;
mod sys;
mod temporary;
#[cfg(test)]
mod tests;

pub use fault::{Call, Fault, FaultDisk, FaultKind};
pub use fork::fork_generation;
pub use guard::file_system_name;
pub use map::{Advice, Map};
pub use real::{OpenOptions, RealDisk};
pub use sim::{History, Image, Killed, SimDisk};
pub(crate) use sys::prefetch;

use crate::error::{Error, ErrorKind, Result};
use nix::errno::Errno;
use std::fmt;
use std::io::IoSlice;
use std::sync::Arc;

/// Calls again what a signal has interrupted.
fn retry<T>(mut call: impl FnMut() -> nix::Result<T>) -> nix::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}

/// Whether a file or mapping is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Only read.
    Read,
    /// Read and written; a mapping is shared.
    Write,
}

/// How space is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserve {
    /// Ahead of appends: where it is cheap (not on tmpfs, where only the length grows).
    Ahead,
    /// Before stores through a mapping: every byte must be backed, so that no store can fault.
    Backed,
}

/// A lock of a byte range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// Many may hold it.
    Shared,
    /// One may hold it.
    Exclusive,
}

/// Bytes of the file system.
#[derive(Clone, Copy, Debug)]
pub struct Space {
    /// In all.
    pub total: u64,
    /// Free to this user.
    pub free: u64,
}

/// What a run is tied to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The boot id, as text.
    pub boot: String,
    /// Device of the store directory.
    pub device: u64,
    /// Inode of the store directory.
    pub inode: u64,
    /// The mount through which it is seen; 0 where the kernel does not tell.
    pub mount: u64,
}

/// A store directory.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Opens a file; `None` if it does not exist.
    fn open(&self, path: &str, access: Access) -> Result<Option<Arc<dyn File>>>;
    /// Makes a file that has no name yet (O_TMPFILE), in directory `dir`, mode 0600: if the process
    /// dies before [`Disk::link`], nothing is left.
    fn create(&self, dir: &str) -> Result<Arc<dyn File>>;
    /// Names a created file; `false` if the name is taken.
    fn link(&self, file: &dyn File, path: &str) -> Result<bool>;
    /// Removes a name; `false` if there was none.
    fn unlink(&self, path: &str) -> Result<bool>;
    /// Whether a path is the name of this very file. A disk that cannot tell files apart says whether
    /// it is the name of any.
    fn is_named(&self, file: &dyn File, path: &str) -> Result<bool> {
        let _ = file;
        Ok(self.open(path, Access::Read)?.is_some())
    }
    /// Moves a file or directory; `false` if the target exists (and is not an empty directory).
    fn rename(&self, from: &str, to: &str) -> Result<bool>;
    /// Makes a directory, mode 0700; `false` if it exists.
    fn make_dir(&self, path: &str) -> Result<bool>;
    /// Removes an empty directory; `false` if there was none.
    fn remove_dir(&self, path: &str) -> Result<bool>;
    /// Names in a directory, in no order; empty if there is none.
    fn list(&self, dir: &str) -> Result<Vec<String>>;
    /// Makes the names of a directory durable. `""` is the store directory itself.
    fn sync_dir(&self, dir: &str) -> Result<()>;
    /// Name of the file system, as `mount` shows it.
    fn file_system(&self) -> &'static str;
    /// Bytes of the file system.
    fn space(&self) -> Result<Space>;
    /// What a run is tied to.
    fn identity(&self) -> Result<Identity>;
}

/// A file of a store.
pub trait File: Send + Sync + fmt::Debug {
    /// Bytes that the file holds.
    fn len(&self) -> Result<u64>;
    /// Whether it holds none.
    fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Fills `buffer` from `offset`; fewer bytes only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize>;
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()>;
    /// Writes all of `parts`, one behind the other, at `offset`.
    fn write_parts_at(&self, parts: &[IoSlice<'_>], offset: u64) -> Result<()> {
        let mut at = offset;
        for part in parts {
            self.write_at(part, at)?;
            at += part.len() as u64;
        }
        Ok(())
    }
    /// Makes the file at least `len` bytes long, and asks for the space from `from` on.
    fn reserve(&self, from: u64, len: u64, how: Reserve) -> Result<()>;
    /// Sets the length.
    fn set_len(&self, len: u64) -> Result<()>;
    /// Has the kernel begin to write `len` bytes from `offset` to the medium, so that a sync to come has
    /// less to wait for. Nobody waits, and nothing is promised: that sync tells whether it went well.
    fn begin_writing_out(&self, offset: u64, len: u64) {
        let _ = (offset, len);
    }
    /// fdatasync.
    fn sync_data(&self) -> Result<()>;
    /// Sets the permission bits.
    fn set_mode(&self, mode: u32) -> Result<()>;
    /// Whether the permission bits let its owner write.
    fn is_owner_writable(&self) -> Result<bool>;
    /// Maps the first `len` bytes, which the file must hold.
    fn map(&self, len: u64, access: Access) -> Result<Map>;
    /// Makes a mapping of this file's beginning the process's own; see [`Map`]. The file keeps its bytes.
    fn make_private(&self, map: &mut Map) -> Result<()> {
        let _ = map;
        Err(Error::new(ErrorKind::InvalidInput, "this disk has no private mappings"))
    }
    /// Tries to lock a byte range of this open file (OFD: it dies with the last descriptor);
    /// `false` if somebody else holds it. Threads that share this `File` are not excluded.
    fn try_lock(&self, start: u64, len: u64, kind: LockKind) -> Result<bool>;
    /// Whether somebody else holds a lock of a byte range, of either kind.
    fn is_locked(&self, start: u64, len: u64) -> Result<bool> {
        let is_free = self.try_lock(start, len, LockKind::Exclusive)?;
        if is_free {
            self.unlock(start, len)?;
        }
        Ok(!is_free)
    }
    /// Gives a lock back.
    fn unlock(&self, start: u64, len: u64) -> Result<()>;
    /// For [`Disk::link`].
    fn as_any(&self) -> &dyn std::any::Any;
}
