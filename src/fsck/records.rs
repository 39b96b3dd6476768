//! Looking at the records of a segment.
//!
//! To be held against digests they are read through the mapping where the segment is sealed and the kernel
//! has got its pages: one that the medium does not give would be a SIGBUS. Else they are read by `pread`, a
//! stretch at a time, and what cannot be read is an error.
#![forbid(unsafe_code)]

use super::bodies::{Digests, Fault, mapped_fault, ref_fault};
use super::finding::{Cure, Finding, FindingKind};
use super::gaps::{Gap, gaps};
use super::inspect::{Doubt, Meter};
use super::site::Site;
use crate::blob::published_body;
use crate::disk::{File, Map};
use crate::error::Result;
use crate::format::record::{HEADER_BYTES, Header, Kind, SEQUENCE_MAX, State};
use crate::format::segment::Entry;
use crate::format::word::Location;
use crate::hash::{ChunkDigest, ChunkHasher, chunk_digest, digest};
use crate::id::BlobId;
use crate::recover::{Item, Reader, Reliance, key_of};
use crate::segment::{Facts, FileBlocks};
use crate::units::CHUNK_BYTES;
use rayon::prelude::*;
use std::cell::RefCell;
use std::ops::Range;

/// Bytes read at a time.
const WINDOW_BYTES: u64 = CHUNK_BYTES;
/// Bytes of records that one thread takes at a time where they are not read.
const BATCH_BYTES: u64 = 4 * CHUNK_BYTES;
/// Records whose headers are prefetched ahead.
const PREFETCH: usize = 8;

thread_local! {
    /// What a thread reads into.
    static WINDOW: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Calls `f` with a buffer of this thread, of so many bytes.
fn with_window<T>(bytes: usize, f: impl FnOnce(&mut [u8]) -> T) -> T {
    WINDOW.with(|window| match window.try_borrow_mut() {
        Ok(mut window) => {
            if window.len() < bytes {
                window.resize(bytes, 0);
            }
            f(&mut window[..bytes])
        }
        // A thread that waits for others may do a part of their work meanwhile.
        Err(_) => f(&mut vec![0; bytes]),
    })
}

/// A segment that is looked at.
pub struct View<'a> {
    /// The store.
    pub site: &'a Site<'a>,
    /// What the segment says about itself.
    pub facts: Facts,
    /// Its file.
    pub file: &'a dyn File,
    /// Where its records may reach.
    pub limit: u64,
}

/// What some records gave.
#[derive(Default)]
pub struct Batch {
    /// Those that are published and whole.
    pub items: Vec<Item>,
    /// What they rely on, where it does not stand right behind.
    pub reliances: Vec<Reliance>,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What may be.
    pub doubts: Vec<Doubt>,
    /// The highest number.
    pub sequence_max: u64,
    /// Bytes held against digests.
    pub hashed: u64,
}

/// Where records are looked at.
enum Source<'a> {
    Map(&'a Map),
    /// Bytes from an offset on.
    Window(u64, &'a [u8]),
    /// A record too long for a window: its header.
    Long([u8; 64]),
}

impl Source<'_> {
    fn block(&self, offset: u64) -> Option<[u8; 64]> {
        match self {
            Self::Map(map) => map.read_block(offset),
            Self::Window(start, bytes) => {
                let at = usize::try_from(offset.checked_sub(*start)?).ok()?;
                bytes.get(at..at.checked_add(64)?)?.try_into().ok()
            }
            Self::Long(header) => Some(*header),
        }
    }
}

