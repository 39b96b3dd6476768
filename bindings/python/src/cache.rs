//! What `drystone.Cache` is built on: the cache of the store, with Python values.

use crate::codec::{self, Encoded, HeldPart};
use crate::errors::{checked, invalid, own};
use crate::snapshot::{Snapshot, side_of, tag_of, time_of, told, with_queue};
use drystone::Version;
use drystone::cache::{
    Cache, CacheOptions, Claim, EvictionPolicy, Item, ItemOptions, NewValue, Part,
};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyFloat, PyInt, PyTuple};
use std::path::PathBuf;
use std::sync::Mutex;

/// The cache without the conveniences: keys and values are Python's.
#[pyclass(module = "drystone", subclass, weakref, dict)]
pub struct RawCache {
    cache: Cache,
    pickle: bool,
    is_new: bool,
}

/// A limit as it is said: not at all (`...`), that there is none (`None`), or a number.
#[derive(Clone, Copy)]
pub enum Limit {
    Unsaid,
    Said(Option<u64>),
}

impl<'py> FromPyObject<'_, 'py> for Limit {
    type Error = PyErr;

    fn extract(said: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let py = said.py();
        if said.is(py.Ellipsis()) {
            return Ok(Self::Unsaid);
        }
        if said.is_none() {
            return Ok(Self::Said(None));
        }
        match said.extract::<i64>() {
            Ok(number @ 0..) => Ok(Self::Said(Some(number.cast_unsigned()))),
            _ if !said.is_instance_of::<PyInt>() => {
                let kind = said.get_type().name()?;
                let what = format!("a limit is a whole number, or None for none, not a {kind}");
                Err(own(py, "UnsupportedType", &what))
            }
            _ => {
                let what = "a limit is a whole number from 0 to 2**63 - 1, or None for none, not";
                Err(invalid(py, &format!("{what} {}", said.repr()?)))
            }
        }
    }
}

/// The right to compute a value, until it is released.
#[pyclass(frozen, module = "drystone")]
pub struct Flight(Mutex<Option<Claim>>);

#[pymethods]
impl Flight {
    /// Gives the right back.
    fn release(&self) {
        if let Ok(mut claim) = self.0.lock() {
            *claim = None;
        }
    }
}

impl RawCache {
    fn options(
        &self,
        py: Python<'_>,
        expire_time: Option<f64>,
        tag: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<ItemOptions> {
        let mut options = ItemOptions::new();
        if let Some(seconds) = expire_time {
            options = options.expires_at(time_of(py, seconds)?);
        }
        if let Some(tag) = tag {
            if let Ok(tags) = tag.cast_exact::<PyTuple>() {
                for tag in tags.iter() {
                    options = options.tag(tag_of(&tag)?);
                }
            } else {
                options = options.tag(tag_of(tag)?);
            }
        }
        Ok(options)
    }

    /// Calls `set` with what was encoded.
    fn set_encoded<R: Send>(
        py: Python<'_>,
        encoded: &Encoded,
        set: impl FnOnce(NewValue<'_>) -> drystone::Result<R> + Send,
    ) -> PyResult<R> {
        let parts: Vec<Part<'_>> = encoded.parts.iter().map(HeldPart::part).collect();
        let value = NewValue { head: &encoded.head, parts: &parts };
        // A short call is over before another thread could use the interpreter.
        let set = match parts.is_empty() {
            true => set(value),
            false => py.detach(|| set(value)),
        };
        checked(py, set)
    }

    fn value_in<'py>(&self, py: Python<'py>, item: &Item) -> PyResult<Bound<'py, PyAny>> {
        codec::decode(py, &item.head, &item.parts, self.pickle)
    }

    /// Value, expiry and tag.
    fn told<'py>(&self, py: Python<'py>, item: &Item) -> PyResult<Bound<'py, PyTuple>> {
        told(py, item, self.pickle)
    }
}

