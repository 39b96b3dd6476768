//! What a check has found at one place.
#![forbid(unsafe_code)]

use crate::error::Error;
use crate::id::{BlobId, Key};
use std::fmt;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Something that a death or a power loss may leave, or that only takes space.
    Notice,
    /// Something that was put, and counts, and is not there or not whole; but nothing proves that it was
    /// ever durable. A power loss before it was synced leaves this, and so does damage.
    Loss,
    /// Something that cannot be.
    Damage,
}

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FindingKind {
    /// What stands in the place of a file or directory of the store.
    Layout,
    /// A copy of the superblock.
    Superblock,
    /// The control page of the run, or a table's header.
    Run,
    /// A counter of the run, or a hint in it.
    Counter,
    /// A word of the index.
    Index,
    /// A file that the index names, or that should be a segment.
    Segment,
    /// The head of a segment.
    Head,
    /// The footer of a segment.
    Footer,
    /// The header of a record.
    Header,
    /// The body of a blob.
    Digest,
    /// The chunk digests of a blob.
    Chunks,
    /// The body of a ref, a pin or a tombstone.
    Ref,
    /// A ref whose blob is gone.
    Dangling,
    /// Bytes that are no record.
    Torn,
    /// A file that is nobody's.
    Stray,
}

impl FindingKind {
    /// The kind in one word, for documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Layout => "layout",
            Self::Superblock => "superblock",
            Self::Run => "run",
            Self::Counter => "counter",
            Self::Index => "index",
            Self::Segment => "segment",
            Self::Head => "head",
            Self::Footer => "footer",
            Self::Header => "header",
            Self::Digest => "digest",
            Self::Chunks => "chunks",
            Self::Ref => "ref",
            Self::Dangling => "dangling",
            Self::Torn => "torn",
            Self::Stray => "stray",
        }
    }
}

/// What a repair does about a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cure {
    /// Nothing.
    Nothing,
    /// Builds the run anew.
    Rebuild,
    /// Saves what is whole in the segment, and moves its file away.
    Salvage(u32),
    /// Writes the copy at this offset again.
    Superblock(u64),
    /// Makes both copies of what the segments say.
    SuperblockAnew,
    /// Clears the place of a file or directory of the store.
    Place(&'static str),
}

/// What a check has found at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub kind: FindingKind,
    /// What is wrong, in a sentence.
    pub message: String,
    /// The file or directory, below the store's directory.
    pub path: Option<String>,
    /// The segment.
    pub segment: Option<u32>,
    /// The byte offset in the file.
    pub offset: Option<u64>,
    /// What should be there.
    pub expected: Option<String>,
    /// What is there.
    pub found: Option<String>,
    /// The blob that is concerned.
    pub blob: Option<BlobId>,
    /// The refs that are concerned: namespace and key.
    pub names: Vec<(String, Vec<u8>)>,
    /// What to do.
    pub advice: &'static str,
    pub(crate) cure: Cure,
    /// Keys of the index whose records are concerned, where nothing tells their ids any more.
    pub(crate) keys: Vec<Key>,
}

/// What helps against damage of a segment.
const SALVAGE: &str = "run `blobtool fsck --repair`: it saves what is whole and moves the file to `quarantine`; \
     then put again what is lost";
/// What helps against damage of the run.
const REBUILD: &str =
    "run `blobtool fsck --repair`, or remove the directory `run` while nobody uses the store";
/// What helps where something stands that is not the store's.
const PLACE: &str = "end the processes that use the store, then run `blobtool fsck --repair`: it moves \
     what stands there to `quarantine`, and makes what belongs there";
const NOTHING: &str = "nothing needs to be done";
/// What there is to do about what was left out when the index was built.
pub(super) const LEFT_OUT: &str = "after a power loss this is to be expected of what was not synced; if there was none, \
     the medium is damaged, or a copy is not whole: bring what is missing back from elsewhere";
/// What helps where only what counts is lost.
const LOSS: &str = "if the machine has gone down without `sync` since it was put, put it again: the next \
     opening passes it over; else the medium is damaged: bring the store back from a copy, or run \
     `blobtool fsck --repair` and put again what is lost";

