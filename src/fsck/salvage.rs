//! Saving what is whole in damaged segments.
//!
//! A damaged segment is walked without its footer, so that damage of one record costs no other. What is
//! published and whole is copied to new segments, number and all: a copy is equal to what it is a copy
//! of, and so may be there twice.
//!
//! Death: an open segment of copies.
#![forbid(unsafe_code)]

use super::bodies::{Digests, mapped_fault, ref_fault};
use super::finding::FindingKind;
use super::quarantine;
use super::site::Site;
use crate::blob::published_body;
use crate::control::{Control, Fresh, Lost};
use crate::disk::{Access, Map};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{HEADER_BYTES, Kind, SEQUENCE_MAX, State, chunk_digests_offset};
use crate::format::word::{Location, Root};
use crate::hash::{chunk_digest, encode_chunks};
use crate::recover::{Item, key_of, part_of, scratch_control, winner};
use crate::segment::{Appender, Judge, Scan, Scanned, first_free, map_all, segment_path};
use crate::units::{CHUNK_BYTES, MIB, PAGE_BYTES};
use std::collections::BTreeSet;

/// Room for footers, and for the index to come.
const HEADROOM_BYTES: u64 = MIB;

/// A record to be saved.
struct Saved {
    record: Scanned,
    /// Whether the digests of its chunks are to be written anew.
    needs_chunks: bool,
}

/// What is to be saved of one segment.
struct Plan {
    number: u32,
    saved: Vec<Saved>,
}

/// What is to be saved of all damaged segments.
pub struct Salvage<'a> {
    site: &'a Site<'a>,
    plans: Vec<Plan>,
    /// Bytes of records to be saved.
    pub bytes: u64,
    /// How many there are.
    pub records: u64,
    /// Published ones that are not whole, and that no later one supersedes.
    pub lost: u64,
    /// Segments that have no whole head.
    pub headless: u64,
}

impl<'a> Salvage<'a> {
    /// Looks through the damaged segments; `sorted` are the published records that are whole.
    ///
    /// # Errors
    /// `NoSpace` if what is to be saved does not fit on the file system: nothing has been changed.
    pub fn plan(site: &'a Site<'a>, damaged: &BTreeSet<u32>, sorted: &[Vec<Item>]) -> Result<Self> {
        let mut salvage =
            Self { site, plans: Vec::new(), bytes: 0, records: 0, lost: 0, headless: 0 };
        let is_elsewhere = |item: &Item| {
            let location = item.word.location();
            let items = &sorted[part_of(item.key)];
            let from = items.partition_point(|other| other.key < item.key);
            let versions = items[from..].iter().take_while(|other| other.key == item.key);
            let mut copies = versions.filter(|other| other.sequence == item.sequence);
            copies.any(|copy| {
                let at = copy.word.location();
                at != location && !damaged.contains(&at.segment())
            })
        };
        for &number in damaged {
            salvage.plan_one(number, sorted, &is_elsewhere)?;
        }
        let free = site.disk().space()?.free;
        let needed = salvage.bytes + HEADROOM_BYTES * u64::from(salvage.bytes > 0);
        if needed > free {
            return Err(Error::new(ErrorKind::NoSpace, "there is no room for what is to be saved")
                .expected(format!("{needed} bytes free"))
                .found(format!("{free} bytes"))
                .advice("free space on the file system and repair again: nothing was changed"));
        }
        Ok(salvage)
    }

    fn plan_one(
        &mut self,
        number: u32,
        sorted: &[Vec<Item>],
        is_elsewhere: &dyn Fn(&Item) -> bool,
    ) -> Result<()> {
        let mut plan = Plan { number, saved: Vec::new() };
        if self.site.home_of(number)?.is_some() {
            // It only gets its name back.
            self.plans.push(plan);
            return Ok(());
        }
        if let Some((map, written_as, is_head_whole)) = open(self.site, number)? {
            let files = &self.site.files;
            self.headless += u64::from(!is_head_whole);
            let scan = Scan::new(&map, files.place(written_as), files.digest_bytes(), 0);
            for record in scan.filter(|record| record.header.kind.is_keyed()) {
                if record.header.state == State::Published {
                    self.plan_record(&map, written_as, record, &mut plan, sorted, is_elsewhere);
                }
            }
        }
        self.plans.push(plan);
        Ok(())
    }

