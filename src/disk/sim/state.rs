//! What all processes of a simulated disk share: files, names, locks, history, and who is alive.
#![forbid(unsafe_code)]

use super::file::Inode;
use super::history::Op;
use super::image::{Change, Image, Node, Tree};
use crate::disk::LockKind;
use std::sync::Arc;

/// Bytes of a page, in which stores through mappings reach the medium.
const PAGE_BYTES: usize = 4096;

/// A file as the page cache has it.
#[derive(Debug)]
pub struct Cached {
    /// Its memory.
    pub inode: Arc<Inode>,
    /// Its permission bits.
    pub mode: u32,
    /// What it held when it was last looked at, once it was mapped to be written.
    mapped: Option<Vec<u8>>,
}

/// A lock of a byte range.
#[derive(Debug)]
pub struct Lock {
    /// The file.
    pub file: usize,
    /// Who opened it.
    pub process: usize,
    /// Which opening.
    pub handle: u64,
    /// First byte.
    pub start: u64,
    /// Number of bytes.
    pub len: u64,
    /// How.
    pub kind: LockKind,
}

/// What is done before a call.
pub type Hook = Box<dyn FnOnce() + Send>;

/// A process that uses the disk.
#[derive(Default)]
pub struct Process {
    /// Whether it has died.
    pub is_dead: bool,
    /// Calls that it has made.
    pub calls: u64,
    /// The call that it dies at, and whether inside it, where it writes.
    pub dies_at: Option<(u64, bool)>,
    /// What happens before which call.
    pub hook: Option<(u64, Hook)>,
}

/// See the head of this file.
pub struct State {
    /// The files that there are, with and without names.
    pub files: Vec<Cached>,
    /// The names.
    pub tree: Tree,
    /// The locks.
    pub locks: Vec<Lock>,
    /// The processes.
    pub processes: Vec<Process>,
    /// Openings so far.
    pub handles: u64,
    base: Image,
    ops: Vec<Op>,
}

impl State {
    /// The page cache over a medium.
    pub fn over(base: Image) -> Self {
        let cached = |content: &super::image::Content| Cached {
            inode: Arc::new(Inode::new(content.bytes.clone())),
            mode: content.mode,
            mapped: None,
        };
        Self {
            files: base.files.iter().map(cached).collect(),
            tree: base.tree.clone(),
            locks: Vec::new(),
            processes: Vec::new(),
            handles: 0,
            base,
            ops: Vec::new(),
        }
    }

    /// A new file without a name.
    pub fn create(&mut self) -> usize {
        let inode = Arc::new(Inode::new(Arc::default()));
        self.files.push(Cached { inode, mode: 0o600, mapped: None });
        self.files.len() - 1
    }

    /// How much has happened: what is stored through mappings counts from here on, at the latest.
    pub fn now(&mut self) -> usize {
        (0..self.files.len()).for_each(|file| self.absorb(file));
        self.ops.len()
    }

    /// What has happened.
    pub fn history(&mut self) -> super::History {
        self.now();
        let (files, dirs) = (self.files.len(), self.tree.dirs());
        super::History::new(self.base.clone(), self.ops.clone(), files, dirs)
    }

    /// Notes what was done.
    pub fn note(&mut self, op: Op) {
        match &op {
            Op::Write { file, .. } | Op::Len { file, .. } | Op::Sync { file } => {
                // Under a write of this very moment there may be stores that came before.
                let file = *file;
                self.ops.push(op);
                if let Some(Op::Write { offset, bytes, .. }) = self.ops.last()
                    && let Some(mapped) = &mut self.files[file].mapped
                {
                    let end = *offset as usize + bytes.len();
                    let len = mapped.len().max(end);
                    mapped.resize(len, 0);
                    mapped[*offset as usize..end].copy_from_slice(bytes);
                }
            }
            _ => self.ops.push(op),
        }
    }

    /// Begins to look for stores through mappings of a file.
    pub fn watch(&mut self, file: usize) {
        let cached = &mut self.files[file];
        if cached.mapped.is_none() {
            cached.mapped = Some(cached.inode.read_all());
        }
    }

    /// Notes what has been stored to a file through mappings.
    pub fn absorb(&mut self, file: usize) {
        let cached = &mut self.files[file];
        let Some(mapped) = &mut cached.mapped else { return };
        let now = cached.inode.read_all();
        mapped.resize(now.len(), 0);
        for (page, (before, after)) in
            mapped.chunks_mut(PAGE_BYTES).zip(now.chunks(PAGE_BYTES)).enumerate()
        {
            if before != after {
                before.copy_from_slice(after);
                let offset = (page * PAGE_BYTES) as u64;
                self.ops.push(Op::Write { file, offset, bytes: after.to_vec() });
            }
        }
    }

    /// Changes names.
    pub fn rename(&mut self, changes: Vec<Change>) {
        changes.iter().for_each(|change| self.tree.apply(change));
        self.note(Op::Names(changes));
    }

    /// Gives a name, or takes one away.
    pub fn name(&mut self, (dir, name): (usize, &str), node: Option<Node>) {
        self.rename(vec![Change { dir, name: name.to_owned(), node }]);
    }

    /// Tries to lock.
    pub fn try_lock(&mut self, lock: Lock) -> bool {
        let overlaps = |held: &Lock| {
            held.file == lock.file
                && held.start < lock.start + lock.len
                && lock.start < held.start + held.len
        };
        let excludes = |held: &&Lock| {
            let is_exclusive = [held.kind, lock.kind].contains(&LockKind::Exclusive);
            overlaps(held) && held.handle != lock.handle && is_exclusive
        };
        if self.locks.iter().any(|held| excludes(&held)) {
            return false;
        }
        self.locks.retain(|held| held.handle != lock.handle || !overlaps(held));
        self.locks.push(lock);
        true
    }

    /// Gives the locks of an opening back: those that begin in a range, or all.
    pub fn unlock(&mut self, handle: u64, range: Option<(u64, u64)>) {
        let is_within = |held: &Lock| {
            range.is_none_or(|(start, len)| held.start >= start && held.start < start + len)
        };
        self.locks.retain(|held| held.handle != handle || !is_within(held));
    }

    /// Ends a process: its locks go. What it would still have done is the caller's to drop.
    pub fn kill(&mut self, process: usize) -> Option<(u64, Hook)> {
        self.processes[process].is_dead = true;
        self.locks.retain(|held| held.process != process);
        self.processes[process].hook.take()
    }
}
