//! Refs: mutable names, bound to small bytes or to blobs.
#![forbid(unsafe_code)]

use crate::clock::{now_ns, to_ns};
use crate::engine::{Durability, Engine};
use crate::entry::{Entry, INLINE_BYTES, MOVES_MAX, SetOptions, Value, Version, check_limits};
use crate::error::{Error, ErrorKind, Result};
use crate::format::refs::{PINS, RefBody, ref_key};
use crate::id::BlobId;
use crate::naming::{Expect, Naming};
use crate::protocol::Named;
use crate::publish::{Removal, blob_not_found};
use crate::stream::Body;
use crate::sync::epoch::{Guard, pin};
use crate::units::STEP_BYTES;
use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A waiter looks again after this long at the latest: a publisher may have died between publishing
/// and waking.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The refs of one namespace.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let store = drystone::Store::create(dir.path().join("s"))?;
/// let steps = store.refs("steps");
/// let first = steps.set("1", &store.put(b"field")?)?;
/// assert_eq!(steps.compare_and_set("1", None, "other")?, None, "it is there already");
/// let second = steps.compare_and_set("1", Some(first), "other")?.expect("it is the first");
/// assert!(second > first);
/// assert_eq!(steps.get("1")?.expect("it is there").bytes(), Some(&b"other"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Refs {
    pub(crate) engine: Arc<Engine>,
    namespace: Arc<str>,
}

