//! Locks, and the names that locks vouch for.
#![forbid(unsafe_code)]

use super::peer::{Peer, listen, say};
use super::*;

/// A peer that holds a lock and gives it back when told to.
pub fn hold(place: &Path) {
    let disk = RealDisk::open(place, &writable()).unwrap();
    let file = reopen(&*disk, "locks", Access::Write);
    say(&file.try_lock(10, 5, LockKind::Exclusive).unwrap().to_string());
    while listen() == "unlock" {
        file.unlock(10, 5).unwrap();
        say("unlocked");
    }
}

#[test]
fn a_lock_excludes_other_processes_until_it_is_given_back_or_its_holder_dies() {
    everywhere(|scratch, disk| {
        make(disk, "locks", b"");
        let file = reopen(disk, "locks", Access::Write);
        let mut peer = Peer::start("lock", scratch.path());
        peer.expect("true");
        let free = |start, len| file.try_lock(start, len, LockKind::Exclusive).unwrap();
        assert!(!free(10, 5) && !free(14, 1) && !free(0, 11));
        assert!(!file.try_lock(12, 1, LockKind::Shared).unwrap());
        assert!(free(0, 10) && free(15, 1));
        peer.tell("unlock");
        peer.expect("unlocked");
        assert!(free(10, 5));
        let mut second = Peer::start("lock", scratch.path());
        second.expect("false");
        second.kill();
        file.unlock(10, 5).unwrap();
        let mut third = Peer::start("lock", scratch.path());
        third.expect("true");
        assert!(!free(10, 5));
        third.kill();
        assert!(free(10, 5), "the lock of the dead is free");
    });
}

#[test]
fn files_that_are_opened_apart_exclude_each_other_in_one_process() {
    everywhere(|_, disk| {
        make(disk, "locks", b"");
        let (a, b) = (reopen(disk, "locks", Access::Write), reopen(disk, "locks", Access::Write));
        let read = reopen(disk, "locks", Access::Read);
        assert!(a.try_lock(0, 1, LockKind::Exclusive).unwrap());
        assert!(a.try_lock(0, 1, LockKind::Exclusive).unwrap(), "a file does not exclude itself");
        assert!(!b.try_lock(0, 1, LockKind::Shared).unwrap());
        assert!(a.try_lock(0, 1, LockKind::Shared).unwrap(), "turned into a shared lock");
        assert!(b.try_lock(0, 1, LockKind::Shared).unwrap());
        assert!(read.try_lock(0, 1, LockKind::Shared).unwrap());
        assert!(!a.try_lock(0, 1, LockKind::Exclusive).unwrap());
        drop((b, read));
        assert!(a.try_lock(0, 1, LockKind::Exclusive).unwrap());
        for (start, len) in [(0, 0), (u64::MAX, 1), (1 << 63, 1)] {
            refused(a.try_lock(start, len, LockKind::Shared), ErrorKind::InvalidInput);
        }
    });
}

#[test]
fn a_mapping_never_keeps_a_lock() {
    everywhere(|_, disk| {
        let file = make(disk, "file", &[7; 64]);
        assert!(file.try_lock(0, 1, LockKind::Exclusive).unwrap());
        let write = file.map(64, Access::Write).unwrap();
        let read = file.map(64, Access::Read).unwrap();
        let other = reopen(disk, "file", Access::Write);
        assert!(!other.try_lock(0, 1, LockKind::Exclusive).unwrap());
        drop(file);
        assert!(other.try_lock(0, 1, LockKind::Exclusive).unwrap());
        assert_eq!((write.read_block(0), read.read_block(0)), (Some([7; 64]), Some([7; 64])));
    });
}

#[test]
fn a_file_that_was_mapped_is_not_locked() {
    everywhere(|_, disk| {
        let file = make(disk, "file", &[7; 64]);
        drop(file.map(64, Access::Read).unwrap());
        let error = refused(file.try_lock(0, 1, LockKind::Shared), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("lock before mapping"), "{error}");
        assert!(reopen(disk, "file", Access::Read).try_lock(0, 1, LockKind::Shared).unwrap());
    });
}

/// A peer that has made a file under a temporary name.
pub fn hold_temporary(place: &Path) {
    let disk = RealDisk::open(place, &writable()).unwrap();
    disk.do_without_nameless();
    let file = disk.create("").unwrap();
    file.write_at(b"x", 0).unwrap();
    say("made");
    listen();
}

/// The names that stand in a directory, temporary ones too.
fn names(scratch: &Scratch) -> Vec<String> {
    let entries = std::fs::read_dir(scratch.path()).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn where_every_file_needs_a_name_it_is_linked_all_the_same() {
    everywhere(|scratch, disk| {
        disk.do_without_nameless();
        let (first, second) = (disk.create("").unwrap(), disk.create("").unwrap());
        first.write_at(b"1", 0).unwrap();
        assert_eq!((names(scratch).len(), disk.list("").unwrap().len()), (2, 0));
        assert!(first.try_lock(0, 1, LockKind::Exclusive).unwrap());
        assert_eq!(first.map(1, Access::Write).unwrap().len(), 1);
        assert!(disk.link(&*first, "file").unwrap());
        assert!(!disk.link(&*second, "file").unwrap());
        drop(second);
        assert_eq!(names(scratch), ["file"]);
        drop(first);
        assert_eq!(reopen(disk, "file", Access::Read).len().unwrap(), 1);
    });
}

#[test]
fn the_temporary_names_of_the_dead_are_removed_and_those_of_the_living_kept() {
    everywhere(|scratch, disk| {
        disk.do_without_nameless();
        let mut peer = Peer::start("temporary", scratch.path());
        peer.expect("made");
        drop(disk.create("").unwrap());
        assert_eq!(names(scratch).len(), 1, "its maker lives");
        peer.kill();
        assert_eq!(names(scratch).len(), 1, "nobody could remove it");
        drop(disk.create("").unwrap());
        assert!(names(scratch).is_empty());
    });
}
