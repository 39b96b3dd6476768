//! The refs that are being set: pending in segments that are open.
//!
//! I1  The segments are listed after the condemning (steps.rs, I1). One that appears later belongs to a
//!     setter that touches its blobs later, and acquits them itself.
//! I2  What is sealed has nothing in flight: its owner's last operation was over.
//!
//! I3  A pending record is void when its key's word names one of a higher number: its setter's exchange
//!     fails, for numbers grow along a key's history and its own was drawn after the load of what it
//!     expects. One of the same number is the record itself, or a copy: then the walk sees it.
//!
//! A setter that died leaves its record pending; it keeps its blobs until its key moves on or the segment
//! is sealed.
#![forbid(unsafe_code)]

use crate::disk::Access;
use crate::engine::{ALL, Engine};
use crate::error::Result;
use crate::format::record::{HEADER_BYTES, Header, Kind, State};
use crate::format::refs::RefBody;
use crate::format::segment::HEAD_BYTES;
use crate::format::word::WordKind;
use crate::id::Key;
use crate::segment::{Blocks, FileBlocks, Scan, Scanned, is_sealed};
use crate::sync::epoch::Guard;

impl Engine {
    /// Adds the keys of the blobs that pending refs in open segments name.
    pub(super) fn named_in_flight(&self, guard: &Guard, named: &mut Vec<Key>) -> Result<()> {
        let segments = self.files.list()?;
        let quiet = &self.appenders(guard).quiet;
        quiet.retain(&segments);
        for segment in segments {
            let known = quiet.below(segment);
            if known != ALL {
                quiet.note(segment, self.named_in_flight_of(segment, known, named, guard)?);
            }
        }
        Ok(())
    }

    /// The same for one segment, from an offset on; below which offset there is nothing pending now.
    fn named_in_flight_of(
        &self,
        segment: u32,
        known: u64,
        named: &mut Vec<Key>,
        guard: &Guard,
    ) -> Result<u64> {
        let file = match self.files.open(segment, Access::Read) {
            Ok(Some(file)) => file,
            Ok(None) => return Ok(ALL),
            // What is not a file of the store holds no record of it.
            Err(error) if error.is_damage() => return Ok(known),
            Err(error) => return Err(error),
        };
        let blocks = FileBlocks::new(&*file)?;
        if is_sealed(&blocks, &self.files, segment) {
            blocks.check()?;
            return Ok(ALL);
        }
        let (place, digest_bytes) = (self.files.place(segment), self.files.digest_bytes());
        let (mut below, mut is_quiet) = (known.max(HEAD_BYTES), true);
        for record in Scan::new(&blocks, place, digest_bytes, known) {
            let is_pending = record.header.kind.is_keyed() && record.header.state == State::Pending;
            if is_pending && record.header.kind.is_ref() && !self.is_void(&record.header, guard)? {
                named_by(&blocks, &record, named);
            }
            // Behind a gap there may be one that was being written when it was passed.
            is_quiet &= !is_pending && record.header.offset_after(below) == Some(record.offset);
            if is_quiet {
                below = record.end;
            }
        }
        blocks.check()?;
        Ok(below)
    }

    /// Whether a pending ref's key has moved on beyond it (I3).
    fn is_void(&self, header: &Header, guard: &Guard) -> Result<bool> {
        let word = self.index(guard).lookup(self.key_of(header))?.word;
        if !matches!(word.kind(), WordKind::Live | WordKind::Tomb) {
            return Ok(false);
        }
        let named = self.read(word.location(), guard)?;
        Ok(named.is_some_and(|named| named.header.sequence >= header.sequence))
    }
}

fn named_by(blocks: &impl Blocks, record: &Scanned, named: &mut Vec<Key>) {
    match record.header.kind {
        Kind::Pin => named.push(Key::from_digest(&record.header.digest)),
        Kind::Ref => {
            let mut body = vec![0; record.header.body_len as usize];
            if blocks.copy_to(record.offset + HEADER_BYTES, &mut body)
                && let Some((_, blobs)) = RefBody::names(&body)
            {
                named.extend(blobs.iter().map(|blob| Key::from_digest(&blob.digest)));
            }
        }
        _ => {}
    }
}
