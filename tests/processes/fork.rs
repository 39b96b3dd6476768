//! A fork in the middle: parent and child both go on, and the child keeps no lock of the parent's.
//!
//! `unsafe` stands here because fork is called here.

use crate::peer::{Peer, listen, say};
use crate::support::{KIB, Scratch, bytes, read};
use drystone::{Blob, ErrorKind, Store};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, alarm, fork};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Does something in a forked child, which then ends; the child's id.
fn in_child(work: impl FnOnce()) -> Pid {
    // SAFETY: the child does more than POSIX promises after a fork with threads; that is what is
    // tested. It runs on the one stack that it has, glibc keeps the allocator usable in it, and it
    // ends without running the parent's destructors.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            // Whoever hangs is killed.
            alarm::set(20);
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            std::process::exit(if done.is_ok() { 0 } else { 1 });
        }
    }
}

fn expect_success(child: Pid) {
    assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0));
}

fn go_on(store: &Store, who: u64) {
    for round in 0..60 {
        let content = bytes((round * 997 % 80_000) as usize + 16, who << 32 | round);
        let id = store.put(&content).unwrap();
        assert!(read(store, &id) == content);
        store.refs(&who.to_string()).set(round.to_string(), id).unwrap();
        if round % 20 == 0 {
            store.sync().unwrap();
            let draft = store.reserve(100_000).unwrap();
            draft.commit().unwrap();
        }
    }
}

fn check_views(views: &[Blob]) {
    for (seed, view) in views.iter().enumerate() {
        assert!(**view == *bytes(5000, seed as u64));
    }
}

/// The role: forks with all that a store can have open, twice over; everybody goes on.
pub fn fork_and_go_on(place: &Path, seed: u64) {
    let store = Store::open(place).unwrap();
    let views: Vec<Blob> = (0..20)
        .map(|seed| store.get(&store.put(&bytes(5000, seed)).unwrap()).unwrap().unwrap())
        .collect();
    let draft = store.reserve(100_000).unwrap();
    let child = in_child(|| {
        let grandchild = in_child(|| {
            go_on(&store, seed + 2);
            check_views(&views);
        });
        go_on(&store, seed + 1);
        check_views(&views);
        expect_success(grandchild);
    });
    go_on(&store, seed);
    draft.commit().unwrap();
    check_views(&views);
    expect_success(child);
    say("done");
}

#[test]
fn parent_child_and_grandchild_go_on_side_by_side() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let mut peers: Vec<Peer> =
        [0, 10].map(|seed| Peer::start("fork", &scratch.path(), seed)).into_iter().collect();
    peers.iter_mut().for_each(|peer| assert_eq!(peer.hear(), "done"));
    for who in [0, 1, 2, 10, 11, 12] {
        for round in 0..60u64 {
            let refs = store.refs(&who.to_string());
            let entry = refs.get(round.to_string()).unwrap().expect("it was acknowledged");
            let content = bytes((round * 997 % 80_000) as usize + 16, who << 32 | round);
            assert!(read(&store, entry.blob().unwrap()) == content);
        }
    }
    drop(store);
    assert_eq!(scratch.rebooted().namespaces().unwrap().len(), 6);
}

/// The role: threads put, map and sync while it forks; no child may find a lock held for ever.
pub fn fork_while_busy(place: &Path, seed: u64) {
    let store = Store::options().map_limit(4).open(place).unwrap();
    let ids: Vec<_> = (0..40).map(|i| store.put(&bytes(100 * KIB, seed + i)).unwrap()).collect();
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let (store, ids, is_done) = (&store, &ids, &is_done);
            scope.spawn(move || {
                for round in 0.. {
                    // More segments than may be mapped: each pass maps some anew.
                    ids.iter().for_each(|id| drop(store.get(id).unwrap().unwrap()));
                    store.put(&bytes(300, (thread + 1) << 32 | round)).unwrap();
                    if thread == 0 {
                        store.sync().unwrap();
                    }
                    if is_done.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
        }
        for round in 0..30 {
            expect_success(in_child(|| {
                ids.iter().for_each(|id| drop(store.get(id).unwrap().unwrap()));
                let id = store.put(&bytes(90_000, 1 << 40 | round)).unwrap();
                assert!(read(&store, &id) == bytes(90_000, 1 << 40 | round));
                store.sync().unwrap();
                // Past what the parent has mapped, too.
                let other = Store::open(store.path()).unwrap();
                assert!(read(&other, &id) == bytes(90_000, 1 << 40 | round));
            }));
        }
        is_done.store(true, Ordering::Relaxed);
    });
    say("done");
}

#[test]
fn a_child_of_a_busy_parent_does_not_hang() {
    let scratch = Scratch::in_memory();
    drop(scratch.open(Store::options().create(true).segment_bytes(256 * KIB as u64)));
    let mut peer = Peer::start("fork busy", &scratch.path(), 1000);
    assert_eq!(peer.hear(), "done");
    peer.end();
}

/// The role: has a segment open, then leaves a child that outlives it.
pub fn leave_a_child(place: &Path) {
    let store = Store::open(place).unwrap();
    let id = store.put(b"the parent's").unwrap();
    let mut draft = store.reserve(100_000).unwrap();
    in_child(|| {
        // Said by the child: then it has given up what it inherited.
        say(std::process::id());
        assert_eq!(listen(), "go on");
        // The draft is the parent's.
        draft.iter_mut().for_each(|byte| *byte = 1);
        assert_eq!(draft.commit().unwrap_err().error.kind(), ErrorKind::Forked);
        assert_eq!(read(&store, &id), b"the parent's");
        store.put(b"the child's").unwrap();
        say("went on");
        drop(listen());
    });
    std::thread::sleep(std::time::Duration::from_secs(60));
}

#[test]
fn a_child_that_outlives_its_parent_keeps_none_of_its_locks() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let mut parent = Peer::start("leave a child", &scratch.path(), 0);
    let child = Pid::from_raw(parent.hear_number() as i32);
    let id = store.put(b"the parent's").unwrap();
    let of_parent = store.stat(&id).unwrap().unwrap().segment;
    parent.kill();
    let adopted = store.put(b"after the parent's death").unwrap();
    assert_eq!(store.stat(&adopted).unwrap().unwrap().segment, of_parent, "it was taken up");
    parent.tell("go on");
    assert_eq!(parent.hear(), "went on");
    let of_child = store.put(b"the child's").unwrap();
    assert_ne!(store.stat(&of_child).unwrap().unwrap().segment, of_parent);
    kill(child, Signal::SIGKILL).unwrap();
    assert_eq!(store.stats().unwrap().blobs, 3);
}
