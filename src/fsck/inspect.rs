//! Looking at segments: head, footer, every record, and what stands between them.
//!
//! Footer and walk are those of recovery (`segment/read.rs`), and so is what a record says about its key
//! (`recover/gather.rs`). A sealed segment is not cut any more, and is read through its mapping; one that
//! somebody may be appending to is searched by `pread` (`segment/blocks.rs`).
#![forbid(unsafe_code)]

use super::finding::{Cure, Finding, FindingKind};
use super::gaps::gaps;
use super::records::{Batch, View};
use super::site::Site;
use crate::disk::{Access, File};
use crate::error::{ErrorKind, Result};
use crate::format::segment::{ENTRY_BYTES, HEAD_BYTES, Head, TRAILER_MAGIC, Trailer};
use crate::format::word::Location;
use crate::id::Key;
use crate::recover::{Parts, Reliance};
use crate::segment::{
    Blocks, End, Facts, FileBlocks, end_of, map_all, read_footer, segment_path, walk,
};
use crate::sync::machine::{AtomicU64, Ordering};
use rayon::prelude::*;
use std::sync::Arc;
use zerocopy::{FromZeros, IntoBytes};

/// Damage, if the index names the record; else what a power loss may have left.
#[derive(Debug)]
pub struct Doubt {
    /// As damage.
    pub finding: Finding,
    /// The record's key.
    pub key: Key,
    /// Its number.
    pub sequence: u64,
    /// Whether it is a blob: one that no name needs is no loss.
    pub is_blob: bool,
    /// Where it stands.
    pub location: Location,
}

/// What segments hold, and what is wrong with them.
#[derive(Default)]
pub struct Seen {
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What may be.
    pub doubts: Vec<Doubt>,
    /// Heads that a power loss may have left so; no index names a record behind them, or it tells.
    pub torn: Vec<Finding>,
    /// All whole published records, in no order.
    pub items: Vec<Parts>,
    /// What refs rely on, where it does not stand right behind.
    pub reliances: Vec<Reliance>,
    /// Highest number of all records.
    pub sequence_max: u64,
    /// The segments that are sealed and the store's own.
    pub sealed: Vec<u32>,
    /// The highest of the store's own.
    pub segment_max: Option<u32>,
    /// How many there are.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Their records.
    pub records: u64,
    /// Bytes held against digests.
    pub hashed: u64,
}

impl Seen {
    fn merge(mut self, mut other: Self) -> Self {
        self.findings.append(&mut other.findings);
        self.doubts.append(&mut other.doubts);
        self.torn.append(&mut other.torn);
        self.items.append(&mut other.items);
        self.reliances.append(&mut other.reliances);
        self.sealed.append(&mut other.sealed);
        self.sequence_max = self.sequence_max.max(other.sequence_max);
        self.segment_max = self.segment_max.max(other.segment_max);
        self.segments += other.segments;
        self.bytes += other.bytes;
        self.records += other.records;
        self.hashed += other.hashed;
        self
    }
}

/// Tells how far it is.
pub struct Meter {
    done: AtomicU64,
    total: u64,
}

impl Meter {
    /// For so many bytes.
    pub fn new(total: u64) -> Self {
        Self { done: AtomicU64::new(0), total }
    }

    /// So many bytes more have been looked at.
    pub fn add(&self, bytes: u64, site: &Site<'_>) {
        // Relaxed: it orders nothing.
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        site.options.tell(done, self.total);
    }
}

/// Looks at segments, in parallel on the current pool.
pub fn inspect_all(site: &Site<'_>, numbers: &[u32], meter: &Meter) -> Result<Seen> {
    numbers
        .par_iter()
        .with_max_len(1)
        .try_fold(Seen::default, |seen, &number| inspect(site, number, meter, seen))
        .try_reduce(Seen::default, |a, b| Ok(a.merge(b)))
}

