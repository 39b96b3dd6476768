//! Processes that live for one put: they leave a handful of segments, not one each.
#![forbid(unsafe_code)]

use crate::peer::Peer;
use crate::support::{Scratch, bytes, read};
use drystone::Store;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The role: one small blob, then the end.
pub fn once(place: &Path, seed: u64) {
    let store = Store::open(place).unwrap();
    store.put(&bytes(100, seed)).unwrap();
}

/// Bytes on the medium of all files below.
fn allocated(dir: &Path) -> u64 {
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let of = |path: std::path::PathBuf| {
        let metadata = std::fs::symlink_metadata(&path).unwrap();
        let below = if metadata.is_dir() { allocated(&path) } else { 0 };
        metadata.blocks() * 512 + below
    };
    paths.map(of).sum()
}

fn check(scratch: &Scratch, count: u64, segments_max: u64, bytes_max: u64) {
    let store = scratch.store();
    for seed in 0..count {
        let id = store.put(&bytes(100, seed)).unwrap();
        assert_eq!(read(&store, &id), bytes(100, seed));
    }
    let stats = store.stats().unwrap();
    assert_eq!(stats.blobs, count);
    let allocated = allocated(&scratch.path());
    println!("{count} processes: {} segments, {} KiB", stats.segments, allocated >> 10);
    assert!(stats.segments <= segments_max, "{} segments", stats.segments);
    assert!(allocated < bytes_max, "{allocated} bytes");
}

#[test]
fn two_hundred_processes_in_a_row_share_a_segment() {
    let scratch = Scratch::new();
    drop(scratch.store());
    for seed in 0..200 {
        Peer::start("once", &scratch.path(), seed).end();
    }
    check(&scratch, 200, 4, 2 << 20);
}

#[test]
fn processes_side_by_side_leave_no_more_segments_than_there_were_at_a_time() {
    const AT_A_TIME: u64 = 8;
    let scratch = Scratch::new();
    // Nobody has made the store: the first of them do.
    drop(Store::create(scratch.path()).unwrap());
    for first in (0..64).step_by(AT_A_TIME as usize) {
        let seeds = first..first + AT_A_TIME;
        let peers: Vec<Peer> =
            seeds.map(|seed| Peer::start("once", &scratch.path(), seed)).collect();
        peers.into_iter().for_each(Peer::end);
    }
    check(&scratch, 64, AT_A_TIME, 4 << 20);
}
