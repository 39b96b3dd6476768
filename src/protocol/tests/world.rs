//! What participants share: the index's test bed, the sequence counter, and a log in which each record
//! is one word. There is one blob, one ref, which names it, and its pin.
#![forbid(unsafe_code)]

use crate::error::Result;
use crate::format::word::{Location, Word, WordKind};
use crate::id::Key;
use crate::index::Index;
use crate::index::bed::{Bed, Participant, key_at};
use crate::protocol::{Fate, Pair, PairLog, RecordLog, RefLog, Shared, rely};
use crate::sync::{HeapWords, Words};
use std::sync::Arc;

/// Records that one participant may append.
const RECORDS: usize = if cfg!(loom) { 12 } else { 48 };
/// Participants that the log has space for.
const WRITERS: usize = if cfg!(loom) { 5 } else { 8 };
/// Who prepares what is there at first.
pub const FIRST: usize = 0;
/// Who comes when all are done.
pub const LATE: usize = WRITERS - 1;

/// The key of the blob.
pub fn blob() -> Key {
    key_at(0, 20, 1)
}

/// The key of the ref.
pub fn name() -> Key {
    key_at((1 << 20) - 1, 20, 2)
}

/// The key of the blob's pin.
pub fn pin() -> Key {
    key_at(1 << 19, 20, 3)
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Blob,
    Ref,
    BlobTomb,
    RefTomb,
    Pin,
}

use Kind::*;

/// A record of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    pub kind: Kind,
    pub number: u64,
    /// Of a ref: the number of the blob's record that it relies on.
    pub held: u64,
    pub is_published: bool,
    /// Who has appended it.
    pub writer: usize,
    /// Its place in the log.
    pub at: usize,
}

const PUBLISHED: u64 = 1 << 1;

impl Record {
    /// The key that it is about.
    pub fn key(&self) -> Key {
        match self.kind {
            Blob | BlobTomb => blob(),
            Ref | RefTomb => name(),
            Pin => pin(),
        }
    }

    pub fn is_live(&self) -> bool {
        matches!(self.kind, Blob | Ref | Pin)
    }

    fn word(&self) -> u64 {
        1 | (self.kind as u64) << 2 | self.number << 8 | self.held << 32
    }

    fn read(word: u64, at: usize) -> Option<Self> {
        let kind = [Blob, Ref, BlobTomb, RefTomb, Pin][(word >> 2 & 7) as usize];
        (word & 1 == 1).then_some(Self {
            kind,
            number: word >> 8 & 0xff_ffff,
            held: word >> 32,
            is_published: word & PUBLISHED != 0,
            writer: at / RECORDS,
            at,
        })
    }
}

/// See the head of this file.
pub struct World {
    pub bed: Arc<Bed>,
    sequence: HeapWords,
    log: HeapWords,
}

impl World {
    /// With one table of `2^log2` buckets.
    pub fn new(log2: u32) -> Arc<Self> {
        let (sequence, log) = (HeapWords::new(1), HeapWords::new(WRITERS * RECORDS));
        sequence.store(0, 1);
        Arc::new(Self { bed: Bed::new(log2), sequence, log })
    }

    /// All records, pending ones too.
    pub fn records(&self) -> Vec<Record> {
        (0..self.log.len()).filter_map(|at| Record::read(self.log.load(at), at)).collect()
    }

    /// The record that a word names.
    pub fn record(&self, word: Word) -> Record {
        let at = word.location().segment() as usize;
        Record::read(self.log.load(at), at).expect("the index names a record that is in the log")
    }
}

/// A participant, with a part of the log to itself.
pub struct Writer {
    pub world: Arc<World>,
    pub index: Index<Participant>,
    /// What it appends, where it appends one record at a time.
    pub kind: Kind,
    /// Whether it sets the ref only where there is none.
    pub adds: bool,
    pub is_synced: bool,
    next: usize,
    end: usize,
    pair: Option<(Word, Word)>,
}

impl Writer {
    pub fn new(world: &Arc<World>, number: usize, index: Index<Participant>) -> Self {
        let (next, end) = (number * RECORDS, (number + 1) * RECORDS);
        let world = world.clone();
        Self { world, index, kind: Ref, adds: false, is_synced: false, next, end, pair: None }
    }

