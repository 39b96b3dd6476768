//! The control page: one shared atomic word for each thing that processes agree on
//! (spec/FORMAT.md, section 7).
//!
//! Everything here is a cache of the segments or a hint; nothing read from it is trusted for safety.
//! Death: no word of the page is a lock, so a process that dies between any two of its operations
//! leaves at most a hint that is stale.
#![forbid(unsafe_code)]

use crate::disk::{Identity, Map};
use crate::error::{Error, ErrorKind, REMOVE_RUN, Result};
use crate::format::control as at;
use crate::format::record::SEQUENCE_MAX;
use crate::format::word::{Location, Root};
use crate::sync::{Futex, Words};
use std::time::Duration;

/// More sequence numbers than one run can draw: ten millions a second make as many in fourteen years.
const DRAWN_MAX: u64 = 1 << 52;

/// Attempts to take unlinked bytes off a counter that others move.
const UNCOUNT_ATTEMPTS: u32 = 1000;

/// The control page of a run.
#[derive(Debug)]
pub struct Control<W = Map> {
    page: W,
}

/// How an attempt to take up an open segment ended.
pub enum Adopted<A> {
    /// It is the caller's now.
    Taken(A),
    /// It is sealed, or not there: nobody will want it again.
    Gone,
    /// Somebody has it.
    Busy,
}

/// What a fresh control page says.
pub struct Fresh {
    /// The store's.
    pub uuid: [u8; 16],
    /// Identity of the mount.
    pub mount: u64,
    /// Size limit in bytes, 0 none.
    pub limit: u64,
    /// Root of the index.
    pub root: Root,
    /// First free segment number.
    pub next_segment: u32,
    /// First free sequence number.
    pub next_sequence: u64,
    /// Bytes in the segments.
    pub bytes: u64,
    /// What had to be left out.
    pub lost: Lost,
}

/// What a recovery had to leave out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Published records that were not whole.
    pub records: u64,
    /// Refs that were passed over, because a blob of theirs is not there.
    pub refs: u64,
    /// Files of segments that are damaged, or something else.
    pub segments: u64,
}

#[cold]
fn garbled_counter(first: u64, next: u64) -> Error {
    Error::new(ErrorKind::Damaged, "the sequence counter of the run is damaged")
        .expected(format!("a number from {first} on, where it began"))
        .found(next)
        .advice(REMOVE_RUN)
}

#[cold]
fn numbers_used_up() -> Error {
    Error::new(ErrorKind::Limit, "the store has used up its sequence numbers")
        .advice("copy what is needed into a new store")
}

fn uuid_words(uuid: &[u8; 16]) -> [u64; 2] {
    let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| uuid[at + i]));
    [word(0), word(8)]
}

impl Fresh {
    /// The page.
    pub fn words(&self) -> Vec<u64> {
        let mut words = vec![0; at::BYTES / 8];
        words[at::MAGIC_WORD] = at::MAGIC;
        words[at::PROTOCOL_WORD] = at::PROTOCOL;
        words[at::UUID_WORD..at::UUID_WORD + 2].copy_from_slice(&uuid_words(&self.uuid));
        words[at::MOUNT_WORD] = self.mount;
        words[at::FIRST_SEQUENCE_WORD] = self.next_sequence;
        words[at::LIMIT_WORD] = self.limit;
        words[at::FIRST_SEGMENT_WORD] = u64::from(self.next_segment);
        words[at::ROOT_WORD] = self.root.0;
        words[at::NEXT_SEGMENT_WORD] = u64::from(self.next_segment);
        words[at::SEQUENCE_WORD] = self.next_sequence;
        words[at::BYTES_APPENDED_WORD] = self.bytes;
        words[at::LOST_RECORDS_WORD] = self.lost.records;
        words[at::LOST_REFS_WORD] = self.lost.refs;
        words[at::DAMAGED_SEGMENTS_WORD] = self.lost.segments;
        words
    }
}

