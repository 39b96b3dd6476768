//! Tests of the index: against an oracle, under threads, under loom, and with participants that stop.

mod bed;
mod oracle;
