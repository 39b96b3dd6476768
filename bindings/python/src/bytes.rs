//! The bytes of Python objects, as the store takes them.

use crate::errors::invalid;
use drystone::Racy;
use pyo3::buffer::PyUntypedBuffer;
use pyo3::prelude::*;

/// The memory of an object that has contiguous bytes, held for as long as this lives.
pub struct Held {
    buffer: PyUntypedBuffer,
    len: usize,
}

// A `PyUntypedBuffer` may be read by any thread while it is held; it is released under the interpreter.

impl Held {
    /// Takes hold of the bytes of an object.
    pub fn new(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let held = Self::scattered(object)?;
        if !held.is_row() {
            return Err(invalid(
                object.py(),
                "the bytes do not stand in a row: pass a contiguous copy, or put_array",
            ));
        }
        Ok(held)
    }

    /// Takes hold of the elements of an object, which need not stand in a row.
    pub fn scattered(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let buffer = PyUntypedBuffer::get(object)?;
        if buffer.suboffsets().is_some_and(|all| all.iter().any(|&it| it >= 0)) {
            return Err(invalid(object.py(), "the rows are behind pointers: pass a copy"));
        }
        let len = buffer.len_bytes();
        Ok(Self { buffer, len })
    }

    /// Whether the bytes stand in a row.
    pub fn is_row(&self) -> bool {
        self.buffer.is_c_contiguous()
    }

    /// Where its first element stands, and the shape, strides and item size by which others are found. All that these
    /// lead to stays readable while this lives.
    pub fn layout(&self) -> (*const u8, &[usize], &[isize], usize) {
        let buffer = &self.buffer;
        (buffer.buf_ptr().cast(), buffer.shape(), buffer.strides(), buffer.item_size())
    }

    /// Its bytes, which other threads of the program may be writing.
    pub fn racy(&self) -> Racy<'_> {
        if self.len == 0 {
            return Racy::from(&[][..]);
        }
        // SAFETY: the buffer is held, so its memory stays mapped and readable for the lifetime.
        unsafe { Racy::new(self.buffer.buf_ptr().cast(), self.len) }
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.len
    }
}
