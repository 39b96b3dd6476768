//! Tests of publishing: participants on shared words, with a log in shared words, too.

mod check;
#[cfg(not(loom))]
mod interleaved;
mod play;
#[cfg(not(loom))]
mod relying;
#[cfg(loom)]
mod schedules;
#[cfg(not(loom))]
mod shuffled;
mod world;
