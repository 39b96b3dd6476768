//! What must hold when all are done. Numbers grow along a key's history, so the published records of a
//! key, by number, are its history: it must explain what everybody was told, and end with the record
//! that the index names, or recovery would find something else.
#![forbid(unsafe_code)]

use super::play::{Deed, Op, Outcome};
use super::world::{FIRST, Kind, LATE, Record, World, Writer, blob, name, pin};
use crate::format::word::{Word, WordKind};
use crate::id::Key;
use crate::protocol::is_settled;
use std::sync::Arc;

/// Checks what came of `deeds`; `stopped` is the participant that may have stopped for ever.
pub fn check(world: &Arc<World>, stopped: Option<usize>, deeds: &[Deed]) {
    let told = |why: String| format!("{why}\n  {deeds:?}\n  {:?}", world.records());
    let late = Writer::new(world, LATE, world.bed.join());
    late.index.finish_growth().unwrap();
    for key in [blob(), name(), pin()] {
        let word = late.index.lookup(key).unwrap().word;
        if !is_kept(word) {
            continue;
        }
        let record = world.record(word);
        let is_owed = record.is_published || Some(record.writer) == stopped;
        assert!(is_owed, "{}", told(format!("the state byte of {record:?} is not set")));
        assert!(is_settled(&late, key, word).unwrap());
    }
    let records = world.records();
    // A record that was named by who stopped then, and superseded, has no state byte.
    let lost: Vec<Record> = records
        .iter()
        .copied()
        .filter(|record| !record.is_published && Some(record.writer) == stopped)
        .collect();
    let why = (0..1_usize << lost.len()).map(|subset| {
        let with = |record: &Record| {
            let at = lost.iter().position(|lost| lost == record);
            record.is_published || at.is_some_and(|at| subset >> at & 1 == 1)
        };
        Histories::new(&late, records.iter().copied().filter(with), deeds).explain()
    });
    let why: Vec<&str> = why.filter_map(Result::err).collect();
    assert!(why.len() < 1 << lost.len(), "{}", told(why.join(", or ")));
}

fn is_kept(word: Word) -> bool {
    matches!(word.kind(), WordKind::Live | WordKind::Tomb)
}

/// The histories of both keys, what the index names, and what everybody was told.
struct Histories<'a> {
    late: &'a Writer,
    blob: Vec<Record>,
    name: Vec<Record>,
    pin: Vec<Record>,
    deeds: &'a [Deed],
}

impl<'a> Histories<'a> {
    fn new(late: &'a Writer, records: impl Iterator<Item = Record>, deeds: &'a [Deed]) -> Self {
        let mut records: Vec<Record> = records.collect();
        records.sort_by_key(|record| record.number);
        let of = |key: Key| records.iter().copied().filter(|record| record.key() == key).collect();
        Self { late, blob: of(blob()), name: of(name()), pin: of(pin()), deeds }
    }

    fn has_collector(&self) -> bool {
        self.deeds.iter().any(|(op, _)| *op == Op::Collect)
    }

    fn explain(&self) -> Result<(), &'static str> {
        self.explain_end(blob(), &self.blob)?;
        self.explain_end(name(), &self.name)?;
        self.explain_end(pin(), &self.pin)?;
        for history in [&self.blob, &self.name] {
            let is_live_before = |at: usize| at > 0 && history[at - 1].is_live();
            let mut tombs = (0..history.len()).filter(|&at| !history[at].is_live());
            tombs.all(is_live_before).then_some(()).ok_or("a removal of nothing")?;
        }
        let twice = self.blob.windows(2).any(|pair| pair[0].is_live() && pair[1].is_live());
        if twice && !self.has_collector() {
            return Err("a blob was put that was there");
        }
        self.deeds.iter().try_for_each(|(op, outcome)| self.explain_outcome(*op, *outcome))?;
        let [blob, name, pin] =
            [blob(), name(), pin()].map(|key| self.late.index.lookup(key).unwrap().word);
        if (name.is_live() || pin.is_live()) && !is_kept(blob) {
            return Err("a ref dangles");
        }
        Ok(())
    }

    /// Whether recovery finds what the index names.
    fn explain_end(&self, key: Key, history: &[Record]) -> Result<(), &'static str> {
        let word = self.late.index.lookup(key).unwrap().word;
        let is_found = match word.kind() {
            WordKind::None => history.is_empty() || key == blob() && self.has_collector(),
            WordKind::Dead => history.last().is_some_and(|last| last.is_live()),
            WordKind::Live | WordKind::Tomb => {
                let named = self.late.world.record(word);
                history.last().is_some_and(|last| last.at == named.at)
            }
        };
        is_found.then_some(()).ok_or("recovery finds another record than the index names")
    }

    fn explain_outcome(&self, op: Op, outcome: Option<Outcome>) -> Result<(), &'static str> {
        let was_there_always = |history: &[Record]| {
            history.first().is_some_and(|first| first.writer == FIRST)
                && history.iter().all(Record::is_live)
        };
        let is_right = match outcome {
            None | Some(Outcome::Collected) => true,
            Some(Outcome::Done(number)) => return self.explain_ref(op, number),
            Some(Outcome::Declined) => self.name.iter().any(Record::is_live),
            Some(Outcome::Missing) => !was_there_always(&self.blob) || self.has_collector(),
            Some(Outcome::Removed(true)) => true,
            Some(Outcome::Removed(false)) if op == Op::RemoveRef => !was_there_always(&self.name),
            Some(Outcome::Removed(false)) => !was_there_always(&self.blob) || self.has_collector(),
        };
        is_right.then_some(()).ok_or("somebody was told what never was")
    }

    /// A ref that was acknowledged, and the blob's record that it relies on.
    fn explain_ref(&self, op: Op, number: u64) -> Result<(), &'static str> {
        let history = if op == Op::Pin { &self.pin } else { &self.name };
        let at = history.iter().position(|record| record.number == number);
        let at = at.ok_or("an acknowledged ref has no record")?;
        if op == Op::Add && at > 0 && history[at - 1].is_live() {
            return Err("a ref was added where there was one");
        }
        let held = history[at].held;
        if !self.blob.iter().any(|record| record.kind == Kind::Blob && record.number == held) {
            return Err("a ref relies on a record that does not count");
        }
        // Such a blob was published before the ref's number was drawn, and then acquitted.
        let is_between =
            |record: &Record| record.is_live() && (held + 1..number).contains(&record.number);
        if self.blob.iter().any(is_between) {
            return Err("a ref relies on an older record than the one it met");
        }
        Ok(())
    }
}
