//! Which locks are held in a store, whoever holds them: found by trying.
#![forbid(unsafe_code)]

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

/// The byte of `locks` that users hold, all at a time.
const USERS_BYTE: i64 = 0;

/// The segments whose appender's lock is held, and the bytes of `locks` but for the users'.
pub fn held_locks(place: &Path) -> BTreeSet<String> {
    let mut held = BTreeSet::new();
    let entries = std::fs::read_dir(place.join("segments"));
    for entry in entries.into_iter().flatten().map(Result::unwrap) {
        // Finished ones may not be written, and have no appender.
        let file = File::options().read(true).write(true).open(entry.path());
        if file.is_ok_and(|file| !is_free(&file, 0, 1)) {
            held.insert(format!("the lock of {}", entry.file_name().display()));
        }
    }
    if let Ok(file) = File::options().read(true).write(true).open(place.join("locks"))
        && !is_free(&file, USERS_BYTE + 1, 0)
    {
        held.insert("a lock for one at a time".into());
    }
    held
}

/// The dead hold none.
pub fn check_locks(before: &BTreeSet<String>, after: &BTreeSet<String>) -> Result<(), String> {
    match after.difference(before).next() {
        None => Ok(()),
        Some(held) => Err(format!("the dead hold {held}")),
    }
}

/// Whether a lock of the range can be had, for the moment of the question; 0 bytes reach to the end.
fn is_free(file: &File, start: i64, len: i64) -> bool {
    let lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: start,
        l_len: len,
        l_pid: 0,
    };
    match fcntl(file, FcntlArg::F_OFD_SETLK(&lock)) {
        Ok(_) => true,
        Err(Errno::EAGAIN | Errno::EACCES) => false,
        Err(errno) => panic!("cannot try a lock: {errno}"),
    }
}
