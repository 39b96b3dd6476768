//! Values to bytes.

use super::tags::*;
use crate::bytes::Held;
use crate::ending::calling;
use crate::errors::own;
use drystone::cache::Part;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyComplex, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PySet,
    PyString, PyTuple,
};
use std::collections::HashMap;

/// A part, and whatever keeps its memory.
pub enum HeldPart {
    /// The structure, where it is long.
    Structure(Vec<u8>),
    /// A buffer behind a header (which may be empty).
    Buffer(Vec<u8>, Held),
}

impl HeldPart {
    /// As the cache takes it.
    pub fn part(&self) -> Part<'_> {
        match self {
            Self::Structure(bytes) => Part::Bytes(bytes),
            Self::Buffer(header, held) => Part::Headed(header, held.racy()),
        }
    }
}

/// A value, encoded.
pub struct Encoded {
    /// What stands in the entry.
    pub head: Vec<u8>,
    /// The parts.
    pub parts: Vec<HeldPart>,
}

struct Encoder<'py> {
    py: Python<'py>,
    bytes: Vec<u8>,
    parts: Vec<HeldPart>,
    depth: usize,
    pickle: bool,
    is_key: bool,
    /// Containers that have begun, but for those that are closed in.
    count: u64,
    /// Containers that are complete and that others hold, too, by address; each with its number, and held so that the
    /// address stays its own.
    met: HashMap<usize, (Bound<'py, PyAny>, Option<u64>)>,
    /// Depth of sets, keys and named values, in which all is written out: what is hashed, or put together by others,
    /// takes the time of what it is written out.
    closed: usize,
    /// Containers that were met before and written out; each counts twice for each other that it is in, up to 128 times.
    repeats: usize,
    /// How many of these this place is in.
    within: usize,
}

/// Encodes a value.
pub fn encode(value: &Bound<'_, PyAny>, pickle: bool) -> PyResult<Encoded> {
    let mut encoder = Encoder::new(value.py(), pickle, false);
    encoder.value(value)?;
    let Encoder { bytes: head, mut parts, .. } = encoder;
    if head.len() <= HEAD_BYTES_MAX {
        return Ok(Encoded { head, parts });
    }
    parts.insert(0, HeldPart::Structure(head));
    Ok(Encoded { head: vec![OUTSIDE], parts })
}

/// Encodes a key: equal keys give equal bytes, also `1`, `1.0` and `True`, which are one key of a dict.
pub fn encode_key(value: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    let mut encoder = Encoder::new(value.py(), false, true);
    encoder.value(value)?;
    Ok(encoder.bytes)
}

/// The key of a number in a queue: what `encode_key` makes of the whole number, or of `PREFIX-` and 15 digits.
pub fn queue_key(prefix: Option<&str>, number: u64) -> Vec<u8> {
    let text = prefix.map(|prefix| format!("{prefix}-{number:015}"));
    let (tag, mut word) = match &text {
        Some(text) => (STR, text.len() as u64),
        None => (INT, number << 1),
    };
    let mut key = vec![VERSION, tag];
    while word >= 0x80 {
        key.push(word as u8 | 0x80);
        word >>= 7;
    }
    key.push(word as u8);
    key.extend_from_slice(text.unwrap_or_default().as_bytes());
    key
}

/// What is known of a container.
#[derive(PartialEq)]
enum Again {
    No,
    Named,
    WrittenOut,
}

fn is_container(value: &Bound<'_, PyAny>) -> bool {
    value.is_exact_instance_of::<PyTuple>()
        || value.is_exact_instance_of::<PyList>()
        || value.is_exact_instance_of::<PyDict>()
        || value.is_exact_instance_of::<PySet>()
        || value.is_exact_instance_of::<PyFrozenSet>()
}

impl<'py> Encoder<'py> {
    fn new(py: Python<'py>, pickle: bool, is_key: bool) -> Self {
        let mut bytes = Vec::with_capacity(128);
        bytes.push(VERSION);
        let (parts, met) = (Vec::new(), HashMap::new());
        let closed = usize::from(is_key);
        Self {
            py,
            bytes,
            parts,
            depth: 0,
            pickle,
            is_key,
            count: 0,
            met,
            closed,
            repeats: 0,
            within: 0,
        }
    }

    fn value(&mut self, value: &Bound<'py, PyAny>) -> PyResult<()> {
        if let Ok(text) = value.cast_exact::<PyString>() {
            return self.text(text);
        }
        if let Ok(bytes) = value.cast_exact::<PyBytes>() {
            return self.data(BYTES, BYTES_PART, value, bytes.as_bytes());
        }
        if let Ok(number) = value.cast_exact::<PyInt>() {
            return self.int(number);
        }
        if let Ok(number) = value.cast_exact::<PyFloat>() {
            return self.float(number);
        }
        if value.is_none() {
            self.bytes.push(NONE);
            return Ok(());
        }
        if let Ok(truth) = value.cast_exact::<PyBool>() {
            return match (self.is_key, truth.is_true()) {
                (true, is_true) => self.word(INT, 2 * u64::from(is_true)),
                (false, is_true) => {
                    self.bytes.push(if is_true { TRUE } else { FALSE });
                    Ok(())
                }
            };
        }
        self.container(value)
    }

