//! A disk that forgets: what an fsync did not take is marked clean all the same, as Linux does it,
//! and is gone at the next power loss however often the fsync is repeated.
//!
//! The files below hold what the page cache would; beside them an image of each says what the medium
//! holds. A page gets from one to the other by an fsync that succeeds while it is dirty.

use drystone::Result;
use drystone::disk::{
    Access, Call, Disk, Fault, FaultDisk, FaultKind, File, Identity, LockKind, Map, OpenOptions,
    RealDisk, Reserve, Space,
};
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

const PAGE: u64 = 4096;

/// A file, by what the medium holds of it.
#[derive(Debug, Default)]
struct Medium {
    bytes: Vec<u8>,
    dirty: BTreeSet<u64>,
}

#[derive(Debug, Default)]
struct State {
    media: Vec<Medium>,
    /// Names as the kernel shows them, and as the medium has them.
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// Whether the next fsyncs fail, the next one last.
    script: Vec<bool>,
    failed: u64,
}

impl State {
    /// Whether the next fsync fails.
    fn fails(&mut self) -> bool {
        let fails = self.script.pop().unwrap_or(false);
        self.failed += u64::from(fails);
        fails
    }

    fn touch(&mut self, medium: usize, from: u64, to: u64) {
        if from < to {
            self.media[medium].dirty.extend(from / PAGE..to.div_ceil(PAGE));
        }
    }
}

/// A disk that forgets.
#[derive(Debug)]
pub struct LossyDisk {
    /// Makes the errors.
    below: Arc<FaultDisk>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct LossyFile {
    below: Arc<dyn File>,
    medium: usize,
    faults: Arc<FaultDisk>,
    state: Arc<Mutex<State>>,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(|held| held.into_inner())
}

impl LossyDisk {
    /// Over a new directory.
    pub fn new(path: &Path) -> Arc<Self> {
        let options = OpenOptions { writable: true, create: true, ..OpenOptions::default() };
        let real: Arc<dyn Disk> = RealDisk::open(path, &options).expect("a directory");
        Arc::new(Self { below: FaultDisk::new(real), state: Arc::default() })
    }

    /// Which of the next fsyncs fail, of files and directories, in order; those after them succeed.
    pub fn fail_syncs(&self, fails: &[bool]) {
        lock(&self.state).script = fails.iter().rev().copied().collect();
    }

    /// Fsyncs that have failed.
    pub fn failed(&self) -> u64 {
        lock(&self.state).failed
    }

    /// What the medium may hold at this moment, as a directory of its own: what was synced, and of
    /// dirty pages and new names those that `chance` wants.
    pub fn cut_power(&self, to: &Path, mut chance: impl FnMut() -> bool) {
        use std::os::unix::fs::PermissionsExt;
        let state = lock(&self.state);
        for dir in ["", "segments", "run", "quarantine"] {
            let dir = to.join(dir);
            std::fs::create_dir(&dir).expect("a directory");
            let private = std::fs::Permissions::from_mode(0o700);
            std::fs::set_permissions(dir, private).expect("a mode");
        }
        let mut names = state.durable_names.clone();
        names.extend(state.names.iter().filter(|_| chance()).map(|(name, at)| (name.clone(), *at)));
        for (name, medium) in names.iter().filter(|(name, _)| !name.starts_with("run/")) {
            let file = self.below.open(name, Access::Read).expect("a file");
            let medium = &state.media[*medium];
            let mut bytes = medium.bytes.clone();
            for page in medium.dirty.iter().filter(|_| chance()) {
                write_back(&**file.as_ref().expect("a file"), *page, &mut bytes);
            }
            std::fs::write(to.join(name), bytes).expect("a file");
        }
    }

