//! What of a file system's last space is for whom: puts leave some to removals and to compactions,
//! removals leave some to compactions, so that a store that has filled its file system can be emptied.
//!
//! The space is looked at when a file asks for more of it. Several who ask at once may all be granted
//! the same bytes; the shares are wide enough for some such steps.
#![forbid(unsafe_code)]

use crate::disk::{Disk, Space};
use crate::error::{Error, Result};
use crate::units::{KIB, MIB};
use nix::errno::Errno;

/// Removals need not leave more than this to compactions, which have space held back.
const REMOVAL_FLOOR_MAX: u64 = 4 * MIB;

/// Below so many times what must stay free, space is short.
const TIGHT_FLOORS: u64 = 4;

/// What space is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// Records, drafts, a larger index.
    Put,
    /// Tombstones.
    Removal,
    /// Copies of a compaction, and what must be written in any case.
    #[default]
    Copy,
}

/// What puts leave of a file system of `total` bytes to compactions, and beside that to removals.
fn shares(total: u64) -> (u64, u64) {
    // Two segments, of which a compaction empties one into the other, and the footers of some that
    // are sealed for it: half as long as what small records take.
    let segment = (total / 64).clamp(256 * KIB, 64 * MIB);
    ((4 * segment).min(total / 8), segment.min(total / 32))
}

/// Whether copies live on what is kept for them.
pub fn is_short_for_copies(space: Space) -> bool {
    space.free < shares(space.total).0
}

/// Whether puts may soon have to wait for what is given back.
pub fn is_tight(space: Space) -> bool {
    space.free < Purpose::Put.floor(space.total).saturating_mul(TIGHT_FLOORS)
        && !bug!("never-tight")
}

impl Purpose {
    /// Bytes that must stay free on a file system of `total` bytes.
    pub fn floor(self, total: u64) -> u64 {
        let (copies, removals) = shares(total);
        match self {
            Self::Put => copies + removals,
            // Tombstones are small, and others may have filled what puts leave.
            Self::Removal => copies.min(REMOVAL_FLOOR_MAX),
            Self::Copy => 0,
        }
    }

    /// Refuses to take `bytes` more if that leaves less than it must; whether space is short, so that
    /// what is taken ought to be backed at once, for others to see.
    ///
    /// # Errors
    /// `NoSpace`.
    pub fn check(self, disk: &dyn Disk, bytes: u64) -> Result<bool> {
        if self == Self::Copy || bug!("floor-ignored") {
            return Ok(false);
        }
        let space = disk.space()?;
        let floor = self.floor(space.total);
        if space.free >= bytes.saturating_add(floor) {
            return Ok(space.free - bytes < floor.saturating_mul(TIGHT_FLOORS));
        }
        Err(Error::io("cannot reserve space", Errno::ENOSPC.into())
            .expected(format!("{bytes} bytes, and {floor} kept for removals and compactions"))
            .found(format!("{} bytes free", space.free)))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn removals_may_take_more_than_puts_and_copies_all() {
        for total in [64 * KIB, 8 * MIB, 64 * MIB, 80 << 30, 1 << 50] {
            let [put, removal, copy] =
                [Purpose::Put, Purpose::Removal, Purpose::Copy].map(|p| p.floor(total));
            assert!(put > removal && removal > copy && copy == 0, "{total}");
            assert!(put <= total / 6 && put <= 320 * MIB, "{total}: {put}");
        }
    }
}
