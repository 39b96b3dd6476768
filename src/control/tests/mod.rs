//! Tests of the control page on shared words: open segments, poisoned ones, the change counter.

mod lives;
mod page;
#[cfg(loom)]
mod schedules;
#[cfg(not(loom))]
mod stops;
