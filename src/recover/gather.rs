//! Reading all segments: which records count, and what refs rely on.
#![forbid(unsafe_code)]

use super::parts::{Item, Parts};
use crate::blob::published_body;
use crate::control::Lost;
use crate::disk::Map;
use crate::error::{ErrorKind, Result};
use crate::format::record::{Header, Kind, SEQUENCE_MAX, State};
use crate::format::refs::{RefBody, pin_key, ref_digest};
use crate::format::segment::Entry;
use crate::format::word::{Location, Word};
use crate::id::{BlobId, Key};
use crate::segment::{Facts, Files, first_free, read_facts};
use crate::whole::is_whole;
use rayon::prelude::*;
use std::sync::Arc;

/// A ref version counts only if a record of the blob's key with at least this number survived.
#[derive(Clone, Copy, Debug)]
pub struct Reliance {
    /// Location of the ref's record.
    pub by: Location,
    /// The blob's key.
    pub on: Key,
    /// The number held.
    pub held: u64,
}

/// A segment that does not prove that all of it is durable.
#[derive(Clone, Copy, Debug)]
pub struct Unproved {
    /// Its number.
    pub number: u32,
    /// Whether it has a footer.
    pub is_sealed: bool,
    /// Whether every published record in it is whole.
    pub is_whole: bool,
}

/// What the segments hold.
#[derive(Default)]
pub struct Gathered {
    /// All published records, in no order.
    pub items: Vec<Parts>,
    /// Reliances that are not met by the record right behind.
    pub reliances: Vec<Reliance>,
    /// Highest number of all records, pending ones too.
    pub sequence_max: u64,
    /// New segments are numbered behind this one.
    pub segment_max: Option<u32>,
    /// Bytes of all segments.
    pub bytes: u64,
    /// What had to be left out; its refs are told by the fold.
    pub lost: Lost,
    /// Segments that do not prove that all of them is durable.
    pub unproved: Vec<Unproved>,
}

impl Gathered {
    fn merge(mut self, mut other: Self) -> Self {
        self.items.append(&mut other.items);
        self.reliances.append(&mut other.reliances);
        self.unproved.append(&mut other.unproved);
        self.sequence_max = self.sequence_max.max(other.sequence_max);
        self.segment_max = self.segment_max.max(other.segment_max);
        self.bytes += other.bytes;
        self.lost.records += other.lost.records;
        self.lost.segments += other.lost.segments;
        self
    }
}

/// Reads all segments, in parallel on the current pool.
///
/// # Errors
/// `UnsupportedVersion`, or an error of the operating system. A damaged segment only yields less.
pub fn gather(files: &Files) -> Result<Gathered> {
    let numbers = files.list()?;
    let mut gathered = numbers
        .par_iter()
        .try_fold(Gathered::default, |gathered, &number| gather_one(files, number, gathered))
        .try_reduce(Gathered::default, |a, b| Ok(a.merge(b)))?;
    gathered.segment_max = first_free(&numbers).checked_sub(1);
    gathered.unproved.sort_unstable_by_key(|segment| segment.number);
    Ok(gathered)
}

/// Adds what a segment holds.
fn gather_one(files: &Files, number: u32, mut gathered: Gathered) -> Result<Gathered> {
    let facts = match read_facts(files, number) {
        Ok(Some(facts)) => facts,
        Ok(None) => return Ok(gathered),
        // It is another segment, or another store's: nothing in it is ours.
        Err(error) if error.kind() == ErrorKind::Damaged => {
            gathered.lost.segments += 1;
            return Ok(gathered);
        }
        Err(error) => return Err(error),
    };
    gathered.bytes += facts.map.len();
    gathered.lost.segments += u64::from(!facts.is_head_whole);
    let mut parts = gathered.items.pop().unwrap_or_default();
    let reader = Reader { files, facts: &facts, whole_below: facts.durable };
    let lost_before = gathered.lost.records;
    for (index, entry) in facts.records.iter().enumerate() {
        if entry.sequence.get() > SEQUENCE_MAX && !bug!("number-believed") {
            // Forged: nothing that comes later could have a higher number.
            continue;
        }
        gathered.sequence_max = gathered.sequence_max.max(entry.sequence.get());
        if let Some(header) = entry.header().filter(|header| header.state == State::Published) {
            match reader.take(index, entry, &header, &mut gathered.reliances) {
                Some(item) => parts.push(item),
                None => gathered.lost.records += 1,
            }
        }
    }
    gathered.items.push(parts);
    // One whose head is damaged stays as it is: nothing can be proved of it.
    if facts.is_head_whole && !facts.is_confirmed {
        let is_whole = gathered.lost.records == lost_before;
        gathered.unproved.push(Unproved { number, is_sealed: facts.is_sealed, is_whole });
    }
    Ok(gathered)
}

