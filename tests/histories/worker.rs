//! The work: operations of all kinds on refs and blobs that others work on, too, each noted.
#![forbid(unsafe_code)]

use crate::entries::{Class, Kind, Subject, encode, unique};
use crate::stage::{IS_OVER, NEXT_BLOB, board, tape_path};
use crate::support::Dice;
use crate::tape::{Shared, Tape};
use drystone::{
    BlobId, CompactOptions, Durability, Entry, ErrorKind, HashAlgorithm, Options, PutOptions, Refs,
    SetOptions, Store, Version,
};
use std::path::Path;
use std::sync::atomic::Ordering;

/// Subjects of each class but that of blobs that are put once: few, so that processes meet.
const EACH: u64 = 12;
/// Of all those classes together.
pub const SUBJECTS: u64 = 4 * EACH;

/// Operations between two compactions, about.
const COMPACT_EVERY: u64 = 20_000;

/// How the store is opened; small segments, so that many are begun and sealed. With two threads a
/// compaction may go in two lanes.
pub fn options() -> Options {
    Store::options().threads(2)
}

/// The role of a process.
pub fn work(place: &Path, tape: u64, seed: u64, room: usize) {
    let store = options().open(place.join("store")).unwrap();
    let mut worker = Worker::new(place, store, tape, seed, room);
    while !worker.is_over() {
        worker.do_something();
    }
}

pub struct Worker {
    store: Store,
    board: Shared,
    number: u64,
    tape: Tape,
    dice: Dice,
    refs: [Refs; 2],
    /// The last version that was seen of each ref, by class.
    versions: [[u64; EACH as usize]; 2],
}

impl Worker {
    pub fn new(place: &Path, store: Store, number: u64, seed: u64, room: usize) -> Self {
        let refs = [store.refs("inline"), store.refs("named")];
        let tape = Tape::open(&tape_path(place, number), room);
        let (board, dice) = (board(place), Dice::new(seed));
        Self { store, board, number, tape, dice, refs, versions: [[0; EACH as usize]; 2] }
    }

    pub fn tape(&self) -> &Tape {
        &self.tape
    }

    fn is_over(&self) -> bool {
        self.board.at(IS_OVER).load(Ordering::Relaxed) != 0 || self.tape.is_full()
    }

    /// The first subjects are met most often.
    fn any(&mut self, class: Class) -> Subject {
        let end = 1 + self.dice.below(EACH);
        Subject::new(class, self.dice.below(end))
    }

    fn do_something(&mut self) {
        if self.dice.below(COMPACT_EVERY) == 0 {
            return self.compact();
        }
        match self.dice.below(100) {
            0..40 => self.change_or_read_ref(),
            40..52 => self.removed_blob(),
            52..64 => self.unpinned_blob(),
            64..76 => _ = self.put_new(),
            76..90 => self.look_for_new(),
            90..92 => self.name_new(),
            92..94 => self.name_another(),
            94..99 => self.follow(),
            _ => {
                let subject = self.any(Class::Named);
                self.remove_ref(subject);
            }
        }
    }

    /// Gives up what nothing names, and moves what is live, beside all others, now and then in two lanes.
    fn compact(&mut self) {
        let mut options = CompactOptions::new().all(self.dice.below(4) == 0);
        if self.dice.below(2) == 0 {
            options = options.two_lanes_from(1);
        }
        self.note(Kind::Compact, Subject::new(Class::Store, 0), 0, |store, _| {
            let report = store.compact(&options).unwrap();
            [(!report.busy).into(), report.removed_segments]
        });
    }

    fn durability(&mut self) -> Durability {
        if self.dice.below(16) == 0 { Durability::Synced } else { Durability::Buffered }
    }

    fn note(
        &mut self,
        kind: Kind,
        subject: Subject,
        argument: u64,
        operation: impl FnOnce(&Store, &[Refs; 2]) -> [u64; 2],
    ) -> [u64; 2] {
        let (store, refs) = (&self.store, &self.refs);
        self.tape.note(encode(kind, subject), argument, || operation(store, refs))
    }

    // Refs.

    fn change_or_read_ref(&mut self) {
        let subject = self.any(Class::Inline);
        match self.dice.below(20) {
            0..5 => self.set(subject),
            5..7 => self.add(subject),
            7..11 => {
                // Mostly the version that it has had a moment ago; now and then an older one.
                if self.dice.below(4) > 0 {
                    self.get_ref(subject);
                }
                self.compare_and_set(subject);
            }
            11..13 => self.remove_ref(subject),
            _ => _ = self.get_ref(subject),
        }
    }

