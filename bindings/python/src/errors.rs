//! The exceptions: `drystone.Error` and, for each kind of error, a subclass that is also the built-in
//! exception that users catch.

use drystone::ErrorKind;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};

pyo3::create_exception!(drystone, Error, PyException, "The base of all errors of drystone.");

/// Name, the built-in that it also is, what it says.
type Row = (ErrorKind, &'static str, &'static str, &'static str);

const ROWS: &[Row] = &[
    (ErrorKind::NotFound, "NotFound", "KeyError", "What an operation needs is not there."),
    (ErrorKind::NotAStore, "NotAStore", "FileNotFoundError", "The directory is not a store."),
    (
        ErrorKind::AlreadyExists,
        "AlreadyExists",
        "FileExistsError",
        "A store is there already, with other properties than were asked for.",
    ),
    (
        ErrorKind::UnsupportedVersion,
        "UnsupportedVersion",
        "ValueError",
        "Written by a version of the format that this library does not know.",
    ),
    (
        ErrorKind::ProtocolMismatch,
        "ProtocolMismatch",
        "RuntimeError",
        "Other users of the store run an incompatible version of the library.",
    ),
    (ErrorKind::Damaged, "Damaged", "OSError", "The files hold something that cannot be."),
    (ErrorKind::IdCollision, "IdCollision", "ValueError", "Two contents have one id."),
    (ErrorKind::NoSpace, "NoSpace", "OSError", "The file system is full, or its quota."),
    (ErrorKind::IndexFull, "IndexFull", "OSError", "The index cannot take another key."),
    (ErrorKind::Limit, "Limit", "OSError", "A limit on descriptors or mappings was hit."),
    (ErrorKind::Busy, "Busy", "BlockingIOError", "Somebody else holds it exclusively."),
    (
        ErrorKind::FileSystemRefused,
        "FileSystemRefused",
        "OSError",
        "A file system on which a store cannot be written.",
    ),
    (ErrorKind::Permission, "Permission", "PermissionError", "Others own it or may write it."),
    (ErrorKind::ReadOnly, "ReadOnly", "PermissionError", "Opened read-only."),
    (ErrorKind::InvalidInput, "InvalidInput", "ValueError", "No store could accept it."),
    (ErrorKind::SyncFailed, "SyncFailed", "OSError", "An fsync failed: try again."),
    (ErrorKind::Forked, "Forked", "RuntimeError", "Begun before a fork."),
    (ErrorKind::TimedOut, "TimedOut", "TimeoutError", "The time given ran out."),
    (ErrorKind::TooLarge, "TooLarge", "ValueError", "A value larger than the whole cache may be."),
    (ErrorKind::Reentered, "Reentered", "RuntimeError", "It would wait for itself."),
    (ErrorKind::Io, "IoError", "OSError", "Any other error of the operating system."),
];

/// Errors of this package alone: name, the built-in that it also is, what it says.
const OWN: &[(&str, &str, &str)] = &[
    ("UnsupportedType", "TypeError", "A value or key of a type that is not stored as it is."),
    ("Unhashable", "TypeError", "An argument that cannot be told from others by its content."),
    ("BadValue", "ValueError", "A stored value that cannot be decoded."),
];

type Made<K> = Vec<(K, Py<PyType>)>;
static TYPES: PyOnceLock<Made<ErrorKind>> = PyOnceLock::new();
static OWN_TYPES: PyOnceLock<std::sync::Mutex<Made<&'static str>>> = PyOnceLock::new();

fn make(py: Python<'_>, name: &str, builtin: &str, says: &str) -> PyResult<Py<PyType>> {
    let builtin = py.import("builtins")?.getattr(builtin)?;
    let bases = PyTuple::new(py, [py.get_type::<Error>().into_any(), builtin])?;
    let names = PyDict::new(py);
    names.set_item("__module__", "drystone")?;
    names.set_item("__doc__", says)?;
    // A KeyError shows a key, in quotes; these errors are sentences.
    names.set_item("__str__", py.get_type::<PyException>().getattr("__str__")?)?;
    let made = py.get_type::<PyType>().call1((name, bases, names))?;
    Ok(made.cast_into::<PyType>()?.unbind())
}

/// Makes the exceptions and puts them into the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add("Error", py.get_type::<Error>())?;
    let mut types = Vec::new();
    for &(kind, name, builtin, says) in ROWS {
        let made = make(py, name, builtin, says)?;
        module.add(name, made.clone_ref(py))?;
        types.push((kind, made));
    }
    for &(name, builtin, says) in OWN {
        let made = make(py, name, builtin, says)?;
        module.add(name, made.clone_ref(py))?;
        OWN_TYPES.get_or_init(py, Default::default).lock().expect("no panic").push((name, made));
    }
    // A second interpreter of the process would meet the first one's types: they are equal.
    let _ = TYPES.set(py, types);
    Ok(())
}

/// The exception for an error of the store.
pub fn raise(py: Python<'_>, error: &drystone::Error) -> PyErr {
    let types = TYPES.get(py).into_iter().flatten();
    let found = types.filter(|(kind, _)| [error.kind(), ErrorKind::Io].contains(kind));
    // Io is the last row.
    match found.into_iter().next() {
        Some((_, made)) => {
            let raised = PyErr::from_type(made.bind(py).clone(), error.to_string());
            if let Some(errno) = error.raw_os_error() {
                // The sentence is the same without it.
                let _ = raised.value(py).setattr("errno", errno);
            }
            raised
        }
        None => Error::new_err(error.to_string()),
    }
}

/// The result of the store's, with its error as an exception.
pub fn checked<T>(py: Python<'_>, result: drystone::Result<T>) -> PyResult<T> {
    result.map_err(|error| raise(py, &error))
}

/// One of this package's own errors.
pub fn own(py: Python<'_>, name: &str, message: impl Into<String>) -> PyErr {
    let message = message.into();
    let types = OWN_TYPES.get(py).and_then(|types| types.lock().ok());
    let found = types.and_then(|types| {
        types.iter().find(|(it, _)| *it == name).map(|(_, made)| made.clone_ref(py))
    });
    match found {
        Some(made) => PyErr::from_type(made.into_bound(py), message),
        None => Error::new_err(message),
    }
}

/// An argument that cannot be.
pub fn invalid(py: Python<'_>, message: &str) -> PyErr {
    of_store(py, ErrorKind::InvalidInput, message)
}

/// Bytes that are not what was put.
pub fn damaged(py: Python<'_>, message: &str) -> PyErr {
    of_store(py, ErrorKind::Damaged, message)
}

fn of_store(py: Python<'_>, kind: ErrorKind, message: &str) -> PyErr {
    let types = TYPES.get(py).into_iter().flatten();
    match types.into_iter().find(|(it, _)| *it == kind) {
        Some((_, made)) => PyErr::from_type(made.bind(py).clone(), message.to_owned()),
        None => Error::new_err(message.to_owned()),
    }
}
