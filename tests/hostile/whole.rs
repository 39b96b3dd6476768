//! Whole files that are another's, of another version, or noise.

use super::furnished::{Furnished, Hit};
use super::rig::{bytes, patch, random, seed};
use super::stage::{Blow, try_all};
use drystone::{Error, ErrorKind, HashAlgorithm, Store};
use std::fs;
use xxhash_rust::xxh3::xxh3_64;

/// The new contents of some files.
struct Replaced {
    what: String,
    files: Vec<(String, Vec<u8>)>,
    /// As what the store may be refused; it must be, if this says so.
    refused: Option<ErrorKind>,
    is_always_refused: bool,
}

impl Blow for Replaced {
    fn strike(&self, made: &Furnished) {
        for (path, bytes) in &self.files {
            let path = made.path().join(path);
            patch(&path, 0, bytes);
            super::rig::resize(&path, bytes.len() as u64);
        }
    }

    fn describe(&self, _: &Furnished) -> String {
        self.what.clone()
    }

    fn may_shut(&self, _: &Furnished, error: &Error) -> bool {
        assert!(error.advice_text().is_some(), "{}: {error}", self.what);
        self.refused == Some(error.kind())
    }

    fn check(&self, made: &Furnished, store: &Store, _: bool, when: &str) {
        assert!(!self.is_always_refused, "{when}: it opens");
        made.check_views(store, Hit::Index, when);
    }
}

