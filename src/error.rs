//! The one error type: what was expected, what was found, what to do.
#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The result of every fallible operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of thing went wrong; the rest of the error is for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A blob or ref that an operation needs is not there.
    NotFound,
    /// The directory is not a store.
    NotAStore,
    /// A store is there already, and with other properties than were asked for.
    AlreadyExists,
    /// Written by a format version that this library does not know.
    UnsupportedVersion,
    /// Other users of the store run an incompatible version of the library.
    ProtocolMismatch,
    /// The files hold something that cannot be.
    Damaged,
    /// Two contents have one id.
    IdCollision,
    /// The file system is full, or its quota.
    NoSpace,
    /// The index cannot take another key.
    IndexFull,
    /// A limit on descriptors or mappings was hit.
    Limit,
    /// Somebody else holds what is needed exclusively.
    Busy,
    /// A file system on which a store cannot be written.
    FileSystemRefused,
    /// The store belongs to somebody else, or others may write to it, or permission is denied.
    Permission,
    /// Opened read-only, or on a read-only file system.
    ReadOnly,
    /// An argument that no store could accept.
    InvalidInput,
    /// An fsync failed: what was written before it is appended elsewhere; try again.
    SyncFailed,
    /// The operation began before a fork and cannot go on in the child.
    Forked,
    /// The time given ran out.
    TimedOut,
    /// A value that is larger than the whole cache may be.
    TooLarge,
    /// An operation that would wait for itself.
    Reentered,
    /// Any other error of the operating system.
    Io,
}

/// What helps against any damage of a run.
pub(crate) const REMOVE_RUN: &str =
    "stop all users of the store and remove its directory `run`: it is rebuilt from the segments";

/// An error: its [kind](ErrorKind), a sentence, and what is known about place and cause.
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    message: String,
    expected: Option<String>,
    found: Option<String>,
    advice: Option<String>,
    path: Option<PathBuf>,
    segment: Option<u32>,
    offset: Option<u64>,
    source: Option<io::Error>,
}

