//! Drystone: an embedded, content-addressed blob store for large arrays.

#[cfg(not(all(target_os = "linux", target_pointer_width = "64", target_endian = "little")))]
compile_error!("drystone needs 64-bit little-endian Linux (kernel 4.18 or later)");

mod error;
mod format;
#[doc(hidden)]
pub mod hash;
mod id;
pub mod npy;
mod sync;
mod units;

pub use error::{Error, ErrorKind, Result};
pub use id::{BlobId, HashAlgorithm};