    fn wrap(&self, below: Arc<dyn File>, medium: usize) -> Arc<dyn File> {
        let (faults, state) = (self.below.clone(), self.state.clone());
        Arc::new(LossyFile { below, medium, faults, state })
    }
}

/// Copies a page of a file to where the medium has it.
fn write_back(file: &dyn File, page: u64, medium: &mut Vec<u8>) {
    let from = page * PAGE;
    let mut bytes = [0; PAGE as usize];
    let read = file.read_at(&mut bytes, from).expect("a page") as u64;
    let len = medium.len().max((from + read) as usize);
    medium.resize(len, 0);
    medium[from as usize..(from + read) as usize].copy_from_slice(&bytes[..read as usize]);
}

impl Disk for LossyDisk {
    fn open(&self, path: &str, access: Access) -> Result<Option<Arc<dyn File>>> {
        let Some(file) = self.below.open(path, access)? else { return Ok(None) };
        let medium = lock(&self.state).names.get(path).copied();
        Ok(Some(self.wrap(file, medium.expect("every file was made here"))))
    }
    fn create(&self, dir: &str) -> Result<Arc<dyn File>> {
        let file = self.below.create(dir)?;
        let mut state = lock(&self.state);
        state.media.push(Medium::default());
        let medium = state.media.len() - 1;
        drop(state);
        Ok(self.wrap(file, medium))
    }
    fn link(&self, file: &dyn File, path: &str) -> Result<bool> {
        let file: &LossyFile = file.as_any().downcast_ref().expect("a file of this disk");
        let mut state = lock(&self.state);
        let linked = self.below.link(&*file.below, path)?;
        if linked {
            state.names.insert(path.to_owned(), file.medium);
        }
        Ok(linked)
    }
    fn unlink(&self, path: &str) -> Result<bool> {
        let mut state = lock(&self.state);
        state.names.remove(path);
        self.below.unlink(path)
    }
    fn rename(&self, from: &str, to: &str) -> Result<bool> {
        let mut state = lock(&self.state);
        let renamed = self.below.rename(from, to)?;
        if renamed {
            let moved = |name: &String| Some(format!("{to}{}", name.strip_prefix(from)?));
            let names = std::mem::take(&mut state.names);
            state.names =
                names.into_iter().map(|(name, at)| (moved(&name).unwrap_or(name), at)).collect();
        }
        Ok(renamed)
    }
    fn make_dir(&self, path: &str) -> Result<bool> {
        self.below.make_dir(path)
    }
    fn remove_dir(&self, path: &str) -> Result<bool> {
        self.below.remove_dir(path)
    }
    fn list(&self, dir: &str) -> Result<Vec<String>> {
        self.below.list(dir)
    }
    fn sync_dir(&self, dir: &str) -> Result<()> {
        let mut state = lock(&self.state);
        if state.fails() {
            self.below.inject(Fault::new(FaultKind::Io).on(Call::SyncDir));
            return self.below.sync_dir(dir);
        }
        let is_below = |name: &String| name.rsplit_once('/').map_or("", |(dir, _)| dir) == dir;
        let mut durable: BTreeMap<String, usize> = std::mem::take(&mut state.durable_names);
        durable.retain(|name, _| !is_below(name));
        let now = state.names.iter().filter(|(name, _)| is_below(name));
        durable.extend(now.map(|(name, medium)| (name.clone(), *medium)));
        state.durable_names = durable;
        Ok(())
    }
    fn file_system(&self) -> &'static str {
        self.below.file_system()
    }
    fn space(&self) -> Result<Space> {
        self.below.space()
    }
    fn identity(&self) -> Result<Identity> {
        self.below.identity()
    }
}

impl File for LossyFile {
    fn len(&self) -> Result<u64> {
        self.below.len()
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        self.below.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        lock(&self.state).touch(self.medium, offset, offset + bytes.len() as u64);
        self.below.write_at(bytes, offset)
    }
    fn reserve(&self, from: u64, len: u64, how: Reserve) -> Result<()> {
        self.below.reserve(from, len, how)
    }
    fn set_len(&self, len: u64) -> Result<()> {
        self.below.set_len(len)
    }
    fn sync_data(&self) -> Result<()> {
        let mut state = lock(&self.state);
        let dirty = std::mem::take(&mut state.media[self.medium].dirty);
        if state.fails() {
            self.faults.inject(Fault::new(FaultKind::Io).on(Call::Sync));
            return self.below.sync_data();
        }
        let medium = &mut state.media[self.medium];
        medium.bytes.resize(self.below.len()? as usize, 0);
        for page in dirty {
            write_back(&*self.below, page, &mut medium.bytes);
        }
        Ok(())
    }
    fn set_mode(&self, mode: u32) -> Result<()> {
        self.below.set_mode(mode)
    }
    fn is_owner_writable(&self) -> Result<bool> {
        self.below.is_owner_writable()
    }
    fn map(&self, len: u64, access: Access) -> Result<Map> {
        if access == Access::Write {
            lock(&self.state).touch(self.medium, 0, len);
        }
        self.below.map(len, access)
    }
    fn try_lock(&self, start: u64, len: u64, kind: LockKind) -> Result<bool> {
        self.below.try_lock(start, len, kind)
    }
    fn unlock(&self, start: u64, len: u64) -> Result<()> {
        self.below.unlock(start, len)
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
