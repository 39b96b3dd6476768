//! What a cache has done.
#![forbid(unsafe_code)]

/// What a cache holds, and what was done with it, by all processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// Lookups that found a value. Other processes tell theirs now and then.
    pub hits: u64,
    /// Lookups that found none.
    pub misses: u64,
    /// Values set.
    pub sets: u64,
    /// Entries evicted to make room.
    pub evictions: u64,
    /// Entries removed because they had expired, or were cleared or their tag evicted.
    pub expirations: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// Entries.
    pub items: u64,
}
