//! The system calls that write and sync, as this test binary makes them: its own definitions come
//! before those of the C library.
//!
//! `unsafe` stands here because these are C functions.

use crate::{parked, power};
use nix::libc::{SYS_fdatasync, SYS_fsync, SYS_pwrite64, c_int, c_void, off_t, size_t, ssize_t};
use nix::libc::{c_long, syscall};

/// A sync that the cutter of the power is told of does not go to a medium at all.
fn sync(call: c_long, fd: c_int) -> c_int {
    parked::pass();
    if power::note_sync(fd) {
        return 0;
    }
    // SAFETY: the two calls take a descriptor and touch no memory.
    unsafe { syscall(call, fd) as c_int }
}

// SAFETY: the signature is the C library's, and what it promises of the call is kept.
#[unsafe(no_mangle)]
pub extern "C" fn fdatasync(fd: c_int) -> c_int {
    sync(SYS_fdatasync, fd)
}

// SAFETY: as for `fdatasync`.
#[unsafe(no_mangle)]
pub extern "C" fn fsync(fd: c_int) -> c_int {
    sync(SYS_fsync, fd)
}

/// # Safety
/// As for pwrite(2): `bytes` must be readable for `count` bytes.
// SAFETY: the signature is the C library's, and the call is passed on as it is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite(
    fd: c_int,
    bytes: *const c_void,
    count: size_t,
    offset: off_t,
) -> ssize_t {
    parked::pass();
    // SAFETY: the caller keeps what pwrite(2) asks for.
    unsafe { syscall(SYS_pwrite64, fd, bytes, count, offset) as ssize_t }
}
