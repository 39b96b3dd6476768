//! A test bed: shared words on the heap (or loom's), and participants, each with mappings of its own,
//! as processes have, that can be told to stop for ever before their n-th shared change.
#![forbid(unsafe_code)]

use crate::error::{Error, ErrorKind, Result};
use crate::format::word::{Location, Root, Word};
use crate::id::Key;
use crate::index::layout::{LOG2_MAX, SLOTS, table_words};
use crate::index::{Index, Tables, header};
use crate::sync::{HeapWords, Words};
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, Mutex};

/// Generations that a bed has names for.
const NAMES: usize = if cfg!(loom) { 8 } else { 128 };
/// What the headers of its tables carry.
pub const STAMP: [u64; 4] = [1, 2, 3, 4];

/// What all participants share.
pub struct Bed {
    root: HeapWords,
    /// Of each generation the number of its file, plus 1. A name is one word, because the kernel
    /// orders what happens to a name.
    names: HeapWords,
    files: Mutex<Vec<Arc<HeapWords>>>,
    /// Largest table that there is space for.
    log2_max: HeapWords,
}

impl Bed {
    /// A bed with one empty table of `2^log2` buckets.
    pub fn new(log2: u32) -> Arc<Self> {
        let bed = Self {
            root: HeapWords::new(1),
            names: HeapWords::new(NAMES),
            files: Mutex::new(Vec::new()),
            log2_max: HeapWords::new(1),
        };
        bed.set_root(Root::stable(0, log2));
        bed.limit_space(LOG2_MAX);
        bed.link(0, table_words(log2), &header(STAMP, 0, log2));
        Arc::new(bed)
    }

    /// Lets no table be made that is larger.
    pub fn limit_space(&self, log2: u32) {
        self.log2_max.store(0, u64::from(log2));
    }

    /// The names that there are.
    pub fn linked(&self) -> Vec<usize> {
        (0..NAMES).filter(|&at| self.names.load(at) != 0).collect()
    }

    pub fn root(&self) -> Root {
        Root(self.root.load(0))
    }

    pub fn set_root(&self, root: Root) {
        self.root.store(0, root.0);
    }

    /// Gives the name of a generation to a new file, if it is free.
    pub fn link(&self, generation: u32, words: usize, head: &[u64]) -> bool {
        let file = HeapWords::new(words);
        for (at, &word) in head.iter().enumerate() {
            file.store(at, word);
        }
        let mut files = self.files.lock().unwrap();
        files.push(Arc::new(file));
        let number = files.len() as u64;
        drop(files);
        self.names.compare_exchange(generation as usize, 0, number).is_ok()
    }

    /// The words of a generation, to look behind the table.
    pub fn words(&self, generation: u32) -> Option<Arc<HeapWords>> {
        let number = self.names.fetch_add(generation as usize, 0);
        (number > 0).then(|| self.files.lock().unwrap()[number as usize - 1].clone())
    }

    /// A participant that does not stop.
    pub fn join(self: &Arc<Self>) -> Index<Participant> {
        self.join_for(usize::MAX)
    }

    /// A participant that stops before its shared change number `steps`, from 0.
    pub fn join_for(self: &Arc<Self>, steps: usize) -> Index<Participant> {
        self.join_counted(Steps { left: Cell::new(steps), meanwhile: RefCell::new(None) })
    }

    /// A participant before whose change number `steps` others do something, once.
    pub fn join_beside(
        self: &Arc<Self>,
        steps: usize,
        meanwhile: impl FnOnce() + 'static,
    ) -> Index<Participant> {
        let meanwhile: Box<dyn FnOnce()> = Box::new(meanwhile);
        self.join_counted(Steps {
            left: Cell::new(steps),
            meanwhile: RefCell::new(Some(meanwhile)),
        })
    }

    fn join_counted(self: &Arc<Self>, steps: Steps) -> Index<Participant> {
        let mapped = (0..NAMES).map(|_| OnceCell::new()).collect();
        Index::new(Participant { bed: self.clone(), steps: Rc::new(steps), mapped })
    }
}

/// How a participant leaves: an unwinding that no panic hook sees.
pub struct Stopped;

/// Runs `work`, which may stop; `None` if it did.
pub fn until_stopped<R>(work: impl FnOnce() -> R) -> Option<R> {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)) {
        Ok(result) => Some(result),
        Err(payload) if payload.is::<Stopped>() => None,
        Err(payload) => std::panic::resume_unwind(payload),
    }
}

/// A process at the bed.
pub struct Participant {
    bed: Arc<Bed>,
    steps: Rc<Steps>,
    mapped: Vec<OnceCell<Mapped>>,
}

