//! What participants do with the blob and the ref, as the store's operations do it.
#![forbid(unsafe_code)]

use super::world::{Kind, Writer, blob, name, pin};
use crate::format::word::{Word, WordKind};
use crate::id::Key;
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

/// Condemns the blob, acquits it if a ref that is being set or is set names it, and else gives it up.
fn collect(collector: &mut Writer) -> Outcome {
    let index = &collector.index;
    index.update_flags(blob(), Word::CONDEMNED, 0).unwrap();
    let is_in_flight = collector.refs_in_log().any(|record| !record.is_published);
    let is_live = |key| index.lookup(key).unwrap().word.is_live();
    if is_in_flight || is_live(name()) || is_live(pin()) {
        index.update_flags(blob(), 0, Word::CONDEMNED).unwrap();
    }
    let seen = index.lookup(blob()).unwrap();
    if seen.word.kind() == WordKind::Live && seen.word.has(Word::CONDEMNED) {
        let _ = index.publish(blob(), seen, seen.word.dead()).unwrap();
    }
    Outcome::Collected
}
