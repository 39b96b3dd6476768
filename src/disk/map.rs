//! Mapped memory: of a file, or anonymous and private.
//!
//! - I1 No safe method touches a byte outside of `len` rounded up to its page; what is asked for
//!   outside of `len` is `None`, `false` or a panic.
//! - I2 Safe methods read by atomic loads and write by atomic read-modify-writes of whole aligned
//!   words, never by references to plain bytes: another process may store at any time
//!   (spec/SOUNDNESS.md, S3).
//! - I3 A mapping made for reading is never stored to: a write panics before it touches memory.
//! - I4 The memory stays mapped until the `Map` is dropped.
//!
//! Death: the kernel unmaps; stores that were done are in the page cache.
#![allow(unsafe_code)]

use super::{Access, fork, sys};
use crate::error::{Error, Result};
use crate::sync::machine::{AtomicU64, Ordering, fence};
use crate::sync::racy::Racy;
use crate::sync::{Futex, Words};
use nix::sys::mman::{self, MapFlags, MmapAdvise, ProtFlags};
use nix::sys::stat::fstat;
use nix::unistd::geteuid;
use std::fmt;
use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::time::Duration;

/// Bytes of a block: a cache line, a record header.
const BLOCK_BYTES: u64 = 64;
/// Bytes of a word.
const WORD_BYTES: usize = 8;

/// How a mapping is going to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// From its beginning to its end.
    Sequential,
    /// Soon, all of it.
    WillNeed,
    /// By huge pages, where the kernel has them.
    HugePages,
}

/// Pages that the kernel enters with one that is wanted, where it has them (fault_around_bytes).
const AROUND_BYTES: usize = 64 << 10;

/// A mapping whose pages are left before it is unmapped, so that other threads wait for neither for long.
const LARGE_BYTES: usize = 1 << 20;

/// Mapped memory; see the head of this file.
pub struct Map {
    base: NonNull<u8>,
    len: usize,
    access: Access,
    /// The fork generation that the mapping does not live beyond, if it is kept from children.
    only_in: Option<u64>,
    /// Whether the file is this user's: only then the kernel tells of it what it has.
    is_own: bool,
}

// SAFETY: a `Map` owns its mapping, which belongs to the process and not to a thread. Everything
// that `&Map` allows is an atomic access or a system call (S3); `slice` and the pointers put the
// duty on their caller.
unsafe impl Send for Map {}
// SAFETY: through a shared `&Map` memory is only touched by atomics and system calls (S3).
unsafe impl Sync for Map {}

