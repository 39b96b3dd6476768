//! A control page in shared words, and processes with views of it that stop for ever before their
//! n-th change. Under loom it can be slept on, without any time that runs out.
#![forbid(unsafe_code)]

use crate::control::{Adopted, Control, Fresh, Lost};
use crate::error::Result;
use crate::format::control as at;
use crate::format::word::{Location, Root};
use crate::index::bed::Stopped;
use crate::sync::{HeapWords, Words};
use std::cell::Cell;
use std::sync::Arc;

const UUID: [u8; 16] = [7; 16];
/// Segments that a page has room for.
pub const SEGMENTS: usize = 6;
const SEALED: u64 = 1;
/// What fsync could not write.
const FAILED: u64 = 2;

/// What the processes share: the page, and of each segment a lock and what is in it.
pub struct Shared {
    page: HeapWords,
    /// 0 free; else the process that holds the lock, plus 1. It goes with the process.
    locks: HeapWords,
    segments: HeapWords,
    #[cfg(loom)]
    sleepers: (loom::sync::Mutex<()>, loom::sync::Condvar),
    #[cfg(loom)]
    late: HeapWords,
}

impl Shared {
    pub fn new() -> Arc<Self> {
        let page = HeapWords::new(at::BYTES / 8);
        let fresh = Fresh {
            uuid: UUID,
            mount: 0,
            limit: 0,
            root: Root::stable(0, 0),
            next_segment: 0,
            next_sequence: 1,
            bytes: 0,
            lost: Lost::default(),
        };
        for (at, word) in fresh.words().into_iter().enumerate().filter(|(_, word)| *word != 0) {
            page.store(at, word);
        }
        let [locks, segments] = [(); 2].map(|()| HeapWords::new(SEGMENTS));
        #[cfg(loom)]
        let sleepers = (loom::sync::Mutex::new(()), loom::sync::Condvar::new());
        Arc::new(Self {
            page,
            locks,
            segments,
            #[cfg(loom)]
            sleepers,
            #[cfg(loom)]
            late: HeapWords::new(1),
        })
    }

    /// Time passes: who sleeps is woken, and nobody falls asleep any more.
    #[cfg(loom)]
    pub fn let_time_run_out(&self) {
        self.late.store(0, 1);
        self.wake_all();
    }

    #[cfg(loom)]
    pub fn is_late(&self) -> bool {
        self.late.load(0) != 0
    }

    #[cfg(loom)]
    fn wake_all(&self) {
        drop(self.sleepers.0.lock().unwrap());
        self.sleepers.1.notify_all();
    }

    pub fn is_sealed(&self, segment: u32) -> bool {
        self.segments.load(segment as usize) & SEALED != 0
    }

    pub fn has_failed(&self, segment: u32) -> bool {
        self.segments.load(segment as usize) & FAILED != 0
    }
}

/// A process's view of the page.
pub struct View {
    shared: Arc<Shared>,
    /// Changes before it stops.
    steps: Cell<usize>,
}

impl View {
    fn step(&self) {
        match self.steps.get() {
            0 => std::panic::resume_unwind(Box::new(Stopped)),
            usize::MAX => {}
            left => self.steps.set(left - 1),
        }
    }
}

impl Words for View {
    fn len(&self) -> usize {
        self.shared.page.len()
    }
    fn load(&self, at: usize) -> u64 {
        self.shared.page.load(at)
    }
    fn store(&self, at: usize, value: u64) {
        self.step();
        self.shared.page.store(at, value);
    }
    fn compare_exchange(&self, at: usize, current: u64, new: u64) -> Result<u64, u64> {
        self.step();
        self.shared.page.compare_exchange(at, current, new)
    }
    fn fetch_or(&self, at: usize, bits: u64) -> u64 {
        self.step();
        self.shared.page.fetch_or(at, bits)
    }
    fn fetch_and(&self, at: usize, mask: u64) -> u64 {
        self.step();
        self.shared.page.fetch_and(at, mask)
    }
    fn fetch_add(&self, at: usize, value: u64) -> u64 {
        self.step();
        self.shared.page.fetch_add(at, value)
    }
}

#[cfg(loom)]
impl crate::sync::Futex for View {
    fn is_writable(&self) -> bool {
        true
    }

