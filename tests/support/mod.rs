//! What the suites share: bytes to put in, and stores in directories that go away.
// Each suite is a crate of its own and uses a part of this.
#![allow(dead_code)]

use drystone::{BlobId, HashAlgorithm, Options, Stats, Store};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;

pub const KIB: usize = 1 << 10;
pub const MIB: usize = 1 << 20;

pub const HASHES: [HashAlgorithm; 2] = [HashAlgorithm::Xxh3, HashAlgorithm::Blake3];

/// A sequence of numbers that a seed decides (SplitMix64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }
}

/// A number that whoever runs the tests has set.
pub fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.replace('_', "").parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")),
    )
}

/// `len` bytes that another seed makes others.
pub fn bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut dice = Dice::new(seed ^ (len as u64) << 32);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&dice.next().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// A directory with room for a store, gone when it is dropped.
pub struct Scratch {
    dir: TempDir,
}

impl Scratch {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// In memory where the machine has a place for that: there nothing waits for a disk.
    pub fn in_memory() -> Self {
        let memory = tempfile::Builder::new().tempdir_in("/dev/shm");
        memory.map_or_else(|_| Self::new(), |dir| Self { dir })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where the store is.
    pub fn path(&self) -> PathBuf {
        self.dir().join("store")
    }

    /// The store, made at the first time.
    pub fn store(&self) -> Store {
        self.open(Store::options().create(true))
    }

    pub fn open(&self, options: Options) -> Store {
        options.open(self.path()).unwrap()
    }

    /// The store after the machine has come up again, all other openers being gone.
    pub fn rebooted(&self) -> Store {
        self.open(Store::options().boot_id(another_boot()))
    }
}

/// The id of a boot that has never been.
pub fn another_boot() -> String {
    static BOOTS: AtomicU64 = AtomicU64::new(0);
    format!("boot {} of {}", BOOTS.fetch_add(1, Ordering::Relaxed), std::process::id())
}

/// A store of each hash algorithm.
pub fn each_hash(test: impl Fn(&Store)) {
    for hash in HASHES {
        let scratch = Scratch::new();
        test(&scratch.open(Store::options().create(true).hash(hash)));
    }
}

/// What a store holds: its figures without those of the process and the machine.
pub fn holdings(store: &Store) -> Stats {
    let mut stats = store.stats().unwrap();
    (stats.mappings, stats.free_bytes, stats.held_back_bytes) = (0, 0, 0);
    stats
}

/// The bytes of a blob that must be there.
pub fn read(store: &Store, id: &BlobId) -> Vec<u8> {
    store.get(id).unwrap().unwrap_or_else(|| panic!("{id} is not there")).to_vec()
}

/// The id of a blob that is not there.
pub fn absent_id(store: &Store) -> BlobId {
    let hash = store.hash_algorithm();
    BlobId::from_digest(hash, &[0xAB; 32][..hash.digest_bytes()]).unwrap()
}
