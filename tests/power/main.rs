//! Power loss: what was acknowledged as durable is there afterwards, whatever else is.
//!
//! On a simulated disk every moment of a history is cut, and of what was not synced any part is left
//! (`campaign`); on a real file system the power goes while a process works (`real`).

mod act;
mod campaign;
mod cases;
mod lanes;
mod mount;
mod oracle;
mod real;
#[path = "../support/mod.rs"]
mod support;
mod worker;
mod world;
