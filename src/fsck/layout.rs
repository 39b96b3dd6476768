//! The files and directories that every store has, by their names: whether each is what it should be.
//!
//! Nothing opens a store whose `locks` is a directory, and nothing compacts one in which a directory has
//! the name of a spare file, however whole its segments are.
//!
//! Death: of clearing a place, what stood there is in `quarantine`, and the place is empty: whoever opens
//! the store makes what belongs there.
#![forbid(unsafe_code)]

use super::finding::{Cure, Finding, FindingKind};
use super::quarantine::{QUARANTINE_DIR, settle, take_out, take_out_as};
use crate::disk::{Access, Disk};
use crate::error::{Error, ErrorKind, Result};
use crate::run::{LOCKS_PATH, RUN_DIR};
use crate::segment::{SEGMENTS_DIR, Spare};

/// The directories of a store.
const DIRS: [&str; 3] = [QUARANTINE_DIR, SEGMENTS_DIR, RUN_DIR];
/// Files of one name that may stand beside `quarantine`.
const NAMESAKES_MAX: u32 = 100;

/// The files that are always opened by their names, but for the superblock's.
fn file_paths() -> [&'static str; 3] {
    [LOCKS_PATH, Spare::Compaction.path(), Spare::Removal.path()]
}

/// Names in a directory; none if something else stands in its place, of which [`misplaced`] tells.
pub fn names_in(disk: &dyn Disk, dir: &str) -> Result<Vec<String>> {
    if bug!("layout-ends-check") {
        return disk.list(dir);
    }
    unless_damaged(disk.list(dir)).map(Option::unwrap_or_default)
}

/// What a call gives; `None` where it fails because something stands there that is not the store's.
fn unless_damaged<T>(given: Result<T>) -> Result<Option<T>> {
    match given {
        Ok(given) => Ok(Some(given)),
        Err(error) if error.is_damage() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Tells what stands in the place of a file or directory of the store and is none, and whether the
/// segments' directory is missing.
pub fn misplaced(disk: &dyn Disk, findings: &mut Vec<Finding>) -> Result<()> {
    for path in DIRS {
        if let Some(error) = damage_of(disk.list(path))? {
            findings.push(found_at(path, "a directory", &error));
        }
    }
    for path in file_paths() {
        // Below a directory that is none nothing stands; of that it has been told.
        if is_below_none(disk, path)? {
            continue;
        }
        if let Some(error) = damage_of(disk.open(path, Access::Read))? {
            findings.push(found_at(path, "a regular file", &error));
        }
    }
    if !disk.list("")?.iter().any(|name| name == SEGMENTS_DIR) {
        let message = "the directory of the segments is missing, and with it all that was stored";
        let finding = Finding::damage(FindingKind::Layout, message, Cure::Place(SEGMENTS_DIR));
        let finding = finding.path(SEGMENTS_DIR).expected("a directory").found("none");
        findings.push(finding.advice(
            "bring it back from a copy; `blobtool fsck --repair` makes it anew, empty: that is \
             enough where the store was empty, and a copying program left it out",
        ));
    }
    Ok(())
}

fn damage_of<T>(given: Result<T>) -> Result<Option<Error>> {
    match given {
        Err(error) if error.is_damage() => Ok(Some(error)),
        other => other.map(|_| None),
    }
}

fn is_below_none(disk: &dyn Disk, path: &str) -> Result<bool> {
    match path.rsplit_once('/') {
        Some((dir, _)) => Ok(damage_of(disk.list(dir))?.is_some()),
        None => Ok(false),
    }
}

fn found_at(path: &'static str, expected: &str, error: &Error) -> Finding {
    let message = "what stands in a place of the store is not the store's";
    let finding = Finding::damage(FindingKind::Layout, message, Cure::Place(path));
    finding.path(path).expected(expected).found(error.message())
}

/// Clears the places of which findings tell, and makes what a copy of the store may have left out. What
/// stood there is in `quarantine` afterwards; its new paths are added.
///
/// The locks come first: who clears another place holds one of them.
pub fn place_locks(disk: &dyn Disk, findings: &[Finding], moved: &mut Vec<String>) -> Result<()> {
    let is_asked = |path| findings.iter().any(|finding| finding.cure == Cure::Place(path));
    // Another repair may have been faster.
    let is_still = damage_of(disk.open(LOCKS_PATH, Access::Read))?.is_some();
    if is_asked(LOCKS_PATH) && (is_still || bug!("locks-taken-blindly")) {
        place(disk, QUARANTINE_DIR, is_asked(QUARANTINE_DIR), moved)?;
        let path = take_out(disk, LOCKS_PATH)?;
        if disk.open(&path, Access::Read).is_ok_and(|file| file.is_some())
            && !bug!("locks-taken-blindly")
        {
            // It has come between: what was moved is the file that users know each other by.
            disk.rename(&path, LOCKS_PATH)?;
            return Err(Error::new(ErrorKind::Busy, "another repair is at work on the store")
                .advice("repair again when it is done"));
        }
        moved.push(path);
    }
    if disk.open(LOCKS_PATH, Access::Read)?.is_none() {
        let file = disk.create("")?;
        disk.link(&*file, LOCKS_PATH)?;
    }
    Ok(())
}

/// As [`place_locks`], of everything else.
pub fn place_rest(disk: &dyn Disk, findings: &[Finding], moved: &mut Vec<String>) -> Result<()> {
    let is_asked = |path| findings.iter().any(|finding| finding.cure == Cure::Place(path));
    for dir in DIRS {
        // It may have been cleared with the locks.
        let is_none = is_asked(dir) && damage_of(disk.list(dir))?.is_some();
        place(disk, dir, is_none, moved)?;
    }
    for path in file_paths().into_iter().filter(|&path| path != LOCKS_PATH && is_asked(path)) {
        moved.push(take_out(disk, path)?);
    }
    if moved.is_empty() {
        return Ok(());
    }
    settle(disk)?;
    disk.sync_dir("")
}

/// Moves what stands in the place of `quarantine` beside it, until that can take it.
fn put_aside(disk: &dyn Disk, dir: &str) -> Result<String> {
    for attempt in 0..NAMESAKES_MAX {
        let aside = match attempt {
            0 => format!("{dir}.old"),
            _ => format!("{dir}.old.{attempt}"),
        };
        if disk.rename(dir, &aside)? {
            return Ok(aside);
        }
    }
    Err(Error::new(
        ErrorKind::AlreadyExists,
        "too many files have the name that it is to be moved to",
    )
    .path(dir)
    .advice("move away the files `quarantine.old`"))
}

/// Makes a directory, in the place of something else if `is_none`.
fn place(disk: &dyn Disk, dir: &str, is_none: bool, moved: &mut Vec<String>) -> Result<()> {
    if !is_none {
        return disk.make_dir(dir).map(drop);
    }
    if dir == QUARANTINE_DIR {
        let aside = put_aside(disk, dir)?;
        disk.make_dir(dir)?;
        moved.push(take_out_as(disk, &aside, dir)?);
    } else {
        moved.push(take_out(disk, dir)?);
        disk.make_dir(dir)?;
    }
    Ok(())
}
