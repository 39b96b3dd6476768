//! The cache: keys with values, in one namespace of a store.
#![forbid(unsafe_code)]

use super::changes::Changes;
use super::item::{CacheBytes, Item, NewValue, Part};
use super::ledger::{Cleared, Count, Ledger};
use super::options::{CacheOptions, EvictionPolicy, ItemOptions, Settings};
use super::policy::Queue;
use super::stats::CacheStats;
use super::tally::Tally;
use super::upkeep::{Calls, Upkeep};
use super::uses::Uses;
use super::write::Written;
use crate::clock::to_ns;
use crate::engine::Engine;
use crate::entry::Version;
use crate::error::{Error, ErrorKind, Result};
use crate::process::PerProcess;
use crate::refs::Refs;
use crate::store::Store;
use crate::sync::epoch::{Guard, pin};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

/// The name of a cache that is not given one.
const NAME: &str = "default";
/// Longest name of a cache, in bytes.
const NAME_BYTES_MAX: usize = 200;

/// A cache in a store: keys (bytes, 64 KiB at most) with values, shared by all processes that open it.
///
/// ```
/// use drystone::cache::Cache;
/// # let dir = tempfile::tempdir()?;
/// let cache = Cache::open(dir.path().join("cache"))?;
/// cache.set("granite", b"igneous")?;
/// assert_eq!(cache.get("granite")?.expect("it was just set").bytes(), b"igneous");
/// assert_eq!(cache.incr("visits", 1, 0)?, 1);
/// cache.clear()?;
/// assert!(cache.get("granite")?.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Cache {
    pub(super) inner: Arc<Inner>,
    /// Its thread, which ends with the last clone.
    _upkeep: Option<Arc<Upkeep>>,
}

/// What the clones of a cache share.
pub struct Inner {
    pub store: Store,
    pub name: String,
    pub namespace: String,
    pub generations: Refs,
    pub settings: Refs,
    pub holds: Refs,
    pub queues: Refs,
    pub ledger: Ledger,
    pub tally: Tally,
    pub queue: PerProcess<Mutex<Queue>>,
    pub changes: PerProcess<Mutex<Changes>>,
    pub known: super::settings::Known,
    pub uses: Uses,
    pub calls: Arc<Calls>,
}

impl Cache {
    /// How to open one in all detail.
    pub fn options() -> CacheOptions {
        CacheOptions::new()
    }

