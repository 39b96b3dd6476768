//! Several processes on one store: none blocks, slows or corrupts the others, also when it is killed
//! or stopped at any instant.

mod crash;
mod fork;
mod growth;
mod log;
mod memory;
mod open;
mod peer;
mod several;
mod short_lived;
mod stopped;
#[path = "../support/mod.rs"]
mod support;
mod waiting;
