//! [`Store`].
#![allow(unsafe_code)]

use super::{GetOptions, Options, PutOptions, ReadGuard};
use crate::blob::Blob;
use crate::compact::{CompactOptions, CompactReport};
use crate::draft::Draft;
use crate::engine::{Durability, Engine};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{BlobId, HashAlgorithm};
use crate::naming::Naming;
use crate::npy::ArrayHeader;
use crate::refs::Refs;
use crate::stat::{BlobStat, Recovery, Stats};
use crate::stream::Body;
use crate::sync::epoch::{Guard, pin};
use crate::sync::racy::Racy;
use crate::walk::{Blobs, RefIter};
use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// An opened store. Clones share everything; any number of threads may use one.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("s");
/// let store = drystone::Store::create(&path)?;
/// let id = store.put(b"a large array")?;
/// assert_eq!(&*store.get(&id)?.expect("it was just put"), b"a large array");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) engine: Arc<Engine>,
}

/// Opening.
impl Store {
    pub(super) fn new(engine: Engine) -> Self {
        Self { engine: Arc::new(engine) }
    }

    /// How to open a store, in all detail.
    pub fn options() -> Options {
        Options::new()
    }

    /// Opens the store that is in a directory, for reading and writing.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Options::new().open(path)
    }

    /// Opens the store in a directory, and makes it first if there is none.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        Options::new().create(true).open(path)
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.engine.path
    }

    /// The hash algorithm of its ids.
    pub fn hash_algorithm(&self) -> HashAlgorithm {
        self.engine.superblock.hash
    }

    /// Its uuid.
    pub fn uuid(&self) -> [u8; 16] {
        self.engine.superblock.uuid
    }

    fn durability(&self, options: &PutOptions) -> Durability {
        options.durability.unwrap_or(self.engine.settings.durability)
    }
}

/// Putting in. All of these store the bytes if they are not there yet, and pin them.
impl Store {
    /// Puts bytes in; their id.
    ///
    /// # Errors
    /// `NoSpace`, `IdCollision` (another content with this id is there), `ReadOnly`, `SyncFailed`, or
    /// an error of the operating system; the store is as it was.
    pub fn put(&self, bytes: &[u8]) -> Result<BlobId> {
        self.put_with(bytes, &PutOptions::new())
    }

    /// Like [`Store::put`], with options of its own.
    pub fn put_with(&self, bytes: &[u8], options: &PutOptions) -> Result<BlobId> {
        self.put_body(Body::Fixed(bytes), options)
    }

    fn put_body(&self, body: Body<'_>, options: &PutOptions) -> Result<BlobId> {
        let durability = self.durability(options);
        self.engine.put(&pin(), body, &Naming::Pin, durability).map(|put| put.id)
    }

    /// Puts in `len` bytes that other threads may be writing. The id is that of the bytes that were
    /// stored, some mixture of what was there.
    ///
    /// # Safety
    /// The bytes must stay mapped and readable during the call.
    pub unsafe fn put_raw(
        &self,
        pointer: *const u8,
        len: usize,
        options: &PutOptions,
    ) -> Result<BlobId> {
        // SAFETY: the caller keeps the bytes readable, and `racy` does not outlive the call.
        let racy = unsafe { Racy::new(pointer, len) };
        self.put_body(Body::Racy(racy), options)
    }

    /// Puts in a short header and behind it bytes that other threads may be writing, as one blob; see
    /// [`Racy`]. So an array is put without being copied together with its header first.
    pub fn put_racy(&self, header: &[u8], bytes: Racy<'_>, options: &PutOptions) -> Result<BlobId> {
        self.put_body(Body::Headed(header, bytes), options)
    }

    /// Puts many values in by few writes; their ids in order. Each is put or not by itself: an error
    /// leaves those before it in the store.
    pub fn put_many(&self, values: &[impl AsRef<[u8]>]) -> Result<Vec<BlobId>> {
        let values: Vec<&[u8]> = values.iter().map(AsRef::as_ref).collect();
        self.engine.put_many(&pin(), &values, self.engine.settings.durability)
    }

    /// Puts in all that a reader yields, of whatever length.
    pub fn put_reader(&self, reader: impl Read + Send) -> Result<BlobId> {
        self.put_reader_with(reader, &PutOptions::new())
    }

    /// Like [`Store::put_reader`], with options of its own.
    pub fn put_reader_with(
        &self,
        mut reader: impl Read + Send,
        options: &PutOptions,
    ) -> Result<BlobId> {
        let durability = self.durability(options);
        self.engine.put_reader(&pin(), &mut reader, &Naming::Pin, durability).map(|put| put.id)
    }