    /// The cache `default` of the store in a directory, which is made if there is none.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::on(&Store::create(path)?, &CacheOptions::new())
    }

    /// A cache in a store that is open. The first time after a boot all its entries are counted, which is one
    /// pass over the index.
    ///
    /// # Errors
    /// `InvalidInput` for a name that is too long; those of reading and setting refs.
    pub fn on(store: &Store, options: &CacheOptions) -> Result<Self> {
        let name = options.name.clone().unwrap_or_else(|| NAME.into());
        if name.len() > NAME_BYTES_MAX {
            return Err(Error::new(ErrorKind::InvalidInput, "the name of a cache is too long")
                .expected(format!("at most {NAME_BYTES_MAX} bytes"))
                .found(format!("{} bytes", name.len())));
        }
        let inner = Arc::new(Inner::new(store.clone(), name)?);
        if options.has_settings() {
            inner.change_settings(|settings| options.over(settings))?;
        }
        let upkeep = options.upkeep.map(|every| Arc::new(Upkeep::start(&inner, every)));
        Ok(Self { inner, _upkeep: upkeep })
    }

    /// The store that it is in.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The value of a key; `None` if there is none, or it has expired.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Item>> {
        let guard = self.inner.enter();
        let item = self.inner.read(key.as_ref(), &guard, |live| self.inner.item(live, &guard))?;
        self.inner.note_lookup(item.is_some());
        Ok(item)
    }

    /// What `read` makes of the head and the parts of a value; no copy of the head is made.
    pub fn get_with<R>(
        &self,
        key: impl AsRef<[u8]>,
        mut read: impl FnMut(&[u8], Vec<CacheBytes>) -> R,
    ) -> Result<Option<R>> {
        let guard = self.inner.enter();
        let made = self.inner.read(key.as_ref(), &guard, |live| {
            let Some(parts) = self.inner.parts(live, &guard)? else { return Ok(None) };
            let head = live.entry.map_or(&[][..], |entry| entry.head);
            Ok(Some(read(head, parts)))
        })?;
        self.inner.note_lookup(made.is_some());
        Ok(made)
    }

    /// The values of many keys, in order.
    pub fn get_many(&self, keys: &[impl AsRef<[u8]>]) -> Result<Vec<Option<Item>>> {
        let guard = self.inner.enter();
        for key in keys {
            self.inner.engine().index(&guard).prefetch(self.inner.key_of(key.as_ref()));
        }
        drop(guard);
        keys.iter().map(|key| self.get(key)).collect()
    }

    /// Whether a key has a value.
    pub fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        let guard = self.inner.enter();
        let Some(live) = self.inner.find(key.as_ref(), &guard)? else { return Ok(false) };
        Ok(self.inner.counts(&live)? && self.inner.is_whole(&live, &guard)?)
    }

    /// Sets the value of a key, whatever it was.
    ///
    /// # Errors
    /// `TooLarge` for a value that is larger than the whole cache may be; `NoSpace` if the cache is full and
    /// nothing can be evicted, or the file system is.
    pub fn set(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Version> {
        self.set_with(key, value, &ItemOptions::new())
    }

    /// Like [`Cache::set`], with expiry, tags, durability.
    pub fn set_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        options: &ItemOptions,
    ) -> Result<Version> {
        let value = NewValue { head: &[], parts: &[Part::Bytes(value.as_ref())] };
        self.set_value(key, value, options)
    }

    /// Sets a value of several parts.
    pub fn set_value(
        &self,
        key: impl AsRef<[u8]>,
        value: NewValue<'_>,
        options: &ItemOptions,
    ) -> Result<Version> {
        let set = self.inner.write(key.as_ref(), value, options, |_| Ok(true))?;
        match set {
            Written::Set(version) => Ok(version),
            Written::Declined => Err(Error::new(ErrorKind::Io, "a setting was declined")),
        }
    }

    /// Sets many keys; each is set or not by itself.
    pub fn set_many<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        pairs: &[(K, V)],
        options: &ItemOptions,
    ) -> Result<()> {
        pairs.iter().try_for_each(|(key, value)| self.set_with(key, value, options).map(drop))
    }

    /// Sets a key only if it has no value; whether it was set.
    pub fn add(
        &self,
        key: impl AsRef<[u8]>,
        value: NewValue<'_>,
        options: &ItemOptions,
    ) -> Result<bool> {
        let set = self.inner.write(key.as_ref(), value, options, |old| Ok(old.is_none()))?;
        Ok(matches!(set, Written::Set(_)))
    }

    /// Sets a key only if its value is the version expected (`None`: only if it has none); `None` if it is not.
    pub fn compare_and_set(
        &self,
        key: impl AsRef<[u8]>,
        expected: Option<Version>,
        value: NewValue<'_>,
        options: &ItemOptions,
    ) -> Result<Option<Version>> {
        let set = self.inner.write(key.as_ref(), value, options, |old| {
            Ok(old.map(|live| live.sequence) == expected.map(Version::number))
        })?;
        Ok(match set {
            Written::Set(version) => Some(version),
            Written::Declined => None,
        })
    }

    /// Gives a key another expiry; `false` if it has no value.
    pub fn touch(&self, key: impl AsRef<[u8]>, expires: Option<SystemTime>) -> Result<bool> {
        self.inner.touch(key.as_ref(), expires)
    }

    /// Removes a key; what its value was.
    pub fn pop(&self, key: impl AsRef<[u8]>) -> Result<Option<Item>> {
        let key = key.as_ref();
        loop {
            let guard = self.inner.enter_writing()?;
            let Some(live) = self.inner.find(key, &guard)? else { return Ok(None) };
            let item = match self.inner.counts(&live)? {
                true => self.inner.item(&live, &guard)?,
                false => None,
            };
            if self.inner.remove_seen(&live, &guard)? {
                return Ok(item);
            }
        }
    }

    /// Removes a key; `false` if it had no value.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        let key = key.as_ref();
        loop {
            let guard = self.inner.enter_writing()?;
            let Some(live) = self.inner.find(key, &guard)? else { return Ok(false) };
            let had = self.inner.counts(&live)? && self.inner.is_whole(&live, &guard)?;
            if self.inner.remove_seen(&live, &guard)? {
                return Ok(had);
            }
        }
    }

    /// Removes many keys; how many had a value.
    pub fn delete_many(&self, keys: &[impl AsRef<[u8]>]) -> Result<usize> {
        keys.iter().try_fold(0, |count, key| Ok(count + usize::from(self.delete(key)?)))
    }

    /// Adds to a number of 64 bits, in one step that no other process comes between; `start` is what it is
    /// where the key has no value. The number is kept as eight bytes, the lowest first.
    ///
    /// # Errors
    /// `InvalidInput` where the value is no such number, or the sum is none.
    pub fn incr(&self, key: impl AsRef<[u8]>, by: i64, start: i64) -> Result<i64> {
        let key = key.as_ref();
        loop {
            let old = self.get(key)?;
            let number = match &old {
                Some(item) => number_in(item.bytes())?,
                None => start,
            };
            let sum = number.checked_add(by).ok_or_else(|| {
                Error::new(ErrorKind::InvalidInput, "the sum does not fit into 64 bits")
                    .expected("a sum between -2^63 and 2^63 - 1")
                    .found(format!("{number} and {by}"))
            })?;
            let bytes = sum.to_le_bytes();
            let value = NewValue { head: &[], parts: &[Part::Bytes(&bytes)] };
            let expected = old.as_ref().map(|item| item.version);
            let options = old.as_ref().map_or_else(ItemOptions::new, |item| ItemOptions {
                expires: item.expires,
                tags: item.tags.clone(),
                ..ItemOptions::new()
            });
            if self.compare_and_set(key, expected, value, &options)?.is_some() {
                return Ok(sum);
            }
        }
    }

    /// Subtracts from a number: see [`Cache::incr`].
    pub fn decr(&self, key: impl AsRef<[u8]>, by: i64, start: i64) -> Result<i64> {
        let negated = by.checked_neg().ok_or_else(|| {
            Error::new(ErrorKind::InvalidInput, "cannot subtract the smallest number of 64 bits")
        })?;
        self.incr(key, negated, start)
    }

    /// Removes everything, in constant time: what was set before is not seen any more by any process. Its space
    /// comes back when the maintenance thread of this cache, which is called, has taken it out and compacted the
    /// store; without one ([`CacheOptions::maintenance`]) with [`Cache::cull`] and then
    /// [`Store::compact`]. Compaction alone frees nothing of it.
    pub fn clear(&self) -> Result<()> {
        self.inner.clear()
    }

    /// Removes all entries that carry a tag, in constant time; their space comes back as with [`Cache::clear`]. Until
    /// they have been taken out [`Cache::volume`] and [`Cache::len`] count them: how many carry a tag, of which an entry
    /// may have several, is only known from a walk over the index, as [`Cache::evict_counted`] does it.
    pub fn evict(&self, tag: &str) -> Result<()> {
        self.inner.evict_tag(tag)
    }

    /// Removes all entries that carry a tag, as [`evict`](Self::evict) does, and then goes over the index to take
    /// them out and count them; how many, without those that others take out meanwhile ([`expire`](Self::expire)).
    pub fn evict_counted(&self, tag: &str) -> Result<u64> {
        self.inner.evict_tag_counted(tag)
    }

    /// The keys that have a value and carry a tag, in no order: one pass over the index.
    pub fn keys_tagged(&self, tag: &str) -> Result<Vec<Vec<u8>>> {
        self.inner.tagged_keys(tag)
    }

    /// Removes what has expired, and what [`clear`](Self::clear) and [`evict`](Self::evict) have left: one pass
    /// over the index. How many entries.
    pub fn expire(&self) -> Result<u64> {
        self.inner.expire()
    }

    /// Like [`Cache::expire`], as if it were as late as `time` already.
    pub fn expire_before(&self, time: SystemTime) -> Result<u64> {
        self.inner.expire_before(to_ns(time))
    }

    /// Removes what has expired, and evicts by the policy what is above the limits. How many entries.
    pub fn cull(&self) -> Result<u64> {
        let expired = self.inner.expire()?;
        Ok(expired + self.inner.shrink()?)
    }

    /// Bytes of keys and values, and entries. Entries that have expired, or whose tag was evicted, count until
    /// [`Cache::expire`] has removed them. Never more than the limits, unless these were lowered and nothing has made
    /// room since ([`Cache::cull`] does).
    pub fn volume(&self) -> (u64, u64) {
        self.inner.volume()
    }

    /// Number of entries; see [`Cache::volume`].
    pub fn len(&self) -> u64 {
        self.volume().1
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The settings that all its users share.
    pub fn settings(&self) -> Result<Settings> {
        self.inner.settings()
    }

    /// Changes settings for all its users; those that are not said stay.
    pub fn change_settings(&self, options: &CacheOptions) -> Result<Settings> {
        self.inner.change_settings(|settings| options.over(settings))
    }

    /// What it holds and what was done, by all processes.
    pub fn stats(&self) -> CacheStats {
        self.inner.stats()
    }

    /// Sets hits, misses and the other counts to zero.
    pub fn reset_stats(&self) {
        self.inner.tally.flush(&self.inner.ledger);
        self.inner.ledger.reset_tally();
    }
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self.inner.store.path();
        f.debug_struct("Cache").field("path", &path).field("name", &self.inner.name).finish()
    }
}

