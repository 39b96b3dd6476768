//! The one writer of an open segment.
//!
//! I1  Who has an appender holds the exclusive OFD lock of its segment; the kernel drops it when the
//!     process dies.
//! I2  Bytes below `tail` are never written again, except the state bytes of records. What stands at
//!     and above `tail` belongs to no record that the index names.
//! I3  A record's header is written after its payload, or with it in one write.
//! I4  After a failed write the appender is given up and what stands above its tail cut off: whoever
//!     takes the segment up next finds the tail anew (`adopt.rs`), so leftovers are never mistaken.
//! I5  Not so copies: they say from the first that they are published, and whoever syncs meanwhile may
//!     have taken some for durable. What may stand there of them stays, as after a death, and nothing else
//!     is ever written in its place.
//!
//! Death: behind the reservation, some zeros; behind the payload, bytes without a header; behind the
//! header, a pending record that nobody names, or the first part of a copy that says it is published
//! (`adopt.rs`, I1). All of it is garbage of this segment.
#![forbid(unsafe_code)]

use super::batch::Batch;
use super::files::{Files, SEGMENTS_DIR, segment_path};
use super::listed::Listed;
use super::number::draw_free;
use super::room::Purpose;
use super::sync::{sync_data, sync_name};
use crate::control::Control;
use crate::disk::{File, LockKind, Reserve};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{Kind, Place};
use crate::format::segment::{HEAD_BYTES, Head};
use crate::format::word::Location;
use crate::units::{KIB, MIB, SEGMENT_BYTES_MAX};
use std::ops::Range;
use std::sync::Arc;
use zerocopy::IntoBytes;

/// First step of space reserved ahead.
const RESERVE_BYTES_MIN: u64 = 64 * KIB;
/// Longest step.
const RESERVE_BYTES_MAX: u64 = 64 * MIB;
/// The hint of the last header in `control` is moved when it has fallen behind by this much.
const HINT_LAG_BYTES: u64 = MIB;

/// Records after which a segment is sealed, however short it is: whoever seals looks at each, and the put
/// that finds no room waits for that.
pub const RECORDS_MAX: u64 = 1 << 14;

/// An open segment and the right to append to it.
#[derive(Debug)]
pub struct Appender {
    pub(super) files: Files,
    pub(super) file: Arc<dyn File>,
    pub(super) number: u32,
    pub(super) place: Place,
    /// Where it was taken up: records below are not of this appender's making.
    pub(super) origin: u64,
    /// First byte that belongs to no record.
    pub(super) tail: u64,
    /// Records that it has appended.
    pub(super) count: u64,
    /// Length of the file: what is reserved.
    pub(super) reserved: u64,
    /// What stands below is known to be durable.
    pub(super) durable: u64,
    pub(super) slot: Option<usize>,
    pub(super) hinted: u64,
    buffer: Vec<u8>,
    /// What stands in it.
    pub(super) listed: Listed,
    /// What it appends, and so how much of the last space it may take.
    purpose: Purpose,
    /// Where copies end that may stand there in part (I5).
    pub(super) copying: u64,
}

impl Appender {
    /// Makes a new segment and notes it as open.
    pub fn create(files: &Files, control: &Control) -> Result<Self> {
        let appender = Self::create_unnamed(files, control)?;
        appender.link()?;
        let mut appender = appender;
        appender.slot = Location::new(appender.number, 0).and_then(|at| control.note_open(at));
        Ok(appender)
    }

    /// Makes a segment without a name: if the process dies before [`Appender::link`], or the appender
    /// is dropped, nothing is left of it.
    pub fn create_unnamed(files: &Files, control: &Control) -> Result<Self> {
        let file = files.disk.create(SEGMENTS_DIR)?;
        let number = draw_free(files, control)?;
        let head = Head::new(files.uuid, number, crate::clock::now_ns());
        file.write_at(head.as_bytes(), 0)?;
        if !file.try_lock(0, 1, LockKind::Exclusive)? {
            return Err(Error::new(ErrorKind::Io, "a new file is locked already"));
        }
        Ok(Self {
            place: files.place(number),
            files: files.clone(),
            file,
            number,
            origin: 0,
            tail: HEAD_BYTES,
            count: 0,
            reserved: HEAD_BYTES,
            durable: 0,
            slot: None,
            hinted: 0,
            buffer: Vec::new(),
            listed: Listed::of_none(),
            purpose: Purpose::default(),
            copying: 0,
        })
    }