    fn container(&mut self, value: &Bound<'py, PyAny>) -> PyResult<()> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            let message =
                format!("containers in containers, more than {DEPTH_MAX} deep, or in themselves");
            return Err(own(self.py, "UnsupportedType", message));
        }
        let number = (self.closed == 0).then_some(self.count);
        let is_shared = self.is_shared(value)?;
        let again = if is_shared { self.again(value, number)? } else { Again::No };
        if again == Again::Named {
            self.depth -= 1;
            return Ok(());
        }
        let repeated = usize::from(again == Again::WrittenOut);
        self.within += repeated;
        self.content(value)?;
        self.within -= repeated;
        if is_shared {
            let known = self.met.entry(value.as_ptr() as usize);
            let known = known.or_insert_with(|| (value.clone(), None));
            known.1 = known.1.or(number);
        }
        self.depth -= 1;
        Ok(())
    }

    /// Whether this is a container of something that others hold, too.
    fn is_shared(&self, value: &Bound<'py, PyAny>) -> PyResult<bool> {
        // SAFETY: the object is alive, and the interpreter is held, under which its count is read.
        let holders = unsafe { pyo3::ffi::Py_REFCNT(value.as_ptr()) };
        // Whoever holds it, and this call.
        Ok(holders > 2 && is_container(value) && value.len()? > 0)
    }

    /// Whether the same container was met before; where its number says all, that is written.
    fn again(&mut self, value: &Bound<'py, PyAny>, number: Option<u64>) -> PyResult<Again> {
        let Some((_, known)) = self.met.get(&(value.as_ptr() as usize)) else {
            return Ok(Again::No);
        };
        if let (Some(known), Some(_)) = (*known, number) {
            self.bytes[0] = SHARED;
            return self.word(SAME, known).map(|()| Again::Named);
        }
        // In one another they soon are more than anybody means.
        self.repeats += 1 << self.within.min(7);
        if self.repeats > REPEATS_MAX {
            let message = "a key, a set or a table holds the same containers again and again, and would be \
                written out each time: name each once, and refer to it by its name";
            return Err(own(self.py, "UnsupportedType", message));
        }
        Ok(Again::WrittenOut)
    }

    fn content(&mut self, value: &Bound<'py, PyAny>) -> PyResult<()> {
        if self.closed == 0 && is_container(value) {
            self.count += 1;
        }
        if let Ok(tuple) = value.cast_exact::<PyTuple>() {
            self.word(TUPLE, tuple.len() as u64)?;
            tuple.iter().try_for_each(|item| self.value(&item))?;
        } else if let Ok(set) = value.cast_exact::<PyFrozenSet>() {
            self.set(FROZENSET, set.len(), set.iter())?;
        } else if let Ok(number) = value.cast_exact::<PyComplex>() {
            self.complex(number.real(), number.imag())?;
        } else if self.is_key {
            self.other(value)?;
        } else if let Ok(list) = value.cast_exact::<PyList>() {
            self.word(LIST, list.len() as u64)?;
            list.iter().try_for_each(|item| self.value(&item))?;
        } else if let Ok(dict) = value.cast_exact::<PyDict>() {
            self.word(DICT, dict.len() as u64)?;
            for (key, item) in dict.iter() {
                self.closed(&key)?;
                self.value(&item)?;
            }
        } else if let Ok(set) = value.cast_exact::<PySet>() {
            self.set(SET, set.len(), set.iter())?;
        } else if let Ok(bytes) = value.cast_exact::<PyByteArray>() {
            // Copied under the interpreter: it may be changed or resized by others.
            let copy = bytes.to_vec();
            let copy = PyBytes::new(self.py, &copy).into_any();
            let held = copy.cast::<PyBytes>()?.clone();
            self.data(BYTEARRAY, BYTEARRAY_PART, &copy, held.as_bytes())?;
        } else {
            self.other(value)?;
        }
        Ok(())
    }

    /// What is written out in full.
    fn closed(&mut self, value: &Bound<'py, PyAny>) -> PyResult<()> {
        self.closed += 1;
        self.value(value)?;
        self.closed -= 1;
        Ok(())
    }

    /// The items of a set in the order of their bytes, so that equal sets are equal bytes.
    fn set(
        &mut self,
        tag: u8,
        len: usize,
        items: impl Iterator<Item = Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        self.word(tag, len as u64)?;
        let start = self.bytes.len();
        let mut encoded = Vec::with_capacity(len);
        for item in items {
            self.closed(&item)?;
            encoded.push(self.bytes.split_off(start));
        }
        encoded.sort_unstable();
        encoded.iter().for_each(|item| self.bytes.extend_from_slice(item));
        Ok(())
    }

    fn word(&mut self, tag: u8, word: u64) -> PyResult<()> {
        self.bytes.push(tag);
        self.varint(word);
        Ok(())
    }

    fn varint(&mut self, mut word: u64) {
        while word >= 0x80 {
            self.bytes.push(word as u8 | 0x80);
            word >>= 7;
        }
        self.bytes.push(word as u8);
    }

    fn int(&mut self, number: &Bound<'py, PyInt>) -> PyResult<()> {
        if let Ok(small) = number.extract::<i64>() {
            return self.word(INT, ((small << 1) ^ (small >> 63)) as u64);
        }
        let bits: usize = number.call_method0("bit_length")?.extract()?;
        let len = bits / 8 + 1;
        let options = PyDict::new(self.py);
        options.set_item("signed", true)?;
        let bytes = number.call_method("to_bytes", (len, "little"), Some(&options))?;
        self.word(LONG, len as u64)?;
        self.bytes.extend_from_slice(bytes.cast::<PyBytes>()?.as_bytes());
        Ok(())
    }

    fn float(&mut self, number: &Bound<'py, PyFloat>) -> PyResult<()> {
        let value = number.value();
        if self.is_key && value.fract() == 0.0 {
            // The same key as the whole number; -0.0 is 0.
            return self.int(number.call_method0("__int__")?.cast::<PyInt>()?);
        }
        self.bytes.push(FLOAT);
        self.bytes.extend_from_slice(&value.to_le_bytes());
        Ok(())
    }

    fn complex(&mut self, real: f64, imaginary: f64) -> PyResult<()> {
        if self.is_key && imaginary == 0.0 {
            // The same key as the real number.
            return self.float(&PyFloat::new(self.py, real));
        }
        // Zeros of either sign are one key.
        let zero = if self.is_key { 0.0 } else { -0.0 };
        self.bytes.push(COMPLEX);
        self.bytes.extend_from_slice(&(real + zero).to_le_bytes());
        self.bytes.extend_from_slice(&(imaginary + zero).to_le_bytes());
        Ok(())
    }

    fn text(&mut self, text: &Bound<'py, PyString>) -> PyResult<()> {
        match text.to_cow() {
            Ok(utf8) if utf8.len() < PART_BYTES_MIN || self.is_key => {
                self.word(STR, utf8.len() as u64)?;
                self.bytes.extend_from_slice(utf8.as_bytes());
                Ok(())
            }
            Ok(utf8) => {
                let bytes = PyBytes::new(self.py, utf8.as_bytes());
                self.part(STR_PART, Vec::new(), bytes.as_any())
            }
            // Lone surrogates: Python's own way to write them.
            Err(_) => {
                let bytes = text.call_method1("encode", ("utf-8", "surrogatepass"))?;
                self.named("surrogates", &bytes)
            }
        }
    }

    fn data(&mut self, tag: u8, part: u8, value: &Bound<'py, PyAny>, bytes: &[u8]) -> PyResult<()> {
        if bytes.len() >= PART_BYTES_MIN && !self.is_key {
            return self.part(part, Vec::new(), value);
        }
        self.word(tag, bytes.len() as u64)?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn part(&mut self, tag: u8, header: Vec<u8>, value: &Bound<'py, PyAny>) -> PyResult<()> {
        self.word(tag, self.parts.len() as u64)?;
        self.parts.push(HeldPart::Buffer(header, Held::new(value)?));
        Ok(())
    }

    fn named(&mut self, name: &str, value: &Bound<'py, PyAny>) -> PyResult<()> {
        self.word(OTHER, name.len() as u64)?;
        self.bytes.extend_from_slice(name.as_bytes());
        self.closed(value)
    }

    /// What `drystone._types.take_apart` makes of it: an array (header, buffer), a buffer, another value,
    /// or a name and a value.
    fn other(&mut self, value: &Bound<'py, PyAny>) -> PyResult<()> {
        static TAKE_APART: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let take_apart = TAKE_APART.import(self.py, "drystone._types", "take_apart")?;
        let apart = calling(self.py, || take_apart.call1((value, self.pickle, self.is_key)))?;
        let (what, first, second): (String, Bound<'py, PyAny>, Bound<'py, PyAny>) =
            apart.extract()?;
        match what.as_str() {
            "array" => {
                let (header, held) =
                    (first.cast::<PyBytes>()?.as_bytes().to_vec(), Held::new(&second)?);
                let len = header.len() + held.len();
                if len >= PART_BYTES_MIN {
                    self.word(ARRAY_PART, self.parts.len() as u64)?;
                    self.parts.push(HeldPart::Buffer(header, held));
                    return Ok(());
                }
                self.word(ARRAY, len as u64)?;
                self.bytes.extend_from_slice(&header);
                let start = self.bytes.len();
                self.bytes.resize(start + held.len(), 0);
                held.racy().copy_to(0, &mut self.bytes[start..]);
                Ok(())
            }
            "value" => self.value(&second),
            "buffer" => self.part(BUFFER_PART, Vec::new(), &second),
            _ => self.named(first.cast::<PyString>()?.to_str()?, &second),
        }
    }
}
