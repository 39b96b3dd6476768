//! Where a row is measured: a directory of its own on a file system that the report names.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory under which rows make theirs.
#[derive(Clone, Debug)]
pub struct Place {
    root: PathBuf,
    file_system: String,
}

impl Place {
    /// Makes the directory if need be, and finds out what it is on.
    pub fn new(root: &Path) -> Result<Self> {
        std::fs::create_dir_all(root).with_context(|| format!("making {}", root.display()))?;
        let root = root.canonicalize()?;
        let file_system = file_system_of(&root)?;
        Ok(Self { root, file_system })
    }

    /// Name of the file system, as `mount` shows it.
    pub fn file_system(&self) -> &str {
        &self.file_system
    }

    /// Whether the bytes stay in memory.
    pub fn is_memory(&self) -> bool {
        self.file_system == "tmpfs"
    }

    /// A new empty directory, removed when it is dropped.
    pub fn scratch(&self) -> Result<Scratch> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = self.root.join(format!("drystone-bench-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(Scratch(path))
    }
}

/// The type of the mount with the longest mount point above `path`.
fn file_system_of(path: &Path) -> Result<String> {
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    let above = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let point = fields.next()?;
        path.starts_with(point).then_some((point.len(), fields.next()?))
    });
    let longest = above.max_by_key(|(len, _)| *len);
    Ok(longest.context("no mount point above the directory")?.1.to_owned())
}

/// A directory that goes when it is dropped, with all in it.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A path in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays is only space, and its name says whose it was.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