fn inspect(site: &Site<'_>, number: u32, meter: &Meter, mut seen: Seen) -> Result<Seen> {
    let damage = |message: &str, kind| Finding::damage(kind, message, Cure::Salvage(number));
    let opened = site.files.open(number, Access::Read);
    let file = match opened {
        Ok(Some(file)) => file,
        Ok(None) => return Ok(seen),
        Err(error) if error.is_damage() => {
            let finding =
                damage("what stands in place of a segment is no file", FindingKind::Segment);
            seen.findings.push(finding.path(segment_path(number)).found(error.message()));
            return Ok(seen);
        }
        Err(error) => return Err(error),
    };
    seen.segments += 1;
    seen.bytes += file.len()?;
    let is_head_whole = match site.files.is_head_whole(&*file, number) {
        Ok(is_head_whole) => is_head_whole,
        Err(error) if error.kind() == ErrorKind::Damaged => {
            let finding = Finding::of_error(FindingKind::Head, &error, Cure::Salvage(number));
            seen.findings.push(finding.at(number, 0));
            return Ok(seen);
        }
        Err(error) => return Err(error),
    };
    let view = look(site, &*file, number, is_head_whole, &mut seen)?;
    if view.facts.is_sealed {
        seen.sealed.push(number);
    }
    if is_head_whole {
        seen.segment_max = seen.segment_max.max(Some(number));
    }
    seen.records += view.facts.records.len() as u64;
    let batches = view.batches();
    let check = |batch| view.check_batch(batch, meter);
    let checked: Result<Vec<Batch>> = batches.into_par_iter().with_max_len(1).map(check).collect();
    let mut parts = seen.items.pop().unwrap_or_default();
    for batch in checked? {
        batch.items.into_iter().for_each(|item| parts.push(item));
        seen.reliances.extend(batch.reliances);
        seen.findings.extend(batch.findings);
        seen.doubts.extend(batch.doubts);
        seen.sequence_max = seen.sequence_max.max(batch.sequence_max);
        seen.hashed += batch.hashed;
    }
    seen.items.push(parts);
    Ok(seen)
}

/// Reads what a segment says about itself, and tells what is wrong with that.
fn look<'a>(
    site: &'a Site<'a>,
    file: &'a dyn File,
    number: u32,
    is_head_whole: bool,
    seen: &mut Seen,
) -> Result<View<'a>> {
    let files = &site.files;
    // Looked at first: who finishes a segment has written its footer before.
    let is_finished = site.is_finished(file)?;
    // Mapped first: a record that is found afterwards and is not in it, has been appended since.
    let map = Arc::new(map_all(file)?);
    let blocks = FileBlocks::new(file)?;
    let end = end_of(&blocks, files, number);
    let listed = end.and_then(|end| read_footer(&blocks, files, number, &end.trailer));
    let is_sealed = listed.is_some() && is_head_whole;
    let (mut records, durable) = match (listed, end) {
        (Some(records), Some(end)) => (records, end.durable),
        _ => walk(&blocks, files, number, 0),
    };
    records.retain(|entry| entry.end(files.digest_bytes()).is_some_and(|end| end <= map.len()));
    let limit = if is_sealed {
        end.map_or(blocks.len(), |end| end.trailer.entries_offset.get())
    } else {
        blocks.len()
    };
    let is_confirmed = is_sealed && end.is_some_and(|end| end.is_confirmed);
    let facts = Facts { number, map, records, is_head_whole, is_sealed, is_confirmed, durable };
    if !is_head_whole {
        let finding = head_finding(file, number)?;
        let is_proved = durable > 0 || is_finished;
        let list = match !is_proved && is_torn_head(file, number, site)? {
            true => &mut seen.torn,
            false => &mut seen.findings,
        };
        list.push(finding);
    } else if !is_sealed {
        let found = footer_finding(&blocks, &facts, end.as_ref(), site);
        let is_cut = is_finished && !found.as_ref().is_some_and(Finding::is_damage);
        seen.findings.extend(if is_cut { Some(cut_finding(&blocks, number)) } else { found });
    } else if let Some(end) = end.filter(|end| !end.is_confirmed) {
        seen.findings.extend(behind_trailer(&blocks, number, &end));
    }
    if !facts.is_sealed {
        let all = 0..facts.records.len();
        seen.findings.extend(gaps(&facts, all, limit, site).filter_map(|gap| gap.told(&blocks)));
    }
    blocks.check()?;
    Ok(View { site, facts, file, limit })
}

/// A segment that was finished, and so ended in a footer that was durable, has none.
fn cut_finding(blocks: &FileBlocks<'_>, number: u32) -> Finding {
    let message =
        "a finished segment does not end in a footer: it was cut short, or its end is damaged";
    let finding = Finding::damage(FindingKind::Footer, message, Cure::Salvage(number));
    let found = format!("{} bytes that do not end in one", blocks.len());
    finding.at(number, blocks.len()).expected("what the sealing wrote").found(found)
}

