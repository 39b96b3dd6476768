//! Where the words of the control page stand (spec/FORMAT.md, section 7).
//!
//! The page is volatile: it lives as long as the boot, and every word of it is an atomic.
#![forbid(unsafe_code)]

/// Value of [`MAGIC_WORD`].
pub const MAGIC: u64 = u64::from_le_bytes(*b"DRYCTRL\n");
/// Version of the shared-memory protocol; apart from the format version.
pub const PROTOCOL: u64 = 1;
/// Bytes of the page. Loom keeps an account of every word: under it there are as few as will do.
pub const BYTES: usize = if cfg!(loom) { 1 << 10 } else { 16 << 10 };

// Words that are written once stand in the first line; each hot word has a line of its own.
/// [`MAGIC`].
pub const MAGIC_WORD: usize = 0;
/// [`PROTOCOL`].
pub const PROTOCOL_WORD: usize = 1;
/// First half of the store's uuid.
pub const UUID_WORD: usize = 2;
/// Identity of the mount under which the run was built.
pub const MOUNT_WORD: usize = 4;
/// Size limit of the store in bytes; 0 none.
pub const LIMIT_WORD: usize = 5;
/// The first sequence number of the run.
pub const FIRST_SEQUENCE_WORD: usize = 6;
/// The first segment number of the run: those below are of earlier ones.
pub const FIRST_SEGMENT_WORD: usize = 7;
/// The root of the index.
pub const ROOT_WORD: usize = 8;
/// Moves when segments have been unlinked.
pub const UNLINK_EPOCH_WORD: usize = 9;
/// Next segment number.
pub const NEXT_SEGMENT_WORD: usize = 16;
/// Next sequence number.
pub const SEQUENCE_WORD: usize = 24;
/// Low half: the futex that `wait` sleeps on; bit 0 says that somebody does.
pub const CHANGE_WORD: usize = 32;
/// Counter (a hint): bytes of records appended.
pub const BYTES_APPENDED_WORD: usize = 40;
/// Counter (a hint): segments whose fsync failed.
pub const POISON_COUNT_WORD: usize = 41;
/// What the recovery that built the run had to leave out: records that were not whole.
pub const LOST_RECORDS_WORD: usize = 48;
/// Refs that it passed over, because a blob of theirs is not there.
pub const LOST_REFS_WORD: usize = 49;
/// Files of segments that are damaged, or something else.
pub const DAMAGED_SEGMENTS_WORD: usize = 50;
/// The segment that the recovery has buried in and that has no name yet, plus 1; 0 for none.
pub const BURIAL_WORD: usize = 51;
/// Hints: location of the last header appended to each open segment, plus 1; 0 is a free slot.
pub const OPEN_WORD: usize = 64;
/// Number of the slots at [`OPEN_WORD`].
pub const OPEN_SLOTS: usize = if cfg!(loom) { 2 } else { 256 };
/// Segments whose fsync failed, plus 1; 0 is a free slot.
pub const POISON_WORD: usize = OPEN_WORD + OPEN_SLOTS;
/// Number of the slots at [`POISON_WORD`].
pub const POISON_SLOTS: usize = if cfg!(loom) { 2 } else { 64 };

const _: () = assert!((POISON_WORD + POISON_SLOTS) * 8 <= BYTES);
