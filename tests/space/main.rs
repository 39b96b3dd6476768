//! A file system that is really full: four processes fill it with blobs and small values, remove some,
//! compact and fill it again. A full store can be emptied and compacted, errors say what to do, nothing
//! acknowledged is lost, and nobody dies of a signal.
#![forbid(unsafe_code)]

mod filler;
mod lanes;
#[allow(dead_code)]
#[path = "../refusals/mounts.rs"]
mod mounts;
mod peer;
#[path = "../faults/rig.rs"]
mod rig;
mod rounds;
