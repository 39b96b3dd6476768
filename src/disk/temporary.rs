//! Names for files that have none yet, where the file system does not know O_TMPFILE.
//!
//! - I1 Whoever makes a temporary name holds a lock of the byte [`GUARD_BYTE`] of the file as long as
//!   the name stands, so that a name without the lock belongs to nobody.
//!
//! Death: the name stays; the next one who makes a temporary in that directory removes it.
#![forbid(unsafe_code)]

use super::{LockKind, fork, lock, retry};
use crate::error::Result;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{SystemTime, UNIX_EPOCH};

/// What temporary names begin with; nothing else in a store does.
pub const PREFIX: &str = ".new-";
/// Far above the ranges that files are locked by.
const GUARD_BYTE: u64 = i64::MAX as u64 - 1;
/// Attempts at a name that nobody has.
const ATTEMPTS: u32 = 16;

/// A temporary name; removed when dropped.
#[derive(Debug)]
pub struct Temporary {
    dir: OwnedFd,
    name: String,
    generation: u64,
}

impl Temporary {
    /// Makes an empty file in `dir`, open for reading and writing. Its description holds the lock.
    pub fn new(dir: BorrowedFd<'_>) -> nix::Result<(OwnedFd, Self)> {
        sweep(dir);
        let flags =
            OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        for attempt in 0..ATTEMPTS {
            let name = format!("{PREFIX}{:016x}", seed(attempt));
            let fd = match retry(|| openat(dir, name.as_str(), flags, mode)) {
                Ok(fd) => fd,
                Err(Errno::EEXIST) => continue,
                Err(errno) => return Err(errno),
            };
            let dir = dir.try_clone_to_owned().map_err(errno)?;
            let temporary = Self { dir, name, generation: fork::fork_generation() };
            // Somebody who swept between the two calls has the lock, or has removed the name.
            let locked = lock::try_lock(fd.as_fd(), GUARD_BYTE, 1, LockKind::Exclusive);
            if matches!(locked, Ok(true)) && fstat(&fd)?.st_nlink == 1 {
                return Ok((fd, temporary));
            }
        }
        Err(Errno::EEXIST)
    }

    /// The directory that it stands in.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives the lock of the name back, once the name is gone.
    pub fn unguard(fd: BorrowedFd<'_>) -> Result<()> {
        lock::unlock(fd, GUARD_BYTE, 1)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.generation == fork::fork_generation() {
            let _ = unlinkat(&self.dir, self.name.as_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}

fn errno(error: std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// A number that others are unlikely to have; that they do not is checked.
fn seed(attempt: u32) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64);
    let process = u64::from(std::process::id());
    now ^ process.rotate_left(40) ^ u64::from(attempt).rotate_left(56)
}

/// Removes the temporary names of the dead. Whatever goes wrong is left to the next one.
fn sweep(dir: BorrowedFd<'_>) {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let Ok(mut entries) = Dir::openat(dir, ".", flags, Mode::empty()) else {
        return;
    };
    for entry in entries.iter().flatten() {
        let name = entry.file_name();
        if !name.to_bytes().starts_with(PREFIX.as_bytes()) {
            continue;
        }
        let flags = OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let Ok(fd) = openat(dir, name, flags, Mode::empty()) else {
            continue;
        };
        let free = lock::try_lock(fd.as_fd(), GUARD_BYTE, 1, LockKind::Exclusive);
        if matches!(free, Ok(true)) {
            let _ = unlinkat(dir, name, UnlinkatFlags::NoRemoveDir);
        }
    }
}
