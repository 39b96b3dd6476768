//! Compaction: the space of what nothing names comes back, while others read and write
//! (spec/CONCURRENCY.md, "The compactor").
#![forbid(unsafe_code)]

mod compact;
mod lanes;
mod options;
mod pace;
mod rewrite;
mod seal;
mod tombs;
mod unlink;
mod victims;
mod work;

pub use options::{CompactOptions, CompactProgress, CompactReport};
