//! Bytes to values. Every length is checked against what is there: hostile bytes give an error.

use super::tags::*;
use crate::blob::Blob;
use crate::ending::calling;
use crate::errors::own;
use drystone::cache::CacheBytes;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{
    PyByteArray, PyBytes, PyComplex, PyDict, PyFloat, PyFrozenSet, PyList, PySet, PyString, PyTuple,
};

/// A part as it was read.
pub type PartView = CacheBytes;

/// A part for Python: a view of the store, or bytes of Python's own.
fn to_python<'py>(py: Python<'py>, part: &PartView) -> PyResult<Bound<'py, PyAny>> {
    Ok(match part {
        CacheBytes::View(blob) => Bound::new(py, Blob::new(blob.clone()))?.into_any(),
        CacheBytes::Owned(bytes) => PyBytes::new(py, bytes).into_any(),
    })
}

struct Decoder<'a, 'py> {
    py: Python<'py>,
    bytes: &'a [u8],
    parts: &'a [PartView],
    depth: usize,
    pickle: bool,
    /// The containers by number, `None` while they are incomplete, where the value says that some are met again.
    met: Option<Vec<Option<Bound<'py, PyAny>>>>,
    /// Depth of sets, keys and named values, in which none is.
    closed: usize,
}

fn bad(py: Python<'_>, what: &str) -> PyErr {
    own(py, "BadValue", format!("a stored value cannot be decoded: {what}"))
}

fn unhashable(py: Python<'_>) -> PyErr {
    bad(py, "an item of a set, or a key, cannot be one")
}

/// Whether a head says that the value is the bytes of its first part, as they are.
pub fn is_bytes_part(head: &[u8]) -> bool {
    matches!(head, [VERSION | SHARED, BYTES_PART | BYTEARRAY_PART, 0])
}

/// Decodes a value.
pub fn decode<'py>(
    py: Python<'py>,
    head: &[u8],
    parts: &[PartView],
    pickle: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let (bytes, parts) = match (head, parts) {
        ([OUTSIDE], [structure, parts @ ..]) => (&structure[..], parts),
        _ => (head, parts),
    };
    let (met, bytes) = match bytes {
        [VERSION, bytes @ ..] => (None, bytes),
        [SHARED, bytes @ ..] => (Some(Vec::new()), bytes),
        _ => return Err(bad(py, "another version of the codec wrote it, or something else")),
    };
    let mut decoder = Decoder { py, bytes, parts, depth: 0, pickle, met, closed: 0 };
    let value = decoder.value()?;
    if decoder.bytes.is_empty() { Ok(value) } else { Err(bad(py, "bytes are left over")) }
}

impl<'a, 'py> Decoder<'a, 'py> {
    fn take(&mut self, len: usize) -> PyResult<&'a [u8]> {
        let (taken, rest) =
            self.bytes.split_at_checked(len).ok_or_else(|| bad(self.py, "it is cut short"))?;
        self.bytes = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> PyResult<u8> {
        Ok(self.take(1)?[0])
    }

