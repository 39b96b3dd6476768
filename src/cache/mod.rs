//! The cache: keys with values, bounded, shared by all processes of a node (spec/CACHE.md).
//!
//! A cache is a namespace of refs, so what holds for refs holds for it: any number of processes set and read, none
//! waits for another, values above 4 KiB are blobs that are stored once and read without a copy, and what was
//! acknowledged survives `kill -9`. This layer adds what a cache needs beside: limits, eviction, expiry, tags,
//! counters, and that a value is computed once.
#![forbid(unsafe_code)]

mod cache;
mod census;
mod changes;
mod flight;
mod generations;
mod item;
mod ledger;
mod look;
mod options;
mod order;
mod policy;
mod queues;
mod settings;
mod snapshot;
mod stats;
mod tally;
mod upkeep;
mod uses;
mod write;

pub use crate::sync::racy::Racy;
pub use cache::Cache;
pub use flight::{Claim, ComputeOptions};
pub use item::{CacheBytes, Item, NewValue, Part};
pub use options::{CacheOptions, EvictionPolicy, ItemOptions, Settings};
pub use queues::{Queue, Side};
pub use stats::CacheStats;
