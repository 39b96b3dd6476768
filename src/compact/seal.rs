//! Making segments ready to be compacted: open ones that nobody appends to are sealed.
//!
//! I1  Only what this process has the lock of is sealed; the open segments of others stay theirs.
//!
//! Death: as segment/seal.rs says.
#![forbid(unsafe_code)]

use crate::collect::Census;
use crate::disk::Access;
use crate::engine::Engine;
use crate::error::{ErrorKind, Result};
use crate::format::segment::{ENTRY_BYTES, HEAD_BYTES, TRAILER_BYTES};
use crate::segment::{Appender, Blocks, FileBlocks, is_sealed, walk};
use crate::sync::epoch::Guard;
use std::collections::HashMap;

impl Engine {
    /// Whether a segment is there and sealed.
    pub(super) fn is_sealed(&self, segment: u32) -> Result<bool> {
        let file = match self.files.open(segment, Access::Read) {
            Ok(Some(file)) => file,
            Ok(None) => return Ok(false),
            Err(error) if error.is_damage() => return Ok(false),
            Err(error) => return Err(error),
        };
        let blocks = FileBlocks::new(&*file)?;
        let is_sealed = is_sealed(&blocks, &self.files, segment);
        blocks.check()?;
        Ok(is_sealed)
    }

    /// Seals the open segments that nobody appends to any more.
    pub(super) fn seal_orphans(&self, guard: &Guard) -> Result<()> {
        for segment in self.files.list()? {
            if self.run.control.is_poisoned(segment) || self.is_sealed(segment)? {
                continue;
            }
            self.seal_orphan(segment, guard)?;
        }
        Ok(())
    }

    fn seal_orphan(&self, segment: u32, guard: &Guard) -> Result<()> {
        let adopted = self
            .verifying(guard, |verifier| Appender::adopt_orphan(&self.files, segment, verifier));
        match adopted {
            Ok(Some(appender)) => self.seal(appender, guard, false),
            Ok(None) => Ok(()),
            Err(error) if error.is_damage() || error.kind() == ErrorKind::Permission => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// What a compaction would seal: the open segments that nobody appends to, and those of this process;
    /// and how long they would be then. Also by how much the former would become shorter.
    pub(super) fn would_seal(&self, guard: &Guard) -> Result<(HashMap<u32, u64>, u64)> {
        let own = self.appenders(guard).numbers();
        let (mut found, mut cut) = (HashMap::new(), 0);
        for segment in self.files.list()? {
            if self.run.control.is_poisoned(segment) || self.is_sealed(segment)? {
                continue;
            }
            let Some(file) = self.files.open(segment, Access::Read)? else { continue };
            if !own.contains(&segment) && file.is_locked(0, 1)? {
                continue;
            }
            let blocks = FileBlocks::new(&*file)?;
            let (records, _) = walk(&blocks, &self.files, segment, 0);
            blocks.check()?;
            let end = records.last().and_then(|last| last.end(self.files.digest_bytes()));
            let footer = records.len() as u64 * ENTRY_BYTES + TRAILER_BYTES;
            let len = end.unwrap_or(HEAD_BYTES) + footer;
            found.insert(segment, len);
            if !own.contains(&segment) {
                cut += blocks.len().saturating_sub(len);
            }
        }
        Ok((found, cut))
    }

    /// Seals the open segments of this process of which at least a share is garbage.
    pub(super) fn seal_own(&self, census: &Census, garbage_min: f64, guard: &Guard) -> Result<()> {
        let appenders = self.appenders(guard);
        let mut own = appenders.take_all_idle();
        own.extend(appenders.group.take());
        let mut kept = Vec::with_capacity(own.len());
        let mut sealed = Ok(());
        for appender in own {
            let live = census.live_bytes(appender.number());
            let garbage = appender.tail().saturating_sub(live) as f64;
            if sealed.is_ok() && garbage / appender.tail() as f64 >= garbage_min {
                sealed = self.seal(appender, guard, false);
            } else {
                kept.push(appender);
            }
        }
        appenders.give_back(kept);
        sealed
    }
}
