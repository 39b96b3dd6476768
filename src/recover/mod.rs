//! Recovery: a run built anew from the segments (spec/DURABILITY.md).
//!
//! Of each key the published record with the highest number counts. A ref version whose blob did not
//! survive is passed over, and buried: the version that counts instead is appended with a new number,
//! or a tombstone is.
//!
//! I1  Nothing is changed before the run has its name; then only by appending: a segment that buries,
//!     footers. So recovery can be killed anywhere and repeated.
//! I2  The run gets its name when it is complete; of two recoverers the first to rename wins, and what
//!     the other one has made goes with the directory that it was made in. In particular its burials:
//!     they would stand beside a run in use, and above records that were acknowledged there.
//! I3  Whoever uses the run has given the segment of its burials its name before, and that lasts.
//! I4  A segment is sealed through the run, as in use, and vouches only for what was verified.
//!
//! Death: a directory under a temporary name; a run whose burials have no name yet, which the next
//! opener gives them; segments that are read and verified once more next time.
#![forbid(unsafe_code)]

mod burial;
mod fold;
mod gather;
mod parts;
mod prove;
mod rebuild;

pub use burial::place_burial;
pub use fold::{sort, winner};
pub use gather::{Reader, Reliance, Unproved, key_of};
pub use parts::{Item, PARTS_LOG2, Parts, part_of};
pub use prove::prove;
pub use rebuild::{Source, rebuild_private, rebuild_shared, scratch_control};
