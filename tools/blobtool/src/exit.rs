//! How the tool ends: the table of exit codes, and the one sentence on standard error.

use drystone::{Error, ErrorKind};
use std::fmt::Display;
use std::io;
use std::path::Path;
use std::process::ExitCode;

/// What a verb returns.
pub type Outcome<T = ()> = Result<T, Failure>;

/// Something went wrong that has no code of its own.
pub const ERROR: u8 = 1;
/// The command line makes no sense.
pub const USAGE: u8 = 2;
/// There is no such blob or name.
pub const NOT_FOUND: u8 = 4;
/// The store holds something that cannot be.
pub const DAMAGED: u8 = 5;
/// The store was damaged, and has been mended.
pub const REPAIRED: u8 = 6;
/// The directory is not a store.
pub const NO_STORE: u8 = 10;
/// Somebody else holds what is needed.
pub const BUSY: u8 = 11;
/// The store was written, or is used, by a version that this one does not know.
pub const VERSION: u8 = 12;
/// A store cannot be written on this file system.
pub const FILE_SYSTEM: u8 = 13;
/// There is no space left.
pub const NO_SPACE: u8 = 14;

/// The table, for the help and the manual page.
pub const TABLE: &str = "\
Exit codes:
    0  ok
    1  error
    2  usage
    4  no such blob or name
    5  damage found
    6  damage repaired (fsck --repair)
   10  not a store
   11  busy: somebody else holds what is needed
   12  version not supported
   13  file system refused
   14  out of space
  130  interrupted (nothing is lost)";

/// An end that is not success.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    /// The sentence; `None` if all has been said, or nothing need be.
    message: Option<String>,
}

impl Failure {
    /// An end with this code, and what to say.
    pub fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: Some(message.into()) }
    }

    /// An end with this code, of which all has been said.
    pub fn said(code: u8) -> Self {
        Self { code, message: None }
    }

    /// An error of the operating system while doing something to a file.
    pub fn file(doing: &str, path: &Path, error: &io::Error) -> Self {
        let code = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => NO_SPACE,
            _ => ERROR,
        };
        Self::new(code, format!("cannot {doing} {}: {error}", path.display()))
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        self.code
    }

    /// Prefixes what it is about.
    pub fn about(mut self, what: impl Display) -> Self {
        self.message = self.message.map(|message| format!("{what}: {message}"));
        self
    }

    /// Says the sentence on standard error.
    pub fn say(&self) {
        if let Some(message) = &self.message {
            eprintln!("blobtool: {message}");
        }
    }

    /// Says the sentence and gives the code.
    pub fn report(&self) -> ExitCode {
        self.say();
        ExitCode::from(self.code)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(code_of(error.kind()), error.to_string())
    }
}

/// An error of standard input or output. A reader that went away has what it wanted: that is no
/// failure, and nothing is said.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::said(0),
            io::ErrorKind::StorageFull => Self::new(NO_SPACE, error.to_string()),
            _ => Self::new(ERROR, error.to_string()),
        }
    }
}

fn code_of(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::NotFound => NOT_FOUND,
        ErrorKind::NotAStore => NO_STORE,
        ErrorKind::UnsupportedVersion | ErrorKind::ProtocolMismatch => VERSION,
        ErrorKind::Damaged | ErrorKind::IdCollision => DAMAGED,
        ErrorKind::NoSpace | ErrorKind::IndexFull => NO_SPACE,
        ErrorKind::Busy => BUSY,
        ErrorKind::FileSystemRefused => FILE_SYSTEM,
        _ => ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_the_codes_of_the_table() {
        for (kind, code) in [
            (ErrorKind::NotFound, 4),
            (ErrorKind::Damaged, 5),
            (ErrorKind::NotAStore, 10),
            (ErrorKind::Busy, 11),
            (ErrorKind::UnsupportedVersion, 12),
            (ErrorKind::FileSystemRefused, 13),
            (ErrorKind::NoSpace, 14),
            (ErrorKind::Io, 1),
        ] {
            assert_eq!(code_of(kind), code, "{kind:?}");
            assert!(TABLE.contains(&format!("{code:>5}  ")), "{code} is in the table");
        }
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((failure.code(), failure.message), (0, None));
    }
}
