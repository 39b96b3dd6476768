//! Tests of the index: against an oracle, under threads, under loom, and with participants that stop.

pub mod bed;
#[cfg(not(loom))]
mod filled;
#[cfg(not(loom))]
mod interleaved;
#[cfg(not(loom))]
mod limits;
#[cfg(not(loom))]
mod oracle;
mod play;
#[cfg(loom)]
mod schedules;
#[cfg(not(loom))]
mod stops;
#[cfg(not(loom))]
mod threads;