    /// Puts in the content of a file.
    pub fn put_file(&self, path: impl AsRef<Path>) -> Result<BlobId> {
        let path = path.as_ref();
        let opened = std::fs::File::open(path);
        let file =
            opened.map_err(|error| Error::io("cannot open what is to be put", error).path(path))?;
        self.put_reader(file).map_err(|error| error.path(path))
    }

    /// Puts in an array as a `.npy` file, byte for byte as NumPy would write it.
    ///
    /// # Errors
    /// `InvalidInput` if `data` is not as long as the header says; those of [`Store::put`].
    pub fn put_array(&self, header: &ArrayHeader, data: &[u8]) -> Result<BlobId> {
        if header.data_bytes()? != data.len() as u64 {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "the array's data has another length than its header says",
            )
            .expected(format!("{} bytes", header.data_bytes()?))
            .found(format!("{} bytes", data.len())));
        }
        let header = header.encode();
        self.put_reader(header.as_slice().chain(data))
    }

    /// A blob to be computed in place: `len` bytes, zero at first.
    pub fn reserve(&self, len: u64) -> Result<Draft> {
        Draft::new(self.engine.clone(), len, self.engine.settings.durability)
    }

    /// An array to be computed in place; the blob will be a `.npy` file.
    pub fn reserve_array(&self, header: &ArrayHeader) -> Result<Draft> {
        let bytes = header.encode();
        let len = header.data_bytes()?.saturating_add(bytes.len() as u64);
        Ok(self.reserve(len)?.with_header(&bytes))
    }
}

/// Getting out.
impl Store {
    /// Reads under a guard. Where a limit on mappings is met idle ones are given up, which go only when
    /// nobody can see them: then it is tried again under another guard.
    #[inline]
    fn read<T>(&self, mut operation: impl FnMut(&Guard) -> Result<T>) -> Result<T> {
        let mut once = || {
            let guard = pin();
            self.engine.enter(&guard);
            operation(&guard)
        };
        match once() {
            Err(error) if error.kind() == ErrorKind::Limit => once(),
            done => done,
        }
    }

    /// A view of a blob; `None` if it is not in the store.
    ///
    /// # Errors
    /// `Damaged` if the store's files contradict each other.
    #[inline]
    pub fn get(&self, id: &BlobId) -> Result<Option<Blob>> {
        self.read(|guard| self.engine.get_blob(id, self.engine.settings.verify, guard))
    }

    /// Like [`Store::get`], with options of its own.
    pub fn get_with(&self, id: &BlobId, options: &GetOptions) -> Result<Option<Blob>> {
        let verify = options.verify.unwrap_or(self.engine.settings.verify);
        self.read(|guard| self.engine.get_blob(id, verify, guard))
    }

    /// Views of many blobs, their lookups overlapping.
    pub fn get_many(&self, ids: &[BlobId]) -> Result<Vec<Option<Blob>>> {
        self.read(|guard| {
            let mut blobs = Vec::with_capacity(ids.len());
            self.engine.get_many(ids, self.engine.settings.verify, guard, |id, found| {
                blobs.push(found.map(|(bytes, mapped)| Blob::new(*id, bytes, mapped.to_arc())));
            })?;
            Ok(blobs)
        })
    }

    /// A pinned reader for many gets.
    pub fn read_guard(&self) -> ReadGuard<'_> {
        ReadGuard::new(&self.engine)
    }

    /// Copies bytes of a blob from `offset` on into a buffer, by `pread`: a medium error is an error
    /// here, and not a signal. The number of bytes, short only at the end; `None` if there is no such
    /// blob.
    pub fn read_into(&self, id: &BlobId, offset: u64, buffer: &mut [u8]) -> Result<Option<usize>> {
        self.read_into_with(id, offset, buffer, &GetOptions::new())
    }

    /// The same, with options: [`Verify::Touched`](crate::Verify::Touched) verifies the chunks that the
    /// bytes lie in, whatever the length of the blob.
    ///
    /// # Errors
    /// `Damaged` if a chunk is not what was stored.
    pub fn read_into_with(
        &self,
        id: &BlobId,
        offset: u64,
        buffer: &mut [u8],
        options: &GetOptions,
    ) -> Result<Option<usize>> {
        let verify = options.verify.unwrap_or(self.engine.settings.verify);
        self.read(|guard| self.engine.read_into(id, offset, buffer, verify, guard))
    }

    /// Whether a blob is in the store.
    pub fn contains(&self, id: &BlobId) -> Result<bool> {
        self.read(|guard| Ok(self.engine.find_blob(id, guard)?.is_some()))
    }

    /// What is known about a blob.
    pub fn stat(&self, id: &BlobId) -> Result<Option<BlobStat>> {
        self.read(|guard| self.engine.stat(id, guard))
    }

    /// All blobs, each at least once while it stays, in no order.
    pub fn blobs(&self) -> Blobs {
        Blobs::new(self.engine.clone())
    }
}

