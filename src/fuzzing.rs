//! What the fuzz targets of `tests/fuzz` look at: parts that users never see.
#![forbid(unsafe_code)]

pub use crate::disk::{Disk, OpenOptions, RealDisk};
pub use crate::format::{record, refs, segment, superblock, word};
pub use crate::index::{Cursor, Index, Tables, header, table_words};
pub use crate::segment::{Blocks, Files, end_of, pin_of, read_footer, walk};
pub use crate::sync::{HeapWords, Words};
