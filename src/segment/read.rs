//! What a segment says about itself: its footer where there is one, else a walk.
#![forbid(unsafe_code)]

use super::blocks::{Blocks, FileBlocks};
use super::files::{Files, map_all, segment_path};
use super::scan::{Scan, Scanned};
use crate::disk::{Access, Map};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{
    HEADER_BYTES, Header, Kind, PIN_BYTES, Place, RawPin, STATE_OFFSET, State,
};
use crate::format::segment::{ENTRY_BYTES, Entry, TRAILER_BYTES, Trailer};
use std::sync::Arc;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// Most records that a walk makes room for ahead.
const AHEAD_RECORDS_MAX: u64 = 1 << 20;

/// The end of a sealed segment.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// Its trailer.
    pub trailer: Trailer,
    /// Bytes below this are proved to have been durable.
    pub durable: u64,
    /// Whether a durable point follows the trailer: then all of the segment is durable.
    pub is_confirmed: bool,
}

/// The trailer of a segment, if it is sealed.
pub fn end_of(blocks: &impl Blocks, files: &Files, number: u32) -> Option<End> {
    let trailer_at = |at: u64| {
        let trailer: Trailer = zerocopy::transmute!(blocks.block(at)?);
        trailer.is_valid(number, at).then_some(trailer)
    };
    let last = blocks.len().checked_sub(TRAILER_BYTES)?;
    if let Some(trailer) = trailer_at(last) {
        let durable = durable_by(&trailer);
        return Some(End { trailer, durable, is_confirmed: false });
    }
    let trailer = trailer_at(last.checked_sub(TRAILER_BYTES)?)?;
    let point = record_at(blocks, files.place(number), last);
    let is_point =
        |point: &Header| point.kind == Kind::DurablePoint && durable_offset(point) >= last;
    if point.as_ref().is_some_and(is_point) {
        return Some(End { trailer, durable: last, is_confirmed: true });
    }
    // A durable point that a power loss has torn hides no footer: the footer may be all that says of a
    // record that it is published.
    let durable = durable_by(&trailer);
    (!bug!("torn-point-hides")).then_some(End { trailer, durable, is_confirmed: false })
}

/// What a trailer says of how much was durable before it was written.
fn durable_by(trailer: &Trailer) -> u64 {
    let end = trailer.entries_offset.get();
    let says = if bug!("footer-trusted") { end } else { trailer.durable_bytes.get() };
    says.min(end)
}

impl End {
    /// Offset behind the trailer.
    pub fn offset(&self) -> u64 {
        let entries = self.trailer.entry_count.get().saturating_mul(ENTRY_BYTES);
        self.trailer.entries_offset.get().saturating_add(entries).saturating_add(TRAILER_BYTES)
    }
}

/// Whether a segment is sealed.
pub fn is_sealed(blocks: &impl Blocks, files: &Files, number: u32) -> bool {
    end_of(blocks, files, number).is_some()
}

/// The valid header at an offset, if there is one.
pub fn record_at(blocks: &impl Blocks, place: Place, offset: u64) -> Option<Header> {
    Header::decode(&blocks.block(offset)?, place, offset)
}

/// The offset below which a durable point vouches.
fn durable_offset(point: &Header) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| point.digest[i]))
}

/// What a segment holds.
#[derive(Debug)]
pub struct Facts {
    /// Its number.
    pub number: u32,
    /// Its bytes.
    pub map: Arc<Map>,
    /// Its records, durable points left out, in order of their offsets.
    pub records: Vec<Entry>,
    /// Whether its head is as it was written.
    pub is_head_whole: bool,
    /// Whether it has a footer.
    pub is_sealed: bool,
    /// Whether that is followed by a durable point: then there is nothing in it that is not durable.
    pub is_confirmed: bool,
    /// What stands below is proved to have been durable.
    pub durable: u64,
}

/// Reads the footer of a segment, or walks it where there is none or it does not check. Where the head
/// is damaged, the footer is not believed either, and nothing is proved to have been durable.
///
/// # Errors
/// `Damaged` when the file is a segment of another store, or another one of this.
pub fn read_facts(files: &Files, number: u32) -> Result<Option<Facts>> {
    let Some(file) = files.open(number, Access::Read)? else { return Ok(None) };
    let is_head_whole = files.is_head_whole(&*file, number)?;
    // Mapped first: a record that is found afterwards and is not in it, has been appended since.
    let map = Arc::new(map_all(&*file)?);
    let blocks = FileBlocks::new(&*file)?;
    let end = end_of(&blocks, files, number).filter(|_| is_head_whole);
    let listed = end.and_then(|end| read_footer(&blocks, files, number, &end.trailer));
    let is_sealed = listed.is_some();
    let (mut records, durable) = match (listed, end) {
        (Some(records), Some(end)) => (records, end.durable),
        // Damage: nothing that the end says is believed.
        (_, Some(_)) => (walk(&blocks, files, number, 0).0, 0),
        _ => walk(&blocks, files, number, 0),
    };
    blocks.check()?;
    let durable = if is_head_whole { durable } else { 0 };
    let is_mapped = |entry: &Entry| entry.end(files.digest_bytes()).is_some_and(|e| e <= map.len());
    records.retain(is_mapped);
    let is_confirmed = is_sealed && end.is_some_and(|end| end.is_confirmed);
    Ok(Some(Facts { number, map, records, is_head_whole, is_sealed, is_confirmed, durable }))
}

