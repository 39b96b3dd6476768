//! `drystone.Store`.

use crate::blob::Blob;
use crate::bytes::Held;
use crate::cache::Limit;
use crate::draft::RawDraft;
use crate::errors::{checked, invalid};
use crate::refs::Refs;
use drystone::{
    BlobId, CompactOptions, Durability, FsckOptions, HashAlgorithm, PutOptions, Verify,
};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A store of immutable blobs, shared by any number of processes.
///
/// directory: made if there is none, unless read_only. hash: "xxh3" or "blake3", when it is made. size_limit: bytes
/// that may be appended in all before puts are refused. durability: "buffered" (survives the death of processes) or
/// "synced" (survives power loss). verify: whether each get holds the bytes against their id. threads: for hashing.
#[pyclass(module = "drystone", subclass, weakref)]
pub struct Store {
    store: Mutex<Option<drystone::Store>>,
    #[pyo3(get)]
    path: PathBuf,
    #[pyo3(get)]
    read_only: bool,
}

/// The id in a text.
pub fn id_of(py: Python<'_>, text: &str) -> PyResult<BlobId> {
    checked(py, text.parse())
}

fn durability_of(py: Python<'_>, name: &str) -> PyResult<Durability> {
    match name {
        "buffered" => Ok(Durability::Buffered),
        "synced" => Ok(Durability::Synced),
        _ => Err(invalid(py, "durability is \"buffered\" or \"synced\"")),
    }
}

impl Store {
    /// The store, unless it was closed.
    pub fn open(&self, py: Python<'_>) -> PyResult<drystone::Store> {
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        store.clone().ok_or_else(|| invalid(py, "the store is closed"))
    }

    fn put_held(
        &self,
        py: Python<'_>,
        header: &[u8],
        data: &Held,
        synced: Option<bool>,
    ) -> PyResult<String> {
        let store = self.open(py)?;
        let options = match synced {
            None => PutOptions::new(),
            Some(true) => PutOptions::new().durability(Durability::Synced),
            Some(false) => PutOptions::new().durability(Durability::Buffered),
        };
        let bytes = data.racy();
        let put = py.detach(|| store.put_racy(header, bytes, &options));
        Ok(checked(py, put)?.to_string())
    }
}