#[pymethods]
impl RawCache {
    #[new]
    #[pyo3(signature = (directory, *, name="default", size_limit=Limit::Unsaid, item_limit=Limit::Unsaid,
        eviction_policy=None, statistics=None, pickle=false, maintenance=None))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        directory: PathBuf,
        name: &str,
        size_limit: Limit,
        item_limit: Limit,
        eviction_policy: Option<&str>,
        statistics: Option<bool>,
        pickle: bool,
        maintenance: Option<f64>,
    ) -> PyResult<Self> {
        let mut options =
            settings(py, size_limit, item_limit, eviction_policy, statistics)?.name(name);
        if let Some(seconds) = maintenance {
            options = options.maintenance(crate::refs::seconds(py, seconds)?);
        }
        let opened = py.detach(|| {
            let store = drystone::Store::create(directory)?;
            let is_new = store.refs(&format!("cache:{name}:set")).get("settings")?.is_none();
            Ok((Cache::on(&store, &options)?, is_new))
        });
        let (cache, is_new) = checked(py, opened)?;
        Ok(Self { cache, pickle, is_new })
    }

    /// Whether nobody had given it settings before.
    #[getter]
    fn _is_new(&self) -> bool {
        self.is_new
    }

    /// The value of a key, or default.
    #[pyo3(signature = (key, default=None))]
    fn _get<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let key = codec::encode_key(key)?;
        let pickle = self.pickle;
        let got = self.cache.get_with(&key, |head, parts| codec::decode(py, head, &parts, pickle));
        match checked(py, got)? {
            Some(value) => value.map(Some),
            None => Ok(default),
        }
    }

    /// Value, expiry and tag of a key, or None.
    fn _get_all<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
        stale: bool,
    ) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let key = codec::encode_key(key)?;
        let item = if stale { self.cache.get_stale(&key) } else { self.cache.get(&key) };
        checked(py, item)?.map(|item| self.told(py, &item)).transpose()
    }

    /// The parts of a value as buffers, or None.
    fn _read<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let key = codec::encode_key(key)?;
        let Some(item) = checked(py, self.cache.get(&key))? else { return Ok(None) };
        match item.parts.first() {
            Some(drystone::cache::CacheBytes::View(blob)) if codec::is_bytes_part(&item.head) => {
                Ok(Some(Bound::new(py, crate::blob::Blob::new(blob.clone()))?.into_any()))
            }
            _ => self.value_in(py, &item).map(Some),
        }
    }

    #[pyo3(signature = (key, value, expire_time=None, tag=None, add=false))]
    fn _set<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
        value: &Bound<'py, PyAny>,
        expire_time: Option<f64>,
        tag: Option<&Bound<'py, PyAny>>,
        add: bool,
    ) -> PyResult<bool> {
        let key = codec::encode_key(key)?;
        let encoded = codec::encode(value, self.pickle)?;
        let options = self.options(py, expire_time, tag)?;
        Self::set_encoded(py, &encoded, |value| match add {
            true => self.cache.add(&key, value, &options),
            false => self.cache.set_value(&key, value, &options).map(|_| true),
        })
    }

    fn __contains__(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        let key = codec::encode_key(key)?;
        checked(py, self.cache.contains(&key))
    }

    /// How many entries; those that have expired, or whose tag was evicted, count until they are taken out.
    fn __len__(&self) -> usize {
        self.cache.len() as usize
    }

    fn _delete(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        let key = codec::encode_key(key)?;
        checked(py, self.cache.delete(&key))
    }

    #[pyo3(signature = (key, expire_time=None))]
    fn _touch(
        &self,
        py: Python<'_>,
        key: &Bound<'_, PyAny>,
        expire_time: Option<f64>,
    ) -> PyResult<bool> {
        let key = codec::encode_key(key)?;
        let expires = expire_time.map(|seconds| time_of(py, seconds)).transpose()?;
        checked(py, self.cache.touch(&key, expires))
    }

    /// Adds to a number, in one step that nobody comes between; default None: a key that has no value is an error.
    fn _incr<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
        delta: &Bound<'py, PyAny>,
        default: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let bytes = codec::encode_key(key)?;
        loop {
            let old = checked(py, self.cache.get(&bytes))?;
            let sum = match (&old, default) {
                (Some(item), _) => sum_of(&self.value_in(py, item)?, delta)?,
                (None, Some(default)) => sum_of(default, delta)?,
                _ => return Err(pyo3::exceptions::PyKeyError::new_err(key.clone().unbind())),
            };
            let encoded = codec::encode(&sum, false)?;
            let mut options = ItemOptions::new();
            if let Some(item) = &old {
                options = item.tags.iter().cloned().fold(options, ItemOptions::tag);
                options = options.expires_at(item.expires);
            }
            let value = NewValue { head: &encoded.head, parts: &[] };
            let expected = old.map(|item| item.version);
            if checked(py, self.cache.compare_and_set(&bytes, expected, value, &options))?.is_some()
            {
                return Ok(sum);
            }
        }
    }

    /// The sum of two numbers, as `_incr` makes it.
    #[staticmethod]
    fn _sum<'py>(
        number: &Bound<'py, PyAny>,
        delta: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        sum_of(number, delta)
    }

    /// What stands under a key, to be put back; None if it has no value.
    fn _snapshot(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<Option<Snapshot>> {
        let key = codec::encode_key(key)?;
        let item = checked(py, self.cache.snapshot(&key))?;
        Ok(item.map(|item| Snapshot::new(item, self.pickle)))
    }

    /// Sets a key if its version is the one expected (None: only if it has no value); its new version, or None.
    /// like: expiry and tags are those of this one.
    #[pyo3(signature = (key, expected, value, expire_time=None, tag=None, like=None))]
    #[allow(clippy::too_many_arguments)]
    fn _replace<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
        expected: Option<u64>,
        value: &Bound<'py, PyAny>,
        expire_time: Option<f64>,
        tag: Option<&Bound<'py, PyAny>>,
        like: Option<&Bound<'py, Snapshot>>,
    ) -> PyResult<Option<u64>> {
        let key = codec::encode_key(key)?;
        let encoded = codec::encode(value, self.pickle)?;
        let mut options = self.options(py, expire_time, tag)?;
        if let Some(like) = like {
            let item = like.get().item();
            options = item.tags.iter().cloned().fold(ItemOptions::new(), ItemOptions::tag);
            options = options.expires_at(item.expires);
        }
        let expected = expected.map(Version::from_number);
        let set = Self::set_encoded(py, &encoded, |value| {
            self.cache.compare_and_set(&key, expected, value, &options)
        })?;
        Ok(set.map(Version::number))
    }

    /// Puts what was read back under its key, if its version is the one expected; its new version, or None.
    /// touched: with this expiry.
    #[pyo3(signature = (key, expected, snapshot, *, touched=false, expire_time=None))]
    fn _restore(
        &self,
        py: Python<'_>,
        key: &Bound<'_, PyAny>,
        expected: Option<u64>,
        snapshot: &Bound<'_, Snapshot>,
        touched: bool,
        expire_time: Option<f64>,
    ) -> PyResult<Option<u64>> {
        let (key, item) = (codec::encode_key(key)?, snapshot.get().item());
        let expires = match touched {
            true => expire_time.map(|seconds| time_of(py, seconds)).transpose()?,
            false => item.expires,
        };
        let expected = expected.map(Version::from_number);
        let set = py.detach(|| self.cache.restore_until(&key, expected, item, expires));
        Ok(checked(py, set)?.map(Version::number))
    }

    /// Removes a key if its version is the one expected.
    fn _remove(&self, py: Python<'_>, key: &Bound<'_, PyAny>, expected: u64) -> PyResult<bool> {
        let key = codec::encode_key(key)?;
        checked(py, self.cache.remove_exactly(&key, Version::from_number(expected)))
    }

    /// Puts a value at an end of a queue; its number, and the version of its key.
    #[pyo3(signature = (prefix, value, side, expire_time=None, tag=None))]
    fn _push<'py>(
        &self,
        py: Python<'py>,
        prefix: Option<&str>,
        value: &Bound<'py, PyAny>,
        side: &str,
        expire_time: Option<f64>,
        tag: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<(u64, u64)> {
        let side = side_of(py, side)?;
        let encoded = codec::encode(value, self.pickle)?;
        let options = self.options(py, expire_time, tag)?;
        let (number, version) = Self::set_encoded(py, &encoded, |value| {
            with_queue(prefix, |queue| self.cache.push(queue, side, value, &options))
        })?;
        Ok((number, version.number()))
    }

    /// The number and the entry at an end of a queue; None if there is none.
    fn _peek(
        &self,
        py: Python<'_>,
        prefix: Option<&str>,
        side: &str,
    ) -> PyResult<Option<(u64, Snapshot)>> {
        let side = side_of(py, side)?;
        let found = checked(py, with_queue(prefix, |queue| self.cache.peek(queue, side)))?;
        Ok(found.map(|(number, item)| (number, Snapshot::new(item, self.pickle))))
    }

    /// Makes what stands under a key of a queue a part of it.
    fn _adopt(&self, py: Python<'_>, prefix: Option<&str>, number: u64) -> PyResult<()> {
        checked(py, with_queue(prefix, |queue| self.cache.adopt(queue, number)))
    }

    /// All keys: "any", "insertion" or "sorted" by their encoding.
    fn _keys<'py>(&self, py: Python<'py>, order: &str) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let keys = py.detach(|| match order {
            "insertion" => self.cache.keys_by_insertion(),
            _ => self.cache.keys(),
        });
        checked(py, keys)?.iter().map(|key| codec::decode(py, key, &[], false)).collect()
    }

    /// The first or last key by insertion, in a tuple; None if there is none.
    fn _end<'py>(&self, py: Python<'py>, last: bool) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let key = checked(py, py.detach(|| self.cache.end_by_insertion(last)))?;
        key.map(|key| PyTuple::new(py, [codec::decode(py, &key, &[], false)?])).transpose()
    }

    fn _clear(&self, py: Python<'_>) -> PyResult<()> {
        checked(py, py.detach(|| self.cache.clear()))
    }

    fn _evict(&self, py: Python<'_>, tag: &Bound<'_, PyAny>) -> PyResult<()> {
        let tag = tag_of(tag)?;
        checked(py, py.detach(|| self.cache.evict(&tag)))
    }

    fn _evict_counted(&self, py: Python<'_>, tag: &Bound<'_, PyAny>) -> PyResult<u64> {
        let tag = tag_of(tag)?;
        checked(py, py.detach(|| self.cache.evict_counted(&tag)))
    }

    /// All keys that carry a tag.
    fn _keys_tagged<'py>(
        &self,
        py: Python<'py>,
        tag: &Bound<'py, PyAny>,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let tag = tag_of(tag)?;
        let keys = checked(py, py.detach(|| self.cache.keys_tagged(&tag)))?;
        keys.iter().map(|key| codec::decode(py, key, &[], false)).collect()
    }

    /// Removes what has expired; now: as if it were so late already.
    #[pyo3(signature = (now=None))]
    fn _expire(&self, py: Python<'_>, now: Option<f64>) -> PyResult<u64> {
        let now = now.map(|seconds| time_of(py, seconds)).transpose()?;
        checked(
            py,
            py.detach(|| match now {
                Some(now) => self.cache.expire_before(now),
                None => self.cache.expire(),
            }),
        )
    }

    fn _cull(&self, py: Python<'_>) -> PyResult<u64> {
        checked(py, py.detach(|| self.cache.cull()))
    }

    /// Bytes of keys and values, of what `len` counts.
    fn volume(&self) -> u64 {
        self.cache.volume().0
    }

    fn _stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.cache.stats();
        let told = PyDict::new(py);
        told.set_item("hits", stats.hits)?;
        told.set_item("misses", stats.misses)?;
        told.set_item("sets", stats.sets)?;
        told.set_item("evictions", stats.evictions)?;
        told.set_item("expirations", stats.expirations)?;
        told.set_item("bytes", stats.bytes)?;
        told.set_item("items", stats.items)?;
        Ok(told)
    }

    fn _reset_stats(&self) {
        self.cache.reset_stats();
    }

    fn _settings<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let settings = checked(py, self.cache.settings())?;
        let told = PyDict::new(py);
        told.set_item("size_limit", settings.size_limit)?;
        told.set_item("item_limit", settings.item_limit)?;
        told.set_item("eviction_policy", settings.policy.name())?;
        told.set_item("statistics", settings.statistics)?;
        Ok(told)
    }

    #[pyo3(signature = (*, size_limit=Limit::Unsaid, item_limit=Limit::Unsaid, eviction_policy=None,
        statistics=None))]
    fn _change_settings(
        &self,
        py: Python<'_>,
        size_limit: Limit,
        item_limit: Limit,
        eviction_policy: Option<&str>,
        statistics: Option<bool>,
    ) -> PyResult<()> {
        let options = settings(py, size_limit, item_limit, eviction_policy, statistics)?;
        checked(py, py.detach(|| self.cache.change_settings(&options))).map(drop)
    }

    /// Tries to be who computes the value of a key; None while somebody else is.
    fn _claim(
        &self,
        py: Python<'_>,
        key: &Bound<'_, PyAny>,
        owner: u64,
    ) -> PyResult<Option<Flight>> {
        let key = codec::encode_key(key)?;
        let claim = checked(py, self.cache.claim(&key, owner))?;
        Ok(claim.map(|claim| Flight(Mutex::new(Some(claim)))))
    }

    fn _change_ticket(&self) -> u64 {
        self.cache.change_ticket()
    }

    /// Sleeps until something has changed since the ticket, 50 ms at most.
    fn _await_change(&self, py: Python<'_>, ticket: u64, seconds: f64) -> PyResult<()> {
        let time = crate::refs::seconds(py, seconds.max(0.0))?;
        py.detach(|| self.cache.await_change(ticket, time));
        py.check_signals()
    }

    fn _sync(&self, py: Python<'_>) -> PyResult<()> {
        checked(py, py.detach(|| self.cache.store().sync()))
    }

    /// The bytes under which a key is stored.
    #[staticmethod]
    fn _encode_key<'py>(py: Python<'py>, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &codec::encode_key(key)?))
    }
}