/// What happens before one of a participant's changes.
struct Steps {
    /// Changes before it.
    left: Cell<usize>,
    /// What others do then; without it the participant stops.
    meanwhile: RefCell<Option<Box<dyn FnOnce()>>>,
}

impl Participant {
    /// The bed.
    pub fn bed(&self) -> &Arc<Bed> {
        &self.bed
    }

    /// To be called before each change of something that is not the bed's.
    pub fn step(&self) {
        step(&self.steps);
    }

    /// Where others may come although nothing is changed; nobody stops here.
    fn pause(&self) {
        if self.steps.meanwhile.borrow().is_some() {
            self.step();
        }
    }

    /// Whether the change before which something was to happen has been reached.
    pub fn has_met(&self) -> bool {
        self.steps.left.get() == usize::MAX
    }
}

fn step(steps: &Steps) {
    match steps.left.get() {
        0 => {
            let meanwhile = steps.meanwhile.take();
            let Some(meanwhile) = meanwhile else { std::panic::resume_unwind(Box::new(Stopped)) };
            steps.left.set(usize::MAX);
            meanwhile();
        }
        usize::MAX => {}
        left => steps.left.set(left - 1),
    }
}

/// A participant's mapping of a file. Only changes count as steps: a stop before a load is for the
/// others the same as one before the next change.
pub struct Mapped {
    file: Arc<HeapWords>,
    steps: Rc<Steps>,
}

impl Words for Mapped {
    fn len(&self) -> usize {
        self.file.len()
    }
    fn load(&self, at: usize) -> u64 {
        self.file.load(at)
    }
    fn store(&self, at: usize, value: u64) {
        step(&self.steps);
        self.file.store(at, value);
    }
    fn compare_exchange(&self, at: usize, current: u64, new: u64) -> Result<u64, u64> {
        step(&self.steps);
        self.file.compare_exchange(at, current, new)
    }
    fn fetch_or(&self, at: usize, bits: u64) -> u64 {
        step(&self.steps);
        self.file.fetch_or(at, bits)
    }
    fn fetch_and(&self, at: usize, mask: u64) -> u64 {
        step(&self.steps);
        self.file.fetch_and(at, mask)
    }
    fn fetch_add(&self, at: usize, value: u64) -> u64 {
        step(&self.steps);
        self.file.fetch_add(at, value)
    }
}

impl Tables for Participant {
    type Words = Mapped;

    fn stamp(&self) -> [u64; 4] {
        STAMP
    }

    fn root_load(&self) -> Root {
        self.bed.root()
    }

    fn root_cas(&self, current: Root, new: Root) -> Result<Root, Root> {
        step(&self.steps);
        self.bed.root.compare_exchange(0, current.0, new.0).map(Root).map_err(Root)
    }

    fn open(
        &self,
        generation: u32,
        accept: impl FnOnce(&Mapped) -> Result<bool>,
    ) -> Result<Option<&Mapped>> {
        let mapped = &self.mapped[generation as usize];
        if mapped.get().is_none() {
            self.pause();
            let Some(file) = self.bed.words(generation) else { return Ok(None) };
            let fresh = Mapped { file, steps: self.steps.clone() };
            if !accept(&fresh)? {
                return Ok(None);
            }
            let _ = mapped.set(fresh);
        }
        Ok(mapped.get())
    }

    fn kept(&self, generation: u32) -> Option<&Mapped> {
        self.mapped[generation as usize].get()
    }

    fn create(&self, generation: u32, words: usize, head: &[u64]) -> Result<bool> {
        if words > table_words(self.bed.log2_max.load(0) as u32) {
            return Err(Error::new(ErrorKind::NoSpace, "the bed is too small"));
        }
        step(&self.steps);
        Ok(self.bed.link(generation, words, head))
    }

    fn unlink(&self, generation: u32) -> Result<()> {
        step(&self.steps);
        self.bed.names.fetch_and(generation as usize, 0);
        Ok(())
    }
}

impl Index<Participant> {
    /// Who uses this index.
    pub fn participant(&self) -> &Participant {
        &self.tables
    }
}

/// A live word of the record number `record`, which no other has.
pub fn live(record: u32) -> Word {
    Word::live(Location::new(record, 64).unwrap(), false, 64)
}

/// A tomb.
pub fn tomb(record: u32) -> Word {
    Word::tomb(Location::new(record, 64).unwrap(), false)
}

/// The key number `rest` of those whose home is `bucket` in a table of `2^log2` buckets.
pub fn key_at(bucket: u64, log2: u32, rest: u64) -> Key {
    let home = if log2 == 0 { 0 } else { bucket << (64 - log2) };
    Key { hi: home | (rest + 2), lo: rest + 1 }
}

/// Slots of a bucket.
pub const BUCKET: usize = SLOTS;
