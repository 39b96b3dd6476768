//! The store as its users see it.
#![deny(unsafe_code)] // `options` and `store` allow it: they offer unsafe functions

mod guard;
mod open;
mod options;
mod store;

pub use guard::ReadGuard;
pub use options::{GetOptions, Options, PutOptions};
pub use store::Store;