impl Error {
    /// An error with a sentence that says what went wrong.
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            expected: None,
            found: None,
            advice: None,
            path: None,
            segment: None,
            offset: None,
            source: None,
        }))
    }

    /// An error of the operating system while doing what `message` says; the kind follows the errno.
    pub(crate) fn io(message: impl Into<String>, source: io::Error) -> Self {
        use nix::errno::Errno;
        let errno = source.raw_os_error().map(Errno::from_raw);
        let (kind, advice) = match errno {
            Some(Errno::ENOSPC | Errno::EDQUOT) => (
                ErrorKind::NoSpace,
                Some(
                    "free space on the file system, remove blobs and compact, or raise the quota; nothing that was stored is lost",
                ),
            ),
            Some(Errno::EMFILE | Errno::ENFILE) => {
                (ErrorKind::Limit, Some("raise the limit on open files (ulimit -n), or close some"))
            }
            Some(Errno::ENOMEM) => (
                ErrorKind::Limit,
                Some(
                    "drop views that are not needed, lower the mapping limit of the store, or raise vm.max_map_count and the memory limits",
                ),
            ),
            Some(Errno::EACCES | Errno::EPERM) => {
                (ErrorKind::Permission, Some("check the owner and the mode of the store's files"))
            }
            Some(Errno::EROFS) => (
                ErrorKind::ReadOnly,
                Some("open the store read-only, or remount the file system writable"),
            ),
            Some(Errno::EFBIG) => {
                (ErrorKind::NoSpace, Some("raise the limit on file sizes (ulimit -f)"))
            }
            _ => (ErrorKind::Io, None),
        };
        let mut error = Self::new(kind, message);
        error.0.advice = advice.map(Into::into);
        error.0.source = Some(source);
        error
    }

    /// A damage error at a place in a segment.
    pub(crate) fn damaged(message: impl Into<String>, segment: u32, offset: u64) -> Self {
        let mut error = Self::new(ErrorKind::Damaged, message);
        error.0.segment = Some(segment);
        error.0.offset = Some(offset);
        error.advice(
            "bring the file back from a copy, or put again what is lost; `blobtool get --verify` tells \
             of a blob whether it is whole",
        )
    }

    pub(crate) fn expected(mut self, what: impl fmt::Display) -> Self {
        self.0.expected = Some(what.to_string());
        self
    }

    pub(crate) fn found(mut self, what: impl fmt::Display) -> Self {
        self.0.found = Some(what.to_string());
        self
    }

    pub(crate) fn advice(mut self, what: impl Into<String>) -> Self {
        self.0.advice = Some(what.into());
        self
    }

    pub(crate) fn path(mut self, path: impl AsRef<Path>) -> Self {
        self.0.path.get_or_insert_with(|| path.as_ref().to_path_buf());
        self
    }

    /// The kind, to match on.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The segment that a damage error is about.
    pub fn segment(&self) -> Option<u32> {
        self.0.segment
    }

    /// The byte offset in [`Error::segment`].
    pub fn offset(&self) -> Option<u64> {
        self.0.offset
    }

    /// The sentence alone.
    pub(crate) fn message(&self) -> &str {
        &self.0.message
    }

    /// What should have been there.
    pub fn expected_text(&self) -> Option<&str> {
        self.0.expected.as_deref()
    }

    /// What was there instead.
    pub fn found_text(&self) -> Option<&str> {
        self.0.found.as_deref()
    }

    /// What to do about it.
    pub fn advice_text(&self) -> Option<&str> {
        self.0.advice.as_deref()
    }

    /// The file or directory that it is about.
    pub fn file_path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// The error number of the operating system, if it came from there.
    pub fn raw_os_error(&self) -> Option<i32> {
        self.0.source.as_ref().and_then(io::Error::raw_os_error)
    }

    /// Whether it is the limit on file sizes that there is no space for, and not the file system.
    pub(crate) fn is_of_file_size(&self) -> bool {
        let os = self.0.source.as_ref().and_then(std::io::Error::raw_os_error);
        os == Some(nix::errno::Errno::EFBIG as i32)
    }

    /// Whether the store's files hold something that cannot be.
    pub fn is_damage(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Damaged | ErrorKind::IdCollision)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let e = &*self.0;
        f.write_str(&e.message)?;
        if let Some(path) = &e.path {
            write!(f, " ({})", path.display())?;
        }
        match (e.segment, e.offset) {
            (Some(segment), Some(offset)) => write!(f, " (segment {segment}, offset {offset})")?,
            (Some(segment), None) => write!(f, " (segment {segment})")?,
            _ => {}
        }
        match (&e.expected, &e.found) {
            (Some(expected), Some(found)) => write!(f, ": expected {expected}, found {found}")?,
            (Some(expected), None) => write!(f, ": expected {expected}")?,
            (None, Some(found)) => write!(f, ": found {found}")?,
            (None, None) => {}
        }
        if let Some(source) = &e.source {
            write!(f, ": {source}")?;
        }
        if let Some(advice) = &e.advice {
            write!(f, "; {advice}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|e| e as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_was_expected_found_and_to_do() {
        let error = Error::damaged("record header does not check", 7, 128)
            .expected("checksum 1")
            .found("checksum 2");
        assert_eq!(
            error.to_string(),
            "record header does not check (segment 7, offset 128): expected checksum 1, found \
             checksum 2; bring the file back from a copy, or put again what is lost; `blobtool get \
             --verify` tells of a blob whether it is whole"
        );
    }

    #[test]
    fn kinds_follow_the_errno() {
        for (errno, kind) in [(28, ErrorKind::NoSpace), (24, ErrorKind::Limit), (5, ErrorKind::Io)]
        {
            let error = Error::io("writing", io::Error::from_raw_os_error(errno));
            assert_eq!((error.kind(), error.raw_os_error()), (kind, Some(errno)));
        }
    }
}
