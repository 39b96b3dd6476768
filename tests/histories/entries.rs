//! What operations are about, and how that stands on a tape.
#![forbid(unsafe_code)]

use crate::tape::Noted;

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Set = 1,
    Add,
    CompareAndSet,
    RemoveRef,
    GetRef,
    Put,
    Get,
    Remove,
    Unpin,
    Compact,
}

const KINDS: [Kind; 10] = [
    Kind::Set,
    Kind::Add,
    Kind::CompareAndSet,
    Kind::RemoveRef,
    Kind::GetRef,
    Kind::Put,
    Kind::Get,
    Kind::Remove,
    Kind::Unpin,
    Kind::Compact,
];

/// What is told apart because it is checked in different ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Refs to bytes.
    Inline,
    /// Refs to blobs.
    Named,
    /// Blobs that are put and removed again and again.
    Removed,
    /// Blobs that are put and unpinned again and again.
    Unpinned,
    /// Blobs that are put once.
    Once,
    /// The store as a whole.
    Store,
}

const CLASSES: [Class; 6] =
    [Class::Inline, Class::Named, Class::Removed, Class::Unpinned, Class::Once, Class::Store];

/// A ref or a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject {
    pub class: Class,
    pub number: u64,
}

impl Subject {
    pub fn new(class: Class, number: u64) -> Self {
        Self { class, number }
    }

    /// The bytes of a blob.
    pub fn content(self) -> Vec<u8> {
        let len = 16 + (self.number as usize % 7) * 24;
        let mut bytes = Vec::with_capacity(len + 16);
        while bytes.len() < len {
            bytes.extend_from_slice(&self.number.to_le_bytes());
            bytes.extend_from_slice(&(self.class as u64).to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }
}

/// An operation in one word.
pub fn encode(kind: Kind, subject: Subject) -> u64 {
    assert!(subject.number >> 48 == 0, "a number of 48 bits");
    (kind as u64) << 56 | (subject.class as u64) << 48 | subject.number
}

/// An operation as it was recorded.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub kind: Kind,
    pub subject: Subject,
    /// Of a compare-and-set, the version expected; of a ref to a blob, the blob's number.
    pub argument: u64,
    pub begin: u64,
    /// When it was acknowledged, or its process dead.
    pub end: u64,
    pub is_acknowledged: bool,
    /// A version (0 for none), or whether there was something.
    pub result: u64,
    /// Of a ref that was read, which operation had written it.
    pub writer: u64,
}

impl Entry {
    /// `dead` is when the process was known to be dead.
    pub fn decode(noted: &Noted, dead: u64) -> Self {
        let kind = KINDS[(noted.what >> 56) as usize - 1];
        let class = CLASSES[(noted.what >> 48 & 0xff) as usize];
        let is_acknowledged = noted.end != 0;
        Self {
            kind,
            subject: Subject::new(class, noted.what & ((1 << 48) - 1)),
            argument: noted.argument,
            begin: noted.begin,
            end: if is_acknowledged { noted.end } else { dead },
            is_acknowledged,
            result: noted.results[0],
            writer: noted.results[1],
        }
    }

    pub fn interval(&self) -> (u64, u64) {
        (self.begin, self.end)
    }
}

/// What each value says: which operation wrote it. Never 0.
pub fn unique(tape: u64, at: usize) -> u64 {
    (tape + 1) << 32 | at as u64
}

/// The tape and the place there.
pub fn origin(unique: u64) -> Option<(usize, usize)> {
    Some((usize::try_from((unique >> 32).checked_sub(1)?).ok()?, (unique & 0xffff_ffff) as usize))
}
