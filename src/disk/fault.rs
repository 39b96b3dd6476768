//! A disk on which calls fail when a test wants them to.
//!
//! Every call of [`Disk`] and [`File`] is counted, then either passed on to the disk below or, if a
//! [`Fault`] is due, answered with an error as the kernel would give it. A failed call has done
//! nothing, with one exception: [`FaultKind::ShortWrite`] has written the first half.
#![forbid(unsafe_code)]

use super::{Access, Disk, File, Identity, LockKind, Map, Reserve, Space};
use crate::error::{Error, ErrorKind, Result};
use nix::errno::Errno;
use std::sync::{Arc, Mutex, MutexGuard};

/// The calls that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// [`Disk::open`].
    Open,
    /// [`Disk::create`].
    Create,
    /// [`Disk::link`].
    Link,
    /// [`Disk::unlink`].
    Unlink,
    /// [`Disk::rename`].
    Rename,
    /// [`Disk::make_dir`].
    MakeDir,
    /// [`Disk::remove_dir`].
    RemoveDir,
    /// [`Disk::list`].
    List,
    /// [`Disk::sync_dir`].
    SyncDir,
    /// [`Disk::space`].
    Space,
    /// [`Disk::identity`].
    Identity,
    /// [`File::len`].
    Len,
    /// [`File::read_at`].
    Read,
    /// [`File::write_at`].
    Write,
    /// [`File::reserve`].
    Reserve,
    /// [`File::set_len`].
    SetLen,
    /// [`File::sync_data`].
    Sync,
    /// [`File::set_mode`].
    SetMode,
    /// [`File::map`].
    Map,
    /// [`File::try_lock`].
    Lock,
    /// [`File::unlock`].
    Unlock,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// EIO.
    Io,
    /// ENOSPC.
    NoSpace,
    /// Half of the bytes are written, then ENOSPC. As [`FaultKind::NoSpace`] for other calls.
    ShortWrite,
    /// EMFILE.
    TooManyFiles,
    /// ENOMEM.
    NoMemory,
}

impl FaultKind {
    fn errno(self) -> Errno {
        match self {
            Self::Io => Errno::EIO,
            Self::NoSpace | Self::ShortWrite => Errno::ENOSPC,
            Self::TooManyFiles => Errno::EMFILE,
            Self::NoMemory => Errno::ENOMEM,
        }
    }
}

/// When something goes wrong.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    kind: FaultKind,
    call: Option<Call>,
    nth: u64,
    forever: bool,
}

impl Fault {
    /// The next call, of any kind.
    pub fn new(kind: FaultKind) -> Self {
        Self { kind, call: None, nth: 1, forever: false }
    }

    /// Only calls of this kind count.
    pub fn on(self, call: Call) -> Self {
        Self { call: Some(call), ..self }
    }

    /// The `nth` call from now on, counted from 1, instead of the next.
    pub fn nth(self, nth: u64) -> Self {
        Self { nth: nth.max(1), ..self }
    }

    /// And every one after it.
    pub fn forever(self) -> Self {
        Self { forever: true, ..self }
    }
}

/// What is to happen and what has happened, shared by a disk and its files.
#[derive(Debug, Default)]
struct Plan {
    /// The faults that are still to come, each with the number of calls that it has counted.
    faults: Vec<(Fault, u64)>,
    calls: Vec<Call>,
    hits: u64,
}

impl Plan {
    /// Counts a call; the fault that it meets, if any.
    fn meet(&mut self, call: Call) -> Option<FaultKind> {
        self.calls.push(call);
        let mut met = None;
        self.faults.retain_mut(|(fault, seen)| {
            if fault.call.is_some_and(|only| only != call) {
                return true;
            }
            *seen += 1;
            if *seen < fault.nth {
                return true;
            }
            met = met.or(Some(fault.kind));
            fault.forever
        });
        self.hits += u64::from(met.is_some());
        met
    }
}

#[derive(Clone, Debug, Default)]
struct Shared(Arc<Mutex<Plan>>);

impl Shared {
    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.0.lock().unwrap_or_else(|held| held.into_inner())
    }

    fn enter(&self, call: Call) -> Result<()> {
        self.plan().meet(call).map_or(Ok(()), |kind| Err(error(call, kind)))
    }
}

fn error(call: Call, kind: FaultKind) -> Error {
    Error::io(format!("{call:?} failed, as a test wanted"), kind.errno().into())
}

/// A disk on which calls fail when a test wants them to.
#[derive(Debug)]
pub struct FaultDisk {
    below: Arc<dyn Disk>,
    shared: Shared,
}

#[derive(Debug)]
struct FaultFile {
    below: Arc<dyn File>,
    shared: Shared,
}

impl FaultDisk {
    /// Wraps a disk; nothing fails yet.
    pub fn new(below: Arc<dyn Disk>) -> Arc<Self> {
        Arc::new(Self { below, shared: Shared::default() })
    }

    /// Lets calls fail from now on.
    pub fn inject(&self, fault: Fault) {
        self.shared.plan().faults.push((fault, 0));
    }

