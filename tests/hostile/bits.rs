//! Every bit of everything that is looked at, and every byte of everything else.

use super::furnished::{Furnished, Saved};
use super::stage::{Damage, ToFile, rarely, try_all};
use drystone::HashAlgorithm;
use std::ops::Range;

/// Words of the control page that mean something, one of those that mean nothing, and some slots.
const CONTROL_WORDS: [u64; 25] =
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 24, 32, 40, 41, 48, 49, 50, 64, 65, 72, 319, 320, 321, 383];
/// Words of the header of a table.
const TABLE_WORDS: [u64; 11] = [0, 1, 2, 3, 4, 5, 6, 7, 16, 24, 32];
const TABLE_HEADER_BYTES: usize = 512;

/// The bytes of a file in which every bit counts.
fn headers(file: &Saved) -> Vec<Range<u64>> {
    let words = |words: &[u64]| words.iter().map(|word| word * 8..word * 8 + 8).collect();
    match file.path.rsplit_once('/') {
        None if file.path == "STORE" => vec![0..64, 4096..4160],
        Some(("segments", _)) => segment_headers(&file.bytes),
        Some((_, "control")) => words(&CONTROL_WORDS),
        Some((_, table)) if table.ends_with(".idx") => {
            let mut found: Vec<Range<u64>> = words(&TABLE_WORDS);
            found.extend(taken_words(&file.bytes));
            found
        }
        _ => vec![],
    }
}

/// The head, the headers of records and durable points, and the footer.
fn segment_headers(bytes: &[u8]) -> Vec<Range<u64>> {
    let mut found = Vec::new();
    found.push(0..64);
    for (at, block) in bytes.chunks_exact(64).enumerate() {
        let at = at as u64 * 64;
        if block.starts_with(b"DRYR") {
            found.push(at..at + 64);
        } else if block.starts_with(b"DRYEND\r\n") {
            found.push(u64::from_le_bytes(block[16..24].try_into().expect("8 bytes"))..at + 64);
        }
    }
    found
}

/// The words of a table's buckets that hold something.
fn taken_words(bytes: &[u8]) -> Vec<Range<u64>> {
    let buckets = bytes[TABLE_HEADER_BYTES..].chunks_exact(8).enumerate();
    let taken = buckets.filter(|(_, word)| word.iter().any(|&byte| byte != 0));
    taken.map(|(at, _)| (TABLE_HEADER_BYTES + at * 8) as u64).map(|at| at..at + 8).collect()
}

fn every_bit(made: &Furnished) -> Vec<ToFile> {
    let mut cases = Vec::new();
    for (number, file) in made.files.iter().enumerate() {
        for at in headers(file).into_iter().flatten() {
            let flip = |bit: u32| ToFile { file: number, damage: Damage::Flip(at, 1u8 << bit) };
            cases.extend((0..8).map(flip));
        }
    }
    cases
}

/// Every byte of what is stored becomes another. Of the zeros that a segment has reserved one in 64: they
/// are all alike.
fn every_byte(made: &Furnished) -> Vec<ToFile> {
    let mut cases = Vec::new();
    for (number, file) in made.files.iter().enumerate() {
        if file.path.starts_with("run/") {
            continue;
        }
        let used = file.bytes.iter().rposition(|&byte| byte != 0).map_or(0, |at| at as u64 + 256);
        let all = (0..file.bytes.len() as u64).filter(|at| *at < used || at % 64 == 5);
        let mask = |at: u64| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8 | 1;
        cases.extend(all.map(|at| ToFile { file: number, damage: Damage::Flip(at, mask(at)) }));
    }
    cases
}

#[test]
fn every_bit_of_every_header_may_flip() {
    try_all("flipped bits of headers", HashAlgorithm::Xxh3, rarely(), every_bit);
}

#[test]
fn every_byte_may_be_another() {
    try_all("damaged bytes", HashAlgorithm::Blake3, rarely(), every_byte);
}