impl Finding {
    pub(super) fn damage(kind: FindingKind, message: impl Into<String>, cure: Cure) -> Self {
        let advice = match cure {
            Cure::Salvage(_) => SALVAGE,
            Cure::Rebuild => REBUILD,
            Cure::Superblock(_) => "run `blobtool fsck --repair`: it writes the copy again",
            Cure::SuperblockAnew => {
                "run `blobtool fsck --repair`: it makes it again of what the segments say"
            }
            Cure::Place(_) => PLACE,
            Cure::Nothing => "bring the file back from a copy",
        };
        Self { cure, advice, ..Self::new(Severity::Damage, kind, message) }
    }

    pub(super) fn notice(kind: FindingKind, message: impl Into<String>) -> Self {
        Self::new(Severity::Notice, kind, message)
    }

    fn new(severity: Severity, kind: FindingKind, message: impl Into<String>) -> Self {
        Self {
            severity,
            kind,
            message: message.into(),
            path: None,
            segment: None,
            offset: None,
            expected: None,
            found: None,
            blob: None,
            names: Vec::new(),
            advice: NOTHING,
            cure: Cure::Nothing,
            keys: Vec::new(),
        }
    }

    /// What an error says, as damage.
    pub(super) fn of_error(kind: FindingKind, error: &Error, cure: Cure) -> Self {
        let mut finding = Self::damage(kind, error.message(), cure);
        finding.expected = error.expected_text().map(Into::into);
        finding.found = error.found_text().map(Into::into);
        finding
    }

    pub(super) fn at(self, segment: u32, offset: u64) -> Self {
        Self {
            path: Some(crate::segment::segment_path(segment)),
            segment: Some(segment),
            offset: Some(offset),
            ..self
        }
    }

    pub(super) fn path(self, path: impl Into<String>) -> Self {
        Self { path: Some(path.into()), ..self }
    }

    pub(super) fn offset(self, offset: u64) -> Self {
        Self { offset: Some(offset), ..self }
    }

    pub(super) fn expected(self, what: impl fmt::Display) -> Self {
        Self { expected: Some(what.to_string()), ..self }
    }

    pub(super) fn found(self, what: impl fmt::Display) -> Self {
        Self { found: Some(what.to_string()), ..self }
    }

    pub(super) fn blob(self, id: BlobId) -> Self {
        Self { blob: Some(id), ..self }
    }

    pub(super) fn of_key(self, key: Key) -> Self {
        Self { keys: vec![key], ..self }
    }

    pub(super) fn advice(self, advice: &'static str) -> Self {
        Self { advice, ..self }
    }

    /// As a notice: the index was built without it, and a power loss may have left it.
    pub(super) fn left_out(self) -> Self {
        Self { advice: LEFT_OUT, ..self.excused() }
    }

    /// As a notice: it is what a power loss may have left.
    pub(super) fn excused(self) -> Self {
        Self {
            severity: Severity::Notice,
            kind: FindingKind::Torn,
            advice: NOTHING,
            cure: Cure::Nothing,
            ..self
        }
    }

    /// What counts is lost, and nothing says that it was durable.
    pub(super) fn lost(self) -> Self {
        let cure = if self.cure == Cure::Nothing { Cure::Rebuild } else { self.cure };
        Self { severity: Severity::Loss, advice: LOSS, cure, ..self }
    }

    /// Whether nothing needs to be done.
    pub(super) fn is_notice(&self) -> bool {
        self.severity == Severity::Notice
    }

    /// Whether it is damage.
    pub fn is_damage(&self) -> bool {
        self.severity == Severity::Damage
    }

    /// Whether both are about the same place.
    pub(super) fn is_of_place(&self, other: &Self) -> bool {
        self.kind == other.kind && self.path == other.path && self.offset == other.offset
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match (&self.path, self.offset) {
            (Some(path), Some(offset)) => write!(f, " ({path}, offset {offset})")?,
            (Some(path), None) => write!(f, " ({path})")?,
            _ => {}
        }
        match (&self.expected, &self.found) {
            (Some(expected), Some(found)) => write!(f, ": expected {expected}, found {found}"),
            (Some(expected), None) => write!(f, ": expected {expected}"),
            (None, Some(found)) => write!(f, ": found {found}"),
            (None, None) => Ok(()),
        }
    }
}
