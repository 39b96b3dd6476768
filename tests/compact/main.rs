//! Collection and compaction: what nothing names goes and its space comes back; nothing else goes.
#![forbid(unsafe_code)]

#[path = "../support/mod.rs"]
mod support;

mod choice;
mod expiry;
mod frugal;
mod full_limit;
mod keeps;
mod lanes;
mod orphans;
mod readers;
mod space_back;
mod tombstones;
mod turns;
