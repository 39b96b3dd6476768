//! Memory that processes share outside of the store, and in it the tape of each: what it does, noted
//! before and after.
//!
//! A store to shared memory outlives the process that made it, so what was noted before a kill is there
//! after it, and noting takes no system call that would change what is being recorded.
#![allow(unsafe_code)]

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::time::{ClockId, clock_gettime};
use std::fs::File;
use std::num::NonZeroUsize;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering, fence};

/// Words of the head of a tape: how many operations were begun, and when its process was dead.
const HEAD: usize = 8;
/// Words of an operation.
const WORDS: usize = 6;

/// A row of words in a file.
pub struct Shared {
    words: NonNull<AtomicU64>,
    len: usize,
}

// SAFETY: the words are atomics in a mapping that lives as long as this does.
unsafe impl Send for Shared {}
// SAFETY: as above; whoever shares them only loads and stores atomically.
unsafe impl Sync for Shared {}

impl Shared {
    /// The first `len` words of a file, which is made if there is none.
    pub fn open(path: &Path, len: usize) -> Self {
        let mut options = File::options();
        let file = options.read(true).write(true).create(true).truncate(false).open(path).unwrap();
        file.set_len(8 * len as u64).unwrap();
        let bytes = NonZeroUsize::new(8 * len).expect("some words");
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice, over a file that nobody cuts
        // (every opener sets the same length).
        let mapped = unsafe { mmap(None, bytes, access, MapFlags::MAP_SHARED, &file, 0) };
        Self { words: mapped.unwrap().cast(), len }
    }

    pub fn at(&self, at: usize) -> &AtomicU64 {
        assert!(at < self.len, "a word of the mapping");
        // SAFETY: inside of the mapping, which is aligned to pages and lives as long as `self`; all
        // processes touch it by atomics only.
        unsafe { self.words.add(at).as_ref() }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `open` with this length, and references to its words borrow
        // from `self`.
        let _ = unsafe { munmap(self.words.cast(), 8 * self.len) };
    }
}

/// Nanoseconds of the clock that all processes share.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("a clock");
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}

/// The tape of one process.
pub struct Tape {
    shared: Shared,
    next: usize,
    capacity: usize,
}

/// What stands on a tape about one operation.
#[derive(Clone, Copy, Debug)]
pub struct Noted {
    /// What it is about; never 0.
    pub what: u64,
    pub argument: u64,
    pub begin: u64,
    /// 0 if it did not end.
    pub end: u64,
    pub results: [u64; 2],
}

impl Tape {
    /// With room for so many operations.
    pub fn open(path: &Path, capacity: usize) -> Self {
        Self { shared: Shared::open(path, HEAD + WORDS * capacity), next: 0, capacity }
    }

    pub fn is_full(&self) -> bool {
        self.next == self.capacity
    }

    /// The number that the next operation will have.
    pub fn next(&self) -> usize {
        self.next
    }

    /// Notes an operation while it is done.
    pub fn note(
        &mut self,
        what: u64,
        argument: u64,
        operation: impl FnOnce() -> [u64; 2],
    ) -> [u64; 2] {
        let word = |field: usize| self.shared.at(HEAD + WORDS * self.next + field);
        word(1).store(argument, Ordering::Relaxed);
        word(2).store(now(), Ordering::Relaxed);
        word(0).store(what, Ordering::Release);
        // Neither may the processor begin before it has looked at the clock, nor look before the end.
        fence(Ordering::SeqCst);
        let results = operation();
        fence(Ordering::SeqCst);
        let end = now();
        word(4).store(results[0], Ordering::Relaxed);
        word(5).store(results[1], Ordering::Relaxed);
        word(3).store(end, Ordering::Release);
        self.next += 1;
        self.shared.at(0).store(self.next as u64, Ordering::Release);
        results
    }

    /// How many operations have ended so far.
    pub fn ended(&self) -> u64 {
        self.shared.at(0).load(Ordering::Acquire)
    }

    /// Everything that was noted.
    pub fn read(&self) -> Vec<Noted> {
        let load = |at: usize, field: usize| {
            self.shared.at(HEAD + WORDS * at + field).load(Ordering::Acquire)
        };
        let noted = |at: usize| Noted {
            what: load(at, 0),
            argument: load(at, 1),
            begin: load(at, 2),
            end: load(at, 3),
            results: [load(at, 4), load(at, 5)],
        };
        // The one behind those that have ended may have begun.
        let last = self.capacity.min(self.ended() as usize + 1);
        (0..last).map(noted).filter(|noted| noted.what != 0).collect()
    }
}
