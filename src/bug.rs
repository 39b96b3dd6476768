//! Planted bugs: what must go wrong for a named test to fail (`tests/canaries.txt`).
//!
//! `bug!("name")` is the constant `false` in every build but that of `cargo xtask canaries`, which sets
//! `cfg(bug)`: there it asks whether the environment variable `DRYSTONE_BUG` is that name. So one build
//! carries all bugs, each process has at most one of them, and what it forks or executes has the same.
//!
//! Death: nothing is shared.
#![forbid(unsafe_code)]

/// Whether this bug is planted: an expression, a constant `false` in what ships.
#[cfg(not(bug))]
macro_rules! bug {
    ($name:literal) => {
        false
    };
}

/// Whether this bug is planted. Each place asks the environment once and keeps the answer in a word that
/// nobody waits for, so that it can be asked in a forked child and in a fork handler; loom does not see it.
#[cfg(bug)]
macro_rules! bug {
    ($name:literal) => {{
        static ANSWER: $crate::sync::machine::AtomicU8 = $crate::sync::machine::AtomicU8::new(0);
        $crate::bug::is_planted(&ANSWER, $name)
    }};
}

#[cfg(bug)]
mod planted {
    use crate::sync::machine::{AtomicU8, Ordering};

    const NO: u8 = 1;
    const YES: u8 = 2;

    /// The answer that is kept in `answer`, or the environment's.
    pub(crate) fn is_planted(answer: &AtomicU8, name: &str) -> bool {
        // Relaxed: every thread would find the same answer.
        match answer.load(Ordering::Relaxed) {
            0 => {
                let is_it = std::env::var_os("DRYSTONE_BUG").is_some_and(|named| named == name);
                answer.store(if is_it { YES } else { NO }, Ordering::Relaxed);
                is_it
            }
            found => found == YES,
        }
    }
}

#[cfg(bug)]
pub(crate) use planted::is_planted;
