//! What one process puts in and takes out, and what it knows to be acknowledged.
#![forbid(unsafe_code)]

use crate::rig::{self, KIB, random};
use drystone::{BlobId, CompactOptions, Error, ErrorKind, HashAlgorithm, Store};
use std::path::Path;
use std::time::Duration;

/// Small values that may be refused before there is really no space.
const REFUSALS: u32 = 3;
/// What counts as small.
const SMALL: usize = 300;
/// Times that a removal on a full disk may need a compaction.
const COMPACTIONS: u64 = 20;

/// What was put in.
#[derive(Clone, Copy)]
struct Thing {
    seed: u64,
    len: usize,
    is_ref: bool,
}

pub struct Filler {
    store: Store,
    number: u64,
    dice: u64,
    next: u64,
    things: Vec<Thing>,
    /// Compactions that this process needed to go on.
    compactions: u64,
}

impl Thing {
    fn bytes(&self) -> Vec<u8> {
        rig::bytes(self.len, self.seed)
    }

    fn key(&self) -> String {
        self.seed.to_string()
    }

    fn id(&self) -> BlobId {
        rig::id_of(HashAlgorithm::Xxh3, &self.bytes())
    }
}

/// There is no space; it says so, and what to do.
fn is_full(error: &Error) {
    let kinds = [ErrorKind::NoSpace, ErrorKind::IndexFull];
    assert!(kinds.contains(&error.kind()), "{error:?}");
    let text = error.to_string();
    for says in ["No space left on device", "free space on the file system"] {
        assert!(text.contains(says), "{says:?} is not in: {text}");
    }
}

/// What there is of space, and what has it.
pub fn space(store: &Store) -> String {
    let stat = nix::sys::statvfs::statvfs(store.path()).expect("the space");
    let mut all = vec![format!("{} bytes free", stat.blocks_available() * stat.fragment_size())];
    for dir in [store.path().join("segments"), rig::run_dir(store.path())] {
        for entry in std::fs::read_dir(dir).expect("a directory") {
            let entry = entry.expect("an entry");
            let len = entry.metadata().map_or(0, |metadata| metadata.len());
            all.push(format!("{} {len}", entry.file_name().display()));
        }
    }
    all.join(", ")
}

/// Calls the store all the time, as a process that uses it does, for as long as that runs: one that is idle
/// keeps mapped, and so on the file system, what others have unlinked, until its next calls.
pub fn let_go_now_and_then(store: &Store) {
    let store = store.clone();
    std::thread::spawn(move || {
        let id = rig::id_of(HashAlgorithm::Xxh3, b"nobody has put this");
        while (0..400).all(|_| store.contains(&id).is_ok()) {
            std::thread::sleep(Duration::from_millis(2));
        }
    });
}

impl Filler {
    pub fn new(place: &Path, number: u64, seed: u64) -> Self {
        let store = rig::options().open(place).expect("the store");
        let_go_now_and_then(&store);
        Self { store, number, dice: seed, next: 0, things: Vec::new(), compactions: 0 }
    }

    fn below(&mut self, end: u64) -> u64 {
        random(&mut self.dice, end)
    }

    fn len(&mut self, is_small: bool, len_max: usize) -> usize {
        let len = match self.below(if is_small { 60 } else { 100 }) {
            0..60 => 8 + self.below(SMALL as u64 - 8),
            60..80 => self.below(4 * KIB as u64),
            80..92 => self.below(40 * KIB as u64),
            92..98 => self.below(200 * KIB as u64),
            _ => self.below(1000 * KIB as u64),
        };
        (len.max(8) as usize).min(len_max)
    }

    /// Puts in until nothing more goes in; how many things and bytes went.
    pub fn fill(&mut self, is_small: bool) -> Vec<u64> {
        let (mut refusals, mut len_max, mut count, mut sum) = (0, usize::MAX, 0, 0);
        while refusals < REFUSALS {
            let len = self.len(is_small, len_max);
            self.next += 1;
            let seed = self.number << 40 | self.next;
            let thing = Thing { seed, len, is_ref: len < 3000 && self.below(2) == 0 };
            match self.add(&thing) {
                Ok(()) => {
                    self.things.push(thing);
                    (count, sum) = (count + 1, sum + len as u64);
                }
                Err(error) => {
                    is_full(&error);
                    // Smaller ones may go in where this one did not.
                    len_max = (len / 2).max(SMALL);
                    refusals += u32::from(len <= SMALL);
                }
            }
            if count % 64 == 0 && !self.things.is_empty() {
                let at = self.below(self.things.len() as u64) as usize;
                self.look_at(&self.things[at]);
            }
        }
        vec![count, sum]
    }