/// What a footer lists.
#[derive(Debug)]
pub struct Listed {
    /// The records, in order of their offsets.
    pub records: Vec<Entry>,
    /// Offset behind the last of them.
    pub end: u64,
}

/// Reads the footer of a segment; `None` if the segment is gone, is not sealed, or if its head or its
/// footer does not check.
///
/// # Errors
/// `Damaged` when the file is a segment of another store, or another one of this.
pub fn read_listed(files: &Files, number: u32) -> Result<Option<Listed>> {
    let Some(file) = files.open(number, Access::Read)? else { return Ok(None) };
    if !files.is_head_whole(&*file, number)? {
        return Ok(None);
    }
    let blocks = FileBlocks::new(&*file)?;
    let trailer = end_of(&blocks, files, number).map(|end| end.trailer);
    let records = trailer.and_then(|trailer| read_footer(&blocks, files, number, &trailer));
    blocks.check()?;
    let end = trailer.map_or(0, |trailer| trailer.entries_offset.get());
    Ok(records.map(|records| Listed { records, end }))
}

/// The entries of a footer, or `None` if anything about them is wrong.
pub fn read_footer(
    blocks: &impl Blocks,
    files: &Files,
    number: u32,
    trailer: &Trailer,
) -> Option<Vec<Entry>> {
    let count = usize::try_from(trailer.entry_count.get()).ok()?;
    let offset = trailer.entries_offset.get();
    if trailer.entry_count.get().checked_mul(ENTRY_BYTES)? > blocks.len() {
        return None;
    }
    let mut entries = vec![Entry::new_zeroed(); count];
    if !blocks.copy_to(offset, entries.as_mut_bytes()) {
        return None;
    }
    if !trailer.vouches_for(entries.as_bytes()) && !bug!("footer-unsummed") {
        return None;
    }
    let digest_bytes = files.digest_bytes();
    for entry in &mut entries {
        let header = entry.header()?;
        if entry.end(digest_bytes)? > offset {
            return None;
        }
        if header.state == State::Pending {
            // Somebody who relied on it may have published it while the segment was being sealed.
            let state = record_at(blocks, files.place(number), entry.offset())?.state;
            entry.state = state as u8;
        }
    }
    Some(entries)
}

/// Walks a segment from an offset: its records, and what its durable points prove.
pub fn walk(blocks: &impl Blocks, files: &Files, number: u32, from: u64) -> (Vec<Entry>, u64) {
    let mut durable = 0;
    // Room for the smallest records, within reason: what is not needed of it is never touched.
    let count_max = blocks.len() / (2 * HEADER_BYTES);
    let mut records = Vec::with_capacity(count_max.min(AHEAD_RECORDS_MAX) as usize);
    for found in Scan::new(blocks, files.place(number), files.digest_bytes(), from) {
        if found.header.kind == Kind::DurablePoint {
            durable = durable_offset(&found.header).min(found.offset).max(durable);
        } else {
            records.push(Entry::new(&found.header, found.offset, held_by(blocks, &found)));
        }
    }
    (records, durable)
}

/// The number that a pin holds; 0 for other records, and for a pin whose body does not check.
fn held_by(blocks: &impl Blocks, found: &Scanned) -> u64 {
    if found.header.kind != Kind::Pin || found.header.body_len != PIN_BYTES {
        return 0;
    }
    let mut pin = RawPin::new_zeroed();
    let whole = blocks.copy_to(found.offset + HEADER_BYTES, pin.as_mut_bytes());
    if whole && pin.is_valid(&found.header.digest) { pin.held.get() } else { 0 }
}

/// Sets the state byte of a record that the index names, in whoever's segment it stands.
///
/// A sealed segment needs it no more (spec/CONCURRENCY.md, publishing), and `false` says that there
/// was none to set.
pub fn publish_foreign(files: &Files, number: u32, offset: u64) -> Result<bool> {
    let file = match files.open(number, Access::Write) {
        Ok(Some(file)) => file,
        Ok(None) => return Ok(false),
        Err(error) if error.kind() == ErrorKind::Permission => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut block = [0; 64];
    let read = file.read_at(&mut block, offset)?;
    let header =
        (read == 64).then(|| Header::decode(&block, files.place(number), offset)).flatten();
    match header {
        Some(header) if header.state == State::Pending && !bug!("foreign-byte-unset") => {
            file.write_at(&[State::Published as u8], offset + STATE_OFFSET)?;
            Ok(true)
        }
        Some(_) => Ok(false),
        None => Err(Error::damaged("the index names a record that is not there", number, offset)
            .path(segment_path(number))),
    }
}

/// The pin in a record's body, if it checks.
pub fn pin_of(body: &[u8], digest: &[u8; 32]) -> Option<RawPin> {
    let pin = RawPin::read_from_bytes(body).ok()?;
    pin.is_valid(digest).then_some(pin)
}
