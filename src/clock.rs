//! The time of day, as files hold it.
#![forbid(unsafe_code)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Nanoseconds since 1970 (0 before it).
pub fn now_ns() -> u64 {
    to_ns(SystemTime::now())
}

/// A time as nanoseconds since 1970, clamped to what fits.
pub fn to_ns(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))
}

/// The time of so many nanoseconds since 1970.
pub fn from_ns(ns: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(ns)
}