    fn add(&mut self, thing: &Thing) -> Result<(), Error> {
        let bytes = thing.bytes();
        if thing.is_ref {
            return self.store.refs("space").set(thing.key(), bytes).map(drop);
        }
        let put = match self.below(8) {
            0 => self.store.put_reader(&bytes[..])?,
            1 => {
                let mut draft = self.store.reserve(thing.len as u64)?;
                draft.copy_from_slice(&bytes);
                draft.commit().map_err(|failed| failed.error)?
            }
            2 => self.store.put_many(&[&bytes])?[0],
            _ => self.store.put(&bytes)?,
        };
        assert_eq!(put, thing.id());
        Ok(())
    }

    /// It must be there, byte for byte.
    fn look_at(&self, thing: &Thing) {
        let (bytes, seed) = (thing.bytes(), thing.seed);
        if thing.is_ref {
            let entry = self.store.refs("space").get(thing.key()).expect("a look");
            let entry = entry.unwrap_or_else(|| panic!("acknowledged and lost: ref {seed:x}"));
            assert!(entry.bytes() == Some(&bytes[..]), "ref {seed:x} has other bytes");
        } else {
            let blob = self.store.get(&thing.id()).expect("a look");
            let blob = blob.unwrap_or_else(|| panic!("acknowledged and lost: blob {seed:x}"));
            assert!(*blob == bytes[..], "blob {seed:x} has other bytes");
        }
    }

    /// Takes out about so many of a hundred things; how many and bytes went, how many compactions that
    /// needed, and whether in the end there was no space even so.
    pub fn remove(&mut self, percent: u64) -> Vec<u64> {
        let (mut count, mut sum, before) = (0, 0, self.compactions);
        let mut is_stuck = false;
        for thing in std::mem::take(&mut self.things) {
            if is_stuck || self.below(100) >= percent {
                self.things.push(thing);
                continue;
            }
            match self.take_out(&thing) {
                Some(was_there) => assert!(was_there, "it was there: {:x}", thing.seed),
                None => {
                    is_stuck = true;
                    continue;
                }
            }
            (count, sum) = (count + 1, sum + thing.len as u64);
        }
        vec![count, sum, self.compactions - before, is_stuck.into()]
    }

    /// On a full disk, too, perhaps not before a compaction has made room; whether it was there, or
    /// nothing if no compaction makes room.
    fn take_out(&mut self, thing: &Thing) -> Option<bool> {
        // Removed, and then unpinned; or only unpinned.
        let mut removed = (self.below(4) == 0).then_some(false);
        let mut left = COMPACTIONS;
        while left > 0 {
            match self.try_take_out(thing, &mut removed) {
                Ok(was_there) => return Some(was_there),
                Err(error) => is_full(&error),
            }
            left -= self.make_room();
        }
        None
    }

    fn try_take_out(&self, thing: &Thing, removed: &mut Option<bool>) -> Result<bool, Error> {
        if thing.is_ref {
            return self.store.refs("space").remove(thing.key());
        }
        if *removed == Some(false) {
            *removed = Some(self.store.remove(&thing.id())?);
        }
        // The pin of a blob that was removed cannot be seen, and is there.
        let was_pinned = self.store.unpin(&thing.id())?;
        Ok(removed.unwrap_or(was_pinned))
    }

    /// Compacts, or waits while somebody else does; how many compactions that were.
    fn make_room(&mut self) -> u64 {
        let report = self.store.compact(&CompactOptions::new().all(true)).expect("a compaction");
        // What was unlinked comes back when the other processes have let go of it.
        std::thread::sleep(Duration::from_millis(5));
        self.compactions += u64::from(!report.busy);
        u64::from(!report.busy)
    }

    /// Compacts, unless somebody else does; whether it did, and what came of it.
    pub fn compact(&mut self) -> Vec<u64> {
        let report = self.store.compact(&CompactOptions::new().all(true)).expect("a compaction");
        vec![
            u64::from(!report.busy),
            report.bytes_before,
            report.bytes_after,
            u64::from(report.complete),
        ]
    }

    /// Looks at everything; how many blobs and refs, and bytes.
    pub fn check(&self) -> Vec<u64> {
        self.things.iter().for_each(|thing| self.look_at(thing));
        let refs = self.things.iter().filter(|thing| thing.is_ref).count() as u64;
        let sum = self.things.iter().map(|thing| thing.len as u64).sum();
        vec![self.things.len() as u64 - refs, refs, sum]
    }
}
