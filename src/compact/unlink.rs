//! Unlinking what nothing names any more.
//!
//! I1  A segment is unlinked when it is sealed and the index names none of its records: it never will
//!     again (spec/CONCURRENCY.md, L7).
//! I2  Whatever superseded its garbage, and the copies of what was live in it, are durable before it
//!     goes: one sync of the whole store for all that go together, but not of these: nothing in them is
//!     named. The sync sets the state bytes, too, of what a dead process has published and left without.
//!
//! What they had is given back on a thread of its own where it is much, and at once where space is short.
//!
//! Death: before the sync of the directory some names come back after a power loss, with what is in
//! them; all of it is superseded by what is durable.
#![forbid(unsafe_code)]

use super::lanes::is_second_lane;
use super::victims::Live;
use crate::disk::Access;
use crate::engine::Engine;
use crate::error::Result;
use crate::segment::{Outbox, is_tight, segment_path, sync_name};
use crate::sync::epoch::Guard;
use crate::units::MIB;

/// Bytes of segments that go together for which a thread is worth it.
const DEPARTURE_BYTES_MIN: u64 = 16 * MIB;

/// A sealed segment whose live records have been written anew.
pub struct Emptied {
    /// Its number.
    pub number: u32,
    /// Bytes of its records, for the counter of what was appended.
    pub record_bytes: u64,
    /// All its records that the index named when that began.
    pub were_live: Vec<Live>,
}

impl Engine {
    /// Unlinks these segments, if nothing names what is in them; how many went.
    pub(super) fn unlink(&self, emptied: Vec<Emptied>, guard: &Guard) -> Result<u64> {
        let mut gone = Vec::new();
        for emptied in emptied {
            // What was not named in a sealed segment never will be.
            if !self.names_any(emptied.number, &emptied.were_live, guard)? {
                gone.push(emptied);
            }
        }
        if gone.is_empty() {
            return Ok(0);
        }
        let numbers: Vec<u32> = gone.iter().map(|emptied| emptied.number).collect();
        if !bug!("lane-unsynced") || !is_second_lane() {
            self.sync_but(if bug!("dead-synced") { &[] } else { &numbers }, guard)?;
        }
        let outbox = self.outbox_for(&gone, guard)?;
        let mut bytes = 0;
        for emptied in &gone {
            outbox.iter().for_each(Outbox::wait_for_room);
            // Where nobody has it mapped, the unlink would be what gives it back.
            let file =
                outbox.as_ref().and_then(|_| self.files.open(emptied.number, Access::Read).ok());
            if self.disk().unlink(&segment_path(emptied.number))? {
                bytes += emptied.record_bytes;
            }
            if let Some(outbox) = &outbox {
                outbox.send(file);
            }
        }
        self.run.control.announce_unlinks(bytes);
        // What is mapped of them goes now, and not with whoever comes next: that takes its time.
        self.segments.note_unlinks(self.run.control.unlink_epoch(), guard);
        sync_name(&self.files)?;
        Ok(gone.len() as u64)
    }

    /// Where what these had is sent to be given back; `None` if that is to be done at once.
    fn outbox_for(&self, gone: &[Emptied], guard: &Guard) -> Result<Option<Outbox>> {
        let bytes: u64 = gone.iter().map(|emptied| emptied.record_bytes).sum();
        if bytes < DEPARTURE_BYTES_MIN || is_tight(self.disk().space()?) {
            return Ok(None);
        }
        Ok(self.segments.begin_departures(guard))
    }

    /// Whether puts may soon have to wait for what is given back.
    pub(super) fn is_tight(&self) -> bool {
        self.disk().space().is_ok_and(is_tight)
    }

    /// Waits for what is still being given back, where space is short, or was.
    pub(super) fn see_off(&self, was_tight: bool) {
        if was_tight || self.is_tight() {
            self.segments.end_departures();
        }
    }
}
