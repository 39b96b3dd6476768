//! Files that were damaged, exchanged, cut, or copied while in use: what was not hit is still there,
//! what was hit is missing or an error, and nothing ever has other bytes.
//!
//! `DRYSTONE_CAMPAIGN=60` lets the random part run sixty times as long, `DRYSTONE_SEED=7` takes another
//! seed.
#![forbid(unsafe_code)]

mod campaign;
mod copies;
mod counter;
mod cutting;
mod exchanged;
mod furnished;
mod heads;
mod pins;
#[path = "../faults/rig.rs"]
mod rig;
mod run;
mod scribbled;
mod told;
