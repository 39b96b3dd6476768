//! Small synced operations of one process share one appender and its syncs: whoever finds nobody
//! syncing leads and syncs for all that was appended until then; the others wait for a leader whose
//! sync covers them.
#![forbid(unsafe_code)]

use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::segment::{Appender, SEGMENTS_DIR};
use crate::sync::epoch::Guard;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The appender that small synced operations share.
#[derive(Default)]
pub struct Group {
    open: Mutex<Option<Appender>>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    is_led: bool,
    failed: HashSet<u32>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Group {
    /// The appender, for `sync`; nobody appends through it meanwhile.
    pub fn take(&self) -> Option<Appender> {
        lock(&self.open).take()
    }

    /// What has been appended to the segment, if it is still the open one.
    fn own_of(&self, segment: u32) -> Option<Range<u64>> {
        let open = lock(&self.open);
        open.as_ref().filter(|appender| appender.number() == segment).map(Appender::own)
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
        let target = self.segment_target();
        let is_poisoned = |open: &Appender| self.run.control.is_poisoned(open.number());
        let mut appender = match open.take().filter(|open| !is_poisoned(open)) {
            Some(appender) if appender.fits(bytes, target) => appender,
            full => {
                full.map_or(Ok(()), |full| self.seal(full, guard, true))?;
                self.take_appender(guard, bytes)?
            }
        };
        self.settle_inherited(&mut appender, guard)?;
        let value = operation(&mut appender)?;
        let (file, number, own) = (appender.file().clone(), appender.number(), appender.own());
        *open = Some(appender);
        drop(open);
        self.sync_group(group, guard, &*file, number, own)?;
        Ok(value)
    }

    fn sync_group(
        &self,
        group: &Group,
        guard: &Guard,
        file: &dyn crate::disk::File,
        segment: u32,
        own: Range<u64>,
    ) -> Result<()> {
        let appenders = self.appenders(guard);
        let mut state = lock(&group.state);
        loop {
            if appenders.synced_bytes(segment) >= own.end {
                return Ok(());
            }
            if state.failed.contains(&segment) {
                return Err(Error::new(
                    ErrorKind::SyncFailed,
                    "the sync that covered this operation failed",
                )
                .advice("what was written is appended elsewhere: try again"));
            }
            if !state.is_led {
                break;
            }
            state = group.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.is_led = true;
        drop(state);
        let covered = group.own_of(segment).unwrap_or(own);
        let result = self.sync_segment(guard, file, segment, covered);
        let mut state = lock(&group.state);
        state.is_led = false;
        if result.is_err() {
            state.failed.insert(segment);
        }
        drop(state);
        group.changed.notify_all();
        result.map_err(|error| {
            drop(group.take());
            self.abandon_segment(segment, error, guard)
        })
    }

    fn sync_segment(
        &self,
        guard: &Guard,
        file: &dyn crate::disk::File,
        segment: u32,
        covered: Range<u64>,
    ) -> Result<()> {
        let appenders = self.appenders(guard);
        let is_first = appenders.synced_bytes(segment) == 0;
        file.sync_data()?;
        if is_first {
            self.disk().sync_dir(SEGMENTS_DIR)?;
        }
        appenders.note_synced(segment, covered);
        Ok(())
    }
}
