//! Space that is held back, so that a full disk can be cleared up: files of backed bytes under names of
//! their own, which become segments when nothing else is to be had.
//!
//! I1  Whoever makes a segment of a spare file, makes it longer, cuts it or takes its name holds its lock, and has seen
//!     under it that the file still has its name; a segment's name is given by one rename.
//!
//! Death: before the rename, a spare file whose first bytes say nothing; behind it, an open segment.
#![forbid(unsafe_code)]

use super::appender::Appender;
use super::files::{Files, SEGMENTS_DIR, segment_path};
use super::number::draw_free;
use super::room::Purpose;
use crate::control::Control;
use crate::disk::{Access, File, LockKind, Reserve};
use crate::error::{Error, ErrorKind, Result};
use crate::format::segment::{HEAD_BYTES, Head};
use crate::format::word::Location;
use std::sync::Arc;
use zerocopy::IntoBytes;

/// What space is held back for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spare {
    /// The copies of a compaction.
    Compaction,
    /// Tombstones.
    Removal,
}

impl Spare {
    /// The file.
    pub fn path(self) -> &'static str {
        match self {
            Self::Compaction => "segments/spare-compaction",
            Self::Removal => "segments/spare-removal",
        }
    }

    /// Sees to it that at least `bytes` are held back, or what there is space for; more than `most` is cut
    /// to that many.
    ///
    /// # Errors
    /// `NoSpace` when there is none.
    pub fn hold(self, files: &Files, bytes: u64, most: u64) -> Result<()> {
        let path = self.path();
        let purpose = match self {
            Self::Compaction => Purpose::Put,
            Self::Removal => Purpose::Copy,
        };
        if let Some(file) = files.disk.open(path, Access::Read)? {
            let held = file.len()?;
            if (bytes..=most).contains(&held) {
                return Ok(());
            }
            // Whoever has its lock makes something of it.
            let Some(file) = self.own(files)? else { return Ok(()) };
            let held = file.len()?;
            if held >= bytes {
                return if bug!("spare-kept") { Ok(()) } else { file.set_len(bytes) };
            }
            purpose.check(&*files.disk, bytes - held)?;
            return file.reserve(held, bytes, Reserve::Backed);
        }
        purpose.check(&*files.disk, bytes)?;
        let file = files.disk.create(SEGMENTS_DIR)?;
        file.reserve(0, bytes, Reserve::Backed)?;
        // Somebody else may have been faster.
        files.disk.link(&*file, path).map(drop)
    }

    /// Gives back what is held back.
    pub fn release(self, files: &Files) -> Result<()> {
        match self.own(files)? {
            Some(_locked) => files.disk.unlink(self.path()).map(drop),
            None => Ok(()),
        }
    }

    /// Bytes that are held back.
    pub fn held(self, files: &Files) -> Result<u64> {
        let file = files.disk.open(self.path(), Access::Read)?;
        file.map_or(Ok(0), |file| file.len())
    }

    /// The file, locked; `None` if there is none, or somebody else has it.
    fn own(self, files: &Files) -> Result<Option<Arc<dyn File>>> {
        let path = self.path();
        let Some(file) = files.disk.open(path, Access::Write)? else { return Ok(None) };
        let is_locked = bug!("spare-unlocked") || file.try_lock(0, 1, LockKind::Exclusive)?;
        let is_own = is_locked && files.disk.is_named(&*file, path)?;
        Ok(is_own.then_some(file))
    }
}

impl Appender {
    /// Makes a segment of the space held back; `None` if there is none.
    pub fn create_from_spare(
        files: &Files,
        control: &Control,
        spare: Spare,
    ) -> Result<Option<Self>> {
        let path = spare.path();
        let Some(file) = spare.own(files)? else { return Ok(None) };
        let reserved = file.len()?;
        let number = draw_free(files, control)?;
        let head = Head::new(files.uuid, number, crate::clock::now_ns());
        if reserved < HEAD_BYTES {
            return Err(Error::new(ErrorKind::Damaged, "the space held back is too short")
                .path(path)
                .advice("remove the file: it is made anew"));
        }
        file.write_at(head.as_bytes(), 0)?;
        if !files.disk.rename(path, &segment_path(number))? {
            return Ok(None);
        }
        let mut appender = Self::taken_up(files, Arc::clone(&file), number, HEAD_BYTES, reserved);
        appender.origin = 0;
        appender.slot = Location::new(number, 0).and_then(|at| control.note_open(at));
        Ok(Some(appender))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::disk::{Image, SimDisk};
    use crate::store::Store;
    use crate::units::KIB;

    #[test]
    fn a_segment_made_of_a_spare_file_is_that_file_whatever_is_done_to_the_spare_meanwhile() {
        let longer = |files: &Files| Spare::Compaction.hold(files, 128 * KIB, u64::MAX).unwrap();
        let shorter = |files: &Files| Spare::Compaction.hold(files, 16 * KIB, 0).unwrap();
        let released = |files: &Files| Spare::Compaction.release(files).unwrap();
        for change in [longer, shorter, released] {
            (1..20).for_each(|call| make_beside(change, call));
        }
    }

    /// Makes a segment of a spare file while another process does something to that, before a call.
    fn make_beside(change: fn(&Files), call: u64) {
        let disk = SimDisk::boot(Image::default(), "boot");
        let options = Store::options().create(true).threads(1).disk(Arc::new(disk.clone()));
        let store = options.open("simulated").unwrap();
        let (files, control) = (&store.engine.files, &store.engine.run.control);
        Spare::Compaction.hold(files, 64 * KIB, u64::MAX).unwrap();
        let other = Files { disk: Arc::new(disk.process()), ..files.clone() };
        disk.before_call(call, move || change(&other));
        let made = Appender::create_from_spare(files, control, Spare::Compaction);
        disk.at_ease();
        if let Some(appender) = made.unwrap_or_else(|error| panic!("call {call}: {error}")) {
            let number = appender.number();
            let named = files.open(number, Access::Read).unwrap().expect("it has its name");
            let head = files.check_head(&*named, number);
            assert!(head.is_ok(), "call {call}: what has the segment's name is another file");
            let len = named.len().unwrap();
            assert!(len >= appender.reserved, "call {call}: {len} bytes, {}", appender.reserved);
        }
    }
}
