//! A process's way to a simulated disk.
//!
//! I1  Every call of a process that has died is an error and changes nothing.
#![forbid(unsafe_code)]

use super::file::SimFile;
use super::history::{History, Op};
use super::image::{Change, Image, Node};
use super::state::{Process, State};
use crate::disk::{Access, Disk, File, Identity, Space};
use crate::error::{Error, ErrorKind, Result};
use crate::units::GIB;
use nix::errno::Errno;
use std::sync::{Arc, Mutex, MutexGuard};

/// What a process that dies in the middle of a call unwinds with.
#[derive(Clone, Copy, Debug)]
pub struct Killed;

/// A process's way to a simulated disk.
#[derive(Clone)]
pub struct SimDisk {
    shared: Arc<Mutex<State>>,
    boot: Arc<str>,
    process: usize,
}

impl std::fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimDisk").field("boot", &self.boot).field("process", &self.process).finish()
    }
}

impl SimDisk {
    /// A machine that comes up under this boot id with this medium, and the first process on it.
    pub fn boot(medium: Image, boot: &str) -> Self {
        let mut state = State::over(medium);
        state.processes.push(Process::default());
        Self { shared: Arc::new(Mutex::new(state)), boot: boot.into(), process: 0 }
    }

    /// Another process.
    pub fn process(&self) -> Self {
        let mut state = self.state();
        state.processes.push(Process::default());
        let process = state.processes.len() - 1;
        Self { shared: self.shared.clone(), boot: self.boot.clone(), process }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(|held| held.into_inner())
    }

    pub(super) fn process_number(&self) -> usize {
        self.process
    }

    /// How much has happened to the disk.
    pub fn now(&self) -> usize {
        self.state().now()
    }

    /// What has happened to the disk.
    pub fn history(&self) -> History {
        self.state().history()
    }

    /// Calls that this process has made.
    pub fn calls(&self) -> u64 {
        self.state().processes[self.process].calls
    }

    /// This process dies here and now, outside of any call.
    pub fn kill(&self) {
        let hook = self.state().kill(self.process);
        drop(hook);
    }

    /// Whether this is the same process.
    pub fn is_same_process(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared) && self.process == other.process
    }

    /// Whether this process has died.
    pub fn is_dead(&self) -> bool {
        self.state().processes[self.process].is_dead
    }

    /// This process dies at the `nth` call from now on, counted from 1, and unwinds with [`Killed`]:
    /// before the call, or, where `inside` and it is a write, when half of the bytes are written.
    pub fn die_at(&self, nth: u64, inside: bool) {
        let mut state = self.state();
        let process = &mut state.processes[self.process];
        process.dies_at = Some((process.calls + nth, inside));
    }

    /// What was to happen to this process and has not happened yet will not.
    pub fn at_ease(&self) {
        let mut state = self.state();
        let process = &mut state.processes[self.process];
        process.dies_at = None;
        let hook = process.hook.take();
        // What the hook holds may be files of this disk, which give their locks back.
        drop(state);
        drop(hook);
    }

    /// Something happens before the `nth` call of this process from now on, counted from 1.
    pub fn before_call(&self, nth: u64, hook: impl FnOnce() + Send + 'static) {
        let mut state = self.state();
        let process = &mut state.processes[self.process];
        process.hook = Some((process.calls + nth, Box::new(hook)));
    }

    /// What every call does first.
    pub(super) fn enter(&self) -> Result<()> {
        self.enter_writing(|| ())
    }

    /// The same for a write, of which `half` does the first half.
    pub(super) fn enter_writing(&self, half: impl FnOnce()) -> Result<()> {
        let mut state = self.state();
        let process = &mut state.processes[self.process];
        if process.is_dead {
            return Err(Error::io("the process is dead", Errno::EIO.into()));
        }
        process.calls += 1;
        let calls = process.calls;
        let hook = process.hook.take_if(|(nth, _)| *nth <= calls);
        let dies = process.dies_at.take_if(|(nth, _)| *nth <= calls);
        drop(state);
        if let Some((_, hook)) = hook {
            hook();
        }
        if let Some((_, inside)) = dies {
            if inside {
                half();
            }
            self.kill();
            std::panic::resume_unwind(Box::new(Killed));
        }
        Ok(())
    }

    fn handle(&self, state: &mut State, file: usize, path: &str) -> Arc<dyn File> {
        state.handles += 1;
        Arc::new(SimFile {
            disk: self.clone(),
            file,
            handle: state.handles,
            inode: state.files[file].inode.clone(),
            is_volatile: path.starts_with("run/"),
        })
    }
}

fn fail(doing: &str, path: &str, errno: Errno) -> Error {
    Error::io(format!("cannot {doing}"), errno.into()).path(path)
}

