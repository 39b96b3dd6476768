//! How a record becomes visible and durable, and what a power cut leaves of it: the cases of
//! spec/CONCURRENCY.md and spec/DURABILITY.md that broke earlier forms of the protocol.
//!
//! The medium is a directory in memory of which only that survives a cut which was synced, and any
//! part of the rest (`power`, `medium`). Two openings of a store in one process are as two processes.
//! A thread can be parked before any of its writes or syncs (`parked`), while others go on.

mod interleaved;
mod medium;
mod oracle;
mod parked;
mod passed_over;
mod power;
mod races;
mod relying;
#[path = "../support/mod.rs"]
mod support;