/// Names, removal, durability.
impl Store {
    /// The refs of a namespace.
    pub fn refs(&self, namespace: &str) -> Refs {
        Refs::new(self.engine.clone(), namespace)
    }

    /// The namespaces in which there are refs, by a walk over all refs; `pins` left out.
    pub fn namespaces(&self) -> Result<Vec<String>> {
        let mut names = BTreeSet::new();
        for entry in RefIter::new(self.engine.clone(), None) {
            names.insert(entry?.namespace);
        }
        names.remove(crate::format::refs::PINS);
        Ok(names.into_iter().collect())
    }

    /// The refs (namespace and key) that name a blob, by a walk over all refs; its pin left out.
    pub fn named_by(&self, id: &BlobId) -> Result<Vec<(String, Vec<u8>)>> {
        let mut names = BTreeSet::new();
        for entry in RefIter::new(self.engine.clone(), None) {
            let entry = entry?;
            if entry.namespace != crate::format::refs::PINS && entry.blobs().contains(id) {
                names.insert((entry.namespace, entry.key));
            }
        }
        Ok(names.into_iter().collect())
    }

    /// Removes the pin of a blob; `false` if there was none. The blob goes with the next compaction
    /// if no ref names it.
    pub fn unpin(&self, id: &BlobId) -> Result<bool> {
        self.engine.unpin(&pin(), id, self.engine.settings.durability)
    }

    /// Removes a blob at once, whoever names it; refs to it, its pin too, then read as absent, and name it
    /// again should it come back. Views of it stay valid. `false` if there was none.
    ///
    /// To let go of a blob and leave it to those who name it, [`Store::unpin`] it.
    pub fn remove(&self, id: &BlobId) -> Result<bool> {
        self.engine.remove_blob(&pin(), id, self.engine.settings.durability)
    }

    /// Makes all that is visible here durable, whoever wrote it.
    ///
    /// # Errors
    /// `SyncFailed` if the medium did not take it: it is appended elsewhere; try again.
    pub fn sync(&self) -> Result<()> {
        self.engine.sync(&pin())
    }

    /// Gives up every blob that no ref names, removes the refs that have expired, and gets the space of
    /// all that is gone back from the segments: while others read and write, and whether or not they
    /// stop or die. Views stay valid, and keep what they show until they go. The files of what was moved are
    /// gone when it returns; the kernel gives back the last of their pages and blocks within moments, on a
    /// thread of the store's own (before it returns, where space is short; and at the latest when the store
    /// is closed).
    ///
    /// Any process may call it at any time. One works at a time: to the others
    /// [`CompactReport::busy`] says so.
    ///
    /// # Errors
    /// `Damaged` if a ref cannot be read: nothing is given up then, for the blobs that it names are not
    /// known (see `fsck`); `SyncFailed`; an error of the operating system. What was done until then
    /// stays done.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = drystone::Store::create(dir.path().join("s"))?;
    /// let id = store.put(&vec![7; 1 << 20])?;
    /// store.unpin(&id)?;
    /// let report = store.compact(&drystone::CompactOptions::new())?;
    /// assert_eq!(report.collected_blobs, 1);
    /// assert!(report.bytes_after < report.bytes_before);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn compact(&self, options: &CompactOptions) -> Result<CompactReport> {
        self.engine.compact(options)
    }

    /// What was left out of the index where this opening has built it: the first of a boot does, and the
    /// first of a copy. `None` where the index was there.
    ///
    /// What a power loss has torn is left out, and so is what was damaged before it was durable: from then
    /// on it is garbage, and goes with the next compaction. `fsck` tells of both, and a repair before that
    /// keeps the files in `quarantine`.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("s");
    /// # drop(drystone::Store::create(&path)?);
    /// let store = drystone::Store::open(&path)?;
    /// if store.recovery().is_some_and(|recovery| !recovery.is_whole()) {
    ///     eprintln!("something that was put is gone: run `blobtool fsck --deep`");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recovery(&self) -> Option<Recovery> {
        self.engine.recovery()
    }

    /// What the store holds, by a walk over the index.
    pub fn stats(&self) -> Result<Stats> {
        let guard = pin();
        self.engine.enter(&guard);
        self.engine.stats(&guard)
    }
}