    fn varint(&mut self) -> PyResult<u64> {
        let mut word = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            word |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(word);
            }
        }
        Err(bad(self.py, "a number is too long"))
    }

    /// A length that stands before as many bytes.
    fn run(&mut self) -> PyResult<&'a [u8]> {
        let len = self.varint()?;
        self.take(usize::try_from(len).unwrap_or(usize::MAX))
    }

    /// How many items follow, of one byte at least.
    fn count(&mut self) -> PyResult<usize> {
        let count = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
        if count <= self.bytes.len() { Ok(count) } else { Err(bad(self.py, "it is cut short")) }
    }

    fn part(&mut self) -> PyResult<&'a PartView> {
        let at = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
        self.parts.get(at).ok_or_else(|| bad(self.py, "a part is missing"))
    }

    fn text(&mut self, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        let text = std::str::from_utf8(bytes).map_err(|_| bad(self.py, "a text is no UTF-8"))?;
        Ok(PyString::new(self.py, text).into_any())
    }

    fn value(&mut self) -> PyResult<Bound<'py, PyAny>> {
        let py = self.py;
        Ok(match self.byte()? {
            NONE => py.None().into_bound(py),
            FALSE => false.into_pyobject(py)?.to_owned().into_any(),
            TRUE => true.into_pyobject(py)?.to_owned().into_any(),
            INT => {
                let word = self.varint()?;
                let number = (word >> 1).cast_signed() ^ -((word & 1).cast_signed());
                number.into_pyobject(py)?.into_any()
            }
            LONG => {
                let bytes = PyBytes::new(py, self.run()?);
                let options = PyDict::new(py);
                options.set_item("signed", true)?;
                let int = py.get_type::<pyo3::types::PyInt>();
                int.call_method("from_bytes", (bytes, "little"), Some(&options))?
            }
            FLOAT => PyFloat::new(py, self.double()?).into_any(),
            COMPLEX => {
                let (real, imaginary) = (self.double()?, self.double()?);
                PyComplex::from_doubles(py, real, imaginary).into_any()
            }
            STR => {
                let bytes = self.run()?;
                self.text(bytes)?
            }
            BYTES => PyBytes::new(py, self.run()?).into_any(),
            BYTEARRAY => PyByteArray::new(py, self.run()?).into_any(),
            STR_PART => {
                let part = self.part()?;
                self.text(part)?
            }
            BYTES_PART => PyBytes::new(py, self.part()?).into_any(),
            BYTEARRAY_PART => PyByteArray::new(py, self.part()?).into_any(),
            BUFFER_PART => to_python(py, self.part()?)?,
            ARRAY_PART => {
                let part = to_python(py, self.part()?)?;
                array(&part)?
            }
            ARRAY => {
                let bytes = PyBytes::new(py, self.run()?);
                array(bytes.as_any())?
            }
            SAME => {
                let at = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
                let met = self.met.as_ref().filter(|_| self.closed == 0);
                let known = met.and_then(|met| met.get(at)?.clone());
                known.ok_or_else(|| bad(py, "there is no container of that number"))?
            }
            tag => self.nested(tag)?,
        })
    }

    /// What cannot be the same as something else.
    fn closed(&mut self) -> PyResult<Bound<'py, PyAny>> {
        self.closed += 1;
        let value = self.value()?;
        self.closed -= 1;
        Ok(value)
    }

    fn double(&mut self) -> PyResult<f64> {
        let bytes = self.take(8)?.try_into().map_err(|_| bad(self.py, "it is cut short"))?;
        Ok(f64::from_le_bytes(bytes))
    }

    fn nested(&mut self, tag: u8) -> PyResult<Bound<'py, PyAny>> {
        let py = self.py;
        self.depth += 1;
        if self.depth > DEPTH_MAX + 10 {
            return Err(bad(py, "containers are too deep"));
        }
        let is_numbered = self.closed == 0 && (TUPLE..=FROZENSET).contains(&tag);
        let number = self.met.as_mut().filter(|_| is_numbered).map(|met| {
            met.push(None);
            met.len() - 1
        });
        let value = self.content(tag)?;
        if let (Some(met), Some(number)) = (&mut self.met, number) {
            met[number] = Some(value.clone());
        }
        self.depth -= 1;
        Ok(value)
    }

    fn content(&mut self, tag: u8) -> PyResult<Bound<'py, PyAny>> {
        let py = self.py;
        Ok(match tag {
            TUPLE => PyTuple::new(py, self.items(Self::value)?)?.into_any(),
            LIST => PyList::new(py, self.items(Self::value)?)?.into_any(),
            SET => {
                let items = self.items(Self::closed)?;
                PySet::new(py, items).map_err(|_| unhashable(py))?.into_any()
            }
            FROZENSET => {
                let items = self.items(Self::closed)?;
                PyFrozenSet::new(py, items).map_err(|_| unhashable(py))?.into_any()
            }
            DICT => {
                let dict = PyDict::new(py);
                for _ in 0..self.count()? {
                    let key = self.closed()?;
                    let value = self.value()?;
                    dict.set_item(key, value).map_err(|_| unhashable(py))?;
                }
                dict.into_any()
            }
            OTHER => {
                let bytes = self.run()?;
                let name = self.text(bytes)?;
                let value = self.closed()?;
                static PUT_TOGETHER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
                let put_together = PUT_TOGETHER.import(py, "drystone._types", "put_together")?;
                calling(py, || put_together.call1((name, value, self.pickle)))?
            }
            _ => return Err(bad(py, "an unknown type")),
        })
    }

    fn items(
        &mut self,
        item: impl Fn(&mut Self) -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let count = self.count()?;
        (0..count).map(|_| item(self)).collect()
    }
}

/// The array in the bytes of a `.npy` file.
fn array<'py>(bytes: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    static ARRAY_IN: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let array_in = ARRAY_IN.import(bytes.py(), "drystone._types", "array_in")?;
    calling(bytes.py(), || array_in.call1((bytes,)))
}
