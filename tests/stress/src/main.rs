//! Threads that put, get, name, remove and sync in one store, which the process has open twice, so that
//! every file is mapped twice; meanwhile the index grows, and mappings come and go. The bytes of a blob
//! follow from its number, so whoever gets one knows what must stand there.
//!
//! `stress readers` has one thread that writes and others that only read: see there.
//!
//! It is for the sanitizers: what it says itself is only whether bytes and errors are as they should be.
//! `DRYSTONE_STRESS_SECONDS` is how long, `DRYSTONE_SEED` what is random.
#![forbid(unsafe_code)]

mod readers;

use drystone::{BlobId, GetOptions, Store, Verify};
use std::env;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

const SECONDS: u64 = 20;
const THREADS: u64 = 4;
/// Segments mapped at a time: fewer than there are, so that mappings are given up all the time.
const MAPPED_MAX: usize = 4;
/// Blobs that all threads know of.
const KNOWN_MAX: usize = 400;

fn number(name: &str, otherwise: u64) -> u64 {
    let text = env::var(name).ok();
    text.map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// A sequence of numbers that a seed decides.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (x ^ (x >> 31)) % end
    }
}

/// The bytes of a blob: its number again and again, as long as that says.
fn body(number: u64) -> Vec<u8> {
    let len = match number % 16 {
        0 => 100_000,
        1..4 => 9_000,
        _ => 40,
    } + number as usize % 97;
    number.to_le_bytes().into_iter().cycle().take(len).collect()
}

/// What the threads have put and not removed.
type Known = Mutex<Vec<(u64, BlobId)>>;

struct Worker<'a> {
    stores: &'a [Store; 2],
    known: &'a Known,
    dice: Dice,
    next: u64,
}

impl Worker<'_> {
    fn store(&mut self) -> &Store {
        &self.stores[self.dice.below(2) as usize]
    }

    fn any(&mut self) -> Option<(u64, BlobId)> {
        let known = self.known.lock().expect("no panic");
        let at = self.dice.below(known.len().max(1) as u64) as usize;
        known.get(at).copied()
    }

    fn step(&mut self) {
        match self.dice.below(64) {
            0..20 => self.put(),
            20..22 => self.draft(),
            22 => self.store().sync().expect("a sync"),
            23 => drop(self.store().stats().expect("the figures")),
            24 => self.walk(),
            25..40 => self.name(),
            40..44 => self.remove(),
            _ => self.get(),
        }
    }

    fn put(&mut self) {
        self.next += 1;
        let number = self.next;
        let id = self.store().put(&body(number)).expect("a put");
        self.tell(number, id);
    }

    fn draft(&mut self) {
        self.next += 1;
        let (number, bytes) = (self.next, body(self.next));
        let mut draft = self.store().reserve(bytes.len() as u64).expect("a draft");
        draft.copy_from_slice(&bytes);
        let id = draft.commit().expect("a commit");
        self.tell(number, id);
    }

    fn tell(&mut self, number: u64, id: BlobId) {
        let mut known = self.known.lock().expect("no panic");
        if known.len() < KNOWN_MAX {
            return known.push((number, id));
        }
        let at = self.dice.below(KNOWN_MAX as u64) as usize;
        known[at] = (number, id);
    }

    fn get(&mut self) {
        let Some((number, id)) = self.any() else { return };
        let expected = body(number);
        let verified = GetOptions::new().verify(Verify::Whole);
        let how = self.dice.below(4);
        let store = self.store();
        let got = match how {
            0 => store.get_with(&id, &verified).expect("a get").map(|blob| blob.to_vec()),
            1 => store.read_guard().get(&id).expect("a get").map(<[u8]>::to_vec),
            2 => {
                let mut buffer = vec![0; expected.len()];
                store.read_into(&id, 0, &mut buffer).expect("a read").map(|_| buffer)
            }
            _ => store.get(&id).expect("a get").map(|blob| blob.to_vec()),
        };
        // Somebody else may have removed it.
        assert!(got.is_none_or(|got| got == expected), "blob {number} has other bytes");
    }

    fn name(&mut self) {
        let key = self.dice.below(3000).to_le_bytes();
        let (what, any) = (self.dice.below(4), self.any());
        let refs = self.store().refs("stress");
        match (what, any) {
            (0, _) => drop(refs.remove(key).expect("a removal")),
            // Its blob may be gone by now, and then it cannot be named.
            (1, Some((_, id))) => drop(refs.set(key, id)),
            (2, _) => drop(refs.get(key).expect("a ref")),
            _ => drop(refs.set(key, key.as_slice()).expect("a ref")),
        }
    }

    fn remove(&mut self) {
        let mut known = self.known.lock().expect("no panic");
        if known.len() > KNOWN_MAX / 2 {
            let at = self.dice.below(known.len() as u64) as usize;
            let (_, id) = known.swap_remove(at);
            drop(known);
            self.store().remove(&id).expect("a removal");
        }
    }

    fn walk(&mut self) {
        let store = self.store();
        assert!(store.blobs().take(500).all(|blob| blob.is_ok()), "a walk");
        assert!(store.refs("stress").iter().take(500).all(|entry| entry.is_ok()), "a walk");
    }
}

/// In memory where the machine has a place for that.
fn directory() -> tempfile::TempDir {
    let shm = std::path::Path::new("/dev/shm");
    let place = if shm.is_dir() { shm.to_path_buf() } else { env::temp_dir() };
    let dir = tempfile::Builder::new().prefix("drystone-stress-").tempdir_in(place);
    dir.expect("a directory")
}

/// How far a store has come.
fn extent(store: &Store) -> String {
    let stats = store.stats().expect("the figures");
    format!("{} segments, {} growths of the index", stats.segments, stats.index_generation)
}

/// Works until the time is up; how many steps.
fn work(stores: &[Store; 2], known: &Known, thread: u64, seed: u64, until: Instant) -> u64 {
    let dice = Dice(seed ^ thread << 32);
    let mut worker = Worker { stores, known, dice, next: thread << 40 };
    let mut steps = 0;
    while Instant::now() < until {
        worker.step();
        steps += 1;
    }
    steps
}

fn main() {
    if env::args().nth(1).as_deref() == Some("readers") {
        return readers::run();
    }
    if let (Some("prepare"), Some(path)) = (env::args().nth(1).as_deref(), env::args().nth(2)) {
        return readers::prepare(path.as_ref());
    }
    let (seconds, seed) = (number("DRYSTONE_STRESS_SECONDS", SECONDS), number("DRYSTONE_SEED", 1));
    let dir = directory();
    let path = dir.path().join("store");
    let options = || Store::options().threads(2).map_limit(MAPPED_MAX);
    let first = options().create(true).segment_bytes(256 << 10).open(&path).expect("a store");
    let stores = [first, options().open(&path).expect("the same store again")];
    let (known, until) = (Known::default(), Instant::now() + Duration::from_secs(seconds));
    let steps: u64 = thread::scope(|scope| {
        let start = |thread| {
            let (stores, known) = (&stores, &known);
            scope.spawn(move || work(stores, known, thread, seed, until))
        };
        let workers: Vec<_> = (1..=THREADS).map(start).collect();
        workers.into_iter().map(|worker| worker.join().expect("every step holds")).sum()
    });
    let what = extent(&stores[0]);
    println!("figure: {steps} steps of {THREADS} threads from seed {seed}; {what}");
}
