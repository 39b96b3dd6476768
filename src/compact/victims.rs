//! Which segments are worth to be written anew.
//!
//! The size classes of the words nominate, the footers decide: most garbage first, then the coldest,
//! which is the one that was begun first.
#![forbid(unsafe_code)]

use crate::collect::Census;
use crate::disk::{Access, File};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::format::record::{Header, State};
use crate::format::segment::{ENTRY_BYTES, Entry, HEAD_BYTES, TRAILER_BYTES};
use crate::format::word::{Location, Word, WordKind};
use crate::id::Key;
use crate::segment::{Appender, FileBlocks, Files, Mapped, RECORDS_MAX, end_of, read_listed, walk};
use crate::sync::epoch::Guard;
use crate::units::KIB;
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

/// Lookups that are under way at a time.
const LANES: usize = 64;
/// Records so near to each other are read in together with what is between them.
const POPULATE_GAP_BYTES: u64 = 64 * KIB;
/// So many small segments are made one.
const MERGED_MIN: usize = 4;
/// The same of those that are short because they have as many records as a put seals a segment at.
const MERGED_FULL_MIN: usize = 16;
/// A segment is small below this part of the size at which segments are sealed.
const SMALL_PART: u64 = 4;

/// A segment that may be written anew.
#[derive(Clone, Copy, Debug)]
pub struct Nominee {
    /// Its number.
    pub number: u32,
    /// Bytes of its file.
    pub len: u64,
    /// Bytes that would stay, about, and never too many.
    pub live: u64,
    /// Records in it that the index named when it was counted.
    pub named: u64,
    /// Whether it is to go because it is small, whatever is in it.
    pub is_small: bool,
}

impl Nominee {
    fn garbage(&self) -> f64 {
        share(self.len.saturating_sub(self.live), self.len)
    }

    /// Of an eighth of garbage more or less nobody is choosy: the older one comes first.
    fn rank(&self) -> (bool, std::cmp::Reverse<u64>, u32) {
        let eighths = (self.garbage() * 8.0) as u64;
        (self.live > 0, std::cmp::Reverse(eighths), self.number)
    }
}

/// Whether a sealed segment was sealed for its many records.
fn is_full(file: &dyn File, files: &Files, number: u32) -> Result<bool> {
    let blocks = FileBlocks::new(file)?;
    let count = end_of(&blocks, files, number).map(|end| end.trailer.entry_count.get());
    blocks.check()?;
    Ok(count >= Some(RECORDS_MAX))
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// A record that the index names.
#[derive(Clone, Copy, Debug)]
pub struct Live {
    /// Its key.
    pub key: Key,
    /// Its header.
    pub header: Header,
    /// For a pin the number that it holds, else zero.
    pub held: u64,
    /// Offset of its header.
    pub offset: u64,
    /// Bytes from the header to its end.
    pub bytes: u64,
}

/// A sealed segment and the records in it that the index names.
pub struct Victim {
    /// Its bytes.
    pub mapped: Arc<Mapped>,
    /// Bytes of its file.
    pub len: u64,
    /// Bytes of its records.
    pub record_bytes: u64,
    /// The records to be copied, in order.
    pub live: Vec<Live>,
}

impl Victim {
    /// Has the kernel enter the pages of these records. A write takes back what it has copied into a page
    /// of the cache where it meets one that is not entered, and begins again. `false` if one cannot be read.
    pub fn populate(&self, live: &[Live]) -> bool {
        let (mut rest, mut is_there) = (live, true);
        while let Some(first) = rest.first() {
            let end_of = |live: &Live| live.offset + live.bytes;
            let is_near = |pair: &[Live]| {
                pair[1].offset.saturating_sub(end_of(&pair[0])) <= POPULATE_GAP_BYTES
            };
            let count = 1 + rest.windows(2).take_while(|pair| is_near(pair)).count();
            let end = end_of(&rest[count - 1]);
            is_there &= self.mapped.map.populate(first.offset, end.saturating_sub(first.offset));
            rest = &rest[count..];
        }
        is_there
    }

    /// The share of it that would not stay.
    pub fn garbage(&self) -> f64 {
        share(self.len.saturating_sub(len_of_copies(&self.live)), self.len)
    }
}

/// Bytes of a sealed segment of copies of these records: what stands between them for their alignment is
/// no garbage.
fn len_of_copies<'a>(live: impl IntoIterator<Item = &'a Live>) -> u64 {
    let start = (HEAD_BYTES, HEAD_BYTES + TRAILER_BYTES);
    let (_, len) = live.into_iter().fold(start, |(end, len), live| {
        let (_, behind) = Appender::place_copy(end, &live.header, live.bytes);
        let bytes = if bug!("alignment-is-garbage") { live.bytes } else { behind - end };
        (behind, len + bytes + ENTRY_BYTES)
    });
    len
}