impl View<'_> {
    /// The records in stretches for one thread each.
    pub fn batches(&self) -> Vec<Range<usize>> {
        let digest_bytes = self.site.files.digest_bytes();
        let most = if self.site.options.is_deep() { WINDOW_BYTES } else { BATCH_BYTES };
        let (mut batches, mut first, mut start) = (Vec::new(), 0, 0);
        for (at, entry) in self.facts.records.iter().enumerate() {
            let end = entry.end(digest_bytes).unwrap_or(entry.offset());
            if at > first && end.saturating_sub(start) > most {
                batches.push(first..at);
                first = at;
            }
            if at == first {
                start = entry.offset();
            }
        }
        batches.push(first..self.facts.records.len());
        batches
    }

    /// Looks at some records.
    pub fn check_batch(&self, range: Range<usize>, meter: &Meter) -> Result<Batch> {
        let mut batch = Batch::default();
        let records = &self.facts.records[range.clone()];
        let Some(first) = records.first() else {
            let mut gaps = self.gaps(range);
            gaps.try_for_each(|gap| self.check_gap(&gap, &(0..0), &mut batch))?;
            return Ok(batch);
        };
        let end = records.last().and_then(|entry| entry.end(self.site.files.digest_bytes()));
        let (start, end) = (first.offset(), end.unwrap_or(first.offset()));
        batch.items.reserve(records.len());
        // Of a forged footer the last one may stand before the first.
        let bytes = end.checked_sub(start);
        let is_short = bytes.is_some_and(|bytes| bytes <= WINDOW_BYTES);
        let is_deep = self.site.options.is_deep();
        let is_readable = is_deep && is_short && self.is_readable(start, end - start);
        let mut check_all = |source: &Source<'_>| {
            let readable = if is_readable { start..end } else { 0..0 };
            self.check_all(range.clone(), source, &readable, &mut batch)
        };
        if !is_deep || is_readable {
            check_all(&Source::Map(&self.facts.map))?;
        } else if is_short {
            with_window((end - start) as usize, |window| {
                let read = self.file.read_at(window, start)?;
                check_all(&Source::Window(start, &window[..read]))
            })?;
        } else {
            let mut header = [0; 64];
            self.file.read_at(&mut header, start)?;
            check_all(&Source::Long(header))?;
        }
        meter.add(bytes.unwrap_or(0), self.site);
        Ok(batch)
    }

    /// Whether a stretch can be read through the mapping: nobody cuts a sealed segment, and its pages
    /// are there.
    fn is_readable(&self, offset: u64, len: u64) -> bool {
        self.facts.is_sealed && self.facts.map.populate(offset, len)
    }

    /// What stands in front of these records, if the segment is sealed; else that has been looked at.
    fn gaps(&self, range: Range<usize>) -> impl Iterator<Item = Gap> {
        let is_sealed = self.facts.is_sealed;
        is_sealed.then(|| gaps(&self.facts, range, self.limit, self.site)).into_iter().flatten()
    }

    /// Looks at a gap. Bytes of `readable` can be read through the mapping.
    fn check_gap(&self, gap: &Gap, readable: &Range<u64>, batch: &mut Batch) -> Result<()> {
        let Range { start, end } = gap.bytes;
        let is_there = readable.start <= start && end <= readable.end;
        batch.findings.extend(if is_there || self.is_readable(start, end - start) {
            gap.told(&*self.facts.map)
        } else {
            let blocks = FileBlocks::new(self.file)?;
            let told = gap.told(&blocks);
            blocks.check()?;
            told
        });
        Ok(())
    }

    /// Looks at some records and the gaps in front of them, as they stand: what follows is fetched by the
    /// processor meanwhile.
    fn check_all(
        &self,
        range: Range<usize>,
        source: &Source<'_>,
        readable: &Range<u64>,
        batch: &mut Batch,
    ) -> Result<()> {
        let mut gaps = self.gaps(range.clone()).peekable();
        for index in range {
            let offset = self.facts.records[index].offset();
            while let Some(gap) = gaps.next_if(|gap| gap.bytes.end <= offset) {
                self.check_gap(&gap, readable, batch)?;
            }
            if let (Source::Map(map), Some(ahead)) =
                (source, self.facts.records.get(index + PREFETCH))
            {
                map.prefetch(ahead.offset());
            }
            self.check_record(index, source, batch)?;
        }
        gaps.try_for_each(|gap| self.check_gap(&gap, readable, batch))
    }

    fn check_record(&self, index: usize, source: &Source<'_>, batch: &mut Batch) -> Result<()> {
        let entry = &self.facts.records[index];
        let Some(listed) = entry.header() else { return Ok(()) };
        let (number, offset) = (self.facts.number, entry.offset());
        let place = self.site.files.place(number);
        let block = source.block(offset);
        let stands = block.and_then(|block| Header::decode(&block, place, offset));
        let Some(stands) = stands else {
            let finding = self.damage(FindingKind::Header, "the header of a record is damaged");
            let finding = finding.at(number, offset).expected(described(&listed, self.site));
            self.doubt(finding.found("other bytes"), entry, &listed, batch);
            return Ok(());
        };
        let stated = Header { state: stands.state, ..listed };
        if stated != stands {
            let finding = self.damage(FindingKind::Footer, "a footer lists what is not there");
            let finding = finding.at(number, offset).expected(described(&listed, self.site));
            batch.findings.push(finding.found(described(&stands, self.site)));
            return Ok(());
        }
        if stands.sequence > SEQUENCE_MAX {
            let finding = self.damage(FindingKind::Header, "a record has an impossible number");
            let finding = finding.at(number, offset).expected(format!("at most {SEQUENCE_MAX}"));
            batch.findings.push(finding.found(stands.sequence));
            return Ok(());
        }
        batch.sequence_max = batch.sequence_max.max(stands.sequence);
        if listed.state == State::Published && stands.state == State::Pending {
            let finding = self.damage(FindingKind::Header, "a published record is pending again");
            let finding = finding.at(number, offset).expected("state 167").found("state 80");
            self.doubt(finding, entry, &listed, batch);
            return Ok(());
        }
        if stands.state == State::Published {
            self.check_body(index, &stands, source, batch)?;
        }
        Ok(())
    }

    fn check_body(
        &self,
        index: usize,
        header: &Header,
        source: &Source<'_>,
        batch: &mut Batch,
    ) -> Result<()> {
        let (files, entry) = (&self.site.files, &self.facts.records[index]);
        let (offset, len) = (entry.offset(), header.body_len);
        let digests = Digests { header, hash: files.hash };
        let is_blob = header.kind == Kind::Blob;
        batch.hashed += if is_blob && self.site.options.is_deep() { len } else { 0 };
        let ref_fault = |body: &[u8]| {
            ref_fault(header, body, entry.held.get(), &files.uuid, self.facts.is_sealed)
        };
        let fault = match source {
            Source::Map(map) => {
                let Some(body) = published_body(map, offset, header) else { return Ok(()) };
                if is_blob {
                    mapped_fault(map, offset, body, &digests, self.site.options.is_deep())
                } else {
                    ref_fault(body)
                }
            }
            Source::Window(start, bytes) => {
                let at = (offset + HEADER_BYTES - start) as usize;
                let body = bytes.get(at..at + len as usize).unwrap_or_default();
                if is_blob { digests.sole(digest(files.hash, body)) } else { ref_fault(body) }
            }
            Source::Long(_) if is_blob => self.long_fault(offset, &digests)?,
            Source::Long(_) => {
                let mut body = vec![0; len as usize];
                let read = self.file.read_at(&mut body, offset + HEADER_BYTES)?;
                ref_fault(&body[..read])
            }
        };
        match fault {
            Some(fault) => self.body_doubt(&fault, entry, header, batch),
            None => {
                // Of the record behind it, its own look tells.
                let reader = Reader { files, facts: &self.facts, whole_below: u64::MAX };
                batch.items.extend(reader.note(index, entry, header, &mut batch.reliances));
            }
        }
        Ok(())
    }

    /// What is wrong with a blob that is too long for a window; its chunks are hashed side by side.
    fn long_fault(&self, offset: u64, digests: &Digests<'_>) -> Result<Option<Fault>> {
        let (at, bytes) = digests.chunks_at();
        if bytes == 0 {
            return Ok(digests.sole(self.hash_chunk(0, offset, digests)?.0));
        }
        let count = digests.header.body_len.div_ceil(CHUNK_BYTES) as usize;
        let one = |index| self.hash_chunk(index as u64, offset, digests);
        let hashed: Result<Vec<ChunkDigest>> =
            (0..count).into_par_iter().with_max_len(1).map(one).collect();
        let mut stored = vec![0; bytes];
        let read = self.file.read_at(&mut stored, offset + at)?;
        Ok(digests.chunked(&hashed?, &stored[..read]))
    }

    /// Of a chunk that is one of several, or the only one.
    fn hash_chunk(&self, index: u64, offset: u64, digests: &Digests<'_>) -> Result<ChunkDigest> {
        let body = offset + HEADER_BYTES;
        let start = index * CHUNK_BYTES;
        let end = (start + CHUNK_BYTES).min(digests.header.body_len);
        let is_sole = digests.header.body_len <= CHUNK_BYTES;
        if self.is_readable(body + start, end - start)
            && let Some(bytes) = published_body(&self.facts.map, offset, digests.header)
        {
            // At once: faster than piece by piece.
            let bytes = &bytes[start as usize..end as usize];
            return Ok(match is_sole {
                true => ChunkDigest(digest(digests.hash, bytes)),
                false => chunk_digest(digests.hash, index, bytes),
            });
        }
        let mut hasher = ChunkHasher::new(digests.hash, index);
        for at in (start..end).step_by(WINDOW_BYTES as usize) {
            let bytes = WINDOW_BYTES.min(end - at) as usize;
            with_window(bytes, |window| {
                // What the file does not hold reads as zero, and the digest tells.
                let read = self.file.read_at(window, body + at)?;
                window[read..].fill(0);
                hasher.update(window);
                Ok::<_, crate::error::Error>(())
            })?;
        }
        Ok(if is_sole { ChunkDigest(hasher.finish_sole()) } else { hasher.finish_part() })
    }

    fn body_doubt(&self, fault: &Fault, entry: &Entry, header: &Header, batch: &mut Batch) {
        let finding = self.damage(fault.kind, fault.message);
        let finding = finding.at(self.facts.number, entry.offset() + fault.offset);
        let (expected, found) = if fault.expected.is_empty() {
            (described(header, self.site), "another body".to_owned())
        } else {
            (fault.expected.clone(), fault.found.clone())
        };
        self.doubt(finding.expected(expected).found(found), entry, header, batch);
    }

    fn damage(&self, kind: FindingKind, message: &str) -> Finding {
        Finding::damage(kind, message, Cure::Salvage(self.facts.number))
    }

    /// Damage, or a doubt if it is not proved to have been durable.
    fn doubt(&self, finding: Finding, entry: &Entry, header: &Header, batch: &mut Batch) {
        let files = &self.site.files;
        let finding = if matches!(header.kind, Kind::Blob | Kind::Pin | Kind::BlobTomb) {
            finding.blob(BlobId::from_padded(files.hash, header.digest))
        } else {
            finding
        };
        let end = entry.offset() + header.record_bytes(files.digest_bytes());
        let is_durable = end <= self.facts.durable;
        match Location::new(self.facts.number, entry.offset()) {
            Some(location) if !is_durable => {
                let (key, sequence) = (key_of(files, header), header.sequence);
                let is_blob = header.kind == Kind::Blob;
                batch.doubts.push(Doubt { finding, key, sequence, is_blob, location });
            }
            _ => batch.findings.push(finding),
        }
    }
}

/// A record, for a person.
pub fn described(header: &Header, site: &Site<'_>) -> String {
    let what = match header.kind {
        Kind::Blob => "the blob",
        Kind::Ref => "a ref",
        Kind::Pin => "the pin of",
        Kind::BlobTomb => "the tombstone of",
        Kind::RefTomb => "the tombstone of a ref",
        Kind::DurablePoint => "a durable point",
    };
    let number = header.sequence;
    match header.kind {
        Kind::Blob | Kind::Pin | Kind::BlobTomb => {
            format!(
                "{what} {}, number {number}",
                BlobId::from_padded(site.files.hash, header.digest)
            )
        }
        _ => format!("{what}, number {number}"),
    }
}