/// A head that does not check.
fn head_finding(file: &dyn File, number: u32) -> Result<Finding> {
    let mut head = Head::new_zeroed();
    file.read_at(head.as_mut_bytes(), 0)?;
    let cure = Cure::Salvage(number);
    let finding = Finding::damage(FindingKind::Head, "the head of a segment is damaged", cure);
    let found = match head.as_bytes().iter().all(|&byte| byte == 0) {
        true => "zeros",
        false => "other bytes",
    };
    Ok(finding.at(number, 0).expected("a head whose checksum holds").found(found))
}

/// Whether what is there of a head is right, and the rest was never written.
fn is_torn_head(file: &dyn File, number: u32, site: &Site<'_>) -> Result<bool> {
    let mut head = Head::new_zeroed();
    file.read_at(head.as_mut_bytes(), 0)?;
    let right = Head::new(site.files.uuid, number, head.created_ns.get());
    let words = |head: &Head| -> [u64; 8] { zerocopy::transmute!(*head) };
    let mut pairs = words(&head).into_iter().zip(words(&right)).take(7);
    let is_part = pairs.all(|(stands, right)| stands == right || stands == 0);
    let is_short = head.checksum.get() == 0 || head.magic == [0; 8];
    Ok(is_part && is_short)
}

/// What stands behind a trailer and is no durable point. Zeros are what a power loss leaves of one.
fn behind_trailer(blocks: &FileBlocks<'_>, number: u32, end: &End) -> Option<Finding> {
    let block = blocks.block(end.offset())?;
    let message = "what follows the trailer of a segment is damaged";
    let finding = Finding::damage(FindingKind::Footer, message, Cure::Salvage(number));
    let finding = finding.at(number, end.offset() - ENTRY_BYTES);
    (block != [0; 64]).then(|| finding.expected("what the sealing wrote").found("other bytes"))
}

/// What looks like a footer, and is none.
fn footer_finding(
    blocks: &FileBlocks<'_>,
    facts: &Facts,
    end: Option<&End>,
    site: &Site<'_>,
) -> Option<Finding> {
    let number = facts.number;
    let finding = |message: &str, at| {
        let finding = Finding::damage(FindingKind::Footer, message, Cure::Salvage(number));
        finding.at(number, at).expected("what the sealing wrote").found("other bytes")
    };
    if let Some(end) = end {
        // The trailer is whole, the entries are not.
        let at = end.trailer.entries_offset.get();
        let damage = finding("the entries of a footer are damaged", at);
        let is_durable = end.is_confirmed || end.durable > at;
        let is_torn = !is_durable && is_any_missing(blocks, &end.trailer);
        return Some(if is_torn { damage.excused() } else { damage });
    }
    let records_end = facts.records.last().and_then(|e| e.end(site.files.digest_bytes()));
    let records_end = records_end.unwrap_or(HEAD_BYTES);
    let last = blocks.len().checked_sub(64)?;
    for at in [Some(last), last.checked_sub(64)].into_iter().flatten() {
        let trailer: Trailer = zerocopy::transmute!(blocks.block(at)?);
        if at < records_end || !is_like_trailer(&trailer, number, at) {
            continue;
        }
        let message = if trailer.is_valid(number, at) {
            "what follows the trailer of a segment is damaged"
        } else {
            "the trailer of a segment is damaged"
        };
        let is_torn = trailer.checksum.get() == 0 || trailer.magic == [0; 8];
        let damage = finding(message, at);
        return Some(if is_torn { damage.excused() } else { damage });
    }
    None
}

/// Whether enough of a block is as in a trailer.
fn is_like_trailer(trailer: &Trailer, number: u32, at: u64) -> bool {
    let entries = trailer.entry_count.get().checked_mul(ENTRY_BYTES);
    let end = entries.and_then(|bytes| trailer.entries_offset.get().checked_add(bytes));
    let is_placed = end == Some(at) && trailer.entries_offset.get() >= HEAD_BYTES;
    trailer.magic == TRAILER_MAGIC || is_placed && trailer.segment.get() == u64::from(number)
}

/// Whether entries that a trailer announces were never written.
fn is_any_missing(blocks: &FileBlocks<'_>, trailer: &Trailer) -> bool {
    let start = trailer.entries_offset.get();
    let offsets = (0..trailer.entry_count.get()).map(|at| start.saturating_add(at * ENTRY_BYTES));
    offsets.take_while(|&at| at < blocks.len()).any(|at| {
        let block = blocks.block(at).unwrap_or([0; 64]);
        block[..8] == [0; 8] || block[8..] == [0; 56]
    })
}
