//! A blob as Python sees it: a read-only buffer over the mapping, which it keeps.

use crate::errors::damaged;
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::collections::BTreeSet;
use std::ffi::c_int;
use std::sync::{Mutex, PoisonError};

/// Blobs that are known to be what they were.
const VERIFIED_MAX: usize = 1 << 16;

/// Bytes in the store, without a copy. `memoryview(blob)`, `bytes(blob)` and `numpy.frombuffer(blob)` see
/// them; whatever looks at them keeps them, also after the store is closed.
#[pyclass(frozen, module = "drystone")]
pub struct Blob(drystone::Blob);

impl Blob {
    /// The view of the store.
    pub fn new(blob: drystone::Blob) -> Self {
        Self(blob)
    }
}

#[pymethods]
impl Blob {
    fn __len__(&self) -> usize {
        self.0.len()
    }

    /// The id, as text.
    #[getter]
    fn id(&self) -> String {
        self.0.id().to_string()
    }

    /// Number of bytes.
    #[getter]
    fn nbytes(&self) -> usize {
        self.0.len()
    }

    fn __bytes__<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0)
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| other.get().0.id() == self.0.id())
    }

    fn __hash__(&self) -> u64 {
        u64::from_le_bytes(*self.0.id().digest().first_chunk().unwrap_or(&[0; 8]))
    }

    /// Damaged unless the bytes are what the id says. They are hashed once in a process for each place they lie at.
    fn _verify(&self, py: Python<'_>) -> PyResult<()> {
        static VERIFIED: Mutex<BTreeSet<(usize, String)>> = Mutex::new(BTreeSet::new());
        let verified = || VERIFIED.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (self.0.as_ptr() as usize, self.id());
        if verified().contains(&place) {
            return Ok(());
        }
        if !py.detach(|| self.0.is_intact()) {
            let message = format!(
                "the stored bytes of {} are not what their id says, in segment {}: delete the value and set it again",
                self.0.id(),
                self.0.segment()
            );
            return Err(damaged(py, &message));
        }
        let mut verified = verified();
        if verified.len() >= VERIFIED_MAX {
            verified.clear();
        }
        verified.insert(place);
        Ok(())
    }

    fn __repr__(&self) -> String {
        format!("<drystone.Blob {} of {} bytes>", self.0.id(), self.0.len())
    }

    /// Another process gets the bytes: it need not have the store.
    fn __reduce__<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, PyAny>, (Bound<'py, PyBytes>,))> {
        Ok((py.import("builtins")?.getattr("bytes")?, (PyBytes::new(py, &self.0),)))
    }

    /// SAFETY: Python calls this with a view to be filled, and releases the view before the blob.
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        if flags & ffi::PyBUF_WRITABLE == ffi::PyBUF_WRITABLE {
            return Err(PyBufferError::new_err("a blob is read-only: copy it to change it"));
        }
        let bytes: &[u8] = &slf.get().0;
        // SAFETY: `view` is the caller's; the bytes are immutable and live as long as the blob, of
        // which `PyBuffer_FillInfo` takes a reference (spec/SOUNDNESS.md).
        let filled = unsafe {
            ffi::PyBuffer_FillInfo(
                view,
                slf.as_ptr(),
                bytes.as_ptr().cast_mut().cast(),
                bytes.len().cast_signed(),
                1,
                flags,
            )
        };
        if filled == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }
}
