//! What must be in a store: what was acknowledged; and of what was begun, the outcome or not.
#![forbid(unsafe_code)]

use crate::content::{Bound, Content, Op, REFS};
use drystone::{BlobId, GetOptions, Store, Verify};
use std::collections::{BTreeMap, BTreeSet};

/// What may be the case; one of these is.
type Either<T> = BTreeSet<T>;

#[derive(Clone, Debug, Default)]
pub struct Oracle {
    present: BTreeMap<Content, Either<bool>>,
    pinned: BTreeMap<Content, Either<bool>>,
    bound: BTreeMap<&'static str, Either<Option<Bound>>>,
    ids: BTreeMap<BlobId, Content>,
    /// What a collector gave up.
    swept: BTreeSet<Content>,
    /// What has been damaged: it may be there, damaged, or lost.
    hurt: Option<Content>,
}

/// Whether an operation has been acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Done,
    Begun,
}

fn become_<K: Ord, V: Ord>(map: &mut BTreeMap<K, Either<V>>, key: K, new: V, old: V, how: How) {
    let either = map.entry(key).or_insert_with(|| BTreeSet::from([old]));
    if how == How::Done {
        either.clear();
    }
    either.insert(new);
}

impl Oracle {
    /// What an operation leads to.
    pub fn note(&mut self, op: &Op, how: How) {
        match op {
            Op::Put(content) | Op::PutReader(content) | Op::Draft(content) => {
                self.put(*content, how);
            }
            Op::PutMany(contents) => contents.iter().for_each(|content| self.put(*content, how)),
            Op::DraftAs(key, content) | Op::SetBytes(key, content) => {
                self.appear(*content, how);
                self.bind(key, Some(Bound::Blob(*content)), how);
            }
            Op::Set(key, bound) | Op::CompareAndSet(key, bound) => {
                self.bind(key, Some(*bound), how);
            }
            Op::RemoveRef(key) => self.bind(key, None, how),
            Op::Unpin(content) => become_(&mut self.pinned, *content, false, false, how),
            Op::Remove(content) => {
                become_(&mut self.present, *content, false, false, how);
                become_(&mut self.pinned, *content, false, false, how);
            }
            Op::Compact | Op::CompactInLanes => self.collect(how),
            Op::Get(_) | Op::Hold(_) | Op::Walk | Op::Sync => {}
        }
    }

    fn appear(&mut self, content: Content, how: How) {
        self.ids.insert(content.id(), content);
        if how == How::Done {
            self.swept.remove(&content);
        }
        become_(&mut self.present, content, true, false, how);
    }

    fn put(&mut self, content: Content, how: How) {
        self.appear(content, how);
        become_(&mut self.pinned, content, true, false, how);
    }

    fn bind(&mut self, key: &'static str, bound: Option<Bound>, how: How) {
        become_(&mut self.bound, key, bound, None, how);
    }

    /// What nothing names goes; what something may name may.
    fn collect(&mut self, how: How) {
        let only = |value| Either::from([value]);
        for (content, present) in &mut self.present {
            let names = |bound: &Option<Bound>| *bound == Some(Bound::Blob(*content));
            let is_pinned = self.pinned.get(content).cloned().unwrap_or_else(|| only(false));
            let mut refs = self.bound.values();
            if is_pinned == only(true) || refs.any(|bound| bound.iter().all(names)) {
                continue;
            }
            let is_garbage = is_pinned == only(false)
                && !self.bound.values().any(|bound| bound.iter().any(names));
            if how == How::Done && is_garbage {
                present.clear();
            }
            present.insert(false);
            self.swept.insert(*content);
        }
    }

    /// Somebody has damaged it.
    pub fn hurt(&mut self, content: Content) {
        self.present.remove(&content);
        self.hurt = Some(content);
    }

    /// What has been damaged.
    pub fn is_hurt(&self, id: &BlobId) -> bool {
        self.hurt.is_some_and(|content| content.id() == *id)
    }

    /// A new boot: what a collector gave up may be garbage once more, since it leaves no tombstone.
    pub fn boot(&mut self) {
        for content in std::mem::take(&mut self.swept) {
            become_(&mut self.present, content, true, false, How::Begun);
        }
    }

