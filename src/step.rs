//! The shared steps of a process, one by one, so that tests can have it die, stop or fork between any
//! two of them.
//!
//! A step is whatever other processes can see, or could have changed before: an access to a shared word,
//! a call that changes files, one that looks at them. `step!(change)` and `step!(look)` stand in
//! front of each. They are nothing in every build but the one for tests (`cfg(bug)`), where they count
//! down what a test has set; the test says what happens when the countdown ends.
//!
//! I1  The countdown ends once: whoever is interrupted goes on undisturbed if it is let.
//! I2  The step itself has not been done when its countdown ends.
//!
//! Death: it is what this is for.
#![forbid(unsafe_code)]

/// In front of a step that others see.
#[cfg(not(bug))]
macro_rules! step {
    (change) => {};
    (look) => {};
}

/// In front of a step that others see, or may have prepared.
#[cfg(bug)]
macro_rules! step {
    (change) => {
        $crate::step::count(true)
    };
    (look) => {
        $crate::step::count(false)
    };
}

/// How many of `len` bytes one call writes, and whether the rest is left to the next step: a process
/// that dies in a long write has written the pages in front.
pub(crate) fn torn(len: usize) -> usize {
    const PAGE_BYTES: usize = 4 << 10;
    if cfg!(bug) && len > PAGE_BYTES { (len / 2).next_multiple_of(PAGE_BYTES) } else { len }
}

#[cfg(bug)]
mod countdown {
    use crate::sync::machine::{AtomicU64, Ordering};
    use std::sync::OnceLock;

    /// Steps until the end; 0 when there is none.
    static LEFT: AtomicU64 = AtomicU64::new(0);
    /// Whether those that only look count, too.
    static COUNTS_LOOKS: AtomicU64 = AtomicU64::new(0);
    static END: OnceLock<fn()> = OnceLock::new();

    /// Has `end` (the same in all calls) called in front of the `n`-th step from here on, by the thread
    /// whose step it is.
    pub fn count_down(n: u64, counts_looks: bool, end: fn()) {
        END.get_or_init(|| end);
        COUNTS_LOOKS.store(counts_looks.into(), Ordering::Relaxed);
        LEFT.store(n, Ordering::Release);
    }

    /// Stops counting; the steps that were left.
    pub fn stop_counting() -> u64 {
        LEFT.swap(0, Ordering::AcqRel)
    }

    /// A step.
    #[inline]
    pub(crate) fn count(is_change: bool) {
        if LEFT.load(Ordering::Relaxed) != 0 {
            count_one(is_change);
        }
    }

    #[cold]
    fn count_one(is_change: bool) {
        if !is_change && COUNTS_LOOKS.load(Ordering::Relaxed) == 0 {
            return;
        }
        let less = |left: u64| left.checked_sub(1);
        if LEFT.fetch_update(Ordering::AcqRel, Ordering::Acquire, less) == Ok(1)
            && let Some(end) = END.get()
        {
            end();
        }
    }
}

#[cfg(bug)]
pub(crate) use countdown::count;
#[cfg(bug)]
pub use countdown::{count_down, stop_counting};
