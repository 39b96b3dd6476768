//! Drafts: blobs computed in place.
//!
//! `unsafe` stands here because a writable mapping is handed out as a slice (spec/SOUNDNESS.md).

use crate::blob::elements_of;
use crate::disk::{Access, Advice, Map, Reserve, fork_generation};
use crate::engine::{Durability, Engine};
use crate::entry::check_limits;
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{Kind, PIN_BYTES, record_bytes};
use crate::format::refs::RefBody;
use crate::id::BlobId;
use crate::naming::{Expect, Naming};
use crate::put::{Put, SMALL_BYTES_MAX};
use crate::put_large::{Layout, Written};
use crate::refs::Refs;
use crate::stream::{Body, Hashed, hash_in_place};
use crate::sync::epoch::pin;
use crate::sync::racy::Racy;
use crate::units::MIB;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Bytes before the payload of a draft's segment, for the ref that names it.
const REF_ROOM: u64 = 3968;

/// A blob that is being computed: a writable slice inside a segment, zero at first.
///
/// [`Draft::commit`] hashes it where it is and publishes it; dropping it leaves nothing behind. It is
/// not inherited by a forked child.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let store = drystone::Store::create(dir.path().join("s"))?;
/// let mut draft = store.reserve(8 * 1000)?;
/// for (i, x) in draft.as_mut_slice_of::<f64>().expect("whole elements").iter_mut().enumerate() {
///     *x = i as f64;
/// }
/// let id = draft.commit()?;
/// assert_eq!(store.get(&id)?.expect("committed").as_slice_of::<f64>().expect("aligned")[999], 999.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Draft {
    engine: Arc<Engine>,
    durability: Durability,
    len: usize,
    /// Bytes in front that are a header already, and not handed out.
    header_len: usize,
    place: Place,
    /// The fork generation that it was made in: a child has no part in it.
    fork: u64,
}

/// Mappings of this length and above are taken down by another thread.
const ASIDE_BYTES_MIN: u64 = 16 * MIB;

/// 64 bytes, so that a small draft is aligned as a blob is.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C, align(64))]
struct Block([u8; 64]);

enum Place {
    /// Small: on the heap, put on commit.
    Heap(Vec<Block>),
    /// In a segment of its own, without a name.
    Segment { map: Map, written: Box<Written> },
}

/// A commit that failed, and the draft, nothing of it lost.
pub struct CommitError {
    /// The draft, to be tried again.
    pub draft: Draft,
    /// Why it failed.
    pub error: Error,
}

/// The memory of a draft that was committed, or failed to be: this process's own.
pub struct DraftMemory {
    engine: Arc<Engine>,
    durability: Durability,
    len: usize,
    place: Place,
}

impl DraftMemory {
    /// Its bytes, which others of this process may be writing; none in a child that does not have them.
    pub fn racy(&self) -> Racy<'_> {
        match &self.place {
            Place::Heap(blocks) => Racy::from(&blocks.as_bytes()[..self.len]),
            Place::Segment { map, written } => {
                let bytes = map.racy(written.at.body, self.len as u64);
                bytes.unwrap_or_else(|| Racy::from(&[][..]))
            }
        }
    }

    /// Puts in what stands there now, and pins it, or binds a ref to it instead: after a commit that failed, or
    /// under another name.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = drystone::Store::create(dir.path().join("s"))?;
    /// let steps = store.refs("steps");
    /// let (memory, refused) = store.reserve(100_000)?.commit_kept(Some((&store.refs("pins"), b"0001")));
    /// assert!(refused.is_err(), "nobody sets a pin by its name");
    /// let id = memory.commit(Some((&steps, b"0001")))?;
    /// assert!(!store.stat(&id)?.expect("it is there").pinned);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`crate::Store::put`] and [`Refs::set`]; `Forked` in a child that was forked before the first commit.
    pub fn commit(&self, named: Option<(&Refs, &[u8])>) -> Result<BlobId> {
        let body = named.map(|(refs, key)| ref_body(&self.engine, refs, key)).transpose()?;
        let naming = body.as_ref().map_or(Naming::Pin, |body| Naming::Ref(body, Expect::Any));
        let bytes = self.racy();
        if bytes.len() != self.len {
            return Err(forked());
        }
        let put = self.engine.put(&pin(), Body::Racy(bytes), &naming, self.durability)?;
        if named.is_some() {
            self.engine.run.control.announce_change();
        }
        Ok(put.id)
    }
}