impl Disk for SimDisk {
    fn open(&self, path: &str, access: Access) -> Result<Option<Arc<dyn File>>> {
        self.enter()?;
        let mut state = self.state();
        let file = match state.tree.find(path) {
            None => return Ok(None),
            Some(Node::Dir(_)) => {
                return Err(Error::new(ErrorKind::Damaged, "not a regular file").path(path));
            }
            Some(Node::File(file)) => file,
        };
        if access == Access::Write && state.files[file].mode & 0o200 == 0 {
            return Err(fail("open", path, Errno::EACCES));
        }
        Ok(Some(self.handle(&mut state, file, path)))
    }

    fn create(&self, dir: &str) -> Result<Arc<dyn File>> {
        self.enter()?;
        let mut state = self.state();
        let Some(Node::Dir(_)) = state.tree.find(dir) else {
            return Err(fail("make a file in", dir, Errno::ENOENT));
        };
        let file = state.create();
        Ok(self.handle(&mut state, file, &format!("{dir}/")))
    }

    fn link(&self, file: &dyn File, path: &str) -> Result<bool> {
        self.enter()?;
        let file: &SimFile = file.as_any().downcast_ref().ok_or_else(|| {
            Error::new(ErrorKind::InvalidInput, "only a file that this disk has made can be linked")
        })?;
        let mut state = self.state();
        let place = state.tree.place(path).ok_or_else(|| fail("link", path, Errno::ENOENT))?;
        if state.tree.find(path).is_some() {
            return Ok(false);
        }
        state.name(place, Some(Node::File(file.file)));
        Ok(true)
    }

    fn unlink(&self, path: &str) -> Result<bool> {
        self.enter()?;
        let mut state = self.state();
        let (Some(place), Some(Node::File(_))) = (state.tree.place(path), state.tree.find(path))
        else {
            return Ok(false);
        };
        state.name(place, None);
        Ok(true)
    }

    fn is_named(&self, file: &dyn File, path: &str) -> Result<bool> {
        self.enter()?;
        let own = file.as_any().downcast_ref::<SimFile>().map(|file| file.file);
        let named = self.state().tree.find(path);
        Ok(matches!(named, Some(Node::File(named)) if own == Some(named)))
    }

    fn rename(&self, from: &str, to: &str) -> Result<bool> {
        self.enter()?;
        let mut state = self.state();
        let no_such = |path| fail("rename", path, Errno::ENOENT);
        let node = state.tree.find(from).ok_or_else(|| no_such(from))?;
        let (from_dir, from_name) = state.tree.place(from).ok_or_else(|| no_such(from))?;
        let (to_dir, to_name) = state.tree.place(to).ok_or_else(|| no_such(to))?;
        match (node, state.tree.find(to)) {
            (_, None) => {}
            (Node::Dir(_), Some(Node::Dir(dir))) if state.tree.names(dir).next().is_none() => {}
            _ => return Ok(false),
        }
        let change = |dir, name: &str, node| Change { dir, name: name.to_owned(), node };
        state.rename(vec![change(from_dir, from_name, None), change(to_dir, to_name, Some(node))]);
        Ok(true)
    }

    fn make_dir(&self, path: &str) -> Result<bool> {
        self.enter()?;
        let mut state = self.state();
        let place = state.tree.place(path);
        let place = place.ok_or_else(|| fail("make a directory", path, Errno::ENOENT))?;
        if state.tree.find(path).is_some() {
            return Ok(false);
        }
        let dir = state.tree.add_dir();
        state.name(place, Some(Node::Dir(dir)));
        Ok(true)
    }

    fn remove_dir(&self, path: &str) -> Result<bool> {
        self.enter()?;
        let mut state = self.state();
        let (Some(place), Some(Node::Dir(dir))) = (state.tree.place(path), state.tree.find(path))
        else {
            return Ok(false);
        };
        if state.tree.names(dir).next().is_some() {
            return Err(fail("remove", path, Errno::ENOTEMPTY));
        }
        state.name(place, None);
        Ok(true)
    }

    fn list(&self, dir: &str) -> Result<Vec<String>> {
        self.enter()?;
        let state = self.state();
        let Some(Node::Dir(dir)) = state.tree.find(dir) else { return Ok(Vec::new()) };
        Ok(state.tree.names(dir).map(|(name, _)| name.clone()).collect())
    }

    fn sync_dir(&self, dir: &str) -> Result<()> {
        self.enter()?;
        let mut state = self.state();
        let Some(Node::Dir(dir)) = state.tree.find(dir) else {
            return Err(fail("make durable", dir, Errno::ENOENT));
        };
        state.note(Op::SyncDir { dir });
        Ok(())
    }

    fn file_system(&self) -> &'static str {
        "simulated"
    }

    fn space(&self) -> Result<Space> {
        self.enter()?;
        Ok(Space { total: 1024 * GIB, free: 1024 * GIB })
    }

    fn identity(&self) -> Result<Identity> {
        self.enter()?;
        Ok(Identity { boot: self.boot.to_string(), device: 1, inode: 1, mount: 1 })
    }
}
