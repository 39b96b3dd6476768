//! What this process knows to survive a power loss: a span of each segment.
//!
//! I1  Of every record in a span that the index named when the span was noted, the state byte was set
//!     before the fdatasync that the span stands for; one that it did not name then never is.
//!
//! So a record in a span that the index still names lasts, state byte and all. The spans of what a
//! process has appended itself begin where it took the segment up: below may stand a dead appender's
//! records, named and without their state bytes.
#![forbid(unsafe_code)]

use crate::format::segment::HEAD_BYTES;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Of each segment the bytes that are known to last.
#[derive(Default)]
pub struct Lasting {
    spans: Mutex<HashMap<u32, Range<u64>>>,
}

impl Lasting {
    fn spans(&self) -> MutexGuard<'_, HashMap<u32, Range<u64>>> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether these bytes of a segment last.
    pub fn covers(&self, segment: u32, bytes: &Range<u64>) -> bool {
        let covers = |span: &Range<u64>| span.start <= bytes.start && bytes.end <= span.end;
        self.spans().get(&segment).is_some_and(covers)
    }

    /// Offset below which everything of a segment lasts; 0 if nothing is known of its beginning.
    pub fn below(&self, segment: u32) -> u64 {
        let is_first = |span: &&Range<u64>| span.start <= HEAD_BYTES;
        self.spans().get(&segment).filter(is_first).map_or(0, |span| span.end)
    }

    /// Whether nothing is known to last of a segment, perhaps not even its name.
    pub fn is_unknown(&self, segment: u32) -> bool {
        !self.spans().contains_key(&segment)
    }

    /// Notes that these bytes of a segment last. Of two spans with a gap between them the one that
    /// reaches farther is kept.
    pub fn note(&self, segment: u32, bytes: Range<u64>) {
        let mut spans = self.spans();
        let span = spans.entry(segment).or_insert_with(|| bytes.clone());
        if bytes.start <= span.end && span.start <= bytes.end {
            *span = bytes.start.min(span.start)..bytes.end.max(span.end);
        } else if bytes.end > span.end {
            *span = bytes;
        }
    }

    /// Notes that all of a segment lasts, for ever.
    pub fn note_all(&self, segment: u32) {
        self.note(segment, 0..u64::MAX);
    }

    /// Forgets the segments that are gone.
    pub fn retain(&self, is_present: impl Fn(u32) -> bool) {
        self.spans().retain(|&segment, _| is_present(segment));
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn spans_grow_together_and_do_not_bridge_gaps() {
        let lasting = Lasting::default();
        assert!(lasting.is_unknown(1));
        lasting.note(1, 500..600);
        assert_eq!(lasting.below(1), 0);
        assert!(lasting.covers(1, &(500..600)) && !lasting.covers(1, &(400..600)));
        lasting.note(1, 0..300);
        assert!(lasting.covers(1, &(500..600)), "the span that reaches farther stays");
        lasting.note(1, 64..500);
        assert_eq!(lasting.below(1), 600);
        lasting.note(1, 700..900);
        assert!(!lasting.covers(1, &(600..700)) && lasting.covers(1, &(700..900)));
        lasting.note_all(1);
        assert!(lasting.covers(1, &(0..u64::MAX)) && lasting.below(1) == u64::MAX);
        lasting.retain(|segment| segment != 1);
        assert!(lasting.is_unknown(1));
    }
}