impl Engine {
    /// The segments that are worth it, in the order in which they are to be taken; `open` are those that
    /// a dry run leaves open, and how long they would be.
    pub(super) fn nominate(
        &self,
        census: &Census,
        garbage_min: f64,
        open: &HashMap<u32, u64>,
    ) -> Result<Vec<Nominee>> {
        let (mut sealed, mut full) = (Vec::new(), Vec::new());
        for number in self.files.list()? {
            let len_sealed = open.get(&number).copied();
            if self.run.control.is_poisoned(number)
                || len_sealed.is_none() && !self.is_sealed(number)?
            {
                continue;
            }
            let Some(file) = self.files.open(number, Access::Read)? else { continue };
            let len = len_sealed.map_or_else(|| file.len(), Ok)?;
            let live = census.live_bytes(number).min(len);
            let is_small = len < self.segment_target() / SMALL_PART;
            if is_small && is_full(&*file, &self.files, number)? {
                full.push(number);
            }
            let named = census.named(number);
            sealed.push(Nominee { number, len, live, named, is_small });
        }
        let is_worth = |nominee: &Nominee| nominee.live == 0 || nominee.garbage() >= garbage_min;
        let small = sealed.iter().filter(|nominee| nominee.is_small && nominee.live > 0).count();
        let (is_few, is_few_full) =
            (small - full.len().min(small) < MERGED_MIN, full.len() < MERGED_FULL_MIN);
        for nominee in &mut sealed {
            let is_full = full.binary_search(&nominee.number).is_ok();
            nominee.is_small &= if is_full { !is_few_full } else { !is_few };
        }
        sealed.retain(|nominee| nominee.is_small || is_worth(nominee));
        sealed.sort_by_key(Nominee::rank);
        Ok(sealed)
    }

    /// What a nominee holds, by its footer and the index; `None` if it is gone, or not sealed after all.
    ///
    /// # Errors
    /// `Damaged` if a record that the index names does not stand where it should.
    pub(super) fn victim(&self, nominee: &Nominee, guard: &Guard) -> Result<Option<Victim>> {
        let number = nominee.number;
        let Some(listed) = read_listed(&self.files, number)? else { return Ok(None) };
        let Some(mapped) = self.segments.get(number, listed.end, guard)? else { return Ok(None) };
        let live = self.live_of(mapped.as_ref(), &listed.records, guard)?;
        let record_bytes = listed.end.saturating_sub(HEAD_BYTES);
        Ok(Some(Victim { mapped: mapped.to_arc(), len: nominee.len, record_bytes, live }))
    }

    /// The records of a segment that the index names, in order.
    fn live_of(&self, mapped: &Mapped, records: &[Entry], guard: &Guard) -> Result<Vec<Live>> {
        let mut live = Vec::new();
        for entries in records.chunks(LANES) {
            let index = self.index(guard);
            let mut keys = [None; LANES];
            for (key, entry) in keys.iter_mut().zip(entries) {
                *key = entry.header().map(|header| (self.key_of(&header), header));
                key.iter().for_each(|(key, _)| index.prefetch(*key));
            }
            let known = live.len();
            for (entry, (key, header)) in
                entries.iter().zip(keys).filter_map(|(entry, key)| Some((entry, key?)))
            {
                let Some(location) = Location::new(mapped.number, entry.offset()) else { continue };
                if names(index.lookup(key)?.word, location) {
                    let bytes = header.record_bytes(self.files.digest_bytes());
                    mapped.prefetch(entry.offset());
                    // The index names it: it counts.
                    let header = Header { state: State::Published, ..header };
                    let (offset, held) = (entry.offset(), entry.held.get());
                    live.push(Live { key, header, held, offset, bytes });
                }
            }
            live[known..].iter().try_for_each(|live| check_stands(mapped, live))?;
        }
        Ok(live)
    }

