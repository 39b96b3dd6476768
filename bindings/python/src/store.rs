//! `drystone.Store`.

use crate::blob::Blob;
use crate::errors::raise;
use pyo3::prelude::*;
use std::path::PathBuf;

/// A store of immutable blobs, shared by any number of processes.
#[pyclass(frozen, module = "drystone")]
pub struct Store(drystone::Store);

#[pymethods]
impl Store {
    #[new]
    #[pyo3(signature = (directory, *, read_only=false))]
    fn new(py: Python<'_>, directory: PathBuf, read_only: bool) -> PyResult<Self> {
        let options = drystone::Store::options().create(!read_only).read_only(read_only);
        let opened = py.detach(|| options.open(directory));
        opened.map(Self).map_err(|error| raise(py, &error))
    }

    /// Stores bytes and pins them; the id, as text.
    fn put(&self, py: Python<'_>, data: Vec<u8>) -> PyResult<String> {
        let put = py.detach(|| self.0.put(&data));
        put.map(|id| id.to_string()).map_err(|error| raise(py, &error))
    }

    /// The blob with this id, or None.
    fn get(&self, py: Python<'_>, id: &str) -> PyResult<Option<Blob>> {
        let id = id.parse().map_err(|error| raise(py, &error))?;
        let found = self.0.get(&id).map_err(|error| raise(py, &error))?;
        Ok(found.map(Blob::new))
    }
}
