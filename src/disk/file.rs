//! A file of a store on a real file system.
//!
//! - I1 Interrupted calls are called again; short reads and writes are continued.
//! - I2 The length only ever shrinks through `set_len`.
//! - I3 No mapping is made through a description that bears locks: a mapping would hold the lock
//!   after the file is closed, and in forked children (`lock`, I2).
//! - I4 A file that has locked is of no use in a forked child: every call is `Forked`.
#![forbid(unsafe_code)]

use super::fork::Entry;
use super::temporary::Temporary;
use super::{Access, File, LockKind, Map, Reserve, lock, retry, sys};
use crate::error::{Error, ErrorKind, Result};
use crate::step::torn;
use crate::sync::machine::{AtomicU8, Ordering};
use crate::units::{KIB, MIB};
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, OFlag, fallocate, open};
use nix::sys::stat::{Mode, fchmod, fstat};
use nix::sys::statvfs::fstatvfs;
use nix::sys::uio::{pread, pwrite, pwritev};
use nix::unistd::{fdatasync, ftruncate};
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};

/// What the description of a file has been used for (I3).
const UNUSED: u8 = 0;
const MAPPED: u8 = 1;
const LOCKED: u8 = 2;

/// tmpfs gives all of a call back when a signal comes, so a timer could starve a long one.
const MEMORY_STEP_BYTES: u64 = 4 * MIB;
/// Bytes that are written at once where the kernel cannot allocate.
const ZERO_STEP_BYTES: usize = 64 * KIB as usize;

/// Most parts of one vectored write (IOV_MAX of Linux).
const PARTS_MAX: usize = 1024;

/// An open file.
#[derive(Debug)]
pub struct RealFile {
    /// Taken when it is not ours to close any more.
    fd: Option<OwnedFd>,
    /// For errors.
    path: PathBuf,
    /// Whether the file system keeps its files in memory.
    is_memory: bool,
    used_for: AtomicU8,
    lock_entry: OnceLock<Entry>,
    /// Its name until it is linked, where the kernel knows no files without one.
    temporary: Mutex<Option<Temporary>>,
}

impl RealFile {
    pub fn new(fd: OwnedFd, path: PathBuf, is_memory: bool) -> Self {
        Self::with_temporary(fd, path, is_memory, None)
    }

    /// With a name to be taken away later, which the description holds a lock for.
    pub fn with_temporary(
        fd: OwnedFd,
        path: PathBuf,
        is_memory: bool,
        temporary: Option<Temporary>,
    ) -> Self {
        let used_for = if temporary.is_some() { LOCKED } else { UNUSED };
        let entry = temporary.as_ref().map(|_| Entry::new(fd.as_fd()));
        Self {
            fd: Some(fd),
            path,
            is_memory,
            used_for: AtomicU8::new(used_for),
            lock_entry: entry.map_or_else(OnceLock::new, OnceLock::from),
            temporary: Mutex::new(temporary),
        }
    }

    /// The temporary name; for `link`.
    pub fn temporary(&self) -> &Mutex<Option<Temporary>> {
        &self.temporary
    }