impl Refs {
    pub(crate) fn new(engine: Arc<Engine>, namespace: &str) -> Self {
        Self { engine, namespace: namespace.into() }
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Binds `key` (64 KiB at most) to a value, whatever it was bound to; the new version.
    ///
    /// # Errors
    /// `NotFound` if a blob of the value is not in the store; `InvalidInput` for a key, tag or metadata
    /// that is too long, and in the namespace `pins`, which `put` and `unpin` keep.
    pub fn set(&self, key: impl AsRef<[u8]>, value: impl Into<Value>) -> Result<Version> {
        self.set_with(key, value, &SetOptions::new())
    }

    /// Like [`Refs::set`], with expiry, tags, metadata, durability.
    pub fn set_with(
        &self,
        key: impl AsRef<[u8]>,
        value: impl Into<Value>,
        options: &SetOptions,
    ) -> Result<Version> {
        let set = self.change(key.as_ref(), value.into(), options, Expect::Any)?;
        set.ok_or_else(|| Error::new(ErrorKind::Io, "an unconditional set was declined"))
    }

    /// Binds `key` only if there is no such ref; `None` if there is one.
    pub fn add(&self, key: impl AsRef<[u8]>, value: impl Into<Value>) -> Result<Option<Version>> {
        self.change(key.as_ref(), value.into(), &SetOptions::new(), Expect::Absent)
    }

    /// Binds `key` only if its version is the one expected (`None`: only if there is no such ref);
    /// `None` if it is not.
    pub fn compare_and_set(
        &self,
        key: impl AsRef<[u8]>,
        expected: Option<Version>,
        value: impl Into<Value>,
    ) -> Result<Option<Version>> {
        self.compare_and_set_with(key, expected, value, &SetOptions::new())
    }

    /// Like [`Refs::compare_and_set`], with expiry, tags, metadata, durability.
    pub fn compare_and_set_with(
        &self,
        key: impl AsRef<[u8]>,
        expected: Option<Version>,
        value: impl Into<Value>,
        options: &SetOptions,
    ) -> Result<Option<Version>> {
        let expect = expected.map_or(Expect::Absent, |version| Expect::Version(version.0));
        self.change(key.as_ref(), value.into(), options, expect)
    }

    fn change(
        &self,
        key: &[u8],
        value: Value,
        options: &SetOptions,
        expect: Expect,
    ) -> Result<Option<Version>> {
        self.refuse_pins("set")?;
        let guard = pin();
        let engine = &*self.engine;
        engine.enter_writing(&guard)?;
        let durability = options.durability.unwrap_or(engine.settings.durability);
        let mut body = self.body_of(key, options);
        let set = match value {
            Value::Bytes(bytes) if bytes.len() > INLINE_BYTES => {
                check_limits(&body, 1)?;
                body.is_single = true;
                engine
                    .put(&guard, Body::Fixed(&bytes), &Naming::Ref(&body, expect), durability)?
                    .named
                    .into_set(&[])?
            }
            Value::Bytes(bytes) => {
                body.inline = Some(bytes);
                engine.set_ref(&guard, &body, &[], expect, durability)?
            }
            Value::Blob(id) => {
                body.is_single = true;
                engine.set_ref(&guard, &body, &[id], expect, durability)?
            }
            Value::Blobs(ids) => engine.set_ref(&guard, &body, &ids, expect, durability)?,
        };
        if set.is_some() {
            engine.run.control.announce_change();
        }
        Ok(set.map(Version))
    }

    /// Puts in all that a reader yields, and binds `key` to that blob, whatever it was bound to: named
    /// instead of pinned. The blob's id, and the new version.
    ///
    /// # Errors
    /// Those of [`Refs::set`] and of [`Store::put`](crate::Store::put).
    pub fn set_reader(
        &self,
        key: impl AsRef<[u8]>,
        mut reader: impl Read + Send,
        options: &SetOptions,
    ) -> Result<(BlobId, Version)> {
        self.refuse_pins("set")?;
        let mut body = self.body_of(key.as_ref(), options);
        body.is_single = true;
        check_limits(&body, 1)?;
        let engine = &*self.engine;
        let durability = options.durability.unwrap_or(engine.settings.durability);
        let naming = Naming::Ref(&body, Expect::Any);
        let put = engine.put_reader(&pin(), &mut reader, &naming, durability)?;
        let set = put.named.into_set(&[put.id])?;
        engine.run.control.announce_change();
        let version = set.map(Version);
        let declined = || Error::new(ErrorKind::Io, "an unconditional set was declined");
        Ok((put.id, version.ok_or_else(declined)?))
    }

    pub(crate) fn body_of(&self, key: &[u8], options: &SetOptions) -> RefBody {
        RefBody {
            namespace: self.namespace.to_string(),
            key: key.to_vec(),
            tags: options.tags.clone(),
            metadata: options.metadata.clone(),
            created_ns: now_ns(),
            expires_ns: options.expires.map_or(0, |time| to_ns(time).max(1)),
            ..RefBody::default()
        }
    }

    pub(crate) fn refuse_pins(&self, what: &str) -> Result<()> {
        if &*self.namespace != PINS {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::InvalidInput,
            format!("cannot {what} a ref in the namespace `pins`"),
        )
        .advice("use Store::put and Store::unpin, or another namespace"))
    }

    /// What `key` is bound to; `None` if there is no such ref, it has expired, or a blob that it names
    /// was removed.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>> {
        let guard = pin();
        self.engine.enter(&guard);
        self.engine.get_ref(&guard, &self.namespace, key.as_ref())
    }

    /// Removes a ref; `false` if there was none. Blobs that no other ref names go with the next
    /// compaction.
    pub fn remove(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.remove_with(key, None)
    }

    /// Like [`Refs::remove`], with a durability of its own.
    pub fn remove_with(
        &self,
        key: impl AsRef<[u8]>,
        durability: Option<Durability>,
    ) -> Result<bool> {
        self.refuse_pins("remove")?;
        let guard = pin();
        self.engine.enter_writing(&guard)?;
        let durability = durability.unwrap_or(self.engine.settings.durability);
        self.engine.remove_ref(&guard, &self.namespace, key.as_ref(), durability)
    }

    /// Waits until `key` is bound; `None` if the time runs out first.
    pub fn wait(&self, key: impl AsRef<[u8]>, timeout: Duration) -> Result<Option<Entry>> {
        self.wait_newer(key, None, timeout)
    }

    /// Waits until `key` is bound by a later setting than `than`; `None` if the time runs out first.
    pub fn wait_newer(
        &self,
        key: impl AsRef<[u8]>,
        than: Option<Version>,
        timeout: Duration,
    ) -> Result<Option<Entry>> {
        let deadline = Instant::now().checked_add(timeout);
        loop {
            let ticket = self.engine.run.control.change_ticket();
            let entry = self.get(key.as_ref())?;
            if let Some(entry) = entry.filter(|entry| than.is_none_or(|than| entry.version > than))
            {
                return Ok(Some(entry));
            }
            let left =
                deadline.map_or(LOOK_AGAIN, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Ok(None);
            }
            self.engine.run.control.await_change(ticket, left.min(LOOK_AGAIN));
        }
    }

    /// All refs of the namespace that can be seen, each at least once while it stays, in no order.
    /// Costs a pass over the whole index.
    pub fn iter(&self) -> RefIter {
        RefIter::new(self.engine.clone(), Some(&self.namespace))
    }
}

