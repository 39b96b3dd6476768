//! Segments: append-only files, one appender at a time (spec/FORMAT.md, sections 3 to 6).
#![forbid(unsafe_code)]

mod adopt;
mod appender;
mod batch;
mod blocks;
mod checked;
mod copy;
mod departed;
mod files;
mod listed;
mod number;
mod read;
mod room;
mod scan;
mod seal;
mod set;
mod spare;
mod sync;

pub use adopt::Verifier;
pub use appender::{Appender, RECORDS_MAX};
pub use batch::{Batch, bound};
pub use blocks::{Blocks, FileBlocks};
pub use copy::Original;
pub use departed::Outbox;
pub use files::{Files, SEGMENTS_DIR, map_all, segment_number, segment_path};
pub use number::first_free;
pub use read::{
    End, Facts, end_of, is_sealed, pin_of, publish_foreign, read_facts, read_footer, read_listed,
    walk,
};
pub use room::{Purpose, is_short_for_copies, is_tight};
pub use scan::{Scan, Scanned};
pub use seal::{Judge, confirm_sealed};
pub use set::{Mapped, SegmentSet};
pub use spare::Spare;
pub use sync::{sync_data, sync_name};