    /// The descriptor, if this process may use it.
    pub fn fd(&self) -> Result<BorrowedFd<'_>> {
        match &self.fd {
            Some(fd) if !self.lock_entry.get().is_some_and(Entry::is_forked) => Ok(fd.as_fd()),
            _ => Err(Error::new(
                ErrorKind::Forked,
                "the process has forked since this file was opened",
            )
            .path(&self.path)
            .advice("open the store again in the child process")),
        }
    }

    fn fail(&self, doing: &str, errno: Errno) -> Error {
        Error::io(format!("cannot {doing}"), errno.into()).path(&self.path)
    }

    /// Enters what the description is used for; the use that it has from now on.
    fn use_for(&self, purpose: u8) -> u8 {
        let ordering = (Ordering::AcqRel, Ordering::Acquire);
        match self.used_for.compare_exchange(UNUSED, purpose, ordering.0, ordering.1) {
            Ok(_) => purpose,
            Err(earlier) => earlier,
        }
    }

    /// Another open file description of the same file; `None` where /proc is not mounted.
    pub fn open_again(&self, access: Access) -> Result<Option<OwnedFd>> {
        let path = format!("/proc/self/fd/{}", self.fd()?.as_raw_fd());
        let flags = flags_for(access) | OFlag::O_CLOEXEC;
        match retry(|| open(path.as_str(), flags, Mode::empty())) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
            Err(errno) => Err(self.fail("open a file again to map it", errno)),
        }
    }

    /// Makes the file at least `len` bytes long. Only whoever holds the file's lock may grow it, so
    /// nobody else does in between.
    fn grow(&self, len: u64) -> Result<()> {
        if self.len()? < len {
            self.set_len(len)?;
        }
        Ok(())
    }

    /// Asks the kernel for space; `false` if the file system does not know how.
    fn allocate(&self, from: u64, len: u64) -> Result<bool> {
        let step = if self.is_memory { MEMORY_STEP_BYTES } else { u64::MAX };
        let (fd, mut at) = (self.fd()?, from);
        while at < len {
            let bytes = step.min(len - at);
            let (offset, count) = (signed(at)?, signed(bytes)?);
            step!(change);
            match retry(|| fallocate(fd, FallocateFlags::empty(), offset, count)) {
                Ok(()) => at += bytes,
                Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => return Ok(false),
                Err(errno) => return Err(self.fail("reserve space", errno)),
            }
        }
        Ok(true)
    }

    /// Whether memory is certain to run out before the file is `len` bytes long; asking for it all the
    /// same would take what others need.
    fn is_too_long(&self, len: u64) -> Result<bool> {
        let missing = len.saturating_sub(self.len()?);
        let stat = fstatvfs(self.fd()?).map_err(|errno| self.fail("stat", errno))?;
        let free = stat.blocks_available().saturating_mul(stat.fragment_size());
        Ok(self.is_memory && stat.blocks() != 0 && missing > free)
    }

    /// Writes every byte of a range as it is, zeros beyond the end, so that all of it is backed.
    fn write_through(&self, from: u64, len: u64) -> Result<()> {
        let mut buffer = vec![0; ZERO_STEP_BYTES];
        let mut at = from;
        while at < len {
            let bytes = (len - at).min(ZERO_STEP_BYTES as u64) as usize;
            buffer.fill(0);
            self.read_at(&mut buffer[..bytes], at)?;
            self.write_at(&buffer[..bytes], at)?;
            at += bytes as u64;
        }
        Ok(())
    }
}

impl RealFile {
    /// Writes what a short write of `parts` at `offset` has left.
    fn write_rest(&self, parts: &[IoSlice<'_>], mut done: usize, offset: u64) -> Result<()> {
        let mut at = offset;
        for part in parts {
            let skipped = done.min(part.len());
            self.write_at(&part[skipped..], at + skipped as u64)?;
            done -= skipped;
            at += part.len() as u64;
        }
        Ok(())
    }
}

/// The open flags of an access.
pub fn flags_for(access: Access) -> OFlag {
    match access {
        Access::Read => OFlag::O_RDONLY,
        Access::Write => OFlag::O_RDWR,
    }
}

/// As the kernel's offsets are.
fn signed(value: u64) -> Result<i64> {
    i64::try_from(value)
        .map_err(|_| Error::new(ErrorKind::InvalidInput, "an offset that no file has").found(value))
}

impl File for RealFile {
    fn len(&self) -> Result<u64> {
        step!(look);
        let stat = fstat(self.fd()?).map_err(|errno| self.fail("stat", errno))?;
        Ok(u64::try_from(stat.st_size).unwrap_or(0))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        let (fd, mut done) = (self.fd()?, 0);
        while done < buffer.len() {
            let at = signed(offset.saturating_add(done as u64))?;
            step!(look);
            match retry(|| pread(fd, &mut buffer[done..], at)) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(errno) => return Err(self.fail("read", errno)),
            }
        }
        Ok(done)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        let (fd, mut done) = (self.fd()?, 0);
        while done < bytes.len() {
            let at = signed(offset.saturating_add(done as u64))?;
            let end = done + torn(bytes.len() - done);
            step!(change);
            match retry(|| pwrite(fd, &bytes[done..end], at)) {
                // The kernel takes no byte only with an error; a loop would never end.
                Ok(0) => return Err(self.fail("write", Errno::EIO)),
                Ok(count) => done += count,
                Err(errno) => return Err(self.fail("write", errno)),
            }
        }
        Ok(())
    }

