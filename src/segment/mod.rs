//! Segments: append-only files, one appender at a time (spec/FORMAT.md, sections 3 to 6).
#![forbid(unsafe_code)]

mod adopt;
mod appender;
mod batch;
mod copy;
mod files;
mod read;
mod scan;
mod seal;
mod set;

pub use appender::Appender;
pub use batch::{Batch, bound};
pub use files::{Files, SEGMENTS_DIR, segment_path};
pub use read::{Facts, is_sealed, pin_of, publish_foreign, read_facts};
pub use scan::{Scan, Scanned};
pub use seal::{confirm, is_confirmed};
pub use set::{Mapped, SegmentSet};