impl Map {
    /// Maps the first `len` bytes of a file, shared. The caller has checked that the file holds
    /// them: a page beyond its end is a SIGBUS (S2, S9).
    pub(super) fn file(fd: BorrowedFd<'_>, len: u64, access: Access) -> Result<Self> {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let Some(size) = NonZeroUsize::new(len) else {
            return Ok(Self::empty(access));
        };
        let protection = match access {
            Access::Read => ProtFlags::PROT_READ,
            Access::Write => ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
        };
        // SAFETY: without MAP_FIXED the kernel picks addresses that nothing else uses (S10).
        let base = unsafe { mman::mmap(None, size, protection, MapFlags::MAP_SHARED, fd, 0) }
            .map_err(|errno| Error::io(format!("cannot map {len} bytes"), errno.into()))?;
        let is_own = fstat(fd).is_ok_and(|stat| stat.st_uid == geteuid().as_raw());
        Ok(Self { base: base.cast(), len, access, only_in: None, is_own })
    }

    /// `len` bytes of zero that only this process sees.
    pub fn anonymous(len: u64) -> Result<Self> {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let Some(size) = NonZeroUsize::new(len) else {
            return Ok(Self::empty(Access::Write));
        };
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: without MAP_FIXED the kernel picks addresses that nothing else uses (S10).
        let base = unsafe { mman::mmap_anonymous(None, size, protection, MapFlags::MAP_PRIVATE) }
            .map_err(|errno| {
            Error::io(format!("cannot get {len} bytes of memory"), errno.into())
        })?;
        Ok(Self { base: base.cast(), len, access: Access::Write, only_in: None, is_own: false })
    }

    /// The kernel maps no empty range; nothing of this one is ever touched.
    fn empty(access: Access) -> Self {
        let base = NonNull::<u64>::dangling().cast();
        Self { base, len: 0, access, only_in: None, is_own: false }
    }

    /// Bytes that are mapped. ([`Words::len`] counts words.)
    #[inline]
    pub fn len(&self) -> u64 {
        self.len as u64
    }

    /// Whether nothing is mapped.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether it may be stored to.
    pub fn access(&self) -> Access {
        self.access
    }

    /// The block at `offset`, a multiple of 64. Another process may be storing to it: each of its
    /// eight words is then one that stood there, in no order; a checksum must tell.
    #[inline]
    pub fn read_block(&self, offset: u64) -> Option<[u8; 64]> {
        self.read_words(offset).map(|words| zerocopy::transmute!(words))
    }

    /// The block at `offset` as words; see [`Map::read_block`].
    #[inline]
    pub fn read_words(&self, offset: u64) -> Option<[u64; 8]> {
        let whole = self.len as u64 & !(BLOCK_BYTES - 1);
        if !offset.is_multiple_of(BLOCK_BYTES) || offset >= whole {
            return None;
        }
        step!(look);
        let first = offset as usize / WORD_BYTES;
        Some(std::array::from_fn(|at| {
            // SAFETY: `offset` is below `len` rounded down to blocks, so the words of the block
            // lie within `len`.
            unsafe { self.word_unchecked(first + at) }.load(Ordering::Relaxed)
        }))
    }

    /// Copies the bytes from `offset` on to `out`; `false`, and nothing copied, if they are not all
    /// mapped. Another process may be storing to them, see [`Map::read_block`].
    pub fn copy_to(&self, offset: u64, out: &mut [u8]) -> bool {
        let end = offset.checked_add(out.len() as u64);
        if end.is_none_or(|end| end > self.len as u64) {
            return false;
        }
        step!(look);
        let offset = offset as usize;
        let (first, skip) = (offset / WORD_BYTES, offset % WORD_BYTES);
        if skip == 0 {
            self.copy_words(first, out);
        } else if !out.is_empty() {
            let head = out.len().min(WORD_BYTES - skip);
            let (head_out, rest) = out.split_at_mut(head);
            head_out.copy_from_slice(&self.bytes_of_word(first)[skip..skip + head]);
            self.copy_words(first + 1, rest);
        }
        true
    }

    /// Copies from the word `first` on; `out` ends within the mapping.
    fn copy_words(&self, first: usize, out: &mut [u8]) {
        let mut words = out.chunks_exact_mut(WORD_BYTES);
        let mut at = first;
        for bytes in &mut words {
            bytes.copy_from_slice(&self.bytes_of_word(at));
            at += 1;
        }
        let tail = words.into_remainder();
        if !tail.is_empty() {
            tail.copy_from_slice(&self.bytes_of_word(at)[..tail.len()]);
        }
    }

    /// The bytes of a word of which at least one byte lies within `len`.
    #[inline]
    fn bytes_of_word(&self, at: usize) -> [u8; 8] {
        debug_assert!(at < self.len.div_ceil(WORD_BYTES));
        // SAFETY: the callers ask for words that begin below `len`. Such a word lies in the last
        // page of the mapping at most, and a page is a multiple of a word: it is mapped in whole,
        // and the file reaches into that page.
        let word = unsafe { self.word_unchecked(at) };
        word.load(Ordering::Relaxed).to_ne_bytes()
    }

    /// The `len` bytes at `offset`; `None` if they are not all mapped.
    ///
    /// # Safety
    /// As long as the slice lives nobody may store to these bytes, in this process or another, and
    /// the file may not be made shorter than their end: they are published record bodies or chunk
    /// digests, or bytes above the tail of a segment whose appender the caller is (S1, S2). Bytes of
    /// headers, of the control page and of an index never qualify.
    #[inline]
    pub unsafe fn slice(&self, offset: u64, len: u64) -> Option<&[u8]> {
        let end = offset.checked_add(len)?;
        if end > self.len as u64 {
            return None;
        }
        // SAFETY: the range lies within the mapping, which lives as long as `self` (I4); that the
        // bytes do not change is what the caller promises. `len` fits `isize`: it was mapped.
        Some(unsafe {
            std::slice::from_raw_parts(self.base.as_ptr().add(offset as usize), len as usize)
        })
    }

    /// Where the memory begins.
    pub fn as_ptr(&self) -> *const u8 {
        self.base.as_ptr()
    }

    /// Where the memory begins, to store to; `None` for a mapping that is only read. Stores through
    /// it are the caller's duty (S4).
    pub fn as_mut_ptr(&self) -> Option<NonNull<u8>> {
        (self.access == Access::Write).then_some(self.base)
    }

    /// Makes the mapping read-only, so that stores, also stray ones, fault; or writable again, which
    /// only a mapping that was made writable can be.
    pub fn protect(&mut self, access: Access) -> Result<()> {
        let protection = match access {
            Access::Read => ProtFlags::PROT_READ,
            Access::Write => ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
        };
        if self.len != 0 {
            // SAFETY: the range is this mapping's own; `&mut self` says that nobody stores
            // through it meanwhile (I3).
            unsafe { mman::mprotect(self.base.cast(), self.len, protection) }.map_err(|errno| {
                Error::io("cannot change the protection of a mapping", errno.into())
            })?;
        }
        self.access = access;
        Ok(())
    }

    /// The bytes as ones that others may be writing; `None` if they are not all mapped, as in a child that the
    /// mapping is kept from.
    pub fn racy(&self, offset: u64, len: u64) -> Option<Racy<'_>> {
        if offset.checked_add(len)? > self.len as u64 || self.is_kept_from_here() {
            return None;
        }
        // SAFETY: the range lies within the mapping, which is here, and lives as long as the borrow.
        Some(unsafe { Racy::new(self.base.as_ptr().add(offset as usize), len as usize) })
    }

    /// Whether this is a child that the mapping is kept from.
    fn is_kept_from_here(&self) -> bool {
        self.only_in.is_some_and(|generation| generation != fork::fork_generation())
    }

    /// Keeps the mapping from the children of a fork (S7). In a child the `Map` may only be
    /// dropped: whoever hands out its memory must compare [`fork_generation`](super::fork_generation).
    pub fn keep_from_children(&mut self) -> Result<()> {
        if self.len != 0 {
            self.madvise(MmapAdvise::MADV_DONTFORK)
                .map_err(|errno| Error::io("cannot keep a mapping from children", errno.into()))?;
        }
        self.only_in = Some(fork::fork_generation());
        Ok(())
    }

    /// From now on what is stored to this memory is seen by this process alone (and by children that it
    /// forks): the file, whose beginning was mapped here, keeps what stands in it. Whoever is storing
    /// meanwhile reaches the one or the other.
    pub(super) fn make_private(&mut self, fd: BorrowedFd<'_>) -> Result<()> {
        let Some(size) = NonZeroUsize::new(self.len) else { return Ok(()) };
        let place = NonZeroUsize::new(self.base.as_ptr() as usize);
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED;
        // SAFETY: the range is this mapping's own, which is replaced whole by one of the same length and
        // protection: whoever points into it goes on (S10).
        unsafe { mman::mmap(place, size, protection, flags, fd, 0) }
            .map_err(|errno| Error::io("cannot make a mapping private", errno.into()))?;
        self.only_in = None;
        Ok(())
    }

    /// Tells the kernel how the mapping is going to be used; a hint, so that failing is no error.
    pub fn advise(&self, advice: Advice) {
        let advice = match advice {
            Advice::Sequential => MmapAdvise::MADV_SEQUENTIAL,
            Advice::WillNeed => MmapAdvise::MADV_WILLNEED,
            Advice::HugePages => MmapAdvise::MADV_HUGEPAGE,
        };
        if self.len != 0 {
            let _ = self.madvise(advice);
        }
    }

    /// Has the kernel enter the pages of a stretch into the page table, so that reading them soon after
    /// cannot fail. `false` if it cannot: a page that the medium does not give, an older kernel.
    pub fn populate(&self, offset: u64, len: u64) -> bool {
        const PAGE: usize = crate::units::PAGE_BYTES as usize;
        let end = usize::try_from(offset.saturating_add(len)).unwrap_or(usize::MAX);
        let start = usize::try_from(offset).unwrap_or(usize::MAX) / PAGE * PAGE;
        if start >= end || end > self.len {
            return false;
        }
        if !self.is_own {
            return self.populate_pages(start, end - start);
        }
        // One page of those that the kernel enters together; it looks at every other one of a stretch that
        // it is asked for, for longer than it takes to hash them. And the last one: the cache may have
        // pages that lie behind the end of the file.
        let base = self.base.as_ptr() as usize;
        let mut at = start;
        while at < end {
            if !self.populate_pages(at, PAGE) {
                return false;
            }
            at = ((base + at) / AROUND_BYTES + 1) * AROUND_BYTES - base;
        }
        if bug!("neighbours-assumed") {
            return true;
        }
        let has_end = self.populate_pages((end - 1) / PAGE * PAGE, PAGE);
        has_end && (self.is_resident(start, end) || self.populate_pages(start, end - start))
    }

    /// Has the kernel enter these pages, one by one.
    fn populate_pages(&self, start: usize, len: usize) -> bool {
        // SAFETY: the range lies within this mapping's own, whose base is page-aligned; reading pages
        // in changes nothing of what stands in them, and one that cannot be read is an error.
        let populated = unsafe {
            let from = NonNull::new_unchecked(self.base.as_ptr().add(start));
            mman::madvise(from.cast(), len, MmapAdvise::MADV_POPULATE_READ)
        };
        populated.is_ok()
    }

    /// Whether the kernel has all pages of a stretch, read and whole. `start` is a page's.
    fn is_resident(&self, start: usize, end: usize) -> bool {
        const STEP_BYTES: usize = sys::RESIDENT_PAGES_MAX * crate::units::PAGE_BYTES as usize;
        // SAFETY: the range lies within this mapping's own.
        let is_there = |at| unsafe {
            sys::is_resident(self.base.as_ptr().add(at), (end - at).min(STEP_BYTES))
        };
        (start..end).step_by(STEP_BYTES).all(is_there)
    }

    fn madvise(&self, advice: MmapAdvise) -> nix::Result<()> {
        // SAFETY: the range is this mapping's own, and none of the advice that this file gives
        // changes what stands in it.
        unsafe { mman::madvise(self.base.cast(), self.len, advice) }
    }

    /// Hints that the cache line at `offset` is wanted soon. Any offset will do.
    #[inline]
    pub fn prefetch(&self, offset: u64) {
        sys::prefetch(self.base.as_ptr().wrapping_add(offset as usize));
    }

    /// Sleeps while the low half of the word `at` is `expected`, until [`Map::futex_wake_all`] of
    /// any process, or for `timeout`. `false` if the time ran out. It may also return for nothing:
    /// look at the word again. Panics if there is no such word.
    pub fn futex_wait(&self, at: usize, expected: u32, timeout: Option<Duration>) -> bool {
        step!(look);
        sys::futex_wait(self.word(at), expected, timeout)
    }

    /// Wakes all that sleep on the low half of the word `at`. Panics if there is no such word.
    pub fn futex_wake_all(&self, at: usize) {
        step!(change);
        sys::futex_wake_all(self.word(at));
    }

    /// The word `at`; panics if there is none.
    #[inline]
    fn word(&self, at: usize) -> &AtomicU64 {
        if at >= self.len / WORD_BYTES {
            out_of_range(at, self.len);
        }
        // SAFETY: it was just checked that the word lies within `len`.
        unsafe { self.word_unchecked(at) }
    }

    /// The word `at`, to change; panics if there is none or if the mapping is only read.
    #[inline]
    fn word_to_change(&self, at: usize) -> &AtomicU64 {
        assert!(self.access == Access::Write, "a mapping made for reading is not stored to");
        self.word(at)
    }

    /// The word `at`.
    ///
    /// # Safety
    /// Its first byte lies within `len`.
    #[inline]
    unsafe fn word_unchecked(&self, at: usize) -> &AtomicU64 {
        // SAFETY: the base is page-aligned (or 8-aligned, and then `len` is 0 and nobody calls), so
        // the word is aligned; it is mapped as the caller promises, for as long as `self` lives
        // (I4). All accesses of this process to memory that others may change go through aligned
        // 64-bit atomics, so none is mixed in size (S3). A `Map` for reading only gets relaxed
        // loads, which are allowed on read-only pages.
        unsafe { AtomicU64::from_ptr(self.base.as_ptr().cast::<u64>().add(at)) }
    }
}