impl Draft {
    pub(crate) fn new(engine: Arc<Engine>, len: u64, durability: Durability) -> Result<Self> {
        let bytes =
            usize::try_from(len).ok().filter(|_| len <= crate::format::record::BODY_BYTES_MAX);
        let bytes = bytes.ok_or_else(|| {
            Error::new(ErrorKind::InvalidInput, "a blob of that length cannot be").found(len)
        })?;
        engine.enter_writing(&pin())?;
        engine.check_room(len)?;
        let place = if len <= SMALL_BYTES_MAX {
            Place::Heap(vec![Block([0; 64]); bytes.div_ceil(64)])
        } else {
            Self::in_segment(&engine, len)?
        };
        Ok(Self { engine, durability, len: bytes, header_len: 0, place, fork: fork_generation() })
    }

    fn in_segment(engine: &Engine, len: u64) -> Result<Place> {
        let appender = engine.lone_appender()?;
        let ref_bytes = record_bytes(Kind::Pin, PIN_BYTES, 0);
        let at = Layout::of(appender.tail(), ref_bytes, len);
        let end = at.end(engine.files.digest_bytes());
        // Every page is backed, so that no store of the solver can fault on a full disk.
        appender.check_room(end)?;
        appender.file().reserve(0, end, Reserve::Backed)?;
        let mut map = appender.file().map(at.body + len, Access::Write)?;
        map.keep_from_children()?;
        map.advise(Advice::HugePages);
        let hashed = Hashed { digest: [0; 32], chunks: Vec::new() };
        let written = Box::new(Written::new(appender, at, hashed, true));
        Ok(Place::Segment { map, written })
    }

    /// Fills in a header that is not handed out.
    pub(crate) fn with_header(mut self, header: &[u8]) -> Self {
        self.all_mut()[..header.len()].copy_from_slice(header);
        self.header_len = header.len();
        self
    }

    /// The bytes; none in a forked child, which does not have the memory.
    fn all(&self) -> &[u8] {
        if self.fork != fork_generation() {
            return &[];
        }
        match &self.place {
            Place::Heap(blocks) => &blocks.as_bytes()[..self.len],
            Place::Segment { map, written } => {
                // SAFETY: the mapping reaches to the end of the body, and the file has no name and is
                // written by nobody but this draft, which `&self` keeps from being written.
                unsafe { map.slice(written.at.body, self.len as u64) }.unwrap_or_default()
            }
        }
    }

    fn all_mut(&mut self) -> &mut [u8] {
        if self.fork != fork_generation() {
            return &mut [];
        }
        match &mut self.place {
            Place::Heap(blocks) => &mut blocks.as_mut_bytes()[..self.len],
            Place::Segment { map, written } => {
                let Some(base) = map.as_mut_ptr() else { return &mut [] };
                // SAFETY: the mapping was made with `len` bytes behind `at.body`; the file has no
                // name, and `&mut self` makes this the only access to the body.
                unsafe {
                    let first = base.as_ptr().add(written.at.body as usize);
                    std::slice::from_raw_parts_mut(first, self.len)
                }
            }
        }
    }

