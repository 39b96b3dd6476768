//! `fsck`: what is whole is clean, what is damaged is found where it is, and a repair saves all that can
//! be saved, wherever it is killed.
//!
//! `DRYSTONE_CAMPAIGN=60` lets the campaigns run sixty times as long, `DRYSTONE_SEED=7` takes another seed.
#![forbid(unsafe_code)]

mod beside;
mod clean;
mod flips;
mod found;
#[path = "../damage/furnished.rs"]
mod furnished;
mod killed;
mod mended;
mod misplaced;
mod mounts;
mod no_space;
mod repaired;
#[path = "../faults/rig.rs"]
mod rig;
mod torn;
mod tried;
mod unproved;