fn number_in(bytes: &[u8]) -> Result<i64> {
    bytes.try_into().map(i64::from_le_bytes).map_err(|_| {
        Error::new(ErrorKind::InvalidInput, "the value is not a number")
            .expected("eight bytes")
            .found(format!("{} bytes", bytes.len()))
    })
}

impl Inner {
    fn new(store: Store, name: String) -> Result<Self> {
        let namespace = format!("cache:{name}");
        let refs = |what: &str| store.refs(&format!("{namespace}:{what}"));
        let (generations, settings, holds) = (refs("gen"), refs("set"), refs("hold"));
        let queues = refs("queue");
        let map = store.engine.run.page(&page_name(&name), || {
            super::census::first_words(&store, &namespace, &generations)
        })?;
        let queue = PerProcess::new(Mutex::new(Queue::default()));
        Ok(Self {
            ledger: Ledger::new(map)?,
            store,
            name,
            namespace,
            generations,
            settings,
            holds,
            queues,
            tally: Tally::default(),
            queue,
            changes: PerProcess::new(Mutex::default()),
            known: super::settings::Known::default(),
            uses: Uses::default(),
            calls: Arc::default(),
        })
    }

    /// The store's engine.
    #[inline]
    pub fn engine(&self) -> &Engine {
        &self.store.engine
    }