/// Whole numbers of 64 bits add up to one; with others that are numbers, to a float.
fn sum_of<'py>(
    number: &Bound<'py, PyAny>,
    delta: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = number.py();
    let is_number =
        number.is_exact_instance_of::<PyInt>() || number.is_exact_instance_of::<PyFloat>();
    if !is_number {
        return Err(own(py, "UnsupportedType", "the value is not a number"));
    }
    let whole = |it: &Bound<'py, PyAny>| match it.is_instance_of::<PyFloat>() {
        true => None,
        false => it.extract::<i64>().ok(),
    };
    if let (Some(number), Some(delta)) = (whole(number), whole(delta)) {
        let sum = number.checked_add(delta);
        let sum = sum.ok_or_else(|| invalid(py, "the sum does not fit into 64 bits"))?;
        return Ok(sum.into_pyobject(py)?.into_any());
    }
    if !number.is_instance_of::<PyFloat>() && !delta.is_instance_of::<PyFloat>() {
        return Err(match delta.is_instance_of::<PyInt>() {
            true => invalid(py, "the sum does not fit into 64 bits"),
            false => own(py, "UnsupportedType", "what is added is not a number"),
        });
    }
    let sum = number.extract::<f64>()? + delta.extract::<f64>()?;
    Ok(sum.into_pyobject(py)?.into_any())
}

/// Settings as Python says them.
fn settings(
    py: Python<'_>,
    size_limit: Limit,
    item_limit: Limit,
    eviction_policy: Option<&str>,
    statistics: Option<bool>,
) -> PyResult<CacheOptions> {
    let mut options = CacheOptions::new();
    if let Limit::Said(bytes) = size_limit {
        options = options.size_limit(bytes);
    }
    if let Limit::Said(items) = item_limit {
        options = options.item_limit(items);
    }
    if let Some(name) = eviction_policy {
        options = options.policy(checked(py, name.parse::<EvictionPolicy>())?);
    }
    if let Some(yes) = statistics {
        options = options.statistics(yes);
    }
    Ok(options)
}
