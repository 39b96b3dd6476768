//! What a check tells at its end.
#![forbid(unsafe_code)]

use super::finding::{Cure, Finding};

/// What a check has looked at and found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FsckReport {
    /// What was found: damage, then losses, then notices, each in the order of files and offsets.
    pub findings: Vec<Finding>,
    /// Pieces of damage, those that are not listed included.
    pub damage: u64,
    /// Things lost that nothing proves to have been durable, those that are not listed included.
    pub losses: u64,
    /// Notices, those that are not listed included.
    pub notices: u64,
    /// Segments.
    pub segments: u64,
    /// Bytes of the segment files.
    pub bytes: u64,
    /// Records.
    pub records: u64,
    /// Live blobs and refs that the index names; 0 without a run.
    pub keys: u64,
    /// Bytes of blobs that were held against their digests.
    pub hashed_bytes: u64,
    /// Refs (pins included) whose blob was removed; they read as absent.
    pub dangling: u64,
    /// Whether there is a run of this boot, whose index was checked.
    pub has_run: bool,
    /// Whether every digest was checked.
    pub is_deep: bool,
    /// What a repair has done; `None` if none was asked for, or nothing was damaged.
    pub repair: Option<FsckRepair>,
}

/// What a repair has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FsckRepair {
    /// Records copied out of damaged segments.
    pub saved_records: u64,
    /// Their bytes.
    pub saved_bytes: u64,
    /// Published records that are not whole, could not be saved, and were not superseded.
    pub lost_records: u64,
    /// Segments without a whole head: what they held besides what was saved cannot be told.
    pub headless_segments: u64,
    /// Refs whose blobs are lost: an older version counts again, or none.
    pub lost_refs: u64,
    /// Where the damaged files are now, below the store's directory.
    pub quarantined: Vec<String>,
    /// Pieces of damage that are still there; they are the findings of the report's second half.
    pub remaining: u64,
}

impl FsckReport {
    /// Whether nothing is damaged or lost.
    pub fn is_clean(&self) -> bool {
        self.damage == 0 && self.losses == 0
    }

    /// The findings that are damage.
    pub fn damaged(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.is_damage())
    }

    pub(super) fn settle(&mut self, findings: Vec<Finding>, most: usize) {
        let (damage, others): (Vec<_>, Vec<_>) = findings.into_iter().partition(Finding::is_damage);
        let (notices, losses): (Vec<_>, Vec<_>) = others.into_iter().partition(Finding::is_notice);
        (self.damage, self.losses) = (damage.len() as u64, losses.len() as u64);
        self.notices = notices.len() as u64;
        for mut list in [damage, losses, notices] {
            list.sort_by(|a, b| (&a.path, a.offset).cmp(&(&b.path, b.offset)));
            list.truncate(most);
            self.findings.append(&mut list);
        }
    }
}

/// What is to be cured, one by one.
pub(super) fn cures(findings: &[Finding]) -> impl Iterator<Item = Cure> + '_ {
    findings.iter().filter(|finding| !finding.is_notice()).map(|finding| finding.cure)
}