#[pymethods]
impl Store {
    #[new]
    #[pyo3(signature = (directory, *, read_only=false, create=true, hash=None, size_limit=None,
        durability="buffered", verify=false, threads=None))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        directory: PathBuf,
        read_only: bool,
        create: bool,
        hash: Option<&str>,
        size_limit: Option<Limit>,
        durability: &str,
        verify: bool,
        threads: Option<usize>,
    ) -> PyResult<Self> {
        let mut options = drystone::Store::options()
            .create(create && !read_only)
            .read_only(read_only)
            .durability(durability_of(py, durability)?)
            .verify(if verify { Verify::Whole } else { Verify::No });
        match hash {
            None => {}
            Some("xxh3") => options = options.hash(HashAlgorithm::Xxh3),
            Some("blake3") => options = options.hash(HashAlgorithm::Blake3),
            Some(_) => return Err(invalid(py, "hash is \"xxh3\" or \"blake3\"")),
        }
        if let Some(Limit::Said(Some(limit))) = size_limit {
            options = options.size_limit(limit);
        }
        if let Some(threads) = threads {
            options = options.threads(threads);
        }
        let path = directory.clone();
        let opened = py.detach(|| options.open(directory));
        let store = Mutex::new(Some(checked(py, opened)?));
        Ok(Self { store, path, read_only })
    }

    /// Closes it. What was got from it stays valid.
    fn close(&self) {
        *self.store.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether it is closed.
    #[getter]
    fn closed(&self) -> bool {
        self.store.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __exit__(
        &self,
        _kind: &Bound<'_, PyAny>,
        _value: &Bound<'_, PyAny>,
        _trace: &Bound<'_, PyAny>,
    ) {
        self.close();
    }

    /// Stores the bytes of a buffer and pins them; the id.
    #[pyo3(signature = (data, *, synced=None))]
    fn put(
        &self,
        py: Python<'_>,
        data: &Bound<'_, PyAny>,
        synced: Option<bool>,
    ) -> PyResult<String> {
        self.put_held(py, &[], &Held::new(data)?, synced)
    }

    /// Stores a header and a buffer as one blob.
    #[pyo3(signature = (header, data, synced=None))]
    fn _put_headed(
        &self,
        py: Python<'_>,
        header: &[u8],
        data: &Bound<'_, PyAny>,
        synced: Option<bool>,
    ) -> PyResult<String> {
        self.put_held(py, header, &Held::new(data)?, synced)
    }

    /// Memory of a blob that begins with a header, to be filled in place.
    fn _reserve(&self, py: Python<'_>, header: &[u8], length: u64) -> PyResult<RawDraft> {
        let store = self.open(py)?;
        let made = py.detach(|| RawDraft::new(&store, header, length));
        checked(py, made)
    }

    /// Stores the content of a file; the id.
    fn put_file(&self, py: Python<'_>, path: PathBuf) -> PyResult<String> {
        let store = self.open(py)?;
        let put = py.detach(|| store.put_file(path));
        Ok(checked(py, put)?.to_string())
    }

    /// The blob with this id, or None.
    fn get(&self, py: Python<'_>, id: &str) -> PyResult<Option<Blob>> {
        let (store, id) = (self.open(py)?, id_of(py, id)?);
        Ok(checked(py, store.get(&id))?.map(Blob::new))
    }

    /// The blobs with these ids, None for each that is not there.
    fn get_many(&self, py: Python<'_>, ids: Vec<String>) -> PyResult<Vec<Option<Blob>>> {
        let store = self.open(py)?;
        let ids = ids.iter().map(|id| id_of(py, id)).collect::<PyResult<Vec<_>>>()?;
        let blobs = checked(py, py.detach(|| store.get_many(&ids)))?;
        Ok(blobs.into_iter().map(|blob| blob.map(Blob::new)).collect())
    }

    /// The bytes from offset on, at most length of them, read by the file and not by the mapping; None if there is no
    /// such blob.
    fn read_into<'py>(
        &self,
        py: Python<'py>,
        id: &str,
        offset: u64,
        length: usize,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let (store, id) = (self.open(py)?, id_of(py, id)?);
        let Some(stat) = checked(py, store.stat(&id))? else { return Ok(None) };
        // Whoever asks for too much gets what there is, and needs no memory for the rest.
        let left = usize::try_from(stat.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut buffer = vec![0; length.min(left)];
        let read = checked(py, py.detach(|| store.read_into(&id, offset, &mut buffer)))?;
        Ok(read.map(|read| PyBytes::new(py, &buffer[..read])))
    }

    /// Whether there is such a blob.
    fn __contains__(&self, py: Python<'_>, id: &str) -> PyResult<bool> {
        let (store, id) = (self.open(py)?, id_of(py, id)?);
        checked(py, store.contains(&id))
    }

    /// What is known of a blob, or None: id, length, segment, offset, pinned.
    fn stat<'py>(&self, py: Python<'py>, id: &str) -> PyResult<Option<Bound<'py, PyDict>>> {
        let (store, id) = (self.open(py)?, id_of(py, id)?);
        let Some(stat) = checked(py, store.stat(&id))? else { return Ok(None) };
        let told = PyDict::new(py);
        told.set_item("id", stat.id.to_string())?;
        told.set_item("length", stat.len)?;
        told.set_item("segment", stat.segment)?;
        told.set_item("offset", stat.offset)?;
        told.set_item("pinned", stat.pinned)?;
        Ok(Some(told))
    }

    /// Removes the pin; the blob goes with the next compaction when no other ref names it. False if it had none.
    fn unpin(&self, py: Python<'_>, id: &str) -> PyResult<bool> {
        let (store, id) = (self.open(py)?, id_of(py, id)?);
        checked(py, py.detach(|| store.unpin(&id)))
    }

    /// Removes the blob, whoever names it; refs to it read as absent. False if there was none.
    fn remove(&self, py: Python<'_>, id: &str) -> PyResult<bool> {
        let (store, id) = (self.open(py)?, id_of(py, id)?);
        checked(py, py.detach(|| store.remove(&id)))
    }

    /// The ids of all blobs.
    fn blobs(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let store = self.open(py)?;
        let ids: drystone::Result<Vec<String>> =
            py.detach(|| store.blobs().map(|blob| Ok(blob?.id.to_string())).collect());
        checked(py, ids)
    }

    /// The refs of a namespace: mutable names for blobs and small values.
    fn refs(&self, py: Python<'_>, namespace: &str) -> PyResult<Refs> {
        Ok(Refs::new(self.open(py)?.refs(namespace)))
    }

    /// The namespaces that hold refs.
    fn namespaces(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let store = self.open(py)?;
        checked(py, py.detach(|| store.namespaces()))
    }

    /// Makes everything durable that can be seen, whoever wrote it.
    fn sync(&self, py: Python<'_>) -> PyResult<()> {
        let store = self.open(py)?;
        checked(py, py.detach(|| store.sync()))
    }

    /// Gives up what nothing names, and brings its space back, beside users. A dict of what was done.
    #[pyo3(signature = (*, all=false, min_garbage=None, rate=None, seconds=None, dry_run=false))]
    fn compact<'py>(
        &self,
        py: Python<'py>,
        all: bool,
        min_garbage: Option<f64>,
        rate: Option<u64>,
        seconds: Option<f64>,
        dry_run: bool,
    ) -> PyResult<Bound<'py, PyDict>> {
        let store = self.open(py)?;
        let mut options = CompactOptions::new().all(all).dry_run(dry_run);
        if let Some(share) = min_garbage {
            options = options.min_garbage(share);
        }
        if let Some(rate) = rate {
            options = options.rate(rate);
        }
        if let Some(seconds) = seconds {
            let time = Duration::try_from_secs_f64(seconds);
            options =
                options.budget_time(time.map_err(|_| invalid(py, "seconds is a positive number"))?);
        }
        let done = py.detach(|| store.compact(&options));
        let done = checked(py, done)?;
        let told = PyDict::new(py);
        told.set_item("busy", done.busy)?;
        told.set_item("complete", done.complete)?;
        told.set_item("live_refs", done.live_refs)?;
        told.set_item("live_blobs", done.live_blobs)?;
        told.set_item("collected_blobs", done.collected_blobs)?;
        told.set_item("collected_bytes", done.collected_bytes)?;
        told.set_item("expired_refs", done.expired_refs)?;
        told.set_item("copied_bytes", done.copied_bytes)?;
        told.set_item("removed_segments", done.removed_segments)?;
        told.set_item("bytes_before", done.bytes_before)?;
        told.set_item("bytes_after", done.bytes_after)?;
        told.set_item("held_back_bytes", done.held_back_bytes)?;
        Ok(told)
    }

    /// Checks the store beside its users; with deep every digest. A dict of what was found.
    #[pyo3(signature = (*, deep=false))]
    fn fsck<'py>(&self, py: Python<'py>, deep: bool) -> PyResult<Bound<'py, PyDict>> {
        let path = self.path.clone();
        let report = py.detach(|| drystone::fsck(path, &FsckOptions::new().deep(deep)));
        let report = checked(py, report)?;
        let told = PyDict::new(py);
        told.set_item("clean", report.is_clean())?;
        told.set_item("records", report.records)?;
        told.set_item("bytes", report.bytes)?;
        told.set_item("hashed_bytes", report.hashed_bytes)?;
        let findings: Vec<String> = report.damaged().map(ToString::to_string).collect();
        told.set_item("damage", findings)?;
        Ok(told)
    }

    /// What the store holds.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let store = self.open(py)?;
        let stats = checked(py, py.detach(|| store.stats()))?;
        let told = PyDict::new(py);
        told.set_item("blobs", stats.blobs)?;
        told.set_item("refs", stats.refs)?;
        told.set_item("pins", stats.pins)?;
        told.set_item("live_bytes", stats.live_bytes)?;
        told.set_item("segments", stats.segments)?;
        told.set_item("segment_bytes", stats.segment_bytes)?;
        told.set_item("held_back_bytes", stats.held_back_bytes)?;
        told.set_item("index_bytes", stats.index_bytes)?;
        told.set_item("free_bytes", stats.free_bytes)?;
        told.set_item("file_system", stats.file_system)?;
        told.set_item("hash", stats.hash.map(|hash| hash.name()))?;
        Ok(told)
    }

    fn __repr__(&self) -> String {
        format!("drystone.Store({:?})", self.path.display().to_string())
    }
}
