//! Settings that all users of a cache share: a ref in the store, looked at again whenever the page says that it
//! has changed.
#![forbid(unsafe_code)]

use super::cache::Inner;
use super::ledger::Ledger;
use super::options::{EvictionPolicy, Settings};
use crate::error::{Error, ErrorKind, Result};
use crate::sync::machine::{AtomicU64, Ordering};

/// The key of the ref.
const KEY: &[u8] = b"settings";
/// The first byte of its value.
const VERSION: u8 = 1;
/// Nothing is known yet.
const UNREAD: u64 = u64::MAX;

/// The settings as this process knows them.
pub struct Known {
    version: AtomicU64,
    size_limit: AtomicU64,
    item_limit: AtomicU64,
    policy: AtomicU64,
    statistics: AtomicU64,
}

impl Default for Known {
    fn default() -> Self {
        let word = AtomicU64::new;
        let known = Self {
            version: word(UNREAD),
            size_limit: word(0),
            item_limit: word(0),
            policy: word(0),
            statistics: word(0),
        };
        known.store(Settings::default());
        known
    }
}

impl Known {
    fn store(&self, settings: Settings) {
        let limit = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
        self.size_limit.store(limit(settings.size_limit), Ordering::Relaxed);
        self.item_limit.store(limit(settings.item_limit), Ordering::Relaxed);
        self.policy.store(code(settings.policy), Ordering::Relaxed);
        self.statistics.store(settings.statistics.into(), Ordering::Relaxed);
    }

    fn load(&self) -> Settings {
        let limit =
            |word: &AtomicU64| Some(word.load(Ordering::Relaxed)).filter(|&it| it != u64::MAX);
        Settings {
            size_limit: limit(&self.size_limit),
            item_limit: limit(&self.item_limit),
            policy: policy(self.policy.load(Ordering::Relaxed)).unwrap_or_default(),
            statistics: self.statistics(),
        }
    }

    /// Whether the settings have changed since they were read.
    #[inline]
    pub fn is_older(&self, ledger: &Ledger) -> bool {
        self.version.load(Ordering::Acquire) != ledger.settings_version()
    }

    /// Whether hits and misses are counted.
    #[inline]
    pub fn statistics(&self) -> bool {
        self.statistics.load(Ordering::Relaxed) != 0
    }

    /// The limit of bytes.
    #[inline]
    pub fn size_limit(&self) -> Option<u64> {
        Some(self.size_limit.load(Ordering::Relaxed)).filter(|&it| it != u64::MAX)
    }

    /// The policy.
    #[inline]
    pub fn policy(&self) -> EvictionPolicy {
        policy(self.policy.load(Ordering::Relaxed)).unwrap_or_default()
    }
}

fn code(policy: EvictionPolicy) -> u64 {
    EvictionPolicy::ALL.iter().position(|&it| it == policy).unwrap_or(0) as u64
}

fn policy(code: u64) -> Option<EvictionPolicy> {
    EvictionPolicy::ALL.get(usize::try_from(code).ok()?).copied()
}

fn encode(settings: Settings) -> Vec<u8> {
    let mut bytes = vec![VERSION, code(settings.policy) as u8, settings.statistics.into()];
    for limit in [settings.size_limit, settings.item_limit] {
        bytes.extend_from_slice(&limit.unwrap_or(u64::MAX).to_le_bytes());
    }
    bytes
}

fn decode(bytes: &[u8]) -> Option<Settings> {
    let (&[VERSION, code, statistics], limits) = bytes.split_first_chunk::<3>()? else {
        return None;
    };
    let limit = |at: usize| {
        let word = u64::from_le_bytes(limits.get(at..at + 8)?.try_into().ok()?);
        Some(Some(word).filter(|&word| word != u64::MAX))
    };
    Some(Settings {
        size_limit: limit(0)?,
        item_limit: limit(8)?,
        policy: policy(code.into())?,
        statistics: statistics != 0,
    })
}

impl Inner {
    /// The settings now.
    pub fn settings(&self) -> Result<Settings> {
        let version = self.ledger.settings_version();
        if self.known.version.load(Ordering::Acquire) == version {
            return Ok(self.known.load());
        }
        let settings = self.read_settings()?.1;
        self.known.store(settings);
        self.known.version.store(version, Ordering::Release);
        Ok(settings)
    }

    fn read_settings(&self) -> Result<(Option<crate::entry::Version>, Settings)> {
        let Some(entry) = self.settings.get(KEY)? else { return Ok((None, Settings::default())) };
        let settings = decode(entry.bytes().unwrap_or_default()).ok_or_else(|| {
            Error::new(
                ErrorKind::UnsupportedVersion,
                "the settings of the cache are of another version",
            )
            .advice("use the release of drystone that wrote them, or a later one")
        })?;
        Ok((Some(entry.version), settings))
    }

    /// Changes the settings.
    pub fn change_settings(&self, change: impl Fn(Settings) -> Settings) -> Result<Settings> {
        loop {
            let (version, before) = self.read_settings()?;
            let settings = change(before);
            let is_kept = version.is_some() && before == settings;
            if is_kept || self.settings.compare_and_set(KEY, version, encode(settings))?.is_some() {
                self.ledger.note_settings();
                return self.settings();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_come_back_as_they_were_written_and_others_are_refused() {
        for policy in EvictionPolicy::ALL {
            let settings =
                Settings { size_limit: Some(7), item_limit: None, policy, statistics: false };
            assert_eq!(decode(&encode(settings)), Some(settings));
            let known = Known::default();
            known.store(settings);
            assert_eq!(known.load(), settings);
        }
        let whole = encode(Settings::default());
        (0..whole.len()).for_each(|end| assert_eq!(decode(&whole[..end]), None, "{end}"));
        assert_eq!(decode(&[2; 19]), None, "another version");
    }
}