    /// Number of bytes (of an array draft: those of the array).
    pub fn len(&self) -> usize {
        self.len - self.header_len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes as elements; `None` if their number does not fit.
    pub fn as_slice_of<T: FromBytes + Immutable>(&self) -> Option<&[T]> {
        elements_of(self)
    }

    /// The bytes as elements to be written; `None` if their number does not fit.
    pub fn as_mut_slice_of<T: FromBytes + IntoBytes>(&mut self) -> Option<&mut [T]> {
        <[T]>::mut_from_bytes(self).ok()
    }

    /// Publishes it and sets its pin.
    ///
    /// # Errors
    /// Gives the draft back.
    pub fn commit(self) -> Result<BlobId, CommitError> {
        self.commit_named(&Naming::Pin)
    }

    /// Publishes it and binds the ref `key` to it, without a pin.
    ///
    /// # Errors
    /// Gives the draft back. `InvalidInput` if the refs are another store's.
    pub fn commit_as(self, refs: &Refs, key: impl AsRef<[u8]>) -> Result<BlobId, CommitError> {
        let body = match ref_body(&self.engine, refs, key.as_ref()) {
            Ok(body) => body,
            Err(error) => return Err(CommitError { draft: self, error }),
        };
        let engine = self.engine.clone();
        let naming = Naming::Ref(&body, Expect::Any);
        let id = if naming.record_bytes(1) <= REF_ROOM {
            self.commit_named(&naming)?
        } else {
            self.commit_copied(&naming)?
        };
        engine.run.control.announce_change();
        Ok(id)
    }

    /// Publishes it, and keeps its memory for whoever still points into it: what is stored there from then on
    /// is this process's own, and changes no blob. `named`: the ref to bind to it, instead of the pin.
    ///
    /// The memory comes back in any case; after an error it holds what is to be put.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let store = drystone::Store::create(dir.path().join("s"))?;
    /// let mut draft = store.reserve(100_000)?;
    /// draft.fill(7);
    /// let (memory, id) = draft.commit_kept(None);
    /// assert_eq!(memory.racy().len(), 100_000);
    /// assert!(store.get(&id?)?.expect("it is there").iter().all(|&byte| byte == 7));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Draft::commit`] and [`Draft::commit_as`].
    pub fn commit_kept(mut self, named: Option<(&Refs, &[u8])>) -> (DraftMemory, Result<BlobId>) {
        let committed = self.try_commit_kept(named);
        let place = std::mem::replace(&mut self.place, Place::Heap(Vec::new()));
        let Self { engine, durability, len, .. } = self;
        (DraftMemory { engine, durability, len, place }, committed)
    }

    fn try_commit_kept(&mut self, named: Option<(&Refs, &[u8])>) -> Result<BlobId> {
        let body = named.map(|(refs, key)| ref_body(&self.engine, refs, key)).transpose()?;
        let naming = body.as_ref().map_or(Naming::Pin, |body| Naming::Ref(body, Expect::Any));
        let guard = pin();
        let engine = self.engine.clone();
        engine.enter_writing(&guard)?;
        self.refuse_child()?;
        let durability = self.durability;
        let (map, written) = match &mut self.place {
            Place::Heap(blocks) => {
                let bytes = Racy::from(&blocks.as_bytes()[..self.len]);
                return Ok(engine.put(&guard, Body::Racy(bytes), &naming, durability)?.id);
            }
            Place::Segment { map, written } => (map, written),
        };
        let appender = written.appender.as_ref();
        let file = appender.map(|appender| appender.file().clone());
        let file = file.ok_or_else(|| Error::new(ErrorKind::InvalidInput, "it was committed"))?;
        file.make_private(map)?;
        let view = file.map(written.at.body + written.at.len, Access::Read)?;
        // SAFETY: the file has no name, and the draft's own mapping does not reach it any more.
        let bytes = unsafe { view.slice(written.at.body, written.at.len) }.unwrap_or_default();
        written.hashed = hash_in_place(bytes, engine.superblock.hash, engine.pool(&guard));
        let racy = Body::Racy(Racy::from(bytes));
        let ref_bytes = naming.record_bytes(1);
        let put = if ref_bytes <= REF_ROOM {
            written.at.first = written.at.body - 64 - ref_bytes;
            engine.commit(&guard, written, racy, &naming, durability)?
        } else {
            engine.put(&guard, racy, &naming, durability)?
        };
        if named.is_some() {
            engine.run.control.announce_change();
        }
        Ok(put.id)
    }

    /// The ref is too long to stand before the blob in the draft's segment: the bytes are put as if
    /// they stood elsewhere. (A pin that held the blob until the ref does could not be taken away
    /// again: whoever puts the same bytes meanwhile relies on it.)
    fn commit_copied(self, naming: &Naming<'_>) -> Result<BlobId, CommitError> {
        let put = || {
            self.refuse_child()?;
            self.engine.put(&pin(), Body::Fixed(self.all()), naming, self.durability)
        };
        match put() {
            Ok(put) => Ok(put.id),
            Err(error) => Err(CommitError { draft: self, error }),
        }
    }

    fn commit_named(mut self, naming: &Naming<'_>) -> Result<BlobId, CommitError> {
        match self.try_commit(naming) {
            Ok(put) => {
                self.unmap_aside();
                Ok(put.id)
            }
            Err(error) => Err(CommitError { draft: self.writable_again(), error }),
        }
    }

    /// Leaves the unmapping of what was committed to the store's own threads: in small pages it takes as
    /// long as hashing the same bytes by XXH3.
    fn unmap_aside(&mut self) {
        let place = std::mem::replace(&mut self.place, Place::Heap(Vec::new()));
        if let Place::Segment { map, .. } = place
            && map.len() >= ASIDE_BYTES_MIN
            && let Some(pool) = self.engine.pool(&pin())
        {
            pool.spawn(move || drop(map));
        }
    }

    /// The draft after a commit that failed. Where its record may be in the index already the bytes in
    /// the segment are the store's, for ever: the draft goes on with a copy. (A forked child has nothing
    /// to go on with.)
    fn writable_again(mut self) -> Self {
        if self.refuse_child().is_ok()
            && let Place::Segment { map, written } = &mut self.place
            && (written.is_exposed || map.protect(Access::Write).is_err())
        {
            let mut blocks = vec![Block([0; 64]); self.len.div_ceil(64)];
            blocks.as_mut_bytes()[..self.len].copy_from_slice(self.all());
            self.place = Place::Heap(blocks);
        }
        self
    }

    /// A forked child does not have the draft's memory.
    fn refuse_child(&self) -> Result<()> {
        if self.fork == fork_generation() {
            return Ok(());
        }
        Err(forked())
    }

    fn try_commit(&mut self, naming: &Naming<'_>) -> Result<Put> {
        let guard = pin();
        let engine = self.engine.clone();
        engine.enter_writing(&guard)?;
        self.refuse_child()?;
        if let Place::Heap(blocks) = &self.place {
            let bytes = &blocks.as_bytes()[..self.len];
            return engine.put(&guard, Body::Fixed(bytes), naming, self.durability);
        }
        if let Place::Segment { map, .. } = &mut self.place {
            map.protect(Access::Read)?;
        }
        let hashed = hash_in_place(self.all(), engine.superblock.hash, engine.pool(&guard));
        let durability = self.durability;
        let Place::Segment { map, written } = &mut self.place else {
            unreachable!("not on the heap")
        };
        written.hashed = hashed;
        // The payload stays where it is; only the ref in front of it may be longer or shorter.
        written.at.first = written.at.body - 64 - naming.record_bytes(1);
        let body = map.racy(written.at.body, written.at.len);
        let body =
            body.ok_or_else(|| Error::new(ErrorKind::Io, "the draft's mapping is too short"))?;
        engine.commit(&guard, written, Body::Racy(body), naming, durability)
    }
}

/// The body of a ref that is to name a draft.
fn ref_body(engine: &Engine, refs: &Refs, key: &[u8]) -> Result<RefBody> {
    let body = RefBody {
        namespace: refs.namespace().into(),
        key: key.to_vec(),
        created_ns: crate::clock::now_ns(),
        is_single: true,
        ..RefBody::default()
    };
    if refs.engine.superblock.uuid != engine.superblock.uuid {
        return Err(Error::new(ErrorKind::InvalidInput, "the refs are those of another store"));
    }
    check_limits(&body, 1).and_then(|()| refs.refuse_pins("set"))?;
    Ok(body)
}

#[cold]
fn forked() -> Error {
    Error::new(ErrorKind::Forked, "a draft of the parent cannot be committed by a child")
        .advice("reserve it after the fork")
}

impl Deref for Draft {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.all().get(self.header_len..).unwrap_or_default()
    }
}

impl DerefMut for Draft {
    fn deref_mut(&mut self) -> &mut [u8] {
        let header_len = self.header_len;
        self.all_mut().get_mut(header_len..).unwrap_or_default()
    }
}

impl std::fmt::Debug for Draft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Draft").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl From<CommitError> for Error {
    fn from(failed: CommitError) -> Self {
        failed.error
    }
}

impl std::fmt::Debug for CommitError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(&self.error, f)
    }
}

impl std::fmt::Display for CommitError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(&self.error, f)
    }
}

impl std::error::Error for CommitError {}
