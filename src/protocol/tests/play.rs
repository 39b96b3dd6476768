//! What participants do with the blob and the ref, as the store's operations do it.
#![forbid(unsafe_code)]

use super::world::{Kind, Record, Writer, blob, name, pin};
use crate::collect::{Roots, acquit_in_flight, condemn, sweep, walk};
use crate::error::Result;
use crate::format::word::{Word, WordKind};
use crate::id::Key;
use crate::index::KeyRange;
use crate::protocol::{Fate, Named, Pair, put, remove, set};

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Puts the blob and sets the ref to it.
    Put,
    /// Puts the blob and pins it.
    #[cfg_attr(loom, allow(dead_code, reason = "three keys are too many for a small table"))]
    Pin,
    /// Sets the ref to the blob.
    Set,
    /// Sets the ref to the blob if there is no ref.
    Add,
    /// Removes the blob.
    RemoveBlob,
    /// Removes the ref.
    RemoveRef,
    /// Gives up the blob if nothing names it.
    Collect,
}

/// What it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The ref is set, by the record with this number.
    Done(u64),
    /// There is a ref.
    Declined,
    /// The blob is not there.
    Missing,
    /// Whether there was something to remove.
    Removed(bool),
    /// A collector is told nothing.
    Collected,
}

/// What somebody did, and was told of it; nothing if he stopped.
pub type Deed = (Op, Option<Outcome>);

impl Op {
    pub fn run(self, writer: &mut Writer) -> Outcome {
        writer.adds = self == Op::Add;
        writer.kind = match self {
            Op::RemoveBlob => Kind::BlobTomb,
            Op::RemoveRef => Kind::RefTomb,
            Op::Pin => Kind::Pin,
            _ => Kind::Ref,
        };
        match self {
            Op::Put => put_blob(writer, name()),
            Op::Pin => put_blob(writer, pin()),
            Op::Set | Op::Add => set_ref(writer, name()),
            Op::RemoveBlob => Outcome::Removed(remove(writer, blob(), |_| Ok(true)).unwrap()),
            Op::RemoveRef => Outcome::Removed(remove(writer, name(), |_| Ok(true)).unwrap()),
            Op::Collect => collect(writer),
        }
    }
}

fn set_ref(writer: &mut Writer, name: Key) -> Outcome {
    match set(writer, name).unwrap() {
        Named::Done(number) => Outcome::Done(number),
        Named::Declined => Outcome::Declined,
        Named::Missing(_) => Outcome::Missing,
    }
}

fn put_blob(writer: &mut Writer, name: Key) -> Outcome {
    for _ in 0..8 {
        if !writer.index.lookup(blob()).unwrap().word.is_live() {
            let mut pair = Pair::look(&writer.index, blob(), name).unwrap();
            put(writer, std::slice::from_mut(&mut pair)).unwrap();
            if let Fate::Named(number) = pair.fate() {
                return Outcome::Done(number);
            }
        }
        match set_ref(writer, name) {
            Outcome::Missing => {}
            outcome => return outcome,
        }
    }
    panic!("the blob is removed again and again");
}

/// Collects as the store does.
fn collect(collector: &mut Writer) -> Outcome {
    let (index, collector) = (&collector.index, &*collector);
    for range in KeyRange::parts(0) {
        condemn(index, range).unwrap();
        acquit_in_flight(index, collector).unwrap();
        walk(index, range, collector).unwrap();
        sweep(index, range, false, |_, _| {}).unwrap();
    }
    Outcome::Collected
}

impl Roots for Writer {
    fn in_flight(&self, named: &mut Vec<Key>) -> Result<()> {
        let is_void = |record: &Record| {
            let word = self.index.lookup(record.key()).unwrap().word;
            let is_there = matches!(word.kind(), WordKind::Live | WordKind::Tomb);
            is_there && self.world.record(word).number >= record.number
        };
        let pending = self.refs_in_log().filter(|record| !record.is_published);
        named.extend(pending.filter(|record| !is_void(record)).map(|_| blob()));
        Ok(())
    }

    fn named(&self, refs: &[(Key, Word)], named: &mut Vec<Key>) -> Result<()> {
        named.extend(refs.iter().map(|_| blob()));
        Ok(())
    }
}
