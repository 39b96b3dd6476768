//! How a cache is opened, and what its values may be given.
#![forbid(unsafe_code)]

use crate::engine::Durability;
use crate::error::{Error, ErrorKind, Result};
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

/// Which entries go first when a cache is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EvictionPolicy {
    /// S3-FIFO: what was not read since it came goes first, what was read again stays longer. Reading costs one
    /// bit that is set once. (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023.)
    #[default]
    S3Fifo,
    /// Nothing is evicted: what does not fit is refused.
    None,
    /// What was stored first goes first.
    LeastRecentlyStored,
    /// What was read or stored longest ago goes first; each read stores a time.
    LeastRecentlyUsed,
    /// What was read or stored least often goes first, and of what was as often the one that was stored first;
    /// each read adds to a count.
    LeastFrequentlyUsed,
}

impl EvictionPolicy {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::S3Fifo,
        Self::None,
        Self::LeastRecentlyStored,
        Self::LeastRecentlyUsed,
        Self::LeastFrequentlyUsed,
    ];

    /// Its name: `s3-fifo`, `none`, `least-recently-stored`, ...
    pub fn name(self) -> &'static str {
        match self {
            Self::S3Fifo => "s3-fifo",
            Self::None => "none",
            Self::LeastRecentlyStored => "least-recently-stored",
            Self::LeastRecentlyUsed => "least-recently-used",
            Self::LeastFrequentlyUsed => "least-frequently-used",
        }
    }

    /// Whether reads leave more than one bit.
    pub fn counts_uses(self) -> bool {
        matches!(self, Self::LeastRecentlyUsed | Self::LeastFrequentlyUsed)
    }
}

impl fmt::Display for EvictionPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for EvictionPolicy {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|policy| policy.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::new(ErrorKind::InvalidInput, "there is no such eviction policy")
                .expected(format!("one of {names}"))
                .found(name)
        })
    }
}

/// What all users of a cache share: it is kept in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// Bytes of keys and values at most.
    pub size_limit: Option<u64>,
    /// Entries at most.
    pub item_limit: Option<u64>,
    /// Which entries go first.
    pub policy: EvictionPolicy,
    /// Whether hits and misses are counted.
    pub statistics: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            size_limit: None,
            item_limit: None,
            policy: EvictionPolicy::default(),
            statistics: true,
        }
    }
}

/// How a cache is opened. What is said here of its [`Settings`] is kept in the store; what is not is as it was.
#[derive(Clone, Debug, Default)]
pub struct CacheOptions {
    pub(super) name: Option<String>,
    pub(super) size_limit: Option<Option<u64>>,
    pub(super) item_limit: Option<Option<u64>>,
    pub(super) policy: Option<EvictionPolicy>,
    pub(super) statistics: Option<bool>,
    pub(super) upkeep: Option<Duration>,
}

impl CacheOptions {
    /// The cache `default`, with the settings that it has.
    pub fn new() -> Self {
        Self::default()
    }

    /// Its name in the store: 200 bytes at most.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Bytes of keys and values at most; `None` for no limit.
    pub fn size_limit(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.size_limit = Some(bytes.into());
        self
    }

    /// Entries at most; `None` for no limit.
    pub fn item_limit(mut self, items: impl Into<Option<u64>>) -> Self {
        self.item_limit = Some(items.into());
        self
    }

    /// Which entries go first when it is full.
    pub fn policy(mut self, policy: EvictionPolicy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Whether hits and misses are counted; they are unless something else is said.
    pub fn statistics(mut self, yes: bool) -> Self {
        self.statistics = Some(yes);
        self
    }

    /// Starts a thread that removes what has expired and compacts the store, so often, and compacts it earlier when
    /// this cache, or a clone of it, has evicted, replaced or removed more than 16 MiB and more than a quarter of
    /// the size limit (of what it holds, without a limit), or when it was cleared or a tag was evicted. None is
    /// started unless this is called; without one what is evicted stays on the disk until somebody compacts the
    /// store.
    pub fn maintenance(mut self, every: Duration) -> Self {
        self.upkeep = Some(every);
        self
    }

    /// Whether it says anything about settings.
    pub(super) fn has_settings(&self) -> bool {
        self.size_limit.is_some()
            || self.item_limit.is_some()
            || self.policy.is_some()
            || self.statistics.is_some()
    }

    /// Settings, with what is said here in them.
    pub(super) fn over(&self, settings: Settings) -> Settings {
        Settings {
            size_limit: self.size_limit.unwrap_or(settings.size_limit),
            item_limit: self.item_limit.unwrap_or(settings.item_limit),
            policy: self.policy.unwrap_or(settings.policy),
            statistics: self.statistics.unwrap_or(settings.statistics),
        }
    }
}

/// What an entry may carry beside its value.
#[derive(Clone, Debug, Default)]
pub struct ItemOptions {
    pub(super) expires: Option<SystemTime>,
    pub(super) tags: Vec<String>,
    pub(super) durability: Option<Durability>,
    /// The number under which the key came, where it is put back; 0 otherwise.
    pub(super) born: u64,
}

impl ItemOptions {
    /// None of it.
    pub fn new() -> Self {
        Self::default()
    }

    /// From this time on it is absent; `None` for never.
    pub fn expires_at(mut self, time: impl Into<Option<SystemTime>>) -> Self {
        self.expires = time.into();
        self
    }

    /// So long from now it is absent; more than can be counted is never.
    pub fn expires_in(mut self, time: Duration) -> Self {
        self.expires = crate::clock::from_ns(crate::clock::now_ns()).checked_add(time);
        self
    }

    /// Adds a tag: 255 bytes at most, 64 tags at most.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// When the setting is acknowledged; the store's default otherwise.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }
}
