//! Builds a run under a temporary name.
//!
//! I1  Whoever builds holds a lock that goes with the process, taken before its directory is made: one that is
//!     not locked is a leftover, and only leftovers are removed. A builder may be slow, or stopped, and
//!     somebody else build beside it.
//! I2  A run gets its name complete, and by a rename that replaces nothing.
//!
//! Death: a directory under a temporary name, removed by the next who builds.
#![forbid(unsafe_code)]

use super::{RUN_DIR, burial_path, make_table, open_locks, run_dir};
use crate::disk::{Access, Disk, File, LockKind, Map, Reserve};
use crate::error::{Error, ErrorKind, Result};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// What the names of runs that are being built begin with.
const NEW: &str = "new-";
/// The bytes of `locks` that builders hold: as many from here on, one for each name.
const BUILDERS_BYTE: u64 = 1 << 61;
const BUILDERS: u64 = 1 << 60;

/// Builds a run under a temporary name.
pub struct RunBuilder {
    disk: Arc<dyn Disk>,
    dir: String,
    /// Says that it is being built (I1).
    _lock: Arc<dyn File>,
}

impl RunBuilder {
    /// A new temporary directory.
    pub fn new(disk: &Arc<dyn Disk>) -> Result<Self> {
        disk.make_dir(RUN_DIR)?;
        // Unique by time and process; a clash only means trying again.
        for attempt in 0..1000 {
            let now = crate::clock::now_ns();
            let name = format!("{NEW}{now:x}-{:x}-{attempt}", std::process::id());
            let Some(lock) = lock_builder(&**disk, &name)? else { continue };
            if disk.make_dir(&run_dir(&name))? {
                return Ok(Self { disk: disk.clone(), dir: run_dir(&name), _lock: lock });
            }
        }
        Err(Error::new(ErrorKind::Io, "no free name for a new run").path(RUN_DIR))
    }

    /// Makes the file of the first table, of `words` words that begin with `header`.
    pub fn table(&self, generation: u32, words: usize, header: &[u64]) -> Result<Map> {
        let path = format!("{}/{generation:08x}.idx", self.dir);
        make_table(&*self.disk, &self.dir, &path, words, header)?;
        let opened = self.disk.open(&path, Access::Write)?;
        let file =
            opened.ok_or_else(|| Error::new(ErrorKind::Io, "a new table is gone").path(&path))?;
        file.map(words as u64 * 8, Access::Write)
    }

    /// Where the segment that the recovery has buried in is to stand.
    pub fn burial_path(&self) -> String {
        burial_path(&self.dir)
    }

    /// Writes the control page and gives the run its name; `false` if somebody else was faster.
    pub fn finish(self, words: &[u64], tag: &str) -> Result<bool> {
        let file = self.disk.create(&self.dir)?;
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        file.reserve(0, bytes.len() as u64, Reserve::Backed)?;
        file.write_at(&bytes, 0)?;
        self.disk.link(&*file, &format!("{}/control", self.dir))?;
        self.disk.rename(&self.dir, &run_dir(tag))
    }

    /// Removes the runs of other boots, and what dead builders left. Errors are passed over: what stays is
    /// only space.
    pub fn remove_others(disk: &dyn Disk, keep: Option<&str>) {
        for name in disk.list(RUN_DIR).unwrap_or_default() {
            if Some(name.as_str()) == keep {
                continue;
            }
            if !name.starts_with(NEW) || bug!("builder-unasked") {
                remove_run(disk, &name);
            } else if let Ok(Some(_lock)) = lock_builder(disk, &name) {
                remove_run(disk, &name);
            }
        }
    }

    /// Removes what was built, after somebody else was faster.
    pub fn abandon(disk: &dyn Disk, dir: &str) {
        remove_run(disk, dir.trim_start_matches("run/"));
    }

    /// The temporary directory.
    pub fn dir(&self) -> &str {
        &self.dir
    }
}

fn remove_run(disk: &dyn Disk, name: &str) {
    let dir = run_dir(name);
    for file in disk.list(&dir).unwrap_or_default() {
        let _ = disk.unlink(&format!("{dir}/{file}"));
    }
    let _ = disk.remove_dir(&dir);
}

/// The lock of whoever builds under this name; `None` if it is held.
fn lock_builder(disk: &dyn Disk, name: &str) -> Result<Option<Arc<dyn File>>> {
    let file = open_locks(disk)?;
    let byte = BUILDERS_BYTE + xxh3_64(name.as_bytes()) % BUILDERS;
    Ok(file.try_lock(byte, 1, LockKind::Exclusive)?.then_some(file))
}

#[cfg(test)]
mod tests {
    use super::super::LOCKS_PATH;
    use super::*;
    use crate::disk::{OpenOptions, RealDisk};

    #[test]
    fn what_a_slow_builder_has_built_is_left_alone_and_what_a_dead_one_has_is_not() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(LOCKS_PATH), b"").unwrap();
        let options = OpenOptions { writable: true, ..OpenOptions::default() };
        let disk: Arc<dyn Disk> = RealDisk::open(dir.path(), &options).unwrap();
        disk.make_dir(RUN_DIR).unwrap();
        let slow = RunBuilder::new(&disk).unwrap();
        let dead = RunBuilder::new(&disk).unwrap();
        let (slow_dir, dead_dir) = (dir.path().join(slow.dir()), dir.path().join(dead.dir()));
        drop(dead);
        let other_boot = dir.path().join(run_dir("0123"));
        std::fs::create_dir(&other_boot).unwrap();
        RunBuilder::remove_others(&*disk, None);
        assert!(slow_dir.exists(), "its builder is alive");
        assert!(!dead_dir.exists() && !other_boot.exists(), "nobody is going to use them");
        drop(slow);
        RunBuilder::remove_others(&*disk, None);
        assert!(!slow_dir.exists());
    }
}
