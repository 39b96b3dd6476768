//! What an appender remembers of what it has appended, so that whoever seals the segment need not walk
//! over it.
//!
//! I1  All records of the segment are listed, durable points aside, in order of their offsets, or none.
//! I2  A state is the one that this appender has given. Somebody else may have published the record since:
//!     its header says so, and who reads a footer looks there (read.rs).
#![forbid(unsafe_code)]

use crate::format::record::State;
use crate::format::segment::Entry;

/// Most records that are remembered.
const ENTRIES_MAX: usize = 1 << 20;

/// See the head of this file.
#[derive(Debug)]
pub struct Listed {
    /// `None` if not all are known.
    entries: Option<Vec<Entry>>,
    has_copies_only: bool,
}

impl Listed {
    /// Of a segment without a record.
    pub fn of_none() -> Self {
        Self { entries: Some(Vec::new()), has_copies_only: true }
    }

    /// Of a segment that somebody else has begun.
    pub fn unknown() -> Self {
        Self { entries: None, has_copies_only: false }
    }

    /// Whether nothing but copies is there.
    pub fn has_copies_only(&self) -> bool {
        self.has_copies_only
    }

    /// Behind the others come copies.
    pub fn add_copies(&mut self, copies: impl Iterator<Item = Entry>) {
        self.extend(copies);
    }

    /// Behind the others come these.
    pub fn add(&mut self, entries: impl Iterator<Item = Entry>) {
        self.has_copies_only = false;
        self.extend(entries);
    }

    fn extend(&mut self, more: impl Iterator<Item = Entry>) {
        if let Some(entries) = &mut self.entries {
            entries.extend(more.skip(if bug!("listed-short") { 1 } else { 0 }));
            if entries.len() > ENTRIES_MAX {
                self.forget();
            }
        }
    }

    /// Something has come of which no more is known.
    pub fn forget(&mut self) {
        *self = Self::unknown();
    }

    /// The records at these offsets, in order and not far from the last, have been published.
    pub fn publish(&mut self, mut offsets: impl Iterator<Item = u64>) {
        let (Some(entries), Some(first)) = (&mut self.entries, offsets.next()) else { return };
        let before = entries.iter().rposition(|entry| entry.offset() < first);
        let mut rest = entries[before.map_or(0, |at| at + 1)..].iter_mut();
        for offset in std::iter::once(first).chain(offsets) {
            if let Some(entry) = rest.find(|entry| entry.offset() == offset) {
                entry.state = State::Published as u8;
            }
        }
    }

    /// All records, if they are known; not any more from then on.
    pub fn take(&mut self) -> Option<Vec<Entry>> {
        self.has_copies_only = false;
        self.entries.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::record::{Header, Kind};

    fn entry(offset: u64) -> Entry {
        Entry::new(&Header::pending(Kind::Blob, 5, offset, [1; 32]), offset, 0)
    }

    fn states(listed: &mut Listed) -> Vec<(u64, bool)> {
        let published = |entry: Entry| (entry.offset(), entry.state == State::Published as u8);
        listed.take().unwrap().into_iter().map(published).collect()
    }

    #[test]
    fn records_are_published_where_they_stand() {
        for published in [vec![], vec![64], vec![64, 320], vec![192, 448], vec![64, 192, 320, 448]]
        {
            let mut listed = Listed::of_none();
            listed.add([64, 192].map(entry).into_iter());
            listed.add([320, 448].map(entry).into_iter());
            listed.publish(published.iter().copied());
            let expected: Vec<_> =
                [64, 192, 320, 448].iter().map(|at| (*at, published.contains(at))).collect();
            assert_eq!(states(&mut listed), expected);
        }
    }

    #[test]
    fn what_is_not_all_known_is_not_listed() {
        let mut listed = Listed::of_none();
        assert!(listed.has_copies_only());
        listed.add_copies([64].map(entry).into_iter());
        assert!(listed.has_copies_only());
        listed.add([192].map(entry).into_iter());
        assert!(!listed.has_copies_only());
        listed.forget();
        listed.add([320].map(entry).into_iter());
        assert!(listed.take().is_none() && !listed.has_copies_only());
    }
}