impl<W: Words> Control<W> {
    /// The page in these words, if it is one of this store.
    ///
    /// # Errors
    /// `ProtocolMismatch`, or `Damaged` when it is not a control page of this store.
    pub fn new(page: W, uuid: &[u8; 16]) -> Result<Self> {
        if page.len() < at::BYTES / 8 || page.load(at::MAGIC_WORD) != at::MAGIC {
            return Err(Error::new(ErrorKind::Damaged, "the control page of the run is damaged")
                .advice(REMOVE_RUN));
        }
        let protocol = page.load(at::PROTOCOL_WORD);
        if protocol != at::PROTOCOL {
            return Err(Error::new(
                ErrorKind::ProtocolMismatch,
                "another version of the library is using this store",
            )
            .expected(format!("shared-memory protocol {}", at::PROTOCOL))
            .found(format!("protocol {protocol}"))
            .advice("use one version on a node at a time: end its processes, then open again"));
        }
        let found = [page.load(at::UUID_WORD), page.load(at::UUID_WORD + 1)];
        if found != uuid_words(uuid) {
            return Err(Error::new(ErrorKind::Damaged, "the run belongs to another store")
                .advice(REMOVE_RUN));
        }
        Ok(Self { page })
    }

    /// All words of the page.
    pub fn words(&self) -> Vec<u64> {
        (0..at::BYTES / 8).map(|word| self.page.load(word)).collect()
    }

    /// The mount under which the run was built; 0 where the kernel did not tell.
    pub fn mount(&self) -> u64 {
        self.page.load(at::MOUNT_WORD)
    }

    /// Whether the run was built under the same mount; unknown mounts match all.
    pub fn is_of_mount(&self, identity: &Identity) -> bool {
        let mount = self.mount();
        mount == 0 || identity.mount == 0 || mount == identity.mount
    }

    /// Size limit of the store in bytes; 0 none.
    pub fn limit(&self) -> u64 {
        self.page.load(at::LIMIT_WORD)
    }

    /// What the recovery that built the run had to leave out.
    pub fn lost(&self) -> Lost {
        Lost {
            records: self.page.load(at::LOST_RECORDS_WORD),
            refs: self.page.load(at::LOST_REFS_WORD),
            segments: self.page.load(at::DAMAGED_SEGMENTS_WORD),
        }
    }

    /// Whether a segment was not begun in this run: of what stands in it nobody knows more than the
    /// recovery has verified.
    pub fn is_earlier(&self, segment: u32) -> bool {
        let drawn = self.page.load(at::FIRST_SEGMENT_WORD)..self.page.load(at::NEXT_SEGMENT_WORD);
        !drawn.contains(&u64::from(segment))
    }

    /// The segment that the recovery has buried in, as long as nobody has given it its name.
    pub fn burial(&self) -> Option<u32> {
        let number = self.page.load(at::BURIAL_WORD).checked_sub(1)?;
        Some(u32::try_from(number).unwrap_or(u32::MAX))
    }

    /// Notes the segment that the recovery has buried in; `None` when its name lasts.
    pub fn note_burial(&self, segment: Option<u32>) {
        self.page.store(at::BURIAL_WORD, segment.map_or(0, |number| u64::from(number) + 1));
    }

    /// The root of the index.
    #[inline]
    pub fn root(&self) -> Root {
        Root(self.page.load(at::ROOT_WORD))
    }

    /// Moves the root.
    pub fn root_cas(&self, current: Root, new: Root) -> Result<Root, Root> {
        let moved = self.page.compare_exchange(at::ROOT_WORD, current.0, new.0);
        moved.map(Root).map_err(Root)
    }

    /// Tells that segments have been unlinked: `bytes` of records.
    pub fn announce_unlinks(&self, bytes: u64) {
        self.page.fetch_add(at::UNLINK_EPOCH_WORD, 1);
        let mut appended = self.bytes_appended();
        // A hint: it does not come to rest only while others append.
        for _ in 0..UNCOUNT_ATTEMPTS {
            let left = appended.saturating_sub(bytes);
            match self.page.compare_exchange(at::BYTES_APPENDED_WORD, appended, left) {
                Ok(_) => return,
                Err(met) => appended = met,
            }
        }
    }

    /// Says that at least so many bytes of records are there: what a process had appended when it was killed
    /// it may not have counted.
    pub fn raise_appended(&self, bytes: u64) {
        let mut appended = self.bytes_appended();
        for _ in 0..UNCOUNT_ATTEMPTS {
            if appended >= bytes {
                return;
            }
            match self.page.compare_exchange(at::BYTES_APPENDED_WORD, appended, bytes) {
                Ok(_) => return,
                Err(met) => appended = met,
            }
        }
    }

