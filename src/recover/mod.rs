//! Recovery: a run built anew from the segments (spec/DURABILITY.md).
//!
//! Of each key the published record with the highest number counts. A ref version whose blob did not
//! survive is passed over, and buried: the version that counts instead is appended with a new number,
//! or a tombstone is.
//!
//! I1  Nothing is changed but by appending to new segments and by sealing open ones, so recovery can
//!     be killed anywhere and repeated.
//! I2  The run gets its name when it is complete; of two recoverers the first to rename wins.
#![forbid(unsafe_code)]

mod fold;
mod gather;
mod parts;
mod rebuild;

pub use fold::{sort, winner};
pub use gather::{Reader, Reliance, key_of};
pub use parts::{Item, PARTS_LOG2, Parts, part_of};
pub use rebuild::{Source, rebuild_private, rebuild_shared, scratch_control};
