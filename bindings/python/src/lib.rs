//! Python bindings: the extension module `drystone._drystone`, on which the package builds.

mod blob;
mod bytes;
mod cache;
mod codec;
mod draft;
mod ending;
mod errors;
mod hashing;
mod refs;
mod snapshot;
mod store;
mod strided;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

/// A value as its head and its parts.
#[pyfunction]
#[pyo3(signature = (value, pickle=false))]
fn encode<'py>(value: &Bound<'py, PyAny>, pickle: bool) -> PyResult<Bound<'py, PyTuple>> {
    let py = value.py();
    let encoded = codec::encode(value, pickle)?;
    let parts: Vec<Bound<'py, PyBytes>> = encoded
        .parts
        .iter()
        .map(|part| match part {
            codec::HeldPart::Structure(bytes) => PyBytes::new(py, bytes),
            codec::HeldPart::Buffer(header, held) => {
                let mut bytes = header.clone();
                bytes.resize(header.len() + held.len(), 0);
                held.racy().copy_to(0, &mut bytes[header.len()..]);
                PyBytes::new(py, &bytes)
            }
        })
        .collect();
    let head = PyBytes::new(py, &encoded.head).into_any();
    PyTuple::new(py, [head, PyTuple::new(py, parts)?.into_any()])
}

/// The value of a head and its parts.
#[pyfunction]
#[pyo3(signature = (head, parts, pickle=false))]
fn decode<'py>(
    py: Python<'py>,
    head: &[u8],
    parts: Vec<Vec<u8>>,
    pickle: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let parts: Vec<_> = parts.into_iter().map(drystone::cache::CacheBytes::Owned).collect();
    codec::decode(py, head, &parts, pickle)
}

#[pymodule]
fn _drystone(module: &Bound<'_, PyModule>) -> PyResult<()> {
    errors::register(module)?;
    module.add_class::<blob::Blob>()?;
    module.add_class::<draft::RawDraft>()?;
    module.add_class::<refs::Refs>()?;
    module.add_class::<store::Store>()?;
    module.add_class::<cache::RawCache>()?;
    module.add_class::<cache::Flight>()?;
    module.add_class::<snapshot::Snapshot>()?;
    module.add_function(wrap_pyfunction!(hashing::hash_buffer, module)?)?;
    module.add_function(wrap_pyfunction!(encode, module)?)?;
    module.add_function(wrap_pyfunction!(decode, module)?)?;
    module.add_function(wrap_pyfunction!(ending::end_of_calls, module)?)?;
    module.add_function(wrap_pyfunction!(ending::calls_forked, module)?)?;
    Ok(())
}
