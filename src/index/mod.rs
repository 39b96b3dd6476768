//! The index: a lock-free, growing hash table in shared words (spec/CONCURRENCY.md).
#![forbid(unsafe_code)]

mod access;
mod fill;
mod grow;
mod layout;
mod read;
mod scan;
mod table;
mod write;

#[cfg(test)]
mod tests;

pub use access::{Index, Stats, Tables};
pub use fill::{fill, stretch};
pub use layout::{canonical, header, table_words};
pub use read::Seen;
pub use scan::{Cursor, KeyRange};
#[cfg(test)]
pub use tests::bed;

/// What the index is made of, for who runs it without a store.
#[doc(hidden)]
pub use crate::{
    format::word::{Location, Root, Word},
    id::Key,
    sync::Words,
};
