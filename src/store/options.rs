//! How a store is opened, and how single operations depart from that.
#![allow(unsafe_code)]

use super::Store;
use crate::disk::Disk;
use crate::engine::{Durability, Settings, Verify, default_threads};
use crate::error::Result;
use crate::id::HashAlgorithm;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// More threads than this only cost their start.
const THREADS_MAX: usize = 256;
/// So long an opener lets a recoverer work before it builds a run of its own.
const RECOVERY_PATIENCE: Duration = Duration::from_secs(10);

/// How a store is opened; see [`Store::options`].
#[derive(Clone, Debug)]
pub struct Options {
    pub(super) create: bool,
    pub(super) read_only: bool,
    pub(super) hash: Option<HashAlgorithm>,
    pub(super) segment_bytes: Option<u64>,
    pub(super) size_limit: u64,
    pub(super) trust_other_users: bool,
    pub(super) boot_id: Option<String>,
    pub(super) disk: Option<Arc<dyn Disk>>,
    pub(super) recovery_patience: Duration,
    pub(super) settings: Settings,
}

impl Options {
    pub(super) fn new() -> Self {
        Self {
            create: false,
            read_only: false,
            hash: None,
            segment_bytes: None,
            size_limit: 0,
            trust_other_users: false,
            boot_id: None,
            disk: None,
            recovery_patience: RECOVERY_PATIENCE,
            settings: Settings {
                durability: Durability::default(),
                verify: Verify::default(),
                threads: default_threads(),
                map_limit: default_map_limit(),
            },
        }
    }

    /// Makes the store if there is none, with its directory and the directories above.
    pub fn create(mut self, yes: bool) -> Self {
        self.create = yes;
        self
    }

    /// Only reads: takes no lock, writes nothing, works on any file system.
    pub fn read_only(mut self, yes: bool) -> Self {
        self.read_only = yes;
        self
    }

    /// The hash algorithm of a store that is made; one that is there must have it.
    pub fn hash(mut self, algorithm: HashAlgorithm) -> Self {
        self.hash = Some(algorithm);
        self
    }

    /// Bytes at which the segments of a store that is made are sealed: a power of two from 256 KiB to
    /// 1 GiB. By default it grows with the store, from 64 MiB on.
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = Some(bytes);
        self
    }

    /// Most bytes of segments, for all users of the run that this opener begins; 0 for no limit.
    pub fn size_limit(mut self, bytes: u64) -> Self {
        self.size_limit = bytes;
        self
    }

    /// When operations that do not say otherwise are acknowledged; `Buffered` by default.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.settings.durability = durability;
        self
    }

    /// Whether reads that do not say otherwise check the bytes; `No` by default.
    pub fn verify(mut self, verify: Verify) -> Self {
        self.settings.verify = verify;
        self
    }

    /// Threads that hash large blobs, 256 at most; by default what the process may run on, up to four.
    pub fn threads(mut self, threads: usize) -> Self {
        self.settings.threads = threads.clamp(1, THREADS_MAX);
        self
    }

    /// Most segments mapped at a time, views aside; by default a quarter of `vm.max_map_count`.
    pub fn map_limit(mut self, mappings: usize) -> Self {
        self.settings.map_limit = mappings.max(1);
        self
    }

    /// Opens a store that other users own or may write to.
    ///
    /// # Safety
    /// Whoever may write to the files must not change or cut short what views of this process show:
    /// no other program than this library may write to them (spec/SOUNDNESS.md, S5).
    pub unsafe fn trust_other_users(mut self) -> Self {
        self.trust_other_users = true;
        self
    }

    /// Another boot id than the machine's, to simulate a reboot in tests.
    #[doc(hidden)]
    pub fn boot_id(mut self, id: impl Into<String>) -> Self {
        self.boot_id = Some(id.into());
        self
    }

    /// Another way to the store's files than the file system, for tests of faults and crashes. It says
    /// itself whether it can be written, whom it trusts and which boot it is.
    #[doc(hidden)]
    pub fn disk(mut self, disk: Arc<dyn Disk>) -> Self {
        self.disk = Some(disk);
        self
    }

    /// So long somebody else's recovery is waited for, before this opener builds a run of its own.
    #[doc(hidden)]
    pub fn recovery_patience(mut self, patience: Duration) -> Self {
        self.recovery_patience = patience;
        self
    }

    /// Opens the store in a directory.
    ///
    /// # Errors
    /// `NotAStore`, `UnsupportedVersion`, `Damaged`, `FileSystemRefused`, `Permission`, `ReadOnly`,
    /// `ProtocolMismatch`, `Busy`, `AlreadyExists` (there is one with another hash algorithm or segment
    /// size than asked for), or an error of the operating system.
    pub fn open(self, path: impl AsRef<Path>) -> Result<Store> {
        super::open::open(self, path.as_ref())
    }
}

/// A quarter of what the kernel allows a process.
fn default_map_limit() -> usize {
    let text = std::fs::read_to_string("/proc/sys/vm/max_map_count");
    let limit = text.ok().and_then(|text| text.trim().parse::<usize>().ok());
    limit.unwrap_or(65_530) / 4
}

/// How one put departs from the store's settings.
#[derive(Clone, Debug, Default)]
pub struct PutOptions {
    pub(super) durability: Option<Durability>,
}

impl PutOptions {
    /// As the store was opened.
    pub fn new() -> Self {
        Self::default()
    }

    /// When the put is acknowledged.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }
}

/// How one get departs from the store's settings.
#[derive(Clone, Debug, Default)]
pub struct GetOptions {
    pub(super) verify: Option<Verify>,
}

impl GetOptions {
    /// As the store was opened.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the bytes are checked.
    pub fn verify(mut self, verify: Verify) -> Self {
        self.verify = Some(verify);
        self
    }
}
