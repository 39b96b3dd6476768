//! What happens when the disk says no: errors, and nothing lost.
//!
//! `DRYSTONE_CAMPAIGN=2` (or more) tries every error at every call.
#![forbid(unsafe_code)]

mod beside;
mod cases;
mod lanes;
mod lossy;
mod rig;
mod sweep;
mod syncs;
mod world;