pub use crate::walk::RefIter;

impl Named {
    /// The number that was set; `None` if it was declined.
    pub fn into_set(self, ids: &[BlobId]) -> Result<Option<u64>> {
        match self {
            Self::Done(sequence) => Ok(Some(sequence)),
            Self::Declined => Ok(None),
            Self::Missing(index) => Err(match ids.get(index) {
                Some(id) => blob_not_found(id),
                None => {
                    Error::new(ErrorKind::NotFound, "the blob was removed while it was being named")
                }
            }),
        }
    }
}

impl Engine {
    /// Sets a ref to blobs that are there, or to the bytes in its body.
    pub fn set_ref(
        &self,
        guard: &Guard,
        body: &RefBody,
        ids: &[BlobId],
        expect: Expect,
        durability: Durability,
    ) -> Result<Option<u64>> {
        check_limits(body, ids.len())?;
        let naming = Naming::Ref(body, expect);
        let room = naming.record_bytes(ids.len()) + STEP_BYTES + crate::units::PAGE_BYTES;
        self.check_room(room)?;
        let named = self.with_appender(guard, room, durability, |appender| {
            self.name_blobs(appender, guard, &naming, ids, durability)
        })?;
        named.into_set(ids)
    }

    /// What a name is bound to.
    pub fn get_ref(&self, guard: &Guard, namespace: &str, key: &[u8]) -> Result<Option<Entry>> {
        let at = ref_key(&self.superblock.uuid, namespace, key);
        for _ in 0..MOVES_MAX {
            let Some((seen, found)) = self.find(at, guard)? else { return Ok(None) };
            if let Some(entry) = self.entry_of(&found, namespace, key, guard)? {
                if self.run.is_writable() {
                    self.index(guard).mark_visited(seen);
                }
                return Ok(Some(entry));
            }
            // A blob of it may be gone because it names another one by now.
            if self.has_come_to_rest(at, seen.word, guard)? {
                return Ok(None);
            }
        }
        Err(Error::new(ErrorKind::Busy, "the ref is set again and again while it is being read")
            .advice("try again"))
    }

    /// Removes a name, whatever it is bound to; `false` if it could not be seen.
    pub fn remove_ref(
        &self,
        guard: &Guard,
        namespace: &str,
        key: &[u8],
        durability: Durability,
    ) -> Result<bool> {
        let at = ref_key(&self.superblock.uuid, namespace, key);
        if let Some((_, found)) = self.find(at, guard)? {
            let body = self.ref_body(&found, guard)?;
            self.check_name(&body, namespace, key)?;
        }
        let body = RefBody { namespace: namespace.into(), key: key.to_vec(), ..RefBody::default() }
            .encode();
        let removal = Removal::of_ref(at, &body);
        let is_visible = |location| match self.read(location, guard)? {
            Some(found) => Ok(self.entry_of(&found, namespace, key, guard)?.is_some()),
            None => Ok(true),
        };
        self.remove(guard, &removal, durability, &is_visible)
    }
}
