//! Locks of byte ranges that belong to an open file description (F_OFD_SETLK).
//!
//! - I1 A lock is only ever tried, never waited for.
//! - I2 It belongs to the open file description: the kernel drops it when the last reference to that
//!   is gone. References are descriptors, their duplicates in forked children (`fork` deals with
//!   these) and mappings made through it (`RealFile` never maps through a description that locks).
//! - I3 Two `File`s that were opened apart exclude each other, also within one process. One `File`
//!   does not exclude itself: a second lock of the same range replaces the first. Threads that share
//!   a `File` need a mutex beside the lock.
//!
//! Death: the kernel drops the lock; a stopped process keeps it.
#![forbid(unsafe_code)]

use super::LockKind;
use crate::error::{Error, ErrorKind, Result};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use std::os::fd::BorrowedFd;

/// Tries to lock; `false` if somebody else holds a lock that excludes this one.
pub fn try_lock(fd: BorrowedFd<'_>, start: u64, len: u64, kind: LockKind) -> Result<bool> {
    let kind = match kind {
        LockKind::Shared => libc::F_RDLCK,
        LockKind::Exclusive => libc::F_WRLCK,
    };
    match set(fd, &range(start, len, kind)?) {
        Ok(()) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(errno) => Err(Error::io("cannot lock", errno.into())),
    }
}

/// Whether somebody else holds a lock of any byte of the range, of either kind. Nothing is locked to see it.
pub fn is_held(fd: BorrowedFd<'_>, start: u64, len: u64) -> Result<bool> {
    let mut lock = range(start, len, libc::F_WRLCK)?;
    loop {
        match fcntl(fd, FcntlArg::F_OFD_GETLK(&mut lock)) {
            Ok(_) => return Ok(lock.l_type != libc::F_UNLCK as libc::c_short),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::io("cannot look at a lock", errno.into())),
        }
    }
}

/// Gives a range back; what was not locked stays so.
pub fn unlock(fd: BorrowedFd<'_>, start: u64, len: u64) -> Result<()> {
    set(fd, &range(start, len, libc::F_UNLCK)?)
        .map_err(|errno| Error::io("cannot unlock", errno.into()))
}

/// Gives everything back.
pub fn unlock_all(fd: BorrowedFd<'_>) {
    let _ = set(fd, &flock(0, 0, libc::F_UNLCK));
}

fn set(fd: BorrowedFd<'_>, lock: &libc::flock) -> nix::Result<()> {
    loop {
        let how =
            if bug!("lock-waited-for") { FcntlArg::F_OFD_SETLKW } else { FcntlArg::F_OFD_SETLK };
        match fcntl(fd, how(lock)) {
            Err(Errno::EINTR) => {}
            other => return other.map(drop),
        }
    }
}

/// The kernel takes a length of 0 as "to the end", and offsets are signed.
fn range(start: u64, len: u64, kind: libc::c_int) -> Result<libc::flock> {
    let end = start.checked_add(len).and_then(|end| i64::try_from(end).ok());
    match (end, len) {
        (Some(_), 1..) => Ok(flock(start as i64, len as i64, kind)),
        _ => Err(Error::new(ErrorKind::InvalidInput, "not a range of bytes that can be locked")
            .found(format!("{len} bytes at {start}"))),
    }
}

fn flock(start: i64, len: i64, kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: start,
        l_len: len,
        l_pid: 0,
    }
}
