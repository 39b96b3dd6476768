//! The thread that keeps a cache in order: it removes what has expired, evicts what is above the limits, and
//! compacts the store. It is the only thread that the library starts by itself.
//!
//! It works once in an interval, and before that when it is called: by who has removed or replaced so much that
//! the store takes up far more than the cache holds, and by who clears or evicts a tag.
//!
//! Death: with its process; a forked child has none, and calls nobody.
#![forbid(unsafe_code)]

use super::cache::Inner;
use super::ledger::Count;
use crate::compact::CompactOptions;
use crate::disk::fork_generation;
use crate::error::Result;
use crate::sync::machine::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// One compaction goes on for so long at most.
const BUDGET: Duration = Duration::from_secs(10);
/// It is called when so many bytes have been given up at least, or that share of what the cache may hold.
const GIVEN_UP_MIN: u64 = 16 << 20;
const GIVEN_UP_SHARE: u64 = 4;
/// After a pass that it was called for it rests so many times as long as the pass took.
const REST: u32 = 4;
/// No process has a thread.
const NOBODY: u64 = u64::MAX;

/// What the thread is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    /// What it does in every interval.
    All,
    /// A walk that takes out what does not count any more, and a compaction.
    Pass,
    /// A compaction.
    Compact,
    /// To end.
    End,
}

/// What the thread has been told and has not done.
#[derive(Default)]
struct Told {
    ended: bool,
    pass: bool,
    compact: bool,
}

/// Between the users of a cache and its thread.
pub struct Calls {
    told: Mutex<Told>,
    changed: Condvar,
    /// The process that has the thread, by its number of forks.
    listener: AtomicU64,
    /// Bytes that were removed or replaced since the last compaction began.
    given_up: AtomicU64,
}

impl Default for Calls {
    fn default() -> Self {
        Self {
            told: Mutex::default(),
            changed: Condvar::new(),
            listener: AtomicU64::new(NOBODY),
            given_up: AtomicU64::new(0),
        }
    }
}

impl Calls {
    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, tell: impl FnOnce(&mut Told)) {
        tell(&mut self.lock());
        self.changed.notify_all();
    }

    /// Whether the thread is one of this process.
    #[inline]
    fn is_heard(&self) -> bool {
        self.listener.load(Ordering::Relaxed) == fork_generation()
    }

    /// Waits for something to do: until `due` at the latest, where that is not never, and for a pass until `rested`
    /// at least.
    fn next(&self, due: Option<Instant>, rested: Instant) -> Task {
        let mut told = self.lock();
        loop {
            let now = Instant::now();
            if told.ended {
                return Task::End;
            }
            if due.is_some_and(|due| due <= now) {
                told.pass = false;
                return Task::All;
            }
            if told.pass && rested <= now {
                told.pass = false;
                return Task::Pass;
            }
            if told.compact {
                return Task::Compact;
            }
            let until = match told.pass {
                true => Some(due.map_or(rested, |due| due.min(rested))),
                false => due,
            };
            told = match until {
                Some(until) => {
                    let waited = self.changed.wait_timeout(told, until - now);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(told).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// A compaction may begin: what was given up until now is dealt with; whether there was anything.
    fn begin_compaction(&self) -> bool {
        let mut told = self.lock();
        told.compact = false;
        self.given_up.swap(0, Ordering::Relaxed) > 0
    }
}

impl Inner {
    /// Notes that bytes were removed or replaced, and calls the thread where they have become many.
    pub fn note_given_up(&self, bytes: u64) {
        if bytes == 0 || !self.calls.is_heard() {
            return;
        }
        let before = self.calls.given_up.fetch_add(bytes, Ordering::Relaxed);
        let now = before.saturating_add(bytes);
        if now < GIVEN_UP_MIN {
            return;
        }
        let most = self.known.size_limit().unwrap_or_else(|| self.ledger.volume().0);
        let bound = GIVEN_UP_MIN.max(most / GIVEN_UP_SHARE);
        // Who comes across the bound calls; should the bound have come down meanwhile, who comes across a
        // multiple of it.
        if before / bound != now / bound && !bug!("given-up-untold") {
            self.calls.tell(|told| told.compact = true);
        }
    }

    /// Calls the thread to take out what does not count any more, and to compact.
    pub fn call_for_pass(&self) {
        if self.calls.is_heard() && !bug!("clearing-untold") {
            self.calls.tell(|told| told.pass = true);
        }
    }
}

/// A thread that runs until this is dropped.
pub struct Upkeep {
    calls: Arc<Calls>,
    thread: Option<JoinHandle<()>>,
    fork: u64,
}

impl Upkeep {
    /// Starts one. Where no thread can be started there is none: a cache works without.
    pub fn start(inner: &Arc<Inner>, every: Duration) -> Self {
        let (weak, calls) = (Arc::downgrade(inner), inner.calls.clone());
        let builder = std::thread::Builder::new().name("drystone-upkeep".into());
        let thread = builder.spawn(move || run(&weak, &calls, every)).ok();
        let (calls, fork) = (inner.calls.clone(), fork_generation());
        if thread.is_some() {
            calls.listener.store(fork, Ordering::Relaxed);
        }
        Self { calls, thread, fork }
    }
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        if self.fork != fork_generation() {
            // The thread is the parent's.
            if let Some(thread) = self.thread.take() {
                std::mem::forget(thread);
            }
            return;
        }
        self.calls.listener.store(NOBODY, Ordering::Relaxed);
        self.calls.tell(|told| told.ended = true);
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

fn run(inner: &Weak<Inner>, calls: &Calls, every: Duration) {
    let mut before = 0;
    let mut rested = Instant::now();
    let mut due = rested.checked_add(every);
    loop {
        let task = calls.next(due, rested);
        if task == Task::End {
            return;
        }
        let Some(inner) = inner.upgrade() else { return };
        let count = |count| inner.ledger.tallied(count);
        let changes = count(Count::Sets) + count(Count::Evictions) + count(Count::Expirations);
        let began = Instant::now();
        // An error is met by whoever uses the cache next; here it only puts the work off.
        let _ = keep(&inner, task, changes != before);
        let now = Instant::now();
        if task != Task::Compact {
            before = changes;
            rested = now + (now - began) * REST;
        }
        if task == Task::All {
            due = now.checked_add(every);
        }
    }
}

fn keep(inner: &Inner, task: Task, has_changed: bool) -> Result<()> {
    let mut is_asked = has_changed || task != Task::All;
    if task != Task::Compact {
        let removed = inner.expire()? + inner.shrink()?;
        inner.tally.flush(&inner.ledger);
        is_asked |= removed > 0;
    }
    // What was deleted is in none of the counts.
    is_asked |= inner.calls.begin_compaction();
    if is_asked {
        inner.store.compact(&CompactOptions::new().budget_time(BUDGET))?;
    }
    Ok(())
}