    /// What the next operation writes, of one of several lengths.
    fn value(&mut self) -> Vec<u8> {
        let value = unique(self.number, self.tape.next());
        let times = [1, 1, 1, 3, 40][self.dice.below(5) as usize];
        value.to_le_bytes().repeat(times)
    }

    fn set(&mut self, subject: Subject) {
        let (value, durability) = (self.value(), self.durability());
        let options = SetOptions::new().durability(durability);
        self.note(Kind::Set, subject, 0, |_, [refs, _]| {
            [refs.set_with(key(subject), value, &options).unwrap().number(), 0]
        });
    }

    fn add(&mut self, subject: Subject) {
        let value = self.value();
        self.note(Kind::Add, subject, 0, |_, [refs, _]| {
            [number(refs.add(key(subject), value).unwrap()), 0]
        });
    }

    fn compare_and_set(&mut self, subject: Subject) {
        let (value, durability) = (self.value(), self.durability());
        let seen = self.versions[0][subject.number as usize];
        let expected = (seen != 0).then(|| Version::from_number(seen));
        let options = SetOptions::new().durability(durability);
        self.note(Kind::CompareAndSet, subject, seen, |_, [refs, _]| {
            let set = refs.compare_and_set_with(key(subject), expected, value, &options);
            [number(set.unwrap()), 0]
        });
    }

    fn remove_ref(&mut self, subject: Subject) {
        let durability = self.durability();
        let class = subject.class as usize;
        self.note(Kind::RemoveRef, subject, 0, |_, refs| {
            [refs[class].remove_with(key(subject), Some(durability)).unwrap().into(), 0]
        });
    }

    /// What a ref is bound to.
    fn get_ref(&mut self, subject: Subject) -> Option<Entry> {
        let mut got = None;
        let class = subject.class as usize;
        let [version, _] = self.note(Kind::GetRef, subject, 0, |_, refs| {
            got = refs[class].get(key(subject)).unwrap();
            got.as_ref().map_or([0; 2], |entry| [entry.version.number(), writer(entry)])
        });
        self.versions[class][subject.number as usize] = version;
        got
    }

    // Blobs.

    fn removed_blob(&mut self) {
        let subject = self.any(Class::Removed);
        match self.dice.below(10) {
            0..3 => self.put(subject),
            3..5 => {
                // It looks at every record: a few in a history will do.
                let syncs = self.dice.below(4000) == 0;
                self.note(Kind::Remove, subject, 0, |store, _| {
                    let removed = store.remove(&id(subject)).unwrap();
                    if syncs {
                        store.sync().unwrap();
                    }
                    [removed.into(), 0]
                });
            }
            _ => _ = self.look_for(subject),
        }
    }

    fn unpinned_blob(&mut self) {
        let subject = self.any(Class::Unpinned);
        match self.dice.below(10) {
            0..3 => self.put(subject),
            3..5 => self.unpin(subject),
            _ => _ = self.look_for(subject),
        }
    }

    fn unpin(&mut self, subject: Subject) {
        self.note(Kind::Unpin, subject, 0, |store, _| {
            [store.unpin(&id(subject)).unwrap().into(), 0]
        });
    }

    fn put(&mut self, subject: Subject) {
        let content = subject.content();
        let (way, durability) = (self.dice.below(16), self.durability());
        self.note(Kind::Put, subject, 0, |store, _| {
            let put = match way {
                0 => store.put_reader(&content[..]),
                1 => {
                    let mut draft = store.reserve(content.len() as u64).unwrap();
                    draft.copy_from_slice(&content);
                    draft.commit().map_err(|failed| failed.error)
                }
                2..6 => store.put_many(&[&content]).map(|ids| ids[0]),
                _ => store.put_with(&content, &PutOptions::new().durability(durability)),
            };
            assert_eq!(put.unwrap(), id(subject));
            [1, 0]
        });
    }

