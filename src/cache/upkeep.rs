//! The thread that keeps a cache in order: it removes what has expired, evicts what is above the limits, and
//! compacts the store. It is the only thread that the library starts by itself.
//!
//! Death: with its process; a forked child has none.
#![forbid(unsafe_code)]

use super::cache::Inner;
use super::ledger::Count;
use crate::compact::CompactOptions;
use crate::disk::fork_generation;
use crate::error::Result;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

/// One compaction goes on for so long at most.
const BUDGET: Duration = Duration::from_secs(10);

/// A thread that runs until this is dropped.
pub struct Upkeep {
    ended: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
    fork: u64,
}

impl Upkeep {
    /// Starts one. Where no thread can be started there is none: a cache works without.
    pub fn start(inner: &Arc<Inner>, every: Duration) -> Self {
        let ended = Arc::new((Mutex::new(false), Condvar::new()));
        let (weak, told) = (Arc::downgrade(inner), ended.clone());
        let builder = std::thread::Builder::new().name("drystone-upkeep".into());
        let thread = builder.spawn(move || run(&weak, &told, every)).ok();
        Self { ended, thread, fork: fork_generation() }
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
        *self.ended.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.ended.1.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

fn run(inner: &Weak<Inner>, ended: &(Mutex<bool>, Condvar), every: Duration) {
    let mut before = 0;
    loop {
        let is_ended = ended.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = ended.1.wait_timeout_while(is_ended, every, |is_ended| !*is_ended);
        if *waited.unwrap_or_else(PoisonError::into_inner).0 {
            return;
        }
        let Some(inner) = inner.upgrade() else { return };
        let count = |count| inner.ledger.tallied(count);
        let changes = count(Count::Sets) + count(Count::Evictions) + count(Count::Expirations);
        // An error is met by whoever uses the cache next; here it only puts the work off.
        let _ = keep(&inner, changes != before);
        before = changes;
    }
}

fn keep(inner: &Inner, has_changed: bool) -> Result<()> {
    let removed = inner.expire()? + inner.shrink()?;
    inner.tally.flush(&inner.ledger);
    if removed > 0 || has_changed {
        inner.store.compact(&CompactOptions::new().budget_time(BUDGET))?;
    }
    Ok(())
}
