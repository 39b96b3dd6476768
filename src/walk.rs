//! Walking over all blobs or refs, lazily, while others go on changing them.
#![forbid(unsafe_code)]

use crate::engine::Engine;
use crate::entry::{Entry, MOVES_MAX};
use crate::error::Result;
use crate::format::word::Word;
use crate::id::Key;
use crate::index::Cursor;
use crate::stat::BlobStat;
use crate::sync::epoch::{Guard, pin};
use std::sync::Arc;

/// A walk over the live words of the index.
struct Walk {
    engine: Arc<Engine>,
    cursor: Option<Cursor>,
    found: Vec<(Key, Word)>,
    wants_refs: bool,
}

impl Walk {
    fn new(engine: Arc<Engine>, wants_refs: bool) -> Self {
        Self { engine, cursor: Some(Cursor::default()), found: Vec::new(), wants_refs }
    }

    /// The next live word of the wanted kind.
    fn next(&mut self, guard: &Guard) -> Result<Option<(Key, Word)>> {
        loop {
            while let Some((key, word)) = self.found.pop() {
                if word.is_live() && word.is_ref() == self.wants_refs {
                    return Ok(Some((key, word)));
                }
            }
            let Some(from) = self.cursor else { return Ok(None) };
            // Should the step fail, the walk is over: it would fail again for ever.
            self.cursor = None;
            self.cursor = self.engine.index(guard).scan(from, &mut self.found)?;
        }
    }
}

/// All blobs of a store; see [`Store::blobs`](crate::Store::blobs).
pub struct Blobs(Walk);

impl Blobs {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self(Walk::new(engine, false))
    }
}

impl Iterator for Blobs {
    type Item = Result<BlobStat>;

    fn next(&mut self) -> Option<Self::Item> {
        let guard = pin();
        let engine = self.0.engine.clone();
        engine.enter(&guard);
        loop {
            let (key, word) = match self.0.next(&guard).transpose()? {
                Ok(next) => next,
                Err(error) => return Some(Err(error)),
            };
            match engine.stat_at(key, word.location(), &guard).transpose() {
                Some(stat) => return Some(stat),
                // Removed meanwhile.
                None => continue,
            }
        }
    }
}

/// All refs of one namespace, or of all; see [`Refs::iter`](crate::Refs::iter).
pub struct RefIter {
    walk: Walk,
    namespace: Option<String>,
}

impl RefIter {
    pub(crate) fn new(engine: Arc<Engine>, namespace: Option<&str>) -> Self {
        Self { walk: Walk::new(engine, true), namespace: namespace.map(Into::into) }
    }

    fn entry_at(&self, key: Key, word: Word, guard: &Guard) -> Result<Option<Entry>> {
        let engine = &self.walk.engine;
        let (mut word, mut found) = (word, engine.read(word.location(), guard)?);
        for _ in 0..MOVES_MAX {
            let Some(at) = found else {
                let Some((seen, now)) = engine.find(key, guard)? else { return Ok(None) };
                (word, found) = (seen.word, Some(now));
                continue;
            };
            let body = engine.ref_body(&at, guard)?;
            if self.namespace.as_ref().is_some_and(|namespace| *namespace != body.namespace) {
                return Ok(None);
            }
            let entry = engine.visible(at.header.kind, at.header.sequence, body, guard)?;
            // A blob of it may be gone because it names another one by now.
            if entry.is_some() || engine.has_come_to_rest(key, word, guard)? {
                return Ok(entry);
            }
            found = None;
        }
        Ok(None)
    }
}

impl Iterator for RefIter {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        let guard = pin();
        self.walk.engine.enter(&guard);
        loop {
            let (key, word) = match self.walk.next(&guard).transpose()? {
                Ok(next) => next,
                Err(error) => return Some(Err(error)),
            };
            if let Some(entry) = self.entry_at(key, word, &guard).transpose() {
                return Some(entry);
            }
        }
    }
}
