//! What stands in the files, as pure functions of bytes (spec/FORMAT.md).
#![forbid(unsafe_code)]

pub mod cache;
pub mod control;
pub mod record;
pub mod refs;
pub mod segment;
pub mod superblock;
pub mod word;

#[cfg(test)]
mod spec;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
