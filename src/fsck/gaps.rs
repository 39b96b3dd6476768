//! What stands between the records of a segment, and behind the last: zeros, durable points, and what a put
//! has left that was never finished.
#![forbid(unsafe_code)]

use super::finding::{Finding, FindingKind};
use super::site::Site;
use crate::format::record::{Header, Kind, Place};
use crate::format::segment::HEAD_BYTES;
use crate::segment::{Blocks, Facts};
use std::ops::Range;

/// Bytes of a segment that belong to no record.
pub struct Gap {
    segment: u32,
    place: Place,
    is_sealed: bool,
    /// Where they stand.
    pub bytes: Range<u64>,
}

/// The gaps in front of these records and, if the last one is among them, behind it up to a limit.
pub fn gaps(
    facts: &Facts,
    records: Range<usize>,
    limit: u64,
    site: &Site<'_>,
) -> impl Iterator<Item = Gap> {
    let (segment, place, is_sealed) =
        (facts.number, site.files.place(facts.number), facts.is_sealed);
    let digest_bytes = site.files.digest_bytes();
    let end_of = move |at: usize| facts.records[at].end(digest_bytes);
    let mut behind = records.start.checked_sub(1).map_or(Some(HEAD_BYTES), end_of).unwrap_or(limit);
    let is_last = records.end == facts.records.len();
    let starts = records.map(move |at| (facts.records[at].offset(), end_of(at)));
    starts.chain(is_last.then_some((limit, None))).filter_map(move |(start, end)| {
        let bytes = behind..start;
        behind = end.unwrap_or(behind).max(behind);
        (bytes.start < bytes.end).then_some(Gap { segment, place, is_sealed, bytes })
    })
}

impl Gap {
    /// What there is to tell of it.
    pub fn told(&self, blocks: &impl Blocks) -> Option<Finding> {
        if blocks.is_zero(self.bytes.clone()) {
            return None;
        }
        let (mut first, mut last) = (None, 0);
        for at in self.bytes.clone().step_by(64) {
            let block = blocks.block(at).unwrap_or([0; 64]);
            if block == [0; 64] {
                continue;
            }
            match Header::decode(&block, self.place, at) {
                Some(header) if header.kind == Kind::DurablePoint => continue,
                // It has been appended since.
                Some(_) if !self.is_sealed => break,
                _ => {}
            }
            first = first.or(Some(at));
            last = at + 64;
        }
        let first = first?;
        let message = "bytes that are no record: of a put under way, or of a process that died";
        let finding = Finding::notice(FindingKind::Torn, message).at(self.segment, first);
        Some(finding.found(format!("{} bytes", last - first)))
    }
}