    /// Compares; what is wrong, in words.
    pub fn check(&self, store: &Store) -> Result<(), String> {
        self.check_blobs(store)?;
        self.check_refs(store)?;
        self.check_walk(store)
    }

    fn check_blobs(&self, store: &Store) -> Result<(), String> {
        let whole = GetOptions::new().verify(Verify::Whole);
        for (content, present) in &self.present {
            let id = content.id();
            let blob = store.get_with(&id, &whole).map_err(|error| error.to_string())?;
            if !present.contains(&blob.is_some()) {
                return Err(match blob {
                    Some(_) => format!("removed and there: {content:?}"),
                    None => format!("acknowledged and lost: {content:?}"),
                });
            }
            if blob.as_ref().is_some_and(|blob| **blob != *content.bytes()) {
                return Err(format!("other bytes than those put: {content:?}"));
            }
            let pinned = store.stat(&id).map_err(|error| error.to_string())?;
            let pinned = pinned.is_some_and(|stat| stat.pinned);
            let either = self.pinned.get(content);
            if blob.is_some() && either.is_some_and(|either| !either.contains(&pinned)) {
                return Err(format!("its pin is {pinned}: {content:?}"));
            }
        }
        Ok(())
    }

    fn check_refs(&self, store: &Store) -> Result<(), String> {
        let refs = store.refs(REFS);
        for (key, bound) in &self.bound {
            let entry = refs.get(key).map_err(|error| error.to_string())?;
            let found = entry.map(|entry| entry.value);
            if !bound.iter().any(|bound| self.is_seen_as(*bound, found.as_ref())) {
                return Err(format!("{key:?} is bound to {found:?} instead of one of {bound:?}"));
            }
        }
        Ok(())
    }

    /// A ref to a blob that was removed reads as absent.
    fn is_seen_as(&self, bound: Option<Bound>, found: Option<&drystone::Value>) -> bool {
        let may_be_gone = match bound {
            Some(Bound::Blob(content)) => {
                self.present.get(&content).is_none_or(|either| either.contains(&false))
            }
            _ => false,
        };
        found == bound.map(Bound::value).as_ref() || found.is_none() && may_be_gone
    }

    /// Nothing is there that nobody put, and no ref dangles.
    fn check_walk(&self, store: &Store) -> Result<(), String> {
        for stat in store.blobs() {
            let stat = stat.map_err(|error| error.to_string())?;
            if !self.ids.contains_key(&stat.id) {
                return Err(format!("nobody put {}", stat.id));
            }
        }
        for entry in store.refs(REFS).iter() {
            let entry = entry.map_err(|error| error.to_string())?;
            let key = String::from_utf8_lossy(&entry.key).into_owned();
            if !self.bound.contains_key(&*key) {
                return Err(format!("nobody set {key:?}"));
            }
            for id in entry.blobs() {
                if !store.contains(id).map_err(|error| error.to_string())? {
                    return Err(format!("{key:?} dangles: {id}"));
                }
            }
        }
        Ok(())
    }
}

#[test]
fn an_oracle_sees_what_is_wrong() {
    let scratch = crate::support::Scratch::in_memory();
    let store = scratch.store();
    let (there, lost) = (crate::content::content(100, 1), crate::content::content(100, 2));
    let mut oracle = Oracle::default();
    oracle.note(&Op::Put(there), How::Done);
    store.put(&there.bytes()).unwrap();
    assert_eq!(oracle.check(&store), Ok(()));
    oracle.note(&Op::Put(lost), How::Begun);
    assert_eq!(oracle.check(&store), Ok(()), "either is right");
    oracle.note(&Op::Put(lost), How::Done);
    assert!(oracle.check(&store).unwrap_err().contains("acknowledged and lost"));
    store.put(&lost.bytes()).unwrap();
    oracle.note(&Op::Set("k", Bound::Number(1)), How::Done);
    assert!(oracle.check(&store).unwrap_err().contains("is bound to"));
    oracle.note(&Op::Set("k", Bound::Number(2)), How::Begun);
    store.refs(REFS).set("k", Bound::Number(2).value()).unwrap();
    assert_eq!(oracle.check(&store), Ok(()));
    store.put(b"stray").unwrap();
    assert!(oracle.check(&store).unwrap_err().contains("nobody put"));
}