    /// Moves when segments have been unlinked.
    #[inline]
    pub fn unlink_epoch(&self) -> u64 {
        self.page.load(at::UNLINK_EPOCH_WORD)
    }

    /// Draws a segment number.
    pub fn draw_segment(&self) -> Result<u32> {
        let number = self.page.fetch_add(at::NEXT_SEGMENT_WORD, 1);
        u32::try_from(number).ok().filter(|&n| n <= Location::SEGMENT_MAX).ok_or_else(|| {
            Error::new(ErrorKind::Limit, "the store has used up its segment numbers")
                .advice("copy what is needed into a new store")
        })
    }

    /// Draws `count` sequence numbers; the first of them. Only after loading the key's word.
    #[inline]
    pub fn draw_sequences(&self, count: u64) -> u64 {
        let first = self.page.fetch_add(at::SEQUENCE_WORD, count);
        // What is counted on from it must not overflow, whatever somebody scribbles there meanwhile.
        if bug!("counter-unmasked") { first } else { first & SEQUENCE_MAX }
    }

    /// Refuses a counter that is not where the draws of this run can have moved it.
    ///
    /// # Errors
    /// `Damaged`.
    #[inline]
    pub fn check_counter(&self) -> Result<()> {
        let (first, next) = (self.page.load(at::FIRST_SEQUENCE_WORD), self.sequence());
        let is_possible =
            first > 0 && next.checked_sub(first).is_some_and(|drawn| drawn < DRAWN_MAX);
        if is_possible || bug!("counter-believed") {
            return Ok(());
        }
        Err(garbled_counter(first, next))
    }

    /// Refuses to draw numbers from a counter that is damaged, or at its end.
    ///
    /// # Errors
    /// `Damaged`, `Limit`.
    #[inline]
    pub fn check_draw(&self) -> Result<()> {
        self.check_counter()?;
        if self.sequence() <= SEQUENCE_MAX { Ok(()) } else { Err(numbers_used_up()) }
    }

    /// The next segment number.
    pub fn next_segment(&self) -> u64 {
        self.page.load(at::NEXT_SEGMENT_WORD)
    }

    /// The next sequence number.
    pub fn sequence(&self) -> u64 {
        self.page.load(at::SEQUENCE_WORD)
    }

    /// Bytes of records appended since the run was built, and those that it found: a hint.
    pub fn bytes_appended(&self) -> u64 {
        self.page.load(at::BYTES_APPENDED_WORD)
    }

    /// Counts appended bytes.
    pub fn count_appended(&self, bytes: u64) {
        self.page.fetch_add(at::BYTES_APPENDED_WORD, bytes);
    }
}

/// Open segments: hints for who looks for one to take up.
impl<W: Words> Control<W> {
    /// The slots in which an open segment is noted.
    pub fn open_segments(&self) -> impl Iterator<Item = (usize, Location)> + '_ {
        (0..at::OPEN_SLOTS).filter_map(|slot| {
            let value = self.page.load(at::OPEN_WORD + slot);
            (value != 0).then(|| (slot, Location::from_bits(value - 1)))
        })
    }

    /// Takes up an open segment, if `attempt` gets one: the slot that it is noted in, and what was got.
    /// An attempt locks the segment, which whoever poisons one still has locked.
    pub fn take_up<A>(
        &self,
        mut attempt: impl FnMut(Location) -> Result<Adopted<A>>,
    ) -> Result<Option<(usize, A)>> {
        for (slot, last) in self.open_segments() {
            if self.is_poisoned(last.segment()) {
                continue;
            }
            let attempted = attempt(last)?;
            let is_poisoned = self.is_poisoned(last.segment()) && !bug!("poison-asked-once");
            match attempted {
                Adopted::Taken(taken) if !is_poisoned => return Ok(Some((slot, taken))),
                Adopted::Gone => self.forget_open(slot, last.segment()),
                Adopted::Taken(_) | Adopted::Busy => {}
            }
        }
        Ok(None)
    }

    /// Notes a new open segment; `None` if all slots are taken.
    pub fn note_open(&self, last: Location) -> Option<usize> {
        // Neighbours in number start on different cache lines.
        let start = last.segment() as usize * 8 + last.segment() as usize / 32;
        (0..at::OPEN_SLOTS).map(|i| (start + i) % at::OPEN_SLOTS).find(|slot| {
            self.page.compare_exchange(at::OPEN_WORD + slot, 0, last.bits() + 1).is_ok()
        })
    }

    /// Notes the last header of an open segment.
    pub fn move_open(&self, slot: usize, last: Location) {
        self.page.store(at::OPEN_WORD + slot, last.bits() + 1);
    }

    /// Forgets an open segment.
    pub fn forget_open(&self, slot: usize, segment: u32) {
        let value = self.page.load(at::OPEN_WORD + slot);
        if value == 0 {
            return;
        }
        let is_its = Location::from_bits(value - 1).segment() == segment;
        if is_its || bug!("slot-of-another") {
            let _ = self.page.compare_exchange(at::OPEN_WORD + slot, value, 0);
        }
    }
}

