//! The few calls of kernel and machine for which `nix` has no safe wrapper (spec/SOUNDNESS.md, S10).
#![allow(unsafe_code)]

use crate::sync::machine::AtomicU64;
use nix::errno::Errno;
use nix::libc;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// The id of the mount that a file is seen through: the one that the kernel never reuses (6.8 and
/// later), else the one that it may (5.8 and later), else 0.
pub fn mount_id(fd: BorrowedFd<'_>) -> u64 {
    for wanted in [libc::STATX_MNT_ID_UNIQUE, libc::STATX_MNT_ID] {
        // SAFETY: all-zero bytes are a value of this plain C struct.
        let mut found: libc::statx = unsafe { std::mem::zeroed() };
        // SAFETY: the descriptor is open, the path is an empty C string, which AT_EMPTY_PATH
        // allows, and `found` is writable and as large as the kernel expects (S10).
        let code = unsafe {
            libc::statx(fd.as_raw_fd(), c"".as_ptr(), libc::AT_EMPTY_PATH, wanted, &mut found)
        };
        if code == 0 && found.stx_mask & wanted != 0 {
            return found.stx_mnt_id;
        }
    }
    0
}

/// See [`Map::futex_wait`](super::Map::futex_wait).
pub fn futex_wait(word: &AtomicU64, expected: u32, timeout: Option<Duration>) -> bool {
    let timeout = timeout.map(|time| libc::timespec {
        tv_sec: libc::time_t::try_from(time.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: time.subsec_nanos().into(),
    });
    let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the kernel reads four aligned bytes of a live word (the low half stands first: the
    // crate is little-endian only) and a timespec or null; it stores nothing. Without
    // FUTEX_PRIVATE_FLAG the word is known by its file, so that processes meet (S3).
    let code = unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, expected, timeout)
    };
    !(code == -1 && Errno::last() == Errno::ETIMEDOUT)
}

/// See [`Map::futex_wake_all`](super::Map::futex_wake_all).
pub fn futex_wake_all(word: &AtomicU64) {
    // SAFETY: the kernel only takes the address of a live word as a name (S3).
    unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, libc::c_int::MAX);
    }
}

/// See [`File::begin_writing_out`](super::File::begin_writing_out).
pub fn begin_writing_out(fd: BorrowedFd<'_>, offset: u64, len: u64) {
    let (Ok(offset), Ok(len)) = (offset.try_into(), len.try_into()) else { return };
    // SAFETY: the descriptor is open, and no memory is passed.
    unsafe { libc::sync_file_range(fd.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE) };
}

/// Pages that [`is_resident`] is asked for at a time.
pub const RESIDENT_PAGES_MAX: usize = 1024;

/// Whether the page cache has the pages of a stretch of a mapping, read and whole. Of a file that is not
/// this user's the kernel says so in any case.
///
/// # Safety
/// The stretch is mapped, begins with a page and has no more than [`RESIDENT_PAGES_MAX`].
pub unsafe fn is_resident(start: *mut u8, len: usize) -> bool {
    let mut pages = [0; RESIDENT_PAGES_MAX];
    let count = len.div_ceil(crate::units::PAGE_BYTES as usize);
    // SAFETY: the kernel writes a byte for each page, and the caller promises that there are no more
    // than there is room for.
    let told = unsafe { libc::mincore(start.cast(), len, pages.as_mut_ptr()) } == 0;
    told && pages.iter().take(count).all(|page| page & 1 == 1)
}

/// Hints that a cache line is wanted soon; any address will do.
#[inline]
pub fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch of an address that is not mapped does nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a prefetch of an address that is not mapped does nothing.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{}]", in(reg) address, options(nostack, readonly, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}