/// The key of a record.
pub fn key_of(files: &Files, header: &Header) -> Key {
    match header.kind {
        Kind::Pin => pin_key(&files.uuid, &BlobId::from_padded(files.hash, header.digest)),
        _ => Key::from_digest(&header.digest),
    }
}

/// Reads records of one segment for what they say about their keys.
pub struct Reader<'a> {
    /// The segments.
    pub files: &'a Files,
    /// The one.
    pub facts: &'a Facts,
    /// What stands below counts as whole.
    pub whole_below: u64,
}

impl Reader<'_> {
    fn map(&self) -> &Arc<Map> {
        &self.facts.map
    }

    /// A published record, if it is whole and the index can name it, and what it relies on.
    fn take(
        &self,
        index: usize,
        entry: &Entry,
        header: &Header,
        reliances: &mut Vec<Reliance>,
    ) -> Option<Item> {
        let bytes = header.record_bytes(self.files.digest_bytes());
        let is_durable = entry.offset() + bytes <= self.facts.durable;
        if !is_durable && !self.has_survived(entry.offset(), header) {
            return None;
        }
        self.note(index, entry, header, reliances)
    }

    /// As [`take`](Self::take), of a record that is known to be whole.
    pub fn note(
        &self,
        index: usize,
        entry: &Entry,
        header: &Header,
        reliances: &mut Vec<Reliance>,
    ) -> Option<Item> {
        let bytes = header.record_bytes(self.files.digest_bytes());
        let location = Location::new(self.facts.number, entry.offset())?;
        let key = key_of(self.files, header);
        match header.kind {
            Kind::DurablePoint => return None,
            Kind::Pin if !self.is_met_behind(index, header, entry.held.get()) => {
                let on = Key::from_digest(&header.digest);
                reliances.push(Reliance { by: location, on, held: entry.held.get() });
            }
            Kind::Ref => {
                let body = self.ref_body(entry.offset(), header)?;
                reliances.extend(body.blobs.iter().map(|(digest, held)| Reliance {
                    by: location,
                    on: Key::from_digest(digest),
                    held: *held,
                }));
            }
            _ => {}
        }
        let is_ref = header.kind.is_ref();
        let word = if header.kind.is_tomb() {
            Word::tomb(location, is_ref)
        } else {
            Word::live(location, is_ref, bytes)
        };
        Some(Item { key, sequence: header.sequence, word })
    }

    /// Whether the next record is the published one of the blob that a pin relies on: then nothing
    /// needs to be looked up. That record's own wholeness is checked when it is taken; where it is
    /// above the durable point the pin is not met this way.
    fn is_met_behind(&self, index: usize, pin: &Header, held: u64) -> bool {
        let Some(next) = self.facts.records.get(index + 1) else { return false };
        let Some(blob) = next.header() else { return false };
        let end = next.offset() + blob.record_bytes(self.files.digest_bytes());
        blob.kind == Kind::Blob
            && blob.state == State::Published
            && blob.digest == pin.digest
            && blob.sequence >= held
            && end <= self.whole_below
    }

    fn ref_body(&self, offset: u64, header: &Header) -> Option<RefBody> {
        let body = published_body(self.map(), offset, header)?;
        let key = Key::from_digest(&header.digest);
        (ref_digest(key, body) == header.digest).then(|| RefBody::decode(body)).flatten()
    }

    /// Whether a record that may not have reached the medium is what its digest says. The header is
    /// read again, for a footer may be there without the records that it lists.
    fn has_survived(&self, offset: u64, header: &Header) -> bool {
        let block = self.map().read_block(offset);
        let place = self.files.place(self.facts.number);
        let stands = block.and_then(|block| Header::decode(&block, place, offset));
        if stands.is_none_or(|stands| stands.digest != header.digest || stands.kind != header.kind)
        {
            return false;
        }
        let body = published_body(self.map(), offset, header);
        body.is_some_and(|body| is_whole(header, body, self.files.hash))
    }
}
