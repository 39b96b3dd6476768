//! Status codes, and the message of the last failure of a thread.

use drystone::{Error, ErrorKind};
use std::cell::RefCell;
use std::ffi::{CString, c_char, c_int};

pub const OK: c_int = 0;
pub const MISSING: c_int = 1;
pub const TIMED_OUT: c_int = 18;
const INVALID_INPUT: c_int = 15;
const IO: c_int = 19;

thread_local! {
    static MESSAGE: RefCell<CString> = RefCell::default();
}

/// The code of an error's kind; the names are those of the header.
pub fn code(kind: ErrorKind) -> c_int {
    match kind {
        ErrorKind::NotFound => MISSING,
        ErrorKind::NotAStore => 2,
        ErrorKind::AlreadyExists => 3,
        ErrorKind::UnsupportedVersion => 4,
        ErrorKind::ProtocolMismatch => 5,
        ErrorKind::Damaged => 6,
        ErrorKind::IdCollision => 7,
        ErrorKind::NoSpace => 8,
        ErrorKind::IndexFull => 9,
        ErrorKind::Limit => 10,
        ErrorKind::Busy => 11,
        ErrorKind::FileSystemRefused => 12,
        ErrorKind::Permission => 13,
        ErrorKind::ReadOnly => 14,
        ErrorKind::InvalidInput => INVALID_INPUT,
        ErrorKind::SyncFailed => 16,
        ErrorKind::Forked => 17,
        ErrorKind::TimedOut => TIMED_OUT,
        _ => IO,
    }
}

/// Keeps a message for `dry_last_error`; the status that goes with it.
pub fn tell(status: c_int, message: &str) -> c_int {
    let text = CString::new(message.replace('\0', " ")).unwrap_or_default();
    MESSAGE.with(|last| last.replace(text));
    status
}

/// Keeps an error for `dry_last_error`; its status.
pub fn report(error: &Error) -> c_int {
    tell(code(error.kind()), &error.to_string())
}

/// An argument that cannot be.
pub fn invalid(message: &str) -> c_int {
    tell(INVALID_INPUT, message)
}

/// `OK`, or that something was not there.
pub fn found(yes: bool, message: &str) -> Result<c_int, c_int> {
    if yes { Ok(OK) } else { Err(tell(MISSING, message)) }
}

/// Runs a call; a panic in it ends here.
pub fn attempt(call: impl FnOnce() -> Result<c_int, c_int>) -> c_int {
    let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call));
    match run {
        Ok(Ok(status) | Err(status)) => status,
        Err(_) => tell(IO, "drystone panicked: this is a bug"),
    }
}

/// See the header.
#[unsafe(no_mangle)]
pub extern "C" fn dry_last_error() -> *const c_char {
    MESSAGE.with(|last| last.borrow().as_ptr())
}
