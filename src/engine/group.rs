//! Small synced operations of one process share one appender and its syncs: whoever finds nobody
//! syncing leads and syncs for all that was appended until then; the others wait for a leader whose
//! sync covers them.
//!
//! I1  A leader syncs what operations that are over have appended: their records are published or
//!     void, for an operation holds the appender until then.
//! I2  After a failed sync the segment is poisoned before anybody learns of it, or can take it up.
#![forbid(unsafe_code)]

use crate::engine::Engine;
use crate::error::{ErrorKind, Result};
use crate::segment::{Appender, Purpose, sync_data, sync_name};
use crate::sync::epoch::Guard;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The appender that small synced operations share.
#[derive(Default)]
pub struct Group {
    open: Mutex<Option<Appender>>,
    is_led: Mutex<bool>,
    changed: Condvar,
}

/// What one operation has appended, and what its appender had until then.
struct Part {
    file: Arc<dyn crate::disk::File>,
    segment: u32,
    bytes: Range<u64>,
    appended: Range<u64>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Group {
    /// The appender, for `sync`; nobody appends through it meanwhile.
    pub fn take(&self) -> Option<Appender> {
        lock(&self.open).take()
    }

    /// Its segment.
    pub fn number(&self) -> Option<u32> {
        lock(&self.open).as_ref().map(Appender::number)
    }

    /// What has been appended to the segment if it is still the open one.
    fn appended_to(&self, segment: u32) -> Option<Range<u64>> {
        let open = lock(&self.open);
        open.as_ref().filter(|appender| appender.number() == segment).map(Appender::appended)
    }

    /// Drops the appender of a segment.
    fn drop_open(&self, segment: u32) {
        let mut open = lock(&self.open);
        if open.as_ref().is_some_and(|appender| appender.number() == segment) {
            *open = None;
        }
    }
}

impl Engine {
    /// Runs an operation on the group's appender, then waits until a sync covers it.
    pub fn with_group<T>(
        &self,
        group: &Group,
        guard: &Guard,
        bytes: u64,
        operation: impl FnOnce(&mut Appender) -> Result<T>,
    ) -> Result<T> {
        let mut open = lock(&group.open);
        let mut appender = self.group_appender(open.take(), guard, bytes)?;
        appender.set_purpose(Purpose::Put);
        let mut start = appender.tail();
        let (appender, value) = appender.attempt(|appender| {
            self.note_lasting(appender, guard)?;
            start = appender.tail();
            operation(appender)
        })?;
        let part = Part {
            file: appender.file().clone(),
            segment: appender.number(),
            bytes: start..appender.tail(),
            appended: appender.appended(),
        };
        *open = Some(appender);
        drop(open);
        if !part.bytes.is_empty() {
            self.sync_part(group, guard, &part)?;
        }
        Ok(value)
    }

    /// The group's appender if it will do, else another.
    fn group_appender(
        &self,
        open: Option<Appender>,
        guard: &Guard,
        bytes: u64,
    ) -> Result<Appender> {
        let Some(appender) = open else { return self.take_appender(guard, bytes) };
        if self.run.control.is_poisoned(appender.number()) {
            drop(appender);
        } else if appender.takes(bytes, self.segment_target()) {
            return Ok(appender);
        } else {
            self.seal(appender, guard, true)?;
        }
        self.take_appender(guard, bytes)
    }

    fn sync_part(&self, group: &Group, guard: &Guard, part: &Part) -> Result<()> {
        let mut is_led = lock(&group.is_led);
        loop {
            if self.appenders(guard).lasting.covers(part.segment, &part.bytes) {
                return Ok(());
            }
            self.refuse_poisoned(part.segment)?;
            if !*is_led {
                break;
            }
            is_led = group.changed.wait(is_led).unwrap_or_else(PoisonError::into_inner);
        }
        *is_led = true;
        drop(is_led);
        let result = self.lead(group, guard, part);
        let is_lost = matches!(&result, Err(error) if error.kind() == ErrorKind::SyncFailed);
        if is_lost {
            self.run.control.poison(part.segment);
        }
        *lock(&group.is_led) = false;
        group.changed.notify_all();
        result.map_err(|error| {
            if !is_lost {
                return error;
            }
            group.drop_open(part.segment);
            self.abandon_segment(part.segment, error, guard)
        })
    }

    /// Syncs for all that has been appended until now.
    fn lead(&self, group: &Group, guard: &Guard, part: &Part) -> Result<()> {
        let appended = group.appended_to(part.segment).unwrap_or_else(|| part.appended.clone());
        let lasting = &self.appenders(guard).lasting;
        if !bug!("acknowledged-early") {
            sync_data(&*part.file)?;
        }
        if lasting.is_unknown(part.segment) {
            sync_name(&self.files)?;
        }
        lasting.note(part.segment, appended);
        Ok(())
    }
}
