//! Python bindings: the extension module `drystone._drystone`, on which the package builds.

mod blob;
mod bytes;
mod errors;
mod refs;
mod store;

use pyo3::prelude::*;

#[pymodule]
fn _drystone(module: &Bound<'_, PyModule>) -> PyResult<()> {
    errors::register(module)?;
    module.add_class::<blob::Blob>()?;
    module.add_class::<refs::Refs>()?;
    module.add_class::<store::Store>()?;
    Ok(())
}