    /// Takes up an open segment whose lock the caller has got; see `adopt.rs`.
    pub(super) fn taken_up(
        files: &Files,
        file: Arc<dyn File>,
        number: u32,
        tail: u64,
        reserved: u64,
    ) -> Self {
        Self {
            place: files.place(number),
            files: files.clone(),
            file,
            number,
            origin: tail,
            tail,
            count: 0,
            reserved,
            durable: 0,
            slot: None,
            hinted: tail,
            buffer: Vec::new(),
            listed: Listed::unknown(),
            purpose: Purpose::default(),
            copying: 0,
        }
    }

    /// Gives the segment its name.
    pub fn link(&self) -> Result<()> {
        if self.files.disk.link(&*self.file, &segment_path(self.number))? {
            return Ok(());
        }
        Err(Error::damaged("a segment with a number that was just drawn exists", self.number, 0)
            .path(segment_path(self.number)))
    }

    /// The segment's number.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The file, for who syncs it while the appender goes on.
    pub fn file(&self) -> &Arc<dyn File> {
        &self.file
    }

    /// Where headers of this segment stand.
    pub fn place(&self) -> Place {
        self.place
    }

    /// First byte that belongs to no record.
    pub fn tail(&self) -> u64 {
        self.tail
    }

    /// Whether it has appended so many records that whoever seals it has much to do.
    pub fn is_full(&self) -> bool {
        self.count >= RECORDS_MAX
    }

    /// The bytes that it has appended.
    pub fn appended(&self) -> Range<u64> {
        self.origin..self.tail
    }

    /// Whether more records of `bytes` go into the segment before it is sealed at `target`, or because it
    /// has enough of them. A fresh segment takes anything whose header can be located.
    pub fn takes(&self, bytes: u64, target: u64) -> bool {
        self.fits(bytes, target) && (self.count < RECORDS_MAX || bug!("records-unbounded"))
    }

    /// Whether records of `bytes` fit before the segment reaches `target`, however many there are.
    pub fn fits(&self, bytes: u64, target: u64) -> bool {
        let end = self.tail.saturating_add(bytes);
        end <= target.min(SEGMENT_BYTES_MAX) || self.tail == HEAD_BYTES
    }

    /// Says what it appends from now on.
    pub fn set_purpose(&mut self, purpose: Purpose) {
        self.purpose = purpose;
    }

    /// Whether records of `bytes` fit into the space that the segment has already.
    pub fn has_reserved(&self, bytes: u64) -> bool {
        self.tail.saturating_add(bytes) <= self.reserved
    }

    /// Bytes of space that the segment has behind its tail.
    pub fn reserved_bytes(&self) -> u64 {
        self.reserved.saturating_sub(self.tail)
    }

    /// The location of a header of this segment.
    pub fn location(&self, offset: u64) -> Result<Location> {
        Location::new(self.number, offset).ok_or_else(|| {
            Error::new(ErrorKind::Limit, "a record would stand too far into its segment")
                .expected(format!("an offset below {SEGMENT_BYTES_MAX}"))
                .found(offset)
        })
    }

    /// A batch of records to go behind the last one.
    pub fn batch(&mut self) -> Batch {
        Batch::new(self.place, self.tail, std::mem::take(&mut self.buffer))
    }

    /// Gives a batch's buffer back.
    pub fn recycle(&mut self, batch: Batch) {
        let buffer = batch.into_buffer();
        if buffer.capacity() <= 4 * MIB as usize {
            self.buffer = buffer;
        }
    }

    /// Refuses to grow to `end` where that would take space that is kept for others; whether space is
    /// short.
    pub fn check_room(&self, end: u64) -> Result<bool> {
        self.purpose.check(&*self.files.disk, end.saturating_sub(self.reserved))
    }

    /// Asks for space up to `end`, in growing steps.
    pub fn reserve_to(&mut self, end: u64) -> Result<()> {
        if end <= self.reserved {
            return Ok(());
        }
        let how = if self.check_room(end)? { Reserve::Backed } else { Reserve::Ahead };
        let step = if self.tail == HEAD_BYTES {
            0
        } else {
            (self.tail / 8).clamp(RESERVE_BYTES_MIN, RESERVE_BYTES_MAX)
        };
        let wanted =
            end.max(self.reserved.saturating_add(step)).next_multiple_of(RESERVE_BYTES_MIN);
        let got = match self.file.reserve(self.reserved, wanted, how) {
            // Near a full disk the long step may fail where what is needed still fits.
            Err(error) if error.kind() == ErrorKind::NoSpace && wanted > end => {
                self.file.reserve(self.reserved, end, how)?;
                end
            }
            other => other.map(|()| wanted)?,
        };
        self.reserved = got;
        Ok(())
    }

