//! The time of day, as files hold it.
#![forbid(unsafe_code)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Nanoseconds since 1970 (0 before it).
pub fn now_ns() -> u64 {
    #[cfg(bug)]
    return shifted(to_ns(SystemTime::now()));
    #[cfg(not(bug))]
    to_ns(SystemTime::now())
}

#[cfg(bug)]
mod shifting {
    use crate::sync::machine::{AtomicU64, Ordering};

    /// The bits of an `i64`.
    static SHIFT_NS: AtomicU64 = AtomicU64::new(0);

    /// Has this process's clock show another time, from now on.
    pub fn shift(ns: i64) {
        SHIFT_NS.store(ns as u64, Ordering::Relaxed);
    }

    pub(super) fn shifted(ns: u64) -> u64 {
        ns.saturating_add_signed(SHIFT_NS.load(Ordering::Relaxed) as i64)
    }
}

#[cfg(bug)]
pub use shifting::shift;
#[cfg(bug)]
use shifting::shifted;

/// A time as nanoseconds since 1970, clamped to what fits.
pub fn to_ns(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))
}

/// The time of so many nanoseconds since 1970.
pub fn from_ns(ns: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(ns)
}