    fn plan_record(
        &mut self,
        map: &Map,
        written_as: u32,
        record: Scanned,
        plan: &mut Plan,
        sorted: &[Vec<Item>],
        is_elsewhere: &dyn Fn(&Item) -> bool,
    ) {
        let (files, header) = (&self.site.files, &record.header);
        let location = Location::new(written_as, record.offset);
        let (Some(location), Some(body)) = (location, published_body(map, record.offset, header))
        else {
            return;
        };
        let fault = if header.kind == Kind::Blob {
            let digests = Digests { header, hash: files.hash };
            mapped_fault(map, record.offset, body, &digests, true)
        } else {
            ref_fault(header, body, 0, &files.uuid, false)
        };
        let needs_chunks = fault.as_ref().is_some_and(|fault| fault.kind == FindingKind::Chunks);
        let key = key_of(files, header);
        if header.sequence > SEQUENCE_MAX || fault.is_some() && !needs_chunks {
            // What was superseded is no loss.
            let newest = winner(sorted, key).map(|item| item.sequence);
            self.lost += u64::from(newest < Some(header.sequence));
            return;
        }
        let word = crate::format::word::Word::live(location, header.kind.is_ref(), 0);
        let item = Item { key, sequence: header.sequence, word };
        if !is_elsewhere(&item) {
            self.bytes += record.end - record.offset;
            self.records += 1;
            plan.saved.push(Saved { record, needs_chunks });
        }
    }

    /// Copies what is to be saved into new segments, durably.
    ///
    /// # Errors
    /// Then the new segments are removed again, as far as that is possible.
    pub fn carry_out(&self) -> Result<()> {
        let control = self.control()?;
        let mut copying =
            Copying { site: self.site, control: &control, made: Vec::new(), target: None };
        let copied = self.plans.iter().try_for_each(|plan| copying.copy_all(plan));
        let done = copied.and_then(|()| copying.finish());
        if done.is_err() {
            copying.undo();
        }
        done
    }

    /// A control page in memory, for the numbers of the new segments.
    fn control(&self) -> Result<Control> {
        let above = first_free(&self.site.files.list()?);
        let quarantined = quarantine::segment_max(&**self.site.disk())?;
        let next_segment = above.max(quarantined.map_or(0, |number| number + 1));
        scratch_control(&Fresh {
            uuid: self.site.files.uuid,
            mount: 0,
            limit: 0,
            root: Root::stable(0, 0),
            next_segment,
            next_sequence: 1,
            bytes: 0,
            lost: Lost::default(),
        })
    }
}

/// A damaged segment, mapped, and the number as which it was written: another one's file may stand in its
/// place, and its own be taken; and whether its head is whole. `None` if it is no file.
fn open(site: &Site<'_>, number: u32) -> Result<Option<(Map, u32, bool)>> {
    match site.files.open(number, Access::Read) {
        Ok(Some(file)) => {
            let own = site.files.own_number(&*file)?.filter(|_| !bug!("displaced-unread"));
            Ok(Some((map_all(&*file)?, own.unwrap_or(number), own.is_some())))
        }
        Ok(None) => Ok(None),
        Err(error) if error.is_damage() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Copies on their way.
struct Copying<'a> {
    site: &'a Site<'a>,
    control: &'a Control,
    made: Vec<u32>,
    target: Option<Appender>,
}

impl Copying<'_> {
    fn copy_all(&mut self, plan: &Plan) -> Result<()> {
        // One at least: no segment to come must have the number of one that was taken out.
        self.target_for(0)?;
        let Some((map, ..)) = open(self.site, plan.number)? else { return Ok(()) };
        plan.saved.iter().try_for_each(|saved| self.copy(&map, saved))
    }

    fn copy(&mut self, map: &Map, saved: &Saved) -> Result<()> {
        let control = self.control;
        let hash = self.site.files.hash;
        let record = &saved.record;
        let target = self.target_for(record.end - record.offset)?;
        let offset = target.copy_record(map, record, control)?;
        if saved.needs_chunks
            && let Some(body) = published_body(map, record.offset, &record.header)
        {
            let parts = body.chunks(CHUNK_BYTES as usize).zip(0..);
            let chunks: Vec<_> = parts.map(|(part, at)| chunk_digest(hash, at, part)).collect();
            let at = offset + HEADER_BYTES + chunk_digests_offset(record.header.body_len);
            target.file().write_at(&encode_chunks(hash, &chunks), at)?;
        }
        target.publish_at(offset)
    }

    /// A target with room for a record; a full one is finished.
    fn target_for(&mut self, bytes: u64) -> Result<&mut Appender> {
        if self.target.as_ref().is_some_and(|t| !t.fits(bytes + PAGE_BYTES, u64::MAX)) {
            self.finish()?;
        }
        match &mut self.target {
            Some(target) => Ok(target),
            none => {
                let made = Appender::create(&self.site.files, self.control)?;
                self.made.push(made.number());
                Ok(none.insert(made))
            }
        }
    }

    /// Seals the target, durably.
    fn finish(&mut self) -> Result<()> {
        match self.target.take() {
            Some(mut target) => target.seal(
                self.control,
                true,
                Judge { is_named: &|_, _| Ok(false), is_whole: &|_, _, _| true },
            ),
            None => Ok(()),
        }
    }

    fn undo(&mut self) {
        self.target = None;
        for &number in &self.made {
            // What stays is only space.
            let _ = self.site.disk().unlink(&segment_path(number));
        }
    }
}
