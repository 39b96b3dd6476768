//! What a store ought to hold, said as simply as can be.
#![forbid(unsafe_code)]

use drystone::{Value, Version};
use std::collections::{HashMap, HashSet};

/// Blobs and keys are numbers here.
#[derive(Default)]
pub struct Oracle {
    pub blobs: HashSet<usize>,
    pub pins: HashSet<usize>,
    pub refs: HashMap<usize, Bound>,
    /// Blobs that a compaction has given up: a recovery may find them again.
    pub given_up: HashSet<usize>,
}

/// What a ref is bound to.
#[derive(Clone)]
pub struct Bound {
    pub value: Value,
    pub names: Vec<usize>,
    pub version: Version,
    pub is_expired: bool,
}

impl Oracle {
    pub fn put(&mut self, blob: usize) {
        self.store(blob);
        self.pins.insert(blob);
    }

    /// A blob is there.
    pub fn store(&mut self, blob: usize) {
        self.blobs.insert(blob);
        self.given_up.remove(&blob);
    }

    /// What nothing names goes, and the refs that have expired, which name nothing.
    pub fn compact(&mut self) {
        self.refs.retain(|_, bound| !bound.is_expired);
        let mut named = self.pins.clone();
        named.extend(self.refs.values().flat_map(|bound| &bound.names));
        let given_up: Vec<usize> = self.blobs.difference(&named).copied().collect();
        for blob in given_up {
            self.blobs.remove(&blob);
            self.given_up.insert(blob);
        }
    }

    pub fn is_pinned(&self, blob: usize) -> bool {
        self.blobs.contains(&blob) && self.pins.contains(&blob)
    }

    pub fn unpin(&mut self, blob: usize) -> bool {
        let was_pinned = self.is_pinned(blob);
        self.pins.remove(&blob);
        was_pinned
    }

    /// A ref is there as long as all that it names is.
    pub fn get(&self, key: usize) -> Option<&Bound> {
        let is_whole = |bound: &&Bound| bound.names.iter().all(|blob| self.blobs.contains(blob));
        self.refs.get(&key).filter(is_whole).filter(|bound| !bound.is_expired)
    }

    pub fn remove_ref(&mut self, key: usize) -> bool {
        let was_there = self.get(key).is_some();
        self.refs.remove(&key);
        was_there
    }
}
