//! What the scripts do to a store, as values: a victim does them, a peer repeats them, and the oracle
//! knows what must come of them.
#![forbid(unsafe_code)]

use crate::support::bytes;
use drystone::{Blob, BlobId, CompactOptions, HashAlgorithm, Result, Store, Value, hash};

/// Bytes that can be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Content {
    pub len: usize,
    pub seed: u64,
}

/// So many bytes of this seed.
pub const fn content(len: usize, seed: u64) -> Content {
    Content { len, seed }
}

impl Content {
    pub fn bytes(self) -> Vec<u8> {
        bytes(self.len, self.seed)
    }

    pub fn id(self) -> BlobId {
        id_of(&self.bytes())
    }
}

/// The id that these bytes get, without a store.
pub fn id_of(bytes: &[u8]) -> BlobId {
    let digest = hash::digest(HashAlgorithm::Xxh3, bytes);
    BlobId::from_digest(HashAlgorithm::Xxh3, &digest[..16]).expect("a digest")
}

/// What a ref is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bound {
    /// A number, in the ref itself.
    Number(u64),
    /// A blob that is there.
    Blob(Content),
}

impl Bound {
    pub fn value(self) -> Value {
        match self {
            Self::Number(number) => Value::Bytes(number.to_le_bytes().to_vec()),
            Self::Blob(content) => Value::Blob(content.id()),
        }
    }
}

/// One operation. Each may be done twice, with the outcome of one.
#[derive(Clone, Debug)]
pub enum Op {
    Put(Content),
    PutMany(Vec<Content>),
    PutReader(Content),
    Draft(Content),
    DraftAs(&'static str, Content),
    /// Bytes that are too many to stand in the ref: a blob and its name at once.
    SetBytes(&'static str, Content),
    Set(&'static str, Bound),
    CompareAndSet(&'static str, Bound),
    RemoveRef(&'static str),
    Unpin(Content),
    Remove(Content),
    /// Reads a blob that must be there.
    Get(Content),
    /// Takes a view that is looked at when all is done.
    Hold(Content),
    /// Looks at everything there is.
    Walk,
    Sync,
    /// Gives up what nothing names, and gets its space back. Another one who does it may be in the way.
    Compact,
    /// The same in two lanes, each of which finds something to do.
    CompactInLanes,
}

/// The namespace of the scripts' refs.
pub const REFS: &str = "scripts";

/// Does operations, and holds what they are to hold.
pub struct Doer<'a> {
    store: &'a Store,
    held: Vec<(Content, Blob)>,
}

impl<'a> Doer<'a> {
    pub fn new(store: &'a Store) -> Self {
        Self { store, held: Vec::new() }
    }

    pub fn act(&mut self, op: &Op) -> Result<()> {
        let (store, refs) = (self.store, self.store.refs(REFS));
        match op {
            Op::Put(content) => assert_eq!(store.put(&content.bytes())?, content.id()),
            Op::PutMany(contents) => {
                let values: Vec<_> = contents.iter().map(|content| content.bytes()).collect();
                store.put_many(&values)?;
            }
            Op::PutReader(content) => drop(store.put_reader(&content.bytes()[..])?),
            Op::Draft(content) => drop(self.draft(*content)?.commit()?),
            Op::DraftAs(key, content) => drop(self.draft(*content)?.commit_as(&refs, key)?),
            Op::SetBytes(key, content) => drop(refs.set(key, content.bytes())?),
            Op::Set(key, bound) => drop(refs.set(key, bound.value())?),
            Op::CompareAndSet(key, bound) => self.compare_and_set(key, *bound)?,
            Op::RemoveRef(key) => drop(refs.remove(key)?),
            Op::Unpin(content) => drop(store.unpin(&content.id())?),
            Op::Remove(content) => drop(store.remove(&content.id())?),
            Op::Get(content) => self.get(*content)?.iter().for_each(|blob| same(*content, blob)),
            Op::Hold(content) => self.held.extend(self.get(*content)?.map(|blob| (*content, blob))),
            Op::Walk => drop((store.blobs().count(), refs.iter().count(), store.stats()?)),
            Op::Sync => store.sync()?,
            Op::Compact => self.compact(&CompactOptions::new())?,
            Op::CompactInLanes => self.compact(&CompactOptions::new().two_lanes_from(1))?,
        }
        Ok(())
    }

    fn draft(&self, content: Content) -> Result<drystone::Draft> {
        let mut draft = self.store.reserve(content.len as u64)?;
        draft.copy_from_slice(&content.bytes());
        Ok(draft)
    }

    fn get(&self, content: Content) -> Result<Option<Blob>> {
        self.store.get(&content.id())
    }

    fn compact(&self, options: &CompactOptions) -> Result<()> {
        let report = self.store.compact(&options.clone().all(true))?;
        assert!(report.busy || report.complete, "{report:?}");
        Ok(())
    }

    fn compare_and_set(&self, key: &str, bound: Bound) -> Result<()> {
        let refs = self.store.refs(REFS);
        loop {
            let entry = refs.get(key)?;
            if entry.as_ref().is_some_and(|entry| entry.value == bound.value()) {
                return refs.set(key, bound.value()).map(drop);
            }
            let expected = entry.map(|entry| entry.version);
            if refs.compare_and_set(key, expected, bound.value())?.is_some() {
                return Ok(());
            }
        }
    }

    /// The views are what they were.
    pub fn look_at_views(&self) {
        self.held.iter().for_each(|(content, blob)| same(*content, blob));
    }
}

fn same(content: Content, blob: &[u8]) {
    assert!(*blob == *content.bytes(), "other bytes than those of {content:?}");
}