    /// As [`victim`](Self::victim), of a segment that is still open: by a walk over it.
    pub(super) fn open_victim(&self, nominee: &Nominee, guard: &Guard) -> Result<Option<Victim>> {
        let number = nominee.number;
        let Some(file) = self.files.open(number, Access::Read)? else { return Ok(None) };
        let blocks = FileBlocks::new(&*file)?;
        let (records, _) = walk(&blocks, &self.files, number, 0);
        blocks.check()?;
        let end = records.last().and_then(|last| last.end(self.files.digest_bytes()));
        let Some(end) = end else { return Ok(None) };
        let Some(mapped) = self.segments.get(number, end, guard)? else { return Ok(None) };
        let live = self.live_of(mapped.as_ref(), &records, guard)?;
        let record_bytes = end.saturating_sub(HEAD_BYTES);
        Ok(Some(Victim { mapped: mapped.to_arc(), len: nominee.len, record_bytes, live }))
    }

    /// Bytes of a victim that would stay after a sweep: what it names and is not condemned.
    pub(super) fn live_after_sweep(&self, victim: &Victim, guard: &Guard) -> Result<u64> {
        let index = self.index(guard);
        let mut stays = Vec::with_capacity(victim.live.len());
        for live in victim.live.chunks(LANES) {
            live.iter().for_each(|live| index.prefetch(live.key));
            for live in live {
                let word = index.lookup(live.key)?.word;
                if !(word.is_live() && word.has(Word::CONDEMNED)) {
                    stays.push(live);
                }
            }
        }
        Ok(if stays.is_empty() { 0 } else { len_of_copies(stays) })
    }

    /// Which of these segments the index still names something in: by a pass over it.
    pub(super) fn still_named(
        &self,
        suspects: HashSet<u32>,
        guard: &Guard,
    ) -> Result<HashSet<u32>> {
        let mut named = HashSet::new();
        if !suspects.is_empty() {
            let _ = self.index(guard).for_each(|_, word| {
                let segment = word.location().segment();
                if matches!(word.kind(), WordKind::Live | WordKind::Tomb)
                    && suspects.contains(&segment)
                {
                    named.insert(segment);
                }
                ControlFlow::<()>::Continue(())
            })?;
        }
        Ok(named)
    }

    /// Whether the index names any of these records of a segment.
    pub(super) fn names_any(&self, number: u32, live: &[Live], guard: &Guard) -> Result<bool> {
        let index = self.index(guard);
        for live in live.chunks(LANES) {
            live.iter().for_each(|live| index.prefetch(live.key));
            for live in live {
                let Some(location) = Location::new(number, live.offset) else { continue };
                if names(index.lookup(live.key)?.word, location) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

/// Refuses to copy on the word of a footer alone.
fn check_stands(mapped: &Mapped, listed: &Live) -> Result<()> {
    let header = mapped.header(listed.offset);
    let stands =
        header.is_some_and(|header| Header { state: State::Published, ..header } == listed.header);
    if stands {
        return Ok(());
    }
    let number = mapped.number;
    let what = "a record is not what its segment's footer says";
    Err(Error::damaged(what, number, listed.offset)
        .path(crate::segment::segment_path(number))
        .advice("run `blobtool fsck`"))
}

/// Whether a word names the record at a location.
pub fn names(word: Word, location: Location) -> bool {
    matches!(word.kind(), WordKind::Live | WordKind::Tomb) && word.location() == location
}
