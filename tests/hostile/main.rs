//! Hostile files: every damage that fits one bit, one byte or one cut of a small store, one by one; files
//! that are exchanged or random; and lies under valid checksums. What was not hit is still there, what
//! was hit is missing or an error; never a panic, other bytes, or a hang.
//!
//! `DRYSTONE_HOSTILE_STRIDE=16` tries every 16th case only, `DRYSTONE_HOSTILE_CASE=4711` only this one.
#![forbid(unsafe_code)]

mod bits;
mod cuts;
mod forged;
#[path = "../damage/furnished.rs"]
mod furnished;
#[path = "../faults/rig.rs"]
mod rig;
mod stage;
mod whole;
