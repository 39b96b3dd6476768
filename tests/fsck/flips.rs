//! Every bit of the headers of a small store is flipped, one at a time, and found: of the superblock, and
//! of every head, record header, entry, trailer and durable point of its segments.

use super::rig::{bytes, campaign, in_memory, options, patch, random, say, seed, segment_files};
use super::tried::{check, deep, told};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// So long it takes by default.
const TIME: Duration = Duration::from_secs(20);

/// Where 64 bytes stand that are under a checksum.
struct Block {
    file: PathBuf,
    at: u64,
    /// Bytes of it whose bits nobody reads.
    reserved: std::ops::Range<usize>,
}

fn blocks(store: &std::path::Path) -> Vec<Block> {
    let superblock = |at| Block { file: store.join("STORE"), at, reserved: 0..0 };
    let mut blocks = vec![superblock(0), superblock(4096)];
    for file in segment_files(store) {
        let bytes = fs::read(&file).expect("a segment");
        let mut is_footer = false;
        let mut skip = 0;
        for (at, block) in bytes.chunks_exact(64).enumerate() {
            let is_record = block.starts_with(b"DRYR");
            if skip > 0 {
                skip -= 1;
                continue;
            }
            if is_record {
                let len = u64::from_le_bytes(block[8..16].try_into().expect("8 bytes"));
                skip = len.div_ceil(64);
            }
            let is_head = block.starts_with(b"DRYSEG") || block.starts_with(b"DRYEND");
            // The entries of a footer begin with a kind and a state.
            is_footer |= !is_record && matches!(block[0], 1..=5) && matches!(block[1], 0x50 | 0xA7);
            if is_record || is_head || is_footer {
                blocks.push(Block { file: file.clone(), at: at as u64 * 64, reserved: 0..0 });
            }
        }
    }
    blocks
}

#[test]
fn a_flipped_bit_of_any_header_is_found() {
    let dir = in_memory();
    let path = dir.path().join("store");
    let store = options().create(true).segment_bytes(256 << 10).open(&path).expect("a store");
    for at in 0..6 {
        let id = store.put(&bytes(100_000 + at, at as u64)).expect("a put");
        store.refs("names").set(format!("{at}"), id).expect("a ref");
        if at == 2 {
            store.remove(&id).expect("a removal");
            store.sync().expect("a sync");
        }
    }
    drop(store);
    assert!(check(&path, &deep()).is_clean());
    let blocks = blocks(&path);
    let bits = blocks.len() as u64 * 512;
    let (start, time) = (Instant::now(), TIME * campaign() as u32);
    let (mut tried, mut state) = (0, seed());
    let is_all = campaign() > 1;
    // A step that is odd and no divisor comes by every bit once.
    let step = if is_all { 1 } else { 2 * random(&mut state, 10_000) + 10_007 };
    while tried < bits && (start.elapsed() < time || is_all) {
        let bit = tried * step % bits;
        let block = &blocks[(bit / 512) as usize];
        let (byte, mask) = ((bit % 512 / 8) as usize, 1 << (bit % 8));
        tried += 1;
        if block.reserved.contains(&byte) {
            continue;
        }
        let at = block.at + byte as u64;
        let before = fs::read(&block.file).expect("a file")[at as usize];
        patch(&block.file, at, &[before ^ mask]);
        let report = check(&path, &deep());
        let is_found = report.findings.iter().any(|finding| {
            finding.path.as_ref().is_some_and(|found| path.join(found) == block.file)
        });
        assert!(
            is_found,
            "seed {}: bit {bit}, {} at {at}: {}",
            seed(),
            block.file.display(),
            told(&report)
        );
        patch(&block.file, at, &[before]);
    }
    assert!(check(&path, &deep()).is_clean());
    let count = blocks.len();
    say(&format!(
        "figure: {tried} of {bits} bits of {count} headers flipped, each found, in {:.1?}",
        start.elapsed()
    ));
}
