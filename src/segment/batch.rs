//! Records on their way into a segment: laid out in memory, so that one write appends them all.
//!
//! I1  Records stand in order, each at the first offset that its alignment allows.
//! I2  The bytes between two records are zero.
#![forbid(unsafe_code)]

use crate::format::record::{
    HEADER_BYTES, Header, Kind, Place, RawPin, STATE_OFFSET, State, alignment, header_offset,
};
use crate::format::segment::Entry;
use crate::units::STEP_BYTES;
use zerocopy::FromBytes;

/// Two state bytes closer than this are set by one write that repeats what stands between them.
const REPEAT_BYTES_MAX: u64 = 8 << 10;

/// Where a record of a batch stands.
#[derive(Clone, Copy, Debug)]
pub struct Placed {
    /// Offset of the header in the segment.
    pub offset: u64,
    /// Bytes from the header to the end of the record.
    pub bytes: u64,
    entry: Entry,
}

/// Records for one append.
#[derive(Debug)]
pub struct Batch {
    place: Place,
    start: u64,
    bytes: Vec<u8>,
    records: Vec<Placed>,
}

impl Batch {
    /// A batch for a segment whose first free byte is `tail`.
    pub fn new(place: Place, tail: u64, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Self { place, start: tail, bytes: buffer, records: Vec::new() }
    }

    /// Offset behind the last record.
    pub fn tail(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// First byte.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// What to write at [`Batch::start`].
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The records so far.
    pub fn records(&self) -> &[Placed] {
        &self.records
    }

    /// The records as a footer lists them, durable points left out.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        let entries = self.records.iter().map(|record| record.entry);
        entries.filter(|entry| entry.kind != Kind::DurablePoint as u8)
    }

    /// Adds a pending record; its index in the batch. The body is one chunk at most.
    pub fn push(&mut self, kind: Kind, body: &[u8], sequence: u64, digest: [u8; 32]) -> usize {
        self.push_aligned(kind, body, body.len() as u64, sequence, digest)
    }

    /// Adds the header alone of a record whose body of `body_len` bytes is written separately right
    /// behind the batch.
    pub fn push_header(
        &mut self,
        kind: Kind,
        body_len: u64,
        sequence: u64,
        digest: [u8; 32],
    ) -> usize {
        self.push_aligned(kind, &[], body_len, sequence, digest)
    }

    fn push_aligned(
        &mut self,
        kind: Kind,
        body: &[u8],
        body_len: u64,
        sequence: u64,
        digest: [u8; 32],
    ) -> usize {
        // Cannot overflow: tails are file offsets, far below 2^63.
        let offset = header_offset(self.tail(), alignment(kind, body_len)).unwrap_or(u64::MAX);
        self.bytes.resize((offset - self.start) as usize, 0);
        let header = Header::pending(kind, body_len, sequence, digest);
        self.bytes.extend_from_slice(&header.encode(self.place, offset));
        self.bytes.extend_from_slice(body);
        self.bytes.resize(self.bytes.len().next_multiple_of(STEP_BYTES as usize), 0);
        let held = match kind {
            Kind::Pin => RawPin::read_from_bytes(body).map_or(0, |pin| pin.held.get()),
            _ => 0,
        };
        let entry = Entry::new(&header, offset, held);
        self.records.push(Placed { offset, bytes: self.tail() - offset, entry });
        self.records.len() - 1
    }

    /// Sets the state byte of record `index` in memory.
    pub fn mark_published(&mut self, index: usize) {
        let at = self.records[index].offset - self.start + STATE_OFFSET;
        self.bytes[at as usize] = State::Published as u8;
    }

    /// The ranges of the batch that hold the state bytes of these records (in order), few and short.
    pub fn state_ranges(&self, published: &[usize]) -> Vec<std::ops::Range<u64>> {
        let mut ranges: Vec<std::ops::Range<u64>> = Vec::new();
        for &index in published {
            let at = self.records[index].offset + STATE_OFFSET;
            match ranges.last_mut() {
                Some(range) if at - range.end < REPEAT_BYTES_MAX => range.end = at + 1,
                _ => ranges.push(at..at + 1),
            }
        }
        ranges
    }

    /// The bytes of a range of the segment that lies in the batch.
    pub fn slice(&self, range: &std::ops::Range<u64>) -> &[u8] {
        &self.bytes[(range.start - self.start) as usize..(range.end - self.start) as usize]
    }

    /// The buffer, to be used again.
    pub fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }
}

/// Bytes that a batch of these bodies needs at most, from `tail` on.
pub fn bound(bodies: impl Iterator<Item = u64>) -> u64 {
    bodies.map(|len| HEADER_BYTES + len + alignment(Kind::Blob, len) + STEP_BYTES).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_aligned_and_gaps_are_zero() {
        let place = Place::new(&[1; 16], 2);
        let mut batch = Batch::new(place, 192, Vec::new());
        batch.push(Kind::Pin, &[7; 24], 1, [0; 32]);
        batch.push(Kind::Blob, &vec![9; 70_000], 2, [1; 32]);
        let [pin, blob] = batch.records() else { panic!("two records") };
        assert_eq!((pin.offset, pin.bytes), (192, 128));
        assert_eq!((blob.offset + 64) % 4096, 0);
        let gap = (320 - 192) as usize..(blob.offset - 192) as usize;
        assert!(batch.bytes()[gap].iter().all(|&byte| byte == 0));
        assert_eq!(batch.tail() % 64, 0);
        assert!(batch.tail() - 192 <= bound([24, 70_000].into_iter()));
    }

    #[test]
    fn state_bytes_far_apart_are_written_apart() {
        let mut batch = Batch::new(Place::new(&[1; 16], 2), 64, Vec::new());
        batch.push(Kind::Pin, &[7; 24], 1, [0; 32]);
        batch.push(Kind::Blob, &[9; 100], 2, [1; 32]);
        batch.push(Kind::Blob, &vec![9; 20_000], 3, [1; 32]);
        batch.push(Kind::Blob, &[9; 100], 4, [1; 32]);
        assert_eq!(batch.state_ranges(&[0, 1]), vec![69..198]);
        assert_eq!(batch.state_ranges(&[0, 3]).len(), 2);
    }
}
