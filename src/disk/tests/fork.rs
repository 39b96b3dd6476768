//! Forks: a child holds none of its parent's locks, and cannot use its files.
#![allow(unsafe_code)]

use super::peer::{Peer, listen, say};
use super::*;
use nix::libc;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork};
use std::os::unix::fs::FileExt;

/// More than the slots that are made at once.
const LOCKS: u64 = 300;

/// What a process has when it forks.
struct Holdings {
    locks: Vec<Arc<dyn File>>,
    segment: Arc<dyn File>,
    map: Map,
}

fn hold(disk: &dyn Disk) -> Holdings {
    let lock = |at| {
        let file = reopen(disk, "locks", Access::Write);
        assert!(file.try_lock(at, 1, LockKind::Exclusive).unwrap());
        file
    };
    let locks = (0..LOCKS).map(lock).collect();
    let segment = reopen(disk, "segment", Access::Write);
    assert!(segment.try_lock(0, 1, LockKind::Exclusive).unwrap());
    let map = segment.map(64, Access::Read).unwrap();
    Holdings { locks, segment, map }
}

/// Every use of a file that has locked.
fn check_forked(file: &dyn File) {
    refused(file.len(), ErrorKind::Forked);
    refused(file.read_at(&mut [0], 0), ErrorKind::Forked);
    refused(file.write_at(b"x", 0), ErrorKind::Forked);
    refused(file.reserve(0, 1, Reserve::Ahead), ErrorKind::Forked);
    refused(file.set_len(0), ErrorKind::Forked);
    refused(file.sync_data(), ErrorKind::Forked);
    refused(file.set_mode(0o600), ErrorKind::Forked);
    refused(file.map(1, Access::Read), ErrorKind::Forked);
    refused(file.try_lock(0, 1, LockKind::Shared), ErrorKind::Forked);
    refused(file.unlock(0, 1), ErrorKind::Forked);
}

/// A peer that forks; its child talks.
pub fn parent(place: &Path) {
    let disk = RealDisk::open(place, &writable()).unwrap();
    let held = hold(&*disk);
    let (before, unlocked) = (fork_generation(), reopen(&*disk, "other", Access::Write));
    // SAFETY: peers run one test in one thread, so the child may do whatever it likes.
    if let ForkResult::Parent { child } = unsafe { fork() }.unwrap() {
        assert_eq!(fork_generation(), before);
        held.segment.write_at(b"p", 0).unwrap();
        waitpid(child, None).unwrap();
        return;
    }
    assert_ne!(fork_generation(), before);
    held.locks.iter().for_each(|file| check_forked(&**file));
    check_forked(&*held.segment);
    assert_eq!(held.map.read_block(0).unwrap()[1..], [7; 63]);
    unlocked.write_at(b"c", 0).unwrap();
    say("the child is there");
    listen();
    let again = hold(&*disk);
    assert!(again.locks.iter().all(|file| file.len().is_ok()));
    say("the child holds locks of its own");
    listen();
    // Descriptors that were opened after the fork survive the end of those from before.
    drop(held);
    assert!(again.locks.iter().all(|file| file.len().is_ok()));
    assert!(!reopen(&*disk, "locks", Access::Write).try_lock(5, 1, LockKind::Shared).unwrap());
    say("and keeps them");
    listen();
}

#[test]
fn a_child_of_a_fork_holds_no_lock_of_its_parent() {
    everywhere(|scratch, disk| {
        make(disk, "locks", b"");
        make(disk, "segment", &[7; 64]);
        make(disk, "other", b"");
        let mut peer = Peer::start("fork", scratch.path());
        peer.expect("the child is there");
        let lock = |path, at| {
            let file = reopen(disk, path, Access::Write);
            file.try_lock(at, 1, LockKind::Exclusive).unwrap()
        };
        let all = || (0..LOCKS).map(|at| lock("locks", at)).chain([lock("segment", 0)]);
        assert!(all().all(|free| !free), "the parent holds its locks");
        peer.kill();
        assert!(all().all(|free| free), "the parent is dead");
        peer.tell("go on");
        peer.expect("the child holds locks of its own");
        assert!(all().all(|free| !free), "they are real");
        peer.tell("go on");
        peer.expect("and keeps them");
    });
}

/// A peer whose child cannot get one more descriptor.
pub fn parent_without_descriptors(place: &Path) {
    let disk = RealDisk::open(place, &writable()).unwrap();
    let held = hold(&*disk);
    let mut fill = Vec::new();
    set_descriptor_limit(400);
    while let Ok(file) = std::fs::File::open(place) {
        fill.push(file);
    }
    // SAFETY: the child only calls what a forked child may, and exits without unwinding.
    if let ForkResult::Parent { child } = unsafe { fork() }.unwrap() {
        waitpid(child, None).unwrap();
        return;
    }
    set_descriptor_limit(1000);
    check_forked(&*held.segment);
    // These get the numbers that the handler has closed.
    let path = place.join("own");
    let own: Vec<_> = (0..2 * LOCKS)
        .map(|_| std::fs::File::options().create(true).append(true).open(&path).unwrap())
        .collect();
    drop(held);
    own.iter().for_each(|file| assert_eq!(file.write_at(b"x", 0).unwrap(), 1));
    drop(fill);
    say("the child is there");
    listen();
}

fn set_descriptor_limit(count: u64) {
    let limit = libc::rlimit { rlim_cur: count, rlim_max: 4096 };
    // SAFETY: a system call that reads a struct.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
}

#[test]
fn a_child_without_spare_descriptors_closes_and_frees_no_number_twice() {
    let scratch = Scratch::on_disk();
    let disk = scratch.open();
    make(&*disk, "locks", b"");
    make(&*disk, "segment", &[7; 64]);
    let mut peer = Peer::start("fork without descriptors", scratch.path());
    peer.expect("the child is there");
    peer.kill();
    for at in 0..LOCKS {
        let file = reopen(&*disk, "locks", Access::Write);
        assert!(file.try_lock(at, 1, LockKind::Exclusive).unwrap(), "lock {at}");
    }
}