    /// Asks for space for so many bytes of records to come, where there is plenty.
    pub fn reserve_ahead(&mut self, bytes: u64) {
        let end = self.tail.saturating_add(bytes).next_multiple_of(RESERVE_BYTES_MIN);
        if Purpose::Put.check(&*self.files.disk, bytes).is_ok_and(|is_short| !is_short)
            && self.file.reserve(self.reserved, end, Reserve::Ahead).is_ok()
        {
            self.reserved = self.reserved.max(end);
        }
    }

    /// Gives back what it has reserved: less is used up, and who walks over the segment ends where it does.
    pub fn trim(&mut self) {
        if self.reserved > self.tail && self.file.set_len(self.tail).is_ok() {
            self.reserved = self.tail;
        }
    }

    /// Appends the batch: its records are in the log, pending.
    pub fn append(&mut self, batch: &Batch, control: &Control) -> Result<()> {
        debug_assert_eq!(batch.start(), self.tail, "a batch belongs to the tail it was begun at");
        self.reserve_to(batch.tail())?;
        self.file.write_at(batch.bytes(), batch.start())?;
        self.advance_over(batch, batch.tail(), control);
        Ok(())
    }

    /// Moves the tail behind a batch that has been written, and what belongs to its last record.
    pub fn advance_over(&mut self, batch: &Batch, tail: u64, control: &Control) {
        self.count += batch.records().len() as u64;
        self.listed.add(batch.entries());
        self.advance(batch.records().last().map(|last| last.offset), tail, control);
    }

    /// Moves the tail behind what has been written, the last record of which stands at an offset.
    pub(super) fn advance(&mut self, last: Option<u64>, tail: u64, control: &Control) {
        control.count_appended(tail - self.tail);
        self.tail = tail;
        self.reserved = self.reserved.max(tail);
        if let (Some(slot), Some(last)) = (self.slot, last)
            && last.saturating_sub(self.hinted) >= HINT_LAG_BYTES
            && let Some(location) = Location::new(self.number, last)
        {
            self.hinted = last;
            control.move_open(slot, location);
        }
    }

    /// Sets the state byte of these records of an appended batch.
    pub fn publish(&mut self, batch: &mut Batch, records: &[usize]) -> Result<()> {
        for &record in records {
            batch.mark_published(record);
        }
        for range in batch.state_ranges(records) {
            self.file.write_at(batch.slice(&range), range.start)?;
        }
        self.listed.publish(records.iter().map(|&at| batch.records()[at].offset));
        Ok(())
    }

    /// Runs an operation on it; gives it up if that fails (I4).
    pub fn attempt<T>(
        mut self,
        operation: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<(Self, T)> {
        match operation(&mut self) {
            Ok(value) => Ok((self, value)),
            Err(error) => {
                self.give_up();
                Err(error)
            }
        }
    }

    /// Gives the segment up, after an error or because its process ends, and what is reserved above its
    /// tail back to the file system: where that was full, the next put needs it. Sealing cuts off the same bytes: no index
    /// has named a record in them (I2), so no view reaches there. If they cannot be cut off, the next
    /// appender passes over them, as it does over what is left of copies (I5).
    pub fn give_up(self) {
        let end = self.tail.max(if bug!("copies-cut-off") { 0 } else { self.copying });
        if self.file.len().is_ok_and(|len| len > end) {
            let _ = self.file.set_len(end);
        }
    }

    /// Makes everything appended durable, and the segment's name the first time.
    ///
    /// # Errors
    /// `SyncFailed`: the segment is to be poisoned before the appender is dropped.
    pub fn sync(&mut self) -> Result<()> {
        sync_data(&*self.file)?;
        if self.durable == 0 {
            sync_name(&self.files)?;
        }
        self.durable = self.tail;
        Ok(())
    }

    /// Notes in the segment that all that has been appended was made durable, by whomever: recovery need
    /// not verify it.
    pub fn note_durable(&mut self, control: &Control) -> Result<()> {
        self.durable = self.tail;
        let mut batch = self.batch();
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&self.durable.to_le_bytes());
        batch.push(Kind::DurablePoint, &[], 0, digest);
        let appended = self.append(&batch, control);
        self.recycle(batch);
        appended
    }
}
