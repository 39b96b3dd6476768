//! The superblock: whatever is in the file, it is refused, or says the same when it is written again.

use super::Input;
use drystone::fuzzing::superblock::{COPY_BYTES, FILE_BYTES, MAGIC, Superblock};
use xxhash_rust::xxh3::xxh3_64;

/// Any bytes as they are, and two copies with what vouches for them.
pub fn run(data: &[u8]) {
    look(data);
    let mut input = Input::new(data);
    let mut file = vec![0; FILE_BYTES];
    for at in [0, COPY_BYTES] {
        let mut copy = input.bytes(64);
        let how = input.byte();
        if how & 1 != 0 {
            copy[..8].copy_from_slice(&MAGIC);
        }
        if how & 2 != 0 {
            copy[8..12].copy_from_slice(&1u32.to_le_bytes());
        }
        if how & 4 != 0 {
            copy[40..48].copy_from_slice(&(2u64 << 20).to_le_bytes());
        }
        if how & 8 != 0 {
            copy[32..40].fill(0);
        }
        if how & 16 != 0 {
            let checksum = xxh3_64(&copy[..56]);
            copy[56..].copy_from_slice(&checksum.to_le_bytes());
        }
        file[at..at + 64].copy_from_slice(&copy);
    }
    let len = input.edge(FILE_BYTES as u64) as usize;
    look(&file);
    look(&file[..len.min(FILE_BYTES)]);
}

fn look(file: &[u8]) {
    match Superblock::decode(file) {
        Ok(superblock) => {
            let again = Superblock::decode(&superblock.encode()).expect("what was just written");
            assert_eq!(again, superblock);
        }
        Err(error) => assert!(error.advice_text().is_some(), "{error}"),
    }
}
