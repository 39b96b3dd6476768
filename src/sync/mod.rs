//! The one door to shared atomics.
//!
//! Every atomic of the crate comes from here, so that under `cfg(loom)` the code that ships is the
//! code that is model-checked. `clippy.toml` forbids `std::sync::atomic` elsewhere.
//!
//! Shared words between processes are touched only through [`Words`]: a row of 64-bit words that may
//! be a file mapping (production), heap memory (tests, read-only opening) or loom atomics.

#![deny(unsafe_code)] // `epoch` and `racy` allow it

pub mod epoch;
#[cfg(all(test, loom))]
pub mod explorer;
pub mod racy;
#[cfg(all(test, not(loom)))]
pub mod shuffled;

use std::time::Duration;

#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// The machine's own atomics, under loom too: for memory that the kernel maps, or hands out
/// zeroed, and for statics that a fork handler touches. Loom can model none of them.
#[allow(clippy::disallowed_types)]
pub(crate) mod machine {
    pub(crate) use std::sync::atomic::{
        AtomicI32, AtomicPtr, AtomicU8, AtomicU64, Ordering, fence,
    };
}

/// A row of shared 64-bit words.
///
/// All read-modify-writes are acquire-release and acquire on failure, loads acquire and stores
/// release: the protocols of spec/CONCURRENCY.md need no more (no `SeqCst`) and no less.
/// An index out of range panics; callers check against [`Words::len`] what comes from a file.
pub trait Words {
    /// Number of words.
    fn len(&self) -> usize;
    /// Acquire load.
    fn load(&self, at: usize) -> u64;
    /// Acquire loads of `N` words in a row, whose bounds are checked once; `None` if they are not all
    /// there. What is returned panics beyond `N`.
    #[inline]
    fn row<const N: usize>(&self, at: usize) -> Option<impl Fn(usize) -> u64 + '_> {
        let is_there = at.checked_add(N).is_some_and(|end| end <= self.len());
        is_there.then_some(move |next| {
            assert!(next < N, "a row has {N} words");
            self.load(at + next)
        })
    }
    /// Release store; only for hints that no protocol depends on.
    fn store(&self, at: usize, value: u64);
    /// Compare and swap; `Err` carries the value met.
    fn compare_exchange(&self, at: usize, current: u64, new: u64) -> Result<u64, u64>;
    /// Sets bits; returns the value before.
    fn fetch_or(&self, at: usize, bits: u64) -> u64;
    /// Clears the bits that are zero in `mask`; returns the value before.
    fn fetch_and(&self, at: usize, mask: u64) -> u64;
    /// Adds; returns the value before.
    fn fetch_add(&self, at: usize, value: u64) -> u64;
    /// Hints that the cache line of this word is wanted soon.
    fn prefetch(&self, at: usize) {
        let _ = at;
    }
    /// Whether there are no words.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Words whose low halves can be slept on, as a futex.
pub trait Futex: Words {
    /// Whether the words may be changed; who may only read them cannot ask to be woken.
    fn is_writable(&self) -> bool;
    /// Sleeps while the low half of a word is `expected`, until woken or for `timeout`; may also return
    /// for nothing.
    fn futex_wait(&self, at: usize, expected: u32, timeout: Duration);
    /// Wakes all that sleep on a word.
    fn futex_wake_all(&self, at: usize);
}

/// Words on the heap: for tests, Miri and loom.
#[cfg(any(test, loom, fuzzing))]
pub struct HeapWords(Box<[AtomicU64]>);

#[cfg(any(test, loom, fuzzing))]
impl HeapWords {
    /// `len` words of zero.
    pub fn new(len: usize) -> Self {
        Self((0..len).map(|_| AtomicU64::new(0)).collect())
    }
}

/// Where, in a test, somebody else may come.
#[cfg(any(test, loom, fuzzing))]
#[inline]
fn point() {
    #[cfg(all(test, not(loom)))]
    shuffled::point();
}

#[cfg(any(test, loom, fuzzing))]
impl Words for HeapWords {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn load(&self, at: usize) -> u64 {
        point();
        self.0[at].load(Ordering::Acquire)
    }
    fn store(&self, at: usize, value: u64) {
        point();
        self.0[at].store(value, Ordering::Release);
    }
    fn compare_exchange(&self, at: usize, current: u64, new: u64) -> Result<u64, u64> {
        point();
        self.0[at].compare_exchange(current, new, Ordering::AcqRel, Ordering::Acquire)
    }
    fn fetch_or(&self, at: usize, bits: u64) -> u64 {
        point();
        self.0[at].fetch_or(bits, Ordering::AcqRel)
    }
    fn fetch_and(&self, at: usize, mask: u64) -> u64 {
        point();
        self.0[at].fetch_and(mask, Ordering::AcqRel)
    }
    fn fetch_add(&self, at: usize, value: u64) -> u64 {
        point();
        self.0[at].fetch_add(value, Ordering::AcqRel)
    }
}