/// A file with bytes of it set, and the checksum of the 56 bytes in front of `checksum_at` made anew.
fn resealed(bytes: &[u8], from: usize, at: usize, new: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[from + at..from + at + new.len()].copy_from_slice(new);
    let checksum = xxh3_64(&bytes[from..from + 56]);
    bytes[from + 56..from + 64].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn segments(made: &Furnished) -> Vec<(String, Vec<u8>)> {
    let segments = made.files.iter().filter(|file| file.path.starts_with("segments/"));
    segments.map(|file| (file.path.clone(), file.bytes.clone())).collect()
}

fn exchanged(made: &Furnished) -> Vec<Replaced> {
    let segments = segments(made);
    let mut cases = Vec::new();
    for (a, (path_a, bytes_a)) in segments.iter().enumerate() {
        for (path_b, bytes_b) in segments.iter().skip(a + 1) {
            let both = vec![(path_a.clone(), bytes_b.clone()), (path_b.clone(), bytes_a.clone())];
            for files in [both.clone(), both[..1].to_vec(), both[1..].to_vec()] {
                let what = format!("{path_a} and {path_b} exchanged, {} of 2", files.len());
                cases.push(Replaced { what, files, refused: None, is_always_refused: false });
            }
        }
    }
    let rotated = segments.iter().zip(segments.iter().cycle().skip(1));
    let files = rotated.map(|((path, _), (_, bytes))| (path.clone(), bytes.clone())).collect();
    let what = "all segments one further".into();
    cases.push(Replaced { what, files, refused: None, is_always_refused: false });
    assert!(cases.len() >= 10, "too few segments");
    cases
}

/// Superblocks and heads of other versions, which say so under a checksum that holds; and superblocks
/// that say what cannot be.
fn of_other_versions(made: &Furnished) -> Vec<Replaced> {
    let superblock = &made.files.iter().find(|file| file.path == "STORE").expect("it").bytes;
    let mut cases = Vec::new();
    let mut add = |what: String, path: &str, bytes, refused, is_always_refused| {
        let files = vec![(path.to_owned(), bytes)];
        cases.push(Replaced { what, files, refused: Some(refused), is_always_refused });
    };
    for version in [0u32, 2, 3, 1 << 16, u32::MAX] {
        let first = resealed(superblock, 0, 8, &version.to_le_bytes());
        let second = resealed(superblock, 4096, 8, &version.to_le_bytes());
        let both = resealed(&first, 4096, 8, &version.to_le_bytes());
        let refused = ErrorKind::UnsupportedVersion;
        add(format!("version {version}"), "STORE", both, refused, true);
        add(format!("version {version} in the first copy"), "STORE", first, refused, true);
        add(format!("version {version} in the second copy"), "STORE", second, refused, false);
        for (path, bytes) in segments(made) {
            let head = resealed(&bytes, 0, 8, &version.to_le_bytes());
            add(format!("version {version} of {path}"), &path, head, refused, false);
        }
    }
    let impossible: [(&str, usize, Vec<u8>); 8] = [
        ("hash 0", 12, vec![0]),
        ("hash 3", 12, vec![3]),
        ("hash 255", 12, vec![255]),
        ("no chunks", 40, 0u64.to_le_bytes().to_vec()),
        ("endless chunks", 40, u64::MAX.to_le_bytes().to_vec()),
        ("tiny segments", 32, 1u64.to_le_bytes().to_vec()),
        ("endless segments", 32, u64::MAX.to_le_bytes().to_vec()),
        ("large segments", 32, (1u64 << 31).to_le_bytes().to_vec()),
    ];
    for (what, at, new) in impossible {
        let both = resealed(&resealed(superblock, 0, at, &new), 4096, at, &new);
        add(what.into(), "STORE", both, ErrorKind::Damaged, true);
    }
    cases
}

/// Any file, or all, are noise, zeros or ones, as long as they were or not.
fn random_bytes(made: &Furnished) -> Vec<Replaced> {
    let mut state = seed();
    let mut cases = Vec::new();
    for round in 0..60 {
        let fill = |len: u64, state: &mut u64| match random(state, 4) {
            0 => vec![0; len as usize],
            1 => vec![0xFF; len as usize],
            _ => bytes(len as usize, random(state, 1 << 30)),
        };
        let mut files = Vec::new();
        for file in &made.files {
            let most = 2 * file.bytes.len() as u64 + 100;
            let len = if random(&mut state, 2) == 0 {
                file.bytes.len() as u64
            } else {
                random(&mut state, most)
            };
            files.push((file.path.clone(), fill(len, &mut state)));
        }
        for file in &files {
            let is_store = file.0 == "STORE";
            let refused = is_store.then_some(ErrorKind::NotAStore);
            let what = format!("noise {round} in {}", file.0);
            let files = vec![file.clone()];
            cases.push(Replaced { what, files, refused, is_always_refused: is_store });
        }
        let refused = Some(ErrorKind::NotAStore);
        let what = format!("noise {round} everywhere");
        cases.push(Replaced { what, files: files.clone(), refused, is_always_refused: true });
        files.retain(|file| file.0 != "STORE");
        let what = format!("noise {round} in all but the superblock");
        cases.push(Replaced { what, files, refused: None, is_always_refused: false });
    }
    cases
}

#[test]
fn segments_may_be_exchanged() {
    try_all("exchanges", HashAlgorithm::Xxh3, 1, exchanged);
}

#[test]
fn other_versions_are_refused_by_name() {
    try_all("other versions and sizes", HashAlgorithm::Blake3, 1, of_other_versions);
}

#[test]
fn files_may_hold_noise() {
    try_all("files of noise", HashAlgorithm::Xxh3, 1, random_bytes);
}

#[test]
fn a_store_that_is_all_noise_is_left_as_it_is() {
    let made = Furnished::small(HashAlgorithm::Xxh3);
    for file in &made.files {
        patch(&made.path().join(&file.path), 0, &bytes(file.bytes.len(), 7));
    }
    let read = || -> Vec<Vec<u8>> {
        made.files.iter().map(|file| fs::read(made.path().join(&file.path)).expect("it")).collect()
    };
    let before = read();
    for options in [super::rig::options(), super::rig::options().create(true)] {
        super::rig::refused(options.open(made.path()), ErrorKind::NotAStore, &["DRYSTONE"]);
    }
    assert!(read() == before, "something was written into what is no store");
}
