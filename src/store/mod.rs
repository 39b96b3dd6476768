//! The store as its users see it.

mod guard;
mod open;
mod options;
mod store;

pub use guard::ReadGuard;
pub use options::{GetOptions, Options, PutOptions};
pub use store::Store;
