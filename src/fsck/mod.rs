//! Checking a store from end to end, and mending it (spec/DURABILITY.md, section 9).
//!
//! A check reads the superblock, the control page, every segment (its head, footer, records, and with
//! `deep` every digest), then holds the index against the segments in both directions, and looks for
//! refs whose blobs are gone and for files that are nobody's.
//!
//! I1  A check changes nothing and takes no lock, so nobody waits for it.
//! I2  What changes meanwhile is no damage: what was found is looked at again before it is told. Of a
//!     segment what is found twice counts; of a key what its word, unmoved, shows.
//! I3  What a power loss may leave above what is known to be durable, and the index does not name, is a
//!     notice. So is what only takes space.
//! I4  A repair has the store to itself. Every record that is whole is durable in a new segment before
//!     the file that it stood in is moved to `quarantine`, and there is no run while it works: whoever
//!     opens the store after its death builds one from what is there.
//!
//! Death: of a check, nothing; of a repair, copies with their numbers, which are equal to what they are
//! copies of.
#![forbid(unsafe_code)]

mod bodies;
mod check;
mod finding;
mod gaps;
mod inspect;
mod join;
mod judge;
mod layout;
mod names;
mod options;
mod origin;
mod quarantine;
mod records;
mod repair;
mod report;
mod salvage;
mod site;
mod strays;

pub use check::fsck;
pub use finding::{Finding, FindingKind, Severity};
pub use options::{FsckOptions, FsckProgress};
pub use report::{FsckRepair, FsckReport};