    /// Lets no more calls fail.
    pub fn heal(&self) {
        self.shared.plan().faults.clear();
    }

    /// Calls so far: of one kind, or all.
    pub fn calls(&self, only: Option<Call>) -> u64 {
        let plan = self.shared.plan();
        plan.calls.iter().filter(|call| only.is_none_or(|only| only == **call)).count() as u64
    }

    /// The calls so far, in order; they are forgotten.
    pub fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.shared.plan().calls)
    }

    /// Calls that have failed so far. A test that wants a fault should see that it came.
    pub fn hits(&self) -> u64 {
        self.shared.plan().hits
    }

    fn wrap(&self, below: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(FaultFile { below, shared: self.shared.clone() })
    }
}

impl Disk for FaultDisk {
    fn open(&self, path: &str, access: Access) -> Result<Option<Arc<dyn File>>> {
        self.shared.enter(Call::Open)?;
        Ok(self.below.open(path, access)?.map(|file| self.wrap(file)))
    }
    fn create(&self, dir: &str) -> Result<Arc<dyn File>> {
        self.shared.enter(Call::Create)?;
        Ok(self.wrap(self.below.create(dir)?))
    }
    fn link(&self, file: &dyn File, path: &str) -> Result<bool> {
        self.shared.enter(Call::Link)?;
        let file: &FaultFile = file.as_any().downcast_ref().ok_or_else(|| {
            Error::new(ErrorKind::InvalidInput, "only a file that this disk has made can be linked")
        })?;
        self.below.link(&*file.below, path)
    }
    fn unlink(&self, path: &str) -> Result<bool> {
        self.shared.enter(Call::Unlink)?;
        self.below.unlink(path)
    }
    fn is_named(&self, file: &dyn File, path: &str) -> Result<bool> {
        self.shared.enter(Call::Open)?;
        let file: &FaultFile = file.as_any().downcast_ref().ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidInput,
                "only a file that this disk has opened has its names",
            )
        })?;
        self.below.is_named(&*file.below, path)
    }
    fn rename(&self, from: &str, to: &str) -> Result<bool> {
        self.shared.enter(Call::Rename)?;
        self.below.rename(from, to)
    }
    fn make_dir(&self, path: &str) -> Result<bool> {
        self.shared.enter(Call::MakeDir)?;
        self.below.make_dir(path)
    }
    fn remove_dir(&self, path: &str) -> Result<bool> {
        self.shared.enter(Call::RemoveDir)?;
        self.below.remove_dir(path)
    }
    fn list(&self, dir: &str) -> Result<Vec<String>> {
        self.shared.enter(Call::List)?;
        self.below.list(dir)
    }
    fn sync_dir(&self, dir: &str) -> Result<()> {
        self.shared.enter(Call::SyncDir)?;
        self.below.sync_dir(dir)
    }
    fn file_system(&self) -> &'static str {
        self.below.file_system()
    }
    fn space(&self) -> Result<Space> {
        self.shared.enter(Call::Space)?;
        self.below.space()
    }
    fn identity(&self) -> Result<Identity> {
        self.shared.enter(Call::Identity)?;
        self.below.identity()
    }
}

impl File for FaultFile {
    fn len(&self) -> Result<u64> {
        self.shared.enter(Call::Len)?;
        self.below.len()
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        self.shared.enter(Call::Read)?;
        self.below.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        let met = self.shared.plan().meet(Call::Write);
        if met == Some(FaultKind::ShortWrite) {
            self.below.write_at(&bytes[..bytes.len() / 2], offset)?;
        }
        met.map_or_else(|| self.below.write_at(bytes, offset), |kind| Err(error(Call::Write, kind)))
    }
    fn reserve(&self, from: u64, len: u64, how: Reserve) -> Result<()> {
        self.shared.enter(Call::Reserve)?;
        self.below.reserve(from, len, how)
    }
    fn set_len(&self, len: u64) -> Result<()> {
        self.shared.enter(Call::SetLen)?;
        self.below.set_len(len)
    }
    fn begin_writing_out(&self, offset: u64, len: u64) {
        self.below.begin_writing_out(offset, len);
    }
    fn sync_data(&self) -> Result<()> {
        self.shared.enter(Call::Sync)?;
        self.below.sync_data()
    }
    fn set_mode(&self, mode: u32) -> Result<()> {
        self.shared.enter(Call::SetMode)?;
        self.below.set_mode(mode)
    }
    fn is_owner_writable(&self) -> Result<bool> {
        self.shared.enter(Call::Len)?;
        self.below.is_owner_writable()
    }
    fn map(&self, len: u64, access: Access) -> Result<Map> {
        self.shared.enter(Call::Map)?;
        self.below.map(len, access)
    }
    fn try_lock(&self, start: u64, len: u64, kind: LockKind) -> Result<bool> {
        self.shared.enter(Call::Lock)?;
        self.below.try_lock(start, len, kind)
    }
    fn unlock(&self, start: u64, len: u64) -> Result<()> {
        self.shared.enter(Call::Unlock)?;
        self.below.unlock(start, len)
    }
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}