    /// Begins an operation that reads.
    #[inline]
    pub fn enter(&self) -> Guard {
        if self.known.is_older(&self.ledger) {
            // What cannot be read now is as it was.
            let _ = self.settings();
        }
        let guard = pin();
        self.engine().enter(&guard);
        guard
    }

    /// Begins an operation that changes something.
    pub fn enter_writing(&self) -> Result<Guard> {
        let guard = pin();
        self.engine().enter_writing(&guard)?;
        Ok(guard)
    }

    #[inline]
    pub fn note_lookup(&self, is_hit: bool) {
        if self.known.statistics() {
            self.tally.note(is_hit, &self.ledger);
        }
    }

    /// The clearing under which operations work now.
    pub fn cleared(&self) -> Cleared {
        self.ledger.cleared()
    }

    fn stats(&self) -> CacheStats {
        self.tally.flush(&self.ledger);
        let (bytes, items) = self.volume();
        let count = |count| self.ledger.tallied(count);
        CacheStats {
            hits: count(Count::Hits),
            misses: count(Count::Misses),
            sets: count(Count::Sets),
            evictions: count(Count::Evictions),
            expirations: count(Count::Expirations),
            bytes,
            items,
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.tally.flush(&self.ledger);
    }
}

/// Pages are named by a digest, because a cache's name may hold anything.
pub fn page_name(name: &str) -> String {
    format!("{:032x}", xxhash_rust::xxh3::xxh3_128(name.as_bytes()))
}

/// Whether a policy evicts anything.
pub fn evicts(policy: EvictionPolicy) -> bool {
    policy != EvictionPolicy::None
}
