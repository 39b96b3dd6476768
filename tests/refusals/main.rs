//! Bad input and full disks: each is an error that says what was expected, what was found and what to
//! do, or a right result, and costs no data.
#![forbid(unsafe_code)]

mod mounts;
#[path = "../faults/rig.rs"]
mod rig;
mod space;
