//! The open segments of this process, and who may append to which.
//!
//! I1  An operation has its appender to itself until its records are published or void.
//! I2  After an error inside an operation its appender is given up, lock and all; the next who needs
//!     one finds the segment's tail anew.
//!
//! Buffered operations, and large ones, take any idle appender of the process, so parallel threads
//! write to different segments. Small `Synced` operations share one, so that they share its syncs
//! (`group.rs`).
#![forbid(unsafe_code)]

use super::group::Group;
use super::held_back::HeldBack;
use super::lasting::Lasting;
use super::quiet::Quiet;
use super::targets::Targets;
use crate::engine::{Durability, Engine};
use crate::error::{ErrorKind, Result};
use crate::format::record::Header;
use crate::segment::{Appender, Judge, Purpose, Verifier};
use crate::sync::epoch::Guard;
use crate::units::{GIB, KIB, SEGMENT_BYTES_DEFAULT, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use crate::whole::is_whole;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Synced operations up to this size share one appender.
const GROUP_BYTES_MAX: u64 = 256 * KIB;

/// See the head of this file.
#[derive(Default)]
pub struct Appenders {
    idle: Mutex<Vec<Appender>>,
    /// The appender that small synced operations share.
    pub group: Group,
    /// What this process knows to be durable.
    pub lasting: Lasting,
    /// Space for tombstones when there is no other.
    pub held_back: HeldBack,
    /// What it knows to hold nothing pending.
    pub quiet: Quiet,
    /// What a compaction copies to.
    pub targets: Targets,
    /// The threads that hash large blobs.
    pub pool: OnceLock<Option<rayon::ThreadPool>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Appenders {
    fn pop_idle(&self) -> Option<Appender> {
        lock(&self.idle).pop()
    }

    fn push_idle(&self, appender: Appender) {
        lock(&self.idle).push(appender);
    }

    /// The segments that this process has open, as far as nobody is appending to them.
    pub fn numbers(&self) -> Vec<u32> {
        let idle = lock(&self.idle).iter().map(Appender::number).collect::<Vec<_>>();
        idle.into_iter().chain(self.group.number()).collect()
    }

    /// All idle appenders, for `sync`; to be given back.
    pub fn take_all_idle(&self) -> Vec<Appender> {
        std::mem::take(&mut lock(&self.idle))
    }

    /// Gives appenders back.
    pub fn give_back(&self, appenders: Vec<Appender>) {
        lock(&self.idle).extend(appenders);
    }
}

impl Engine {
    /// This process's appenders.
    pub fn appenders<'g>(&self, guard: &'g Guard) -> &'g Appenders {
        self.appenders.get(guard, Appenders::default)
    }

    /// The size at which segments are sealed: what the store was made with, or a sixteenth of what it
    /// holds between 64 MiB and 1 GiB, and never above 1/64 of the size limit or the file system.
    pub fn segment_target(&self) -> u64 {
        if self.superblock.segment_bytes != 0 {
            return self.superblock.segment_bytes;
        }
        let bytes = self.run.control.bytes_appended();
        if bytes < GIB && self.room() >= 64 * SEGMENT_BYTES_DEFAULT {
            return SEGMENT_BYTES_DEFAULT;
        }
        let grown = (bytes / 16).clamp(SEGMENT_BYTES_DEFAULT, SEGMENT_BYTES_MAX);
        grown.min(self.room() / 64).max(SEGMENT_BYTES_MIN)
    }

    /// The size limit or the size of the file system, whichever is less.
    fn room(&self) -> u64 {
        let limit = self.run.control.limit();
        if limit == 0 { self.total_bytes } else { limit.min(self.total_bytes) }
    }

    /// Runs an operation that appends `bytes` at most, and makes its records durable if asked to.
    pub fn with_appender<T>(
        &self,
        guard: &Guard,
        bytes: u64,
        durability: Durability,
        operation: impl FnOnce(&mut Appender) -> Result<T>,
    ) -> Result<T> {
        let appenders = self.appenders(guard);
        if durability == Durability::Synced && bytes <= GROUP_BYTES_MAX {
            return self.with_group(&appenders.group, guard, bytes, operation);
        }
        let (mut appender, value) = self.take_appender(guard, bytes)?.attempt(operation)?;
        if durability == Durability::Synced {
            self.sync_appender(&mut appender, guard)?;
            self.give_back_synced(appender, guard);
        } else {
            appenders.push_idle(appender);
        }
        Ok(value)
    }

    /// An appender with room for `bytes`: an idle one, an orphan, or a new one.
    pub fn take_appender(&self, guard: &Guard, bytes: u64) -> Result<Appender> {
        let mut appender = self.any_appender(guard, bytes)?;
        appender.set_purpose(Purpose::Put);
        Ok(appender)
    }

    fn any_appender(&self, guard: &Guard, bytes: u64) -> Result<Appender> {
        let appenders = self.appenders(guard);
        let target = self.segment_target();
        while let Some(appender) = appenders.pop_idle() {
            if self.run.control.is_poisoned(appender.number()) {
                // Somebody's fsync of it has failed; what it holds is moved by `sync`.
                continue;
            }
            if appender.takes(bytes, target) {
                return Ok(appender);
            }
            self.seal(appender, guard, false)?;
        }
        while let Some(appender) = self.verifying(guard, |verifier| {
            Appender::adopt(&self.files, &self.run.control, verifier)
        })? {
            if appender.takes(bytes, target) {
                return Ok(appender);
            }
            self.seal(appender, guard, false)?;
        }
        self.run.check_present()?;
        self.hold_back();
        Appender::create(&self.files, &self.run.control)
    }

    /// What `then` takes up, by what this engine can say of the last records.
    pub fn verifying<R>(&self, guard: &Guard, then: impl FnOnce(Verifier<'_>) -> R) -> R {
        let is_named = |header: &Header, location| self.is_named(header, location, guard);
        then(Verifier { is_named: &is_named, is_whole })
    }

    /// An appender of a segment without a name, for one large body.
    pub fn lone_appender(&self) -> Result<Appender> {
        self.run.check_present()?;
        self.hold_back();
        let mut appender = Appender::create_unnamed(&self.files, &self.run.control)?;
        appender.set_purpose(Purpose::Put);
        Ok(appender)
    }

    /// Seals an appender's segment. Without `durable` nothing waits for the disk.
    ///
    /// A footer only makes a segment quicker to read: where it cannot be written the segment stays as
    /// it is and is sealed by the next recovery, and whoever needs another one goes on. That its
    /// records are not durable is an error.
    pub fn seal(&self, mut appender: Appender, guard: &Guard, durable: bool) -> Result<()> {
        let number = appender.number();
        let judge = Judge {
            is_named: &|header, location| self.judge(header, location, guard),
            is_whole: &|map, offset, header| self.is_record_whole(map, offset, header),
        };
        let sealed = appender.seal(&self.run.control, durable, judge);
        // Poisoned, if it comes to that, while nobody else can take it up.
        match self.or_abandon(number, sealed, guard) {
            Err(error) if error.kind() == ErrorKind::SyncFailed => Err(error),
            Err(_) if durable => self.sync_appender(&mut appender, guard),
            Ok(()) if durable => {
                self.appenders(guard).lasting.note_all(number);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Notes in a segment that all that its appender has appended is durable, where nothing says so yet:
    /// a check can then tell damage from what a power loss leaves. In a segment of an earlier run what
    /// stands below may be torn.
    pub fn note_lasting(&self, appender: &mut Appender, guard: &Guard) -> Result<()> {
        let (number, appended) = (appender.number(), appender.appended());
        let is_new = self.appenders(guard).lasting.covers(number, &appended);
        if !is_new || self.run.control.is_earlier(number) || bug!("synced-unnoted") {
            return Ok(());
        }
        appender.note_durable(&self.run.control)
    }

    /// Gives an appender back whose records are durable. The note only tells others what is known; an
    /// appender that failed is given up.
    pub fn give_back_synced(&self, appender: Appender, guard: &Guard) {
        if let Ok((appender, ())) = appender.attempt(|appender| self.note_lasting(appender, guard))
        {
            self.appenders(guard).give_back(vec![appender]);
        }
    }

    /// What a process does last: notes what it has made durable, and gives back what it has reserved.
    pub fn part(&self, guard: &Guard) {
        let appenders = self.appenders(guard);
        let mut own = appenders.take_all_idle();
        own.extend(appenders.group.take());
        for mut appender in own {
            let _ = self.note_lasting(&mut appender, guard);
            if !bug!("parted-untrimmed") {
                appender.give_up();
            }
        }
    }

    /// Makes an appender's records durable; on failure its segment is poisoned and its records are
    /// appended elsewhere.
    pub fn sync_appender(&self, appender: &mut Appender, guard: &Guard) -> Result<()> {
        let number = appender.number();
        self.or_abandon(number, appender.sync(), guard)?;
        self.refuse_poisoned(number)?;
        self.appenders(guard).lasting.note(number, appender.appended());
        Ok(())
    }
}
