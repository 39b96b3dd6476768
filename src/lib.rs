//! An embedded, content-addressed blob store for large arrays: zero-copy views shared by any number
//! of processes on a node, with no server and no lock that a dead process can leave behind.
//!
//! ```
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("store");
//! use drystone::Store;
//!
//! let store = Store::create(&path)?;
//! let field = vec![0u8; 1 << 20];
//! let id = store.put(&field)?;                      // hashed, written, shared with every process
//! store.refs("runs").set("latest", &id)?;           // a name for it
//! let view = store.get(&id)?.expect("it is there"); // a view of the file's pages, no copy
//! assert_eq!(&*view, &field[..]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(not(all(target_os = "linux", target_pointer_width = "64", target_endian = "little")))]
compile_error!("drystone needs 64-bit little-endian Linux (kernel 4.18 or later)");

#[macro_use]
mod bug;
#[macro_use]
mod step;

mod blob;
pub mod cache;
mod clock;
mod collect;
mod compact;
mod control;
mod cut;
#[doc(hidden)]
pub mod disk;
mod draft;
mod engine;
mod entry;
mod error;
mod format;
mod fsck;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod get;
#[doc(hidden)]
pub mod hash;
mod id;
#[doc(hidden)]
pub mod index;
mod naming;
pub mod npy;
mod process;
mod protocol;
mod publish;
mod put;
mod put_large;
mod put_many;
mod put_reader;
mod read_into;
mod recover;
mod refs;
mod run;
mod segment;
mod stat;
mod store;
mod stream;
mod sync;
mod units;
mod uuid;
mod walk;
mod whole;

#[cfg(bug)]
#[doc(hidden)]
pub use clock::shift as shift_clock;
#[cfg(bug)]
#[doc(hidden)]
pub use step::{count_down, stop_counting};

pub use blob::Blob;
pub use compact::{CompactOptions, CompactProgress, CompactReport};
pub use draft::{CommitError, Draft, DraftMemory};
pub use engine::{Durability, Verify};
pub use entry::{Entry, SetOptions, Value, Version};
pub use error::{Error, ErrorKind, Result};
pub use fsck::{
    Finding, FindingKind, FsckOptions, FsckProgress, FsckRepair, FsckReport, Severity, fsck,
};
pub use id::{BlobId, HashAlgorithm};
pub use npy::ArrayHeader;
pub use refs::{RefIter, Refs};
pub use stat::{BlobStat, Recovery, Stats};
pub use store::{GetOptions, Options, PutOptions, ReadGuard, Store};
pub use sync::racy::Racy;
pub use units::human_bytes;
pub use walk::Blobs;

/// The examples of the README are tested with the others.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