/// Apart, so that the formatting costs the callers nothing.
#[cold]
#[inline(never)]
fn out_of_range(at: usize, len: usize) -> ! {
    panic!("word {at} is beyond the mapping's {len} bytes")
}

impl Words for Map {
    #[inline]
    fn len(&self) -> usize {
        self.len / WORD_BYTES
    }

    /// A relaxed load and a fence instead of an acquire load: on read-only pages only the former is
    /// defined. The machine code is the same on x86-64.
    #[inline]
    fn load(&self, at: usize) -> u64 {
        step!(look);
        let value = self.word(at).load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        value
    }

    #[inline]
    fn row<const N: usize>(&self, at: usize) -> Option<impl Fn(usize) -> u64 + '_> {
        let is_there = at.checked_add(N).is_some_and(|end| end <= self.len / WORD_BYTES);
        is_there.then_some(move |next| {
            assert!(next < N);
            step!(look);
            // SAFETY: `at + N` words lie within `len`, and `next` is below `N`.
            let value = unsafe { self.word_unchecked(at + next) }.load(Ordering::Relaxed);
            fence(Ordering::Acquire);
            value
        })
    }

    #[inline]
    fn store(&self, at: usize, value: u64) {
        step!(change);
        self.word_to_change(at).store(value, Ordering::Release);
    }

    #[inline]
    fn compare_exchange(&self, at: usize, current: u64, new: u64) -> Result<u64, u64> {
        step!(change);
        self.word_to_change(at).compare_exchange(current, new, Ordering::AcqRel, Ordering::Acquire)
    }

    #[inline]
    fn fetch_or(&self, at: usize, bits: u64) -> u64 {
        step!(change);
        self.word_to_change(at).fetch_or(bits, Ordering::AcqRel)
    }

    #[inline]
    fn fetch_and(&self, at: usize, mask: u64) -> u64 {
        step!(change);
        self.word_to_change(at).fetch_and(mask, Ordering::AcqRel)
    }

    #[inline]
    fn fetch_add(&self, at: usize, value: u64) -> u64 {
        step!(change);
        self.word_to_change(at).fetch_add(value, Ordering::AcqRel)
    }

    #[inline]
    fn prefetch(&self, at: usize) {
        self.prefetch((at as u64).wrapping_mul(WORD_BYTES as u64));
    }
}

impl Futex for Map {
    fn is_writable(&self) -> bool {
        self.access == Access::Write
    }

    fn futex_wait(&self, at: usize, expected: u32, timeout: Duration) {
        self.futex_wait(at, expected, Some(timeout));
    }

    fn futex_wake_all(&self, at: usize) {
        self.futex_wake_all(at);
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // In a child that the mapping was kept from, something else may stand at its addresses.
        if bug!("mapping-kept") || self.len == 0 || self.is_kept_from_here() {
            return;
        }
        if self.len >= LARGE_BYTES {
            // Its pages leave the page table under a lock that others can share; the rest is short.
            let _ = self.madvise(MmapAdvise::MADV_DONTNEED);
        }
        // SAFETY: the range is this mapping's own, and no reference into it outlives `self`; what
        // `as_ptr` and `as_mut_ptr` gave out is bound by their callers to the life of the `Map`.
        let _ = unsafe { mman::munmap(self.base.cast(), self.len) };
    }
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map")
            .field("base", &self.base)
            .field("len", &self.len)
            .field("access", &self.access)
            .finish()
    }
}
