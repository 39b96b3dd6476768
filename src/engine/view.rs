//! The store as one operation of the publishing protocol (`protocol.rs`) gets at it: words in the run's
//! index, records in mapped segments, durability by vouching.
#![forbid(unsafe_code)]

use super::engine::{Durability, Engine, Found, missing_segment};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::Kind;
use crate::format::word::{Word, WordKind};
use crate::id::Key;
use crate::index::Index;
use crate::protocol::{Shared, rely};
use crate::run::RunTables;
use crate::sync::epoch::Guard;

/// Times that a blob's word may move while a ref that names it is relied on.
const MOVES_MAX: u32 = 1 << 10;

/// The store as one operation gets at it.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The store.
    pub engine: &'a Engine,
    /// Keeps alive what is read.
    pub guard: &'a Guard,
    index: Index<RunTables<'a>>,
    durability: Durability,
}

impl<'a> View<'a> {
    /// For an operation that is to be acknowledged at this durability.
    pub fn new(engine: &'a Engine, guard: &'a Guard, durability: Durability) -> Self {
        Self { engine, guard, index: engine.index(guard), durability }
    }

    /// The record that `word`, which was `key`'s, names; `None` if it has moved on.
    pub fn record(&self, key: Key, word: Word) -> Result<Option<Found<'a>>> {
        let found = self.engine.read(word.location(), self.guard)?;
        if found.is_none() && self.index.lookup(key)?.word.is_same_record(word) {
            return Err(missing_segment(word.location()));
        }
        Ok(found)
    }

    /// Relies on the blobs that a ref names, those that have been removed by their tombstones.
    fn vouch_blobs(&self, found: &Found<'a>) -> Result<()> {
        if found.header.kind == Kind::Pin {
            return self.vouch_blob(&found.header.digest);
        }
        let body = self.engine.ref_body(found, self.guard)?;
        body.blobs.iter().try_for_each(|(digest, _)| self.vouch_blob(digest))
    }

    fn vouch_blob(&self, digest: &[u8; 32]) -> Result<()> {
        let key = Key::from_digest(digest);
        for _ in 0..MOVES_MAX {
            let word = self.index.lookup(key)?.word;
            let is_there = matches!(word.kind(), WordKind::Live | WordKind::Tomb);
            if !is_there || rely(self, key, word)?.is_some() {
                return Ok(());
            }
        }
        Err(Error::new(ErrorKind::Busy, "a blob is put and removed again and again")
            .advice("try again"))
    }
}

impl<'a> Shared for View<'a> {
    type Tables = RunTables<'a>;

    #[inline]
    fn index(&self) -> &Index<RunTables<'a>> {
        &self.index
    }

    #[inline]
    fn draw(&self, count: u64) -> u64 {
        self.engine.run.control.draw_sequences(count)
    }

    #[inline]
    fn is_held(&self, word: Word) -> bool {
        self.engine.is_held(word)
    }

    #[inline]
    fn is_synced(&self) -> bool {
        self.durability == Durability::Synced
    }

    fn vouch(&self, key: Key, word: Word) -> Result<Option<u64>> {
        let Some(found) = self.record(key, word)? else { return Ok(None) };
        if word.is_live() && found.header.kind.is_ref() {
            self.vouch_blobs(&found)?;
        }
        self.engine.set_state(&found)?;
        let lasts = !self.is_synced()
            || bug!("relied-unvouched")
            || self.engine.vouch(&found, self.guard)?;
        Ok(lasts.then_some(found.header.sequence))
    }
}
