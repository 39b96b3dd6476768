//! How a store is checked.
#![forbid(unsafe_code)]

use crate::disk::Disk;
use crate::engine::default_threads;
use std::fmt;
use std::sync::Arc;

/// More threads than this only cost their start.
const THREADS_MAX: usize = 256;

/// How far a check has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FsckProgress {
    /// Bytes of segments that have been looked at.
    pub done: u64,
    /// Bytes of all segments when the check began.
    pub total: u64,
}

type Watcher = Arc<dyn Fn(FsckProgress) + Send + Sync>;

/// How a store is checked; see [`fsck`](crate::fsck).
#[derive(Clone)]
pub struct FsckOptions {
    pub(super) deep: bool,
    pub(super) repair: bool,
    pub(super) threads: usize,
    pub(super) findings_max: usize,
    pub(super) boot_id: Option<String>,
    pub(super) disk: Option<Arc<dyn Disk>>,
    watcher: Option<Watcher>,
}

impl Default for FsckOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl FsckOptions {
    /// A check of everything but the bytes of the blobs.
    pub fn new() -> Self {
        Self {
            deep: false,
            repair: false,
            threads: default_threads(),
            findings_max: 10_000,
            boot_id: None,
            disk: None,
            watcher: None,
        }
    }

    /// Holds every blob against its digest, too.
    pub fn deep(mut self, yes: bool) -> Self {
        self.deep = yes;
        self
    }

    /// Mends what is damaged: saves every record that is whole, moves the damaged files to the directory
    /// `quarantine`, and builds the index anew. Implies [`deep`](Self::deep), and needs the store to
    /// itself.
    pub fn repair(mut self, yes: bool) -> Self {
        self.repair = yes;
        self
    }

    /// Threads that check, 256 at most; by default what the process may run on, up to four.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads.clamp(1, THREADS_MAX);
        self
    }

    /// Most findings that a report lists, of damage and of notices each; the others are counted.
    pub fn findings_max(mut self, count: usize) -> Self {
        self.findings_max = count;
        self
    }

    /// Is told again and again how far the check has come, by any of its threads.
    pub fn progress(mut self, watcher: impl Fn(FsckProgress) + Send + Sync + 'static) -> Self {
        self.watcher = Some(Arc::new(watcher));
        self
    }

    /// Another boot id than the machine's, to simulate a reboot in tests.
    #[doc(hidden)]
    pub fn boot_id(mut self, id: impl Into<String>) -> Self {
        self.boot_id = Some(id.into());
        self
    }

    /// Another way to the store's files than the file system, for tests of faults.
    #[doc(hidden)]
    pub fn disk(mut self, disk: Arc<dyn Disk>) -> Self {
        self.disk = Some(disk);
        self
    }

    pub(super) fn is_deep(&self) -> bool {
        self.deep || self.repair
    }

    pub(super) fn tell(&self, done: u64, total: u64) {
        if let Some(watcher) = &self.watcher {
            watcher(FsckProgress { done: done.min(total), total });
        }
    }
}

impl fmt::Debug for FsckOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FsckOptions")
            .field("deep", &self.deep)
            .field("repair", &self.repair)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}
