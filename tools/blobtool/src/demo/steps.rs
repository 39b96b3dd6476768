//! How a process gets at what another one has stored.

use crate::exit::{ERROR, Failure, Outcome};
use drystone::{ArrayHeader, Blob, Refs, Store};
use std::time::Duration;

/// A neighbour that was killed is replaced long before this.
const PATIENCE: Duration = Duration::from_secs(120);

/// The blob of a name, as soon as there is one.
pub fn blob_named(store: &Store, refs: &Refs, key: &[u8]) -> Outcome<Blob> {
    let absent = || {
        let name = String::from_utf8_lossy(key);
        Failure::new(ERROR, format!("{name} did not appear: a writer of the demonstration is gone"))
    };
    let entry = refs.wait(key, PATIENCE)?.ok_or_else(absent)?;
    let id = entry.blob().ok_or_else(absent)?;
    store.get(id)?.ok_or_else(absent)
}

/// The cells of a step, where they lie in the store.
pub fn cells(blob: &Blob) -> Outcome<&[f64]> {
    // The header is a multiple of 64 bytes, so the data begins at a whole element.
    let (_, offset) = ArrayHeader::parse(blob)?;
    blob.as_slice_of::<f64>().and_then(|cells| cells.get(offset / 8..)).ok_or_else(not_cells)
}

/// The error for a blob that should be a step, and is not.
pub fn not_cells() -> Failure {
    Failure::new(ERROR, "a step of the demonstration is not an array of float64")
}
