//! Entries of a cache as they were read: what is taken from a queue, and what a transaction puts back.

use crate::codec;
use crate::errors::invalid;
use drystone::cache::{Item, Queue, Side};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An entry as it was read.
#[pyclass(frozen, module = "drystone")]
pub struct Snapshot {
    item: Item,
    pickle: bool,
}

#[pymethods]
impl Snapshot {
    /// Which setting of its key it is.
    #[getter]
    fn version(&self) -> u64 {
        self.item.version.number()
    }

    /// Value, expiry and tag.
    fn told<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        told(py, &self.item, self.pickle)
    }
}

impl Snapshot {
    /// An entry, and whether its pickles are read.
    pub fn new(item: Item, pickle: bool) -> Self {
        Self { item, pickle }
    }

    /// The entry.
    pub fn item(&self) -> &Item {
        &self.item
    }
}

/// Seconds since 1970 as a time.
pub fn time_of(py: Python<'_>, seconds: f64) -> PyResult<SystemTime> {
    let since = Duration::try_from_secs_f64(seconds.max(0.0));
    let time = since.ok().and_then(|since| UNIX_EPOCH.checked_add(since));
    time.ok_or_else(|| invalid(py, "the expiry is no time that can be told"))
}

fn seconds_of(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Tags are texts in the store; any value of a key may be one.
pub fn tag_of(tag: &Bound<'_, PyAny>) -> PyResult<String> {
    let bytes = codec::encode_key(tag)?;
    Ok(match tag.extract::<String>() {
        Ok(text) => format!("s{text}"),
        Err(_) => bytes.iter().fold("x".to_owned(), |hex, byte| format!("{hex}{byte:02x}")),
    })
}

fn tag_back<'py>(py: Python<'py>, tag: &str) -> PyResult<Bound<'py, PyAny>> {
    if let Some(text) = tag.strip_prefix('s') {
        return Ok(text.into_pyobject(py)?.into_any());
    }
    let hex = tag.strip_prefix('x').unwrap_or_default().as_bytes();
    let digit = |byte: u8| (byte as char).to_digit(16).unwrap_or(0) as u8;
    let bytes: Vec<u8> =
        hex.chunks(2).map(|two| digit(two[0]) << 4 | digit(two[two.len() - 1])).collect();
    codec::decode(py, &bytes, &[], false)
}

/// Value, expiry and tag of an entry.
pub fn told<'py>(py: Python<'py>, item: &Item, pickle: bool) -> PyResult<Bound<'py, PyTuple>> {
    let value = codec::decode(py, &item.head, &item.parts, pickle)?;
    let expires = item.expires.map(seconds_of);
    let tags: Vec<_> = item.tags.iter().map(|tag| tag_back(py, tag)).collect::<PyResult<_>>()?;
    let tag = match tags.len() {
        0 => py.None().into_bound(py),
        1 => tags[0].clone(),
        _ => PyTuple::new(py, tags)?.into_any(),
    };
    PyTuple::new(py, [value, expires.into_pyobject(py)?.into_any(), tag])
}

/// What is done with a queue, whose keys are whole numbers, or `PREFIX-` and 15 digits.
pub fn with_queue<R>(prefix: Option<&str>, then: impl FnOnce(&Queue<'_>) -> R) -> R {
    let name = prefix.map_or_else(|| b"n".to_vec(), |prefix| format!("p{prefix}").into_bytes());
    let key = |number| codec::queue_key(prefix, number);
    then(&Queue::new(&name, &key))
}

/// The side that a text says.
pub fn side_of(py: Python<'_>, side: &str) -> PyResult<Side> {
    match side {
        "front" => Ok(Side::Front),
        "back" => Ok(Side::Back),
        _ => Err(invalid(py, "side is 'back' or 'front'")),
    }
}