    /// The kernel compares and falls asleep in one step.
    fn futex_wait(&self, at: usize, expected: u32, _: std::time::Duration) {
        self.step();
        let (lock, sleep) = &self.shared.sleepers;
        let guard = lock.lock().unwrap();
        if self.shared.page.fetch_add(at, 0) as u32 == expected && !self.shared.is_late() {
            drop(sleep.wait(guard).unwrap());
        }
    }

    fn futex_wake_all(&self, _: usize) {
        self.step();
        self.shared.wake_all();
    }
}

/// A process, whose locks go when it ends, however it ends.
pub struct Process {
    number: u64,
    pub shared: Arc<Shared>,
    pub control: Control<View>,
    /// The segment that it appends to, and the slot that it is noted in.
    pub open: Option<(u32, Option<usize>)>,
}

impl Process {
    /// One that stops before its change number `steps`.
    pub fn new(shared: &Arc<Shared>, number: u64, steps: usize) -> Self {
        let view = View { shared: shared.clone(), steps: Cell::new(steps) };
        let control = Control::new(view, &UUID).unwrap();
        Self { number, shared: shared.clone(), control, open: None }
    }

    pub fn step(&self) {
        self.control.page.step();
    }

    /// The lock is tried, and never waited for.
    fn try_lock(&self, segment: u32) -> bool {
        self.step();
        self.shared.locks.compare_exchange(segment as usize, 0, self.number + 1).is_ok()
    }

    fn unlock(&self, segment: u32) {
        let _ = self.shared.locks.compare_exchange(segment as usize, self.number + 1, 0);
    }

    /// Takes up an open segment, or makes one, as an operation does that needs an appender.
    pub fn open(&mut self) -> u32 {
        let attempt = |last: Location| {
            let segment = last.segment();
            if !self.try_lock(segment) {
                return Ok(Adopted::Busy);
            }
            if self.shared.is_sealed(segment) {
                self.unlock(segment);
                return Ok(Adopted::Gone);
            }
            Ok(Adopted::Taken(Held { process: self, segment }))
        };
        let taken = self.control.take_up(attempt).unwrap();
        let taken = taken.map(|(slot, held)| (held.keep(), Some(slot)));
        let (segment, slot) = taken.unwrap_or_else(|| {
            let segment = self.control.draw_segment().unwrap();
            assert!(self.try_lock(segment), "nobody else knows of it");
            (segment, self.control.note_open(Location::new(segment, 0).unwrap()))
        });
        assert!(!self.shared.is_sealed(segment), "a sealed segment is appended to");
        assert!(!self.shared.has_failed(segment), "a poisoned segment is appended to");
        self.open = Some((segment, slot));
        segment
    }

    /// Notes a record that it has appended.
    pub fn append(&mut self) {
        let (segment, slot) = self.open.expect("it has an appender");
        let holder = self.shared.locks.load(segment as usize);
        assert_eq!(holder, self.number + 1, "two append to one segment");
        if let Some(slot) = slot {
            self.control.move_open(slot, Location::new(segment, 64).unwrap());
        }
    }

    /// Becomes idle: the next may have its segment.
    pub fn close(&mut self) {
        let (segment, _) = self.open.take().expect("it has an appender");
        self.step();
        self.unlock(segment);
    }

    pub fn seal(&mut self) {
        let (segment, slot) = self.open.expect("it has an appender");
        self.step();
        self.shared.segments.fetch_or(segment as usize, SEALED);
        if let Some(slot) = slot {
            self.control.forget_open(slot, segment);
        }
        self.close();
    }

    /// An fsync fails: the segment is poisoned while it is held, and then left.
    pub fn fail(&mut self) {
        let (segment, _) = self.open.expect("it has an appender");
        self.control.poison(segment);
        // What the assertions look for, as it is from here on that nobody may append.
        self.shared.segments.fetch_or(segment as usize, FAILED);
        self.close();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        (0..SEGMENTS as u32).for_each(|segment| self.unlock(segment));
    }
}

/// A lock that is let go of unless it is kept.
struct Held<'a> {
    process: &'a Process,
    segment: u32,
}

impl Held<'_> {
    fn keep(self) -> u32 {
        let segment = self.segment;
        std::mem::forget(self);
        segment
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.process.unlock(self.segment);
    }
}
