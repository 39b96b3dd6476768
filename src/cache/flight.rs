//! Single flight: of all processes and threads that miss a key exactly one computes its value.
//!
//! - I1 Who computes holds a lock of the kernel on the key's byte of the file `locks`, through a descriptor of
//!   its own, so that it excludes threads and processes alike and goes with its process.
//! - I2 It is tried, never waited for: the others sleep on the store's change counter, and try again 50 ms later
//!   at the latest. So a dead one is followed at once, and a stopped one holds others for as long as they want.
//! - I3 Who would wait for itself is told so.
//!
//! Death: the lock goes, and another computes.
#![forbid(unsafe_code)]

use super::cache::{Cache, Inner};
use super::item::{Item, NewValue, Part};
use super::options::ItemOptions;
use crate::disk::{File, LockKind, fork_generation};
use crate::error::{Error, ErrorKind, Result};
use crate::process::PerProcess;
use crate::run::open_locks;
use crate::sync::epoch::pin;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// The first byte of `locks` that stands for a key, and how many do.
const KEYS_BYTE: u64 = 1 << 62;
const KEYS: u64 = 1 << 61;
/// Somebody may have died.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Who computes in this process, by the store and the byte of the key: also through other caches that are open.
type Owners = Mutex<HashMap<(u64, u64), u64>>;
static OWNERS: OnceLock<PerProcess<Owners>> = OnceLock::new();

fn with_owners<R>(then: impl FnOnce(&mut HashMap<(u64, u64), u64>) -> R) -> R {
    let guard = pin();
    let owners = OWNERS.get_or_init(|| PerProcess::new(Owners::default()));
    let owners = owners.get(&guard, Owners::default);
    then(&mut owners.lock().unwrap_or_else(PoisonError::into_inner))
}

/// The right to compute the value of a key, until it is dropped.
pub struct Claim {
    inner: Arc<Inner>,
    place: (u64, u64),
    lock: Arc<dyn File>,
    fork: u64,
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.fork != fork_generation() {
            // It is the parent's.
            return;
        }
        with_owners(|owners| owners.remove(&self.place));
        // Closing it would not do: a child that was forked meanwhile has the same open file.
        let _ = self.lock.unlock(self.place.1, 1);
        // Whoever waits for the value looks again.
        self.inner.engine().run.control.announce_change();
    }
}

/// How [`Cache::get_or_compute`] waits.
#[derive(Clone, Debug, Default)]
pub struct ComputeOptions {
    item: ItemOptions,
    wait: Option<Duration>,
    stale: bool,
}

impl ComputeOptions {
    /// Waits for as long as somebody computes.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the value gets beside it.
    pub fn item(mut self, options: ItemOptions) -> Self {
        self.item = options;
        self
    }

    /// So long others are waited for that compute, or are stopped in the middle of it; then the value is
    /// computed here, too.
    pub fn wait(mut self, time: Duration) -> Self {
        self.wait = Some(time);
        self
    }

    /// While another computes, the value that has expired is taken, if it is still there.
    pub fn stale(mut self, yes: bool) -> Self {
        self.stale = yes;
        self
    }
}

impl Cache {
    /// The value of a key; where it has none, what `compute` returns, which is set. Across all processes and
    /// threads one computes, and the others wait for it.
    ///
    /// ```
    /// # use drystone::cache::{Cache, ComputeOptions};
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = Cache::open(dir.path().join("cache"))?;
    /// let wait = ComputeOptions::new();
    /// let first = cache.get_or_compute("pi", &wait, || Ok::<_, drystone::Error>(b"3.14159".to_vec()))?;
    /// let again = cache.get_or_compute("pi", &wait, || -> drystone::Result<_> { unreachable!() })?;
    /// assert_eq!(first.bytes(), again.bytes());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of `compute`, of which nothing is kept; `Reentered` if `compute` asks for the same key.
    pub fn get_or_compute<E: From<Error>>(
        &self,
        key: impl AsRef<[u8]>,
        options: &ComputeOptions,
        compute: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<Item, E> {
        let key = key.as_ref();
        let owner = thread_number();
        let end = options.wait.and_then(|wait| Instant::now().checked_add(wait));
        let claim = loop {
            let ticket = self.change_ticket();
            if let Some(item) = self.get(key)? {
                return Ok(item);
            }
            if let Some(claim) = self.claim(key, owner)? {
                // Who had it may have set the value since it was looked for.
                if let Some(item) = self.get(key)? {
                    return Ok(item);
                }
                break Some(claim);
            }
            if options.stale
                && let Some(item) = self.get_stale(key)?
            {
                return Ok(item);
            }
            let left = end.map_or(LOOK_AGAIN, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                break None;
            }
            self.await_change(ticket, left);
        };
        let bytes = compute()?;
        let value = NewValue { head: &[], parts: &[Part::Bytes(&bytes)] };
        self.set_value(key, value, &options.item)?;
        drop(claim);
        let item = self.get(key)?;
        Ok(item.unwrap_or_else(|| Item::of_bytes(bytes)))
    }

    /// Tries to be who computes the value of a key; `None` while somebody else is. `owner` is whoever would wait
    /// for itself: a thread, or a task.
    ///
    /// # Errors
    /// `Reentered` if this owner computes it already.
    pub fn claim(&self, key: &[u8], owner: u64) -> Result<Option<Claim>> {
        let uuid = &self.inner.engine().superblock.uuid;
        let store = xxh3_64(uuid);
        let name = xxh3_64_with_seed(self.inner.namespace.as_bytes(), store);
        let byte = KEYS_BYTE + xxh3_64_with_seed(key, name) % KEYS;
        let place = (store, byte);
        if with_owners(|owners| owners.get(&place) == Some(&owner)) {
            return Err(Error::new(
                ErrorKind::Reentered,
                "the value of a key is asked for while it is being computed here",
            )
            .advice("compute it without asking for itself, directly or through others"));
        }
        let locks = open_locks(&**self.inner.engine().disk())?;
        if !locks.try_lock(byte, 1, LockKind::Exclusive)? {
            return Ok(None);
        }
        with_owners(|owners| owners.insert(place, owner));
        let (inner, fork) = (self.inner.clone(), fork_generation());
        Ok(Some(Claim { inner, place, lock: locks, fork }))
    }

    /// The value of a key, also if it has expired and is still there.
    pub fn get_stale(&self, key: impl AsRef<[u8]>) -> Result<Option<Item>> {
        let guard = self.inner.enter();
        let Some(live) = self.inner.find(key.as_ref(), &guard)? else { return Ok(None) };
        let is_cleared = live.cleared() != self.inner.cleared().0;
        if is_cleared { Ok(None) } else { self.inner.item(&live, &guard) }
    }

    /// What [`await_change`](Self::await_change) is given: taken before looking for what is waited for.
    pub fn change_ticket(&self) -> u64 {
        self.inner.engine().run.control.change_ticket()
    }

    /// Sleeps until something in the store has changed since the ticket was taken, for 50 ms and for `at_most`
    /// at most.
    pub fn await_change(&self, ticket: u64, at_most: Duration) {
        self.inner.engine().run.control.await_change(ticket, at_most.min(LOOK_AGAIN));
    }
}

/// A number that no other living thread of this process has.
fn thread_number() -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    std::thread::current().id().hash(&mut hasher);
    hasher.finish()
}
