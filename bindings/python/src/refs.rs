//! `store.refs(namespace)`: mutable names.

use crate::bytes::Held;
use crate::errors::{checked, invalid};
use crate::store::id_of;
use drystone::{SetOptions, Value, Version};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyList, PyMemoryView, PyString, PyTuple};
use std::time::{Duration, UNIX_EPOCH};

/// Names of one namespace, bound to small bytes or to blobs. Keys are text or bytes.
#[pyclass(frozen, module = "drystone")]
pub struct Refs(drystone::Refs);

/// A key as bytes.
pub struct Key(Vec<u8>);

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl FromPyObject<'_, '_> for Key {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        if let Ok(text) = object.cast::<PyString>() {
            return Ok(Self(text.to_str()?.into()));
        }
        let bytes = bytes_of(&object)?;
        bytes.map(Self).ok_or_else(|| unfit("a key is a text or bytes", &object))
    }
}

/// What a ref may be bound to: bytes, the text of an id, or a list of them.
pub enum Target {
    Bytes(Vec<u8>),
    Id(String),
    Ids(Vec<String>),
}

impl FromPyObject<'_, '_> for Target {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        if let Ok(id) = object.cast::<PyString>() {
            return Ok(Self::Id(id.to_str()?.into()));
        }
        if let Some(bytes) = bytes_of(&object)? {
            return Ok(Self::Bytes(bytes));
        }
        // A list of numbers would be bytes to whoever asks for a sequence of them.
        let is_list = object.is_instance_of::<PyList>() || object.is_instance_of::<PyTuple>();
        let ids = is_list.then(|| object.extract().ok()).flatten();
        ids.map(Self::Ids).ok_or_else(|| {
            unfit("a ref is bound to bytes, the id of a blob, or a list of ids", &object)
        })
    }
}

/// A copy of the bytes in an object of one of the types that are nothing else.
fn bytes_of(object: &Bound<'_, PyAny>) -> PyResult<Option<Vec<u8>>> {
    let is_bytes = object.is_instance_of::<PyBytes>()
        || object.is_instance_of::<PyByteArray>()
        || object.is_instance_of::<PyMemoryView>();
    if !is_bytes {
        return Ok(None);
    }
    let held = Held::new(object)?;
    let mut bytes = vec![0; held.len()];
    held.racy().copy_to(0, &mut bytes);
    Ok(Some(bytes))
}

fn unfit(expected: &str, found: &Bound<'_, PyAny>) -> PyErr {
    let found = found.get_type();
    PyTypeError::new_err(format!("{expected}, not {found}"))
}

fn value_of(py: Python<'_>, value: Target) -> PyResult<Value> {
    Ok(match value {
        Target::Bytes(bytes) => Value::Bytes(bytes),
        Target::Id(id) => Value::Blob(id_of(py, &id)?),
        Target::Ids(ids) => {
            Value::Blobs(ids.iter().map(|id| id_of(py, id)).collect::<PyResult<_>>()?)
        }
    })
}

/// A hundred years: whoever waits longer waits for ever.
const WAIT_SECONDS_MAX: f64 = 3.2e9;

/// Seconds as a duration.
pub fn seconds(py: Python<'_>, seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|_| invalid(py, "seconds is a number from 0 on"))
}

fn told<'py>(py: Python<'py>, entry: &drystone::Entry) -> PyResult<Bound<'py, PyDict>> {
    let told = PyDict::new(py);
    told.set_item("key", PyBytes::new(py, &entry.key))?;
    match &entry.value {
        Value::Bytes(bytes) => told.set_item("value", PyBytes::new(py, bytes))?,
        Value::Blob(id) => told.set_item("value", id.to_string())?,
        _ => {
            let ids: Vec<String> = entry.blobs().iter().map(ToString::to_string).collect();
            told.set_item("value", ids)?;
        }
    }
    told.set_item("version", entry.version.number())?;
    let expires = entry.expires.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    told.set_item("expires", expires.map(|time| time.as_secs_f64()))?;
    told.set_item("tags", entry.tags.clone())?;
    told.set_item("metadata", PyBytes::new(py, &entry.metadata))?;
    Ok(told)
}

