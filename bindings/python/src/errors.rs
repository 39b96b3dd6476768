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
    (ErrorKind::Io, "IoError", "OSError", "Any other error of the operating system."),
];

static TYPES: PyOnceLock<Vec<(ErrorKind, Py<PyType>)>> = PyOnceLock::new();

fn make(py: Python<'_>, row: &Row) -> PyResult<Py<PyType>> {
    let builtin = py.import("builtins")?.getattr(row.2)?;
    let bases = PyTuple::new(py, [py.get_type::<Error>().into_any(), builtin])?;
    let names = PyDict::new(py);
    names.set_item("__module__", "drystone")?;
    names.set_item("__doc__", row.3)?;
    let made = py.get_type::<PyType>().call1((row.1, bases, names))?;
    Ok(made.cast_into::<PyType>()?.unbind())
}

/// Makes the exceptions and puts them into the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add("Error", py.get_type::<Error>())?;
    let mut types = Vec::new();
    for row in ROWS {
        let made = make(py, row)?;
        module.add(row.1, made.clone_ref(py))?;
        types.push((row.0, made));
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
        Some((_, made)) => PyErr::from_type(made.bind(py).clone(), error.to_string()),
        None => Error::new_err(error.to_string()),
    }
}
