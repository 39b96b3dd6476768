//! How much of each segment the index names, by the size classes of its words: what nominates segments
//! for compaction. Its memory goes with the number of segments, not of blobs.
#![forbid(unsafe_code)]

use crate::format::record::HEADER_BYTES;
use crate::format::segment::{ENTRY_BYTES, HEAD_BYTES};
use crate::format::word::{Word, WordKind};
use std::collections::HashMap;

/// Bytes of a tombstone, about: words do not tell.
pub const TOMB_BYTES: u64 = 2 * HEADER_BYTES;
/// Segment numbers that are counted in a row; those far above them in a map.
const ROW_MAX: usize = 1 << 20;

/// See the head of this file.
#[derive(Clone, Debug, Default)]
pub struct Census {
    first: u32,
    /// Bytes and records.
    row: Vec<(u64, u64)>,
    others: HashMap<u32, (u64, u64)>,
    /// Live refs.
    pub refs: u64,
    /// Live blobs.
    pub blobs: u64,
    /// Tombs.
    pub tombs: u64,
    /// Blobs given up.
    pub given_up: u64,
    /// Bytes of their records, about.
    pub given_up_bytes: u64,
}

impl Census {
    /// Nothing counted; for segments of these numbers, in order.
    pub fn new(segments: &[u32]) -> Self {
        let (first, last) = (segments.first().copied(), segments.last().copied());
        let span = last.zip(first).map_or(0, |(last, first)| (last - first) as usize + 1);
        Self { first: first.unwrap_or(0), row: vec![(0, 0); span.min(ROW_MAX)], ..Self::default() }
    }

    /// Counts a word whose record stays.
    pub fn keep(&mut self, word: Word) {
        let bytes = match word.kind() {
            WordKind::Live => word.bytes_hint(),
            WordKind::Tomb => TOMB_BYTES,
            WordKind::None | WordKind::Dead => return,
        };
        match (word.kind(), word.is_ref()) {
            (WordKind::Tomb, _) => self.tombs += 1,
            (_, true) => self.refs += 1,
            (_, false) => self.blobs += 1,
        }
        self.add(word.location().segment(), bytes + ENTRY_BYTES);
    }

    /// Counts a blob that was given up.
    pub fn give_up(&mut self, word: Word) {
        self.given_up += 1;
        self.given_up_bytes += word.bytes_hint();
    }

    fn add(&mut self, segment: u32, bytes: u64) {
        let at = segment.wrapping_sub(self.first) as usize;
        match self.row.get_mut(at) {
            Some(sum) => add(sum, (bytes, 1)),
            None => add(self.others.entry(segment).or_default(), (bytes, 1)),
        }
    }

    /// Adds what another thread has counted.
    pub fn merge(mut self, other: &Self) -> Self {
        self.row.iter_mut().zip(&other.row).for_each(|(sum, more)| add(sum, *more));
        for (&segment, &more) in &other.others {
            add(self.others.entry(segment).or_default(), more);
        }
        self.refs += other.refs;
        self.blobs += other.blobs;
        self.tombs += other.tombs;
        self.given_up += other.given_up;
        self.given_up_bytes += other.given_up_bytes;
        self
    }

    fn of(&self, segment: u32) -> Option<(u64, u64)> {
        let at = segment.wrapping_sub(self.first) as usize;
        self.row.get(at).or_else(|| self.others.get(&segment)).copied()
    }

    /// Bytes of a segment that would stay if it were written anew: about.
    pub fn live_bytes(&self, segment: u32) -> u64 {
        self.of(segment).map_or(0, |(bytes, _)| bytes + HEAD_BYTES)
    }

    /// Records of a segment that the index names.
    pub fn named(&self, segment: u32) -> u64 {
        self.of(segment).map_or(0, |(_, records)| records)
    }
}

fn add(sum: &mut (u64, u64), more: (u64, u64)) {
    *sum = (sum.0 + more.0, sum.1 + more.1);
}