impl Refs {
    /// The refs of the store.
    pub fn new(refs: drystone::Refs) -> Self {
        Self(refs)
    }

    /// The refs of the store.
    pub fn inner(&self) -> &drystone::Refs {
        &self.0
    }

    fn options(
        py: Python<'_>,
        expire: Option<f64>,
        tags: Vec<String>,
        metadata: Vec<u8>,
    ) -> PyResult<SetOptions> {
        let options = tags.into_iter().fold(SetOptions::new(), SetOptions::tag).metadata(metadata);
        Ok(match expire {
            Some(after) => options.expires_in(seconds(py, after)?),
            None => options,
        })
    }
}

#[pymethods]
impl Refs {
    /// The namespace.
    #[getter]
    fn namespace(&self) -> &str {
        self.0.namespace()
    }

    /// Binds key to bytes (more than 4 KiB become a blob, and its id the value), to the id of a blob, or to a list
    /// of ids; the version.
    #[pyo3(signature = (key, value, *, expire=None, tags=Vec::new(), metadata=Vec::new()))]
    fn set(
        &self,
        py: Python<'_>,
        key: Key,
        value: Target,
        expire: Option<f64>,
        tags: Vec<String>,
        metadata: Vec<u8>,
    ) -> PyResult<u64> {
        let (value, options) = (value_of(py, value)?, Self::options(py, expire, tags, metadata)?);
        let set = py.detach(|| self.0.set_with(key, value, &options));
        Ok(checked(py, set)?.number())
    }

    /// Binds key only if there is no such ref; the version, or None.
    fn add(&self, py: Python<'_>, key: Key, value: Target) -> PyResult<Option<u64>> {
        let value = value_of(py, value)?;
        let set = py.detach(|| self.0.add(key, value));
        Ok(checked(py, set)?.map(Version::number))
    }

    /// Binds key only if its version is the one expected (None: only if there is none); the version, or None.
    fn compare_and_set(
        &self,
        py: Python<'_>,
        key: Key,
        expected: Option<u64>,
        value: Target,
    ) -> PyResult<Option<u64>> {
        let value = value_of(py, value)?;
        let expected = expected.map(Version::from_number);
        let set = py.detach(|| self.0.compare_and_set(key, expected, value));
        Ok(checked(py, set)?.map(Version::number))
    }

    /// What key is bound to, as a dict, or None.
    fn get<'py>(&self, py: Python<'py>, key: Key) -> PyResult<Option<Bound<'py, PyDict>>> {
        let entry = checked(py, self.0.get(key))?;
        entry.map(|entry| told(py, &entry)).transpose()
    }

    /// Waits until key is bound, by a later version than `than`, for so many seconds; None if time runs out.
    #[pyo3(signature = (key, timeout, *, than=None))]
    fn wait<'py>(
        &self,
        py: Python<'py>,
        key: Key,
        timeout: f64,
        than: Option<u64>,
    ) -> PyResult<Option<Bound<'py, PyDict>>> {
        let timeout = if timeout > WAIT_SECONDS_MAX { WAIT_SECONDS_MAX } else { timeout };
        let end = std::time::Instant::now() + seconds(py, timeout)?;
        loop {
            py.check_signals()?;
            let left = end.saturating_duration_since(std::time::Instant::now());
            let than = than.map(Version::from_number);
            let slice = left.min(Duration::from_millis(100));
            let entry = py.detach(|| self.0.wait_newer(&key, than, slice));
            if let Some(entry) = checked(py, entry)? {
                return told(py, &entry).map(Some);
            }
            if left <= slice {
                return Ok(None);
            }
        }
    }

    /// Removes a ref; False if there was none.
    fn remove(&self, py: Python<'_>, key: Key) -> PyResult<bool> {
        checked(py, py.detach(|| self.0.remove(key)))
    }

    /// All refs of the namespace, as dicts, in no order.
    fn items<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let entries: drystone::Result<Vec<_>> = py.detach(|| self.0.iter().collect());
        checked(py, entries)?.iter().map(|entry| told(py, entry)).collect()
    }

    fn __repr__(&self) -> String {
        format!("<drystone.Refs {:?}>", self.0.namespace())
    }
}
