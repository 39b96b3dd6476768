//! What every public operation promises, with each hash algorithm, at the edges.

#[path = "../support/mod.rs"]
mod support;

mod arrays;
mod drafts;
mod durability;
mod limits;
mod naming;
mod open;
mod put;
mod racy;
mod read;
mod read_only;
mod readers;
mod refs;
mod refs_entry;
mod sizes;
mod views;
mod wait;