/// Segments whose fsync failed.
impl<W: Words> Control<W> {
    /// Notes one; `false` if the list is full (then every segment counts as poisoned).
    pub fn poison(&self, segment: u32) -> bool {
        let value = u64::from(segment) + 1;
        // Counted first: who dies in between has made others look into the list, and hidden nothing.
        if !bug!("poison-counted-last") {
            self.page.fetch_add(at::POISON_COUNT_WORD, 1);
        }
        let noted = (at::POISON_WORD..at::POISON_WORD + at::POISON_SLOTS).any(|word| {
            let met = self.page.compare_exchange(word, 0, value);
            met.is_ok() || met == Err(value)
        });
        if bug!("poison-counted-last") {
            self.page.fetch_add(at::POISON_COUNT_WORD, 1);
        }
        noted
    }

    /// Whether a segment's fsync has failed.
    #[inline]
    pub fn is_poisoned(&self, segment: u32) -> bool {
        self.page.load(at::POISON_COUNT_WORD) != 0 && self.is_listed_poisoned(segment)
    }

    fn is_listed_poisoned(&self, segment: u32) -> bool {
        let mut slots = at::POISON_WORD..at::POISON_WORD + at::POISON_SLOTS;
        let listed = slots.any(|word| self.page.load(word) == u64::from(segment) + 1);
        listed || self.is_all_poisoned()
    }

    /// Whether so many fsyncs have failed that every segment counts as poisoned.
    pub fn is_all_poisoned(&self) -> bool {
        let mut slots = at::POISON_WORD..at::POISON_WORD + at::POISON_SLOTS;
        slots.all(|word| self.page.load(word) != 0)
    }
}

/// The change counter that `wait` sleeps on. It is even; bit 0 says that somebody sleeps.
impl<W: Futex> Control<W> {
    /// Tells that a ref has changed.
    pub fn announce_change(&self) {
        if self.page.fetch_add(at::CHANGE_WORD, 2) & 1 == 1 {
            // Before the waking: behind it, the bit is that of somebody who has come since.
            if !bug!("wake-before-clear") {
                self.page.fetch_and(at::CHANGE_WORD, !1);
            }
            self.page.futex_wake_all(at::CHANGE_WORD);
            if bug!("wake-before-clear") {
                self.page.fetch_and(at::CHANGE_WORD, !1);
            }
        }
    }

    /// A ticket for [`Control::await_change`]: take it, look, then wait.
    pub fn change_ticket(&self) -> u64 {
        if !self.page.is_writable() {
            return self.page.load(at::CHANGE_WORD);
        }
        self.page.fetch_or(at::CHANGE_WORD, 1) | 1
    }

    /// Sleeps until something changes after the ticket was taken, or the time is out. Wakes early now
    /// and then; a publisher that died before it announced is noticed by the caller's next look.
    pub fn await_change(&self, ticket: u64, timeout: Duration) {
        if !self.page.is_writable() {
            // A read-only opener cannot ask to be woken.
            return std::thread::sleep(timeout.min(Duration::from_millis(5)));
        }
        self.page.futex_wait(at::CHANGE_WORD, ticket as u32, timeout);
    }
}

#[cfg(test)]
mod tests;