    fn write_parts_at(&self, parts: &[IoSlice<'_>], offset: u64) -> Result<()> {
        let (fd, mut at) = (self.fd()?, offset);
        for parts in parts.chunks(PARTS_MAX) {
            let bytes: usize = parts.iter().map(|part| part.len()).sum();
            step!(change);
            let done = match retry(|| pwritev(fd, parts, signed(at).unwrap_or(i64::MAX))) {
                Ok(done) => done,
                Err(errno) => return Err(self.fail("write", errno)),
            };
            if done < bytes {
                self.write_rest(parts, done, at)?;
            }
            at += bytes as u64;
        }
        Ok(())
    }

    fn reserve(&self, from: u64, len: u64, how: Reserve) -> Result<()> {
        if how == Reserve::Backed && self.is_too_long(len)? {
            return Err(self.fail("reserve space", Errno::ENOSPC));
        }
        let takes = how == Reserve::Backed || !self.is_memory;
        if takes && !self.allocate(from, len)? && how == Reserve::Backed {
            self.write_through(from, len)?;
        }
        self.grow(len)
    }

    fn set_len(&self, len: u64) -> Result<()> {
        let (fd, len) = (self.fd()?, signed(len)?);
        step!(change);
        retry(|| ftruncate(fd, len)).map_err(|errno| self.fail("set the length", errno))
    }

    fn begin_writing_out(&self, offset: u64, len: u64) {
        if let (Ok(fd), false) = (self.fd(), self.is_memory) {
            sys::begin_writing_out(fd, offset, len);
        }
    }

    fn sync_data(&self) -> Result<()> {
        let fd = self.fd()?;
        step!(change);
        retry(|| fdatasync(fd)).map_err(|errno| self.fail("make durable (fdatasync)", errno))
    }

    fn set_mode(&self, mode: u32) -> Result<()> {
        let (fd, mode) = (self.fd()?, Mode::from_bits_truncate(mode));
        step!(change);
        retry(|| fchmod(fd, mode)).map_err(|errno| self.fail("set the mode", errno))
    }

    fn is_owner_writable(&self) -> Result<bool> {
        let fd = self.fd()?;
        step!(look);
        let stat = fstat(fd).map_err(|errno| self.fail("look at", errno))?;
        Ok(stat.st_mode & Mode::S_IWUSR.bits() != 0)
    }

    fn map(&self, len: u64, access: Access) -> Result<Map> {
        let held = self.len()?;
        if len > held {
            return Err(Error::new(ErrorKind::Damaged, "a file is too short to be mapped")
                .path(&self.path)
                .expected(format!("{len} bytes"))
                .found(format!("{held} bytes")));
        }
        let fd = self.fd()?;
        step!(look);
        let map = if self.use_for(MAPPED) == MAPPED {
            Map::file(fd, len, access)
        } else if let Some(again) = self.open_again(access)? {
            Map::file(again.as_fd(), len, access)
        } else {
            // No other description is to be had. The lock then lasts until the mapping goes, but
            // still not longer than the process.
            Map::file(fd, len, access).and_then(|mut map| map.keep_from_children().map(|()| map))
        };
        map.map_err(|error| error.path(&self.path))
    }

    fn make_private(&self, map: &mut Map) -> Result<()> {
        let fd = self.fd()?;
        if self.use_for(MAPPED) == MAPPED {
            return map.make_private(fd);
        }
        // A mapping through this description would keep its lock.
        match self.open_again(Access::Read)? {
            Some(again) => map.make_private(again.as_fd()),
            None => map.make_private(fd),
        }
    }

    fn try_lock(&self, start: u64, len: u64, kind: LockKind) -> Result<bool> {
        let fd = self.fd()?;
        if self.use_for(LOCKED) != LOCKED {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "a file that has been mapped cannot be locked: the mapping would keep the lock",
            )
            .path(&self.path)
            .advice("lock before mapping, or open the file once more to lock it"));
        }
        self.lock_entry.get_or_init(|| Entry::new(fd));
        step!(change);
        lock::try_lock(fd, start, len, kind).map_err(|error| error.path(&self.path))
    }

    fn is_locked(&self, start: u64, len: u64) -> Result<bool> {
        step!(look);
        lock::is_held(self.fd()?, start, len).map_err(|error| error.path(&self.path))
    }

    fn unlock(&self, start: u64, len: u64) -> Result<()> {
        step!(change);
        lock::unlock(self.fd()?, start, len).map_err(|error| error.path(&self.path))
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

impl Drop for RealFile {
    fn drop(&mut self) {
        let Some(entry) = self.lock_entry.take() else {
            return;
        };
        // Unlocked before the entry goes: a fork in between finds no lock to carry over.
        if let (false, Some(fd)) = (entry.is_forked(), &self.fd) {
            lock::unlock_all(fd.as_fd());
        }
        if !entry.leave() {
            // The fork handler closed it; the number is somebody else's.
            let _ = self.fd.take().map(IntoRawFd::into_raw_fd);
        }
    }
}