    /// Whether a blob is there, and its bytes what they must be.
    fn look_for(&mut self, subject: Subject) -> bool {
        let way = self.dice.below(8);
        let [found, _] = self.note(Kind::Get, subject, 0, |store, _| {
            let (id, content) = (id(subject), subject.content());
            let is_content =
                |bytes: &[u8]| assert!(*bytes == content, "other bytes of {subject:?}");
            let found = match way {
                0 => store.contains(&id).unwrap(),
                1 => store.read_guard().get(&id).unwrap().map(is_content).is_some(),
                2 => {
                    let mut buffer = vec![0; content.len()];
                    let read = store.read_into(&id, 0, &mut buffer).unwrap();
                    read.map(|len| is_content(&buffer[..len])).is_some()
                }
                3 => store.get_many(&[id]).unwrap()[0].as_deref().map(is_content).is_some(),
                _ => store.get(&id).unwrap().as_deref().map(is_content).is_some(),
            };
            [found.into(), 0]
        });
        found == 1
    }

    fn put_new(&mut self) -> Subject {
        let number = self.board.at(NEXT_BLOB).fetch_add(1, Ordering::Relaxed);
        let subject = Subject::new(Class::Once, number);
        self.put(subject);
        subject
    }

    /// A blob that was put a moment ago, or long ago, or will be.
    fn look_for_new(&mut self) {
        let next = self.board.at(NEXT_BLOB).load(Ordering::Relaxed);
        let back = match self.dice.below(8) {
            0 => self.dice.below(next),
            1 => self.dice.below(next.min(1000)),
            _ => self.dice.below(12),
        };
        let number = (next + 2).saturating_sub(back);
        self.look_for(Subject::new(Class::Once, number));
    }

    // Refs to blobs.

    /// A new blob that only a ref names.
    fn name_new(&mut self) {
        let blob = self.put_new();
        let subject = self.any(Class::Named);
        self.name(subject, blob);
        self.unpin(blob);
    }

    /// A second ref to a blob that a ref names.
    fn name_another(&mut self) {
        let from = self.any(Class::Named);
        let blob = self.get_ref(from).map(|entry| blob_of(&entry));
        if let Some(blob) = blob {
            let subject = self.any(Class::Named);
            self.name(subject, blob);
        }
    }

    fn name(&mut self, subject: Subject, blob: Subject) {
        let value = unique(self.number, self.tape.next());
        let mut metadata = value.to_le_bytes().to_vec();
        metadata.extend_from_slice(&blob.number.to_le_bytes());
        let durability = self.durability();
        let options = SetOptions::new().metadata(metadata).durability(durability);
        self.note(Kind::Set, subject, blob.number, |_, [_, refs]| {
            match refs.set_with(key(subject), id(blob), &options) {
                Ok(version) => [version.number(), 0],
                Err(error) if error.kind() == ErrorKind::NotFound => [0; 2],
                Err(error) => panic!("{error}"),
            }
        });
    }

    /// From a ref to its blob.
    fn follow(&mut self) {
        let subject = self.any(Class::Named);
        if let Some(entry) = self.get_ref(subject) {
            self.look_for(blob_of(&entry));
        }
    }

    /// Looks at everything once, at the end.
    pub fn look_at_all(&mut self, next_blob: u64) {
        for number in 0..EACH {
            for class in [Class::Inline, Class::Named] {
                self.get_ref(Subject::new(class, number));
            }
            for class in [Class::Removed, Class::Unpinned] {
                self.look_for(Subject::new(class, number));
            }
        }
        for number in 0..next_blob {
            self.look_for(Subject::new(Class::Once, number));
        }
    }
}

fn key(subject: Subject) -> String {
    subject.number.to_string()
}

fn number(version: Option<Version>) -> u64 {
    version.map_or(0, Version::number)
}

fn id(subject: Subject) -> BlobId {
    let digest = drystone::hash::digest(HashAlgorithm::Xxh3, &subject.content());
    BlobId::from_digest(HashAlgorithm::Xxh3, &digest[..16]).unwrap()
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[8 * at..8 * at + 8].try_into().unwrap())
}

/// Which operation wrote what a ref says.
fn writer(entry: &Entry) -> u64 {
    match entry.bytes() {
        Some(bytes) => {
            let value = word(bytes, 0);
            assert!(bytes.chunks(8).all(|chunk| *chunk == value.to_le_bytes()), "{bytes:?}");
            value
        }
        None => {
            let blob = Subject::new(Class::Once, word(&entry.metadata, 1));
            assert_eq!(
                entry.blob(),
                Some(&id(blob)),
                "a ref names another blob than it was set to"
            );
            word(&entry.metadata, 0)
        }
    }
}

fn blob_of(entry: &Entry) -> Subject {
    Subject::new(Class::Once, word(&entry.metadata, 1))
}