    fn step(&self) {
        self.index.participant().step();
    }

    fn append_one(&mut self, kind: Kind, number: u64, held: u64) -> Word {
        assert!(self.next < self.end, "it begins again and again");
        self.step();
        let (at, is_published) = (self.next, false);
        let record = Record { kind, number, held, is_published, writer: at / RECORDS, at };
        self.world.log.store(at, record.word());
        self.next += 1;
        let location = Location::new(at as u32, 64).unwrap();
        match kind {
            Blob | Ref | Pin => Word::live(location, kind != Blob, 64),
            BlobTomb | RefTomb => Word::tomb(location, kind == RefTomb),
        }
    }

    fn publish_at(&self, at: usize) {
        self.world.log.fetch_or(at, PUBLISHED);
    }

    /// The refs and pins that are being set, published or not.
    pub fn refs_in_log(&self) -> impl Iterator<Item = Record> {
        self.world.records().into_iter().filter(|record| matches!(record.kind, Ref | Pin))
    }

    fn vouch_blob(&self) -> Result<()> {
        for _ in 0..8 {
            let word = self.index.lookup(blob())?.word;
            let is_there = matches!(word.kind(), WordKind::Live | WordKind::Tomb);
            if !is_there || rely(self, blob(), word)?.is_some() {
                return Ok(());
            }
        }
        panic!("the blob does not come to rest");
    }
}

impl Shared for Writer {
    type Tables = Participant;

    fn index(&self) -> &Index<Participant> {
        &self.index
    }

    fn draw(&self, count: u64) -> u64 {
        self.step();
        let first = self.world.sequence.fetch_add(0, count);
        // Somebody may come between this and the next load.
        self.step();
        first
    }

    fn is_held(&self, word: Word) -> bool {
        word.is_live()
    }

    fn is_synced(&self) -> bool {
        self.is_synced
    }

    fn vouch(&self, _: Key, word: Word) -> Result<Option<u64>> {
        let record = self.world.record(word);
        if matches!(record.kind, Ref | Pin) {
            self.vouch_blob()?;
        }
        self.step();
        self.publish_at(record.at);
        Ok(Some(record.number))
    }
}

impl PairLog for Writer {
    fn accepts(&self, _: usize, word: Word) -> Result<Option<bool>> {
        RefLog::accepts(self, word)
    }

    fn append(&mut self, first: u64, pairs: &[Pair]) -> Result<()> {
        assert_eq!(pairs.len(), 1, "there is one blob");
        let name = self.append_one(self.kind, first + 1, first);
        self.pair = Some((self.append_one(Blob, first, 0), name));
        Ok(())
    }

    fn words(&self, _: usize) -> Result<(Word, Word)> {
        Ok(self.pair.expect("a pair was appended"))
    }

    fn publish(&mut self, pairs: &[Pair]) -> Result<()> {
        self.step();
        let fate = pairs[0].fate();
        if fate != Fate::Void {
            self.publish_at(self.next - 1);
        }
        if matches!(fate, Fate::Named(_)) {
            self.publish_at(self.next - 2);
        }
        Ok(())
    }
}

impl RecordLog for Writer {
    fn append(&mut self, sequence: u64, held: &[u64]) -> Result<Word> {
        Ok(self.append_one(self.kind, sequence, held.first().copied().unwrap_or(0)))
    }

    fn publish(&mut self) -> Result<()> {
        self.step();
        self.publish_at(self.next - 1);
        Ok(())
    }
}

impl RefLog for Writer {
    fn accepts(&self, word: Word) -> Result<Option<bool>> {
        Ok(Some(!self.adds || !word.is_live()))
    }

    fn blobs(&self) -> usize {
        1
    }

    fn blob(&self, _: usize) -> Key {
        blob()
    }

    fn peek(&self, _: usize) -> Result<Option<u64>> {
        let word = self.index.lookup(blob())?.word;
        Ok(word.is_live().then(|| self.world.record(word).number))
    }
}
