//! What one opened store is in this process: its run, its mapped segments, its appenders, and what it
//! knows to be durable.
#![forbid(unsafe_code)]

mod appenders;
mod distrust;
mod durable;
mod engine;
mod group;
mod held_back;
mod lasting;
mod quiet;
mod targets;
mod threads;
mod view;

pub use engine::{
    Durability, Engine, Found, Settings, Verify, is_in_use, is_sole_user, take_users_lock,
};
pub use quiet::ALL;
pub use targets::Entry as TargetEntry;
pub use threads::{default_threads, has_idle_core};
pub use view::View;
