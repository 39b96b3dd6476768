//! One thread writes, others read through the same handle, and nothing but the store's own words tells them
//! of each other.
//!
//! It is for the thread sanitizer, which does not see into the standard library: that is built without it. A
//! lock of std that somebody has to wait for hands over what it protects out of the sanitizer's sight, and
//! all that is touched under it is reported. So here no two threads meet at a lock: whoever only reads
//! takes none where the segment is mapped, and the writer maps before it tells. What is left is what the
//! library does by itself, without locks: the index, its growth, mappings and tables that are handed over
//! through atomic pointers, epochs, and the bytes of blobs.

use super::{Dice, SECONDS, body, directory, extent, number};
use drystone::{BlobId, HashAlgorithm, Options, Store, hash};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

const READERS: u64 = 3;
/// No length above it: the writer is to make many.
const NUMBERS: u64 = 1 << 40;

fn id_of(bytes: &[u8]) -> BlobId {
    let digest = hash::digest(HashAlgorithm::Xxh3, bytes);
    BlobId::from_digest(HashAlgorithm::Xxh3, &digest[..16]).expect("a digest")
}

/// Puts blobs 1, 2, 3.. and refs of the same number, and tells how far it has come. Relaxed: the telling
/// orders nothing, so what readers rely on is the store's.
fn write(store: &Store, told: &AtomicU64, until: Instant) {
    let refs = store.refs("stress");
    for number in 1..NUMBERS {
        if Instant::now() >= until {
            return;
        }
        let bytes = body(number);
        let id = store.put(&bytes).expect("a put");
        refs.set(number.to_le_bytes(), bytes[..8].to_vec()).expect("a ref");
        let view = store.get(&id).expect("a get").expect("it was just put");
        assert!(*view == bytes[..], "blob {number} has other bytes");
        told.store(number, Relaxed);
    }
}

/// Gets what the writer has told of, the newest above all; how often.
fn read(store: &Store, told: &AtomicU64, mut dice: Dice, until: Instant) -> u64 {
    let (refs, mut count) = (store.refs("stress"), 0);
    while Instant::now() < until {
        let newest = told.load(Relaxed);
        if newest == 0 {
            continue;
        }
        let number = if dice.below(2) == 0 { newest } else { 1 + dice.below(newest) };
        let bytes = body(number);
        let id = id_of(&bytes);
        let got = match dice.below(3) {
            0 => store.read_guard().get(&id).expect("a get").map(<[u8]>::to_vec),
            1 => store.get(&id).expect("a get").map(|blob| blob.to_vec()),
            _ => refs.get(number.to_le_bytes()).expect("a ref").map(|_| bytes.clone()),
        };
        assert!(got.is_some_and(|got| got == bytes), "blob {number} has other bytes");
        count += 1;
    }
    count
}

fn options() -> Options {
    Store::options().threads(1)
}

/// Makes the store, in a process of its own: its first run is built by threads that hand over their work
/// under locks of std.
pub fn prepare(path: &Path) {
    options().create(true).segment_bytes(256 << 10).open(path).expect("a store");
}

/// Until the time is up.
pub fn run() {
    let (seconds, seed) = (number("DRYSTONE_STRESS_SECONDS", SECONDS), number("DRYSTONE_SEED", 1));
    let dir = directory();
    let path = dir.path().join("store");
    let mut child = Command::new(std::env::current_exe().expect("this program"));
    child.env("TSAN_OPTIONS", "report_bugs=0");
    assert!(child.arg("prepare").arg(&path).status().expect("a child").success());
    let store = options().open(&path).expect("a store");
    let (told, until) = (AtomicU64::new(0), Instant::now() + Duration::from_secs(seconds));
    // What is made once, and under a lock of std, is made before there are threads.
    let first = store.put(b"first").expect("a put");
    assert!(store.get(&first).expect("a get").is_some());
    let reads: u64 = thread::scope(|scope| {
        let reader = |reader| {
            let (store, told) = (&store, &told);
            scope.spawn(move || read(store, told, Dice(seed ^ reader << 32), until))
        };
        let readers: Vec<_> = (1..=READERS).map(reader).collect();
        scope.spawn(|| write(&store, &told, until));
        readers.into_iter().map(|reader| reader.join().expect("every read holds")).sum()
    });
    let written = told.load(Relaxed);
    assert!(written > 0 && reads > 0, "{written} written, {reads} read");
    let what = extent(&store);
    println!("figure: {written} puts beside {reads} reads from seed {seed}; {what}");
}
