//! The collector: finds the blobs that no ref names and gives them up, beside any number of processes
//! that read and write, and never stops anybody (spec/CONCURRENCY.md, "The collector").
#![forbid(unsafe_code)]

mod census;
mod cycle;
mod expire;
mod in_flight;
mod steps;

pub use census::{Census, TOMB_BYTES};
pub use cycle::{Collected, Cycle};
#[cfg(test)]
pub use steps::{Roots, acquit_in_flight, condemn, sweep, walk};
