//! Tests of the disk layer: on a disk and on tmpfs, and between processes.
#![deny(unsafe_code)] // `fork` allows it: to fork is unsafe

mod fault;
mod fork;
mod lock;
mod map;
mod peer;
mod real;
mod refuse;
mod sim;

use super::*;
use crate::error::{Error, ErrorKind};
use crate::sync::machine::{AtomicU64, Ordering};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// A directory for one test, removed with all that is in it.
pub struct Scratch(PathBuf);

impl Scratch {
    fn new(base: &Path) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = base.join(format!("drystone-disk-{}-{count}", std::process::id()));
        std::fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
        Self(path)
    }

    /// On the file system of temporary files.
    pub fn on_disk() -> Self {
        Self::new(&std::env::temp_dir())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn at(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    pub fn open(&self) -> Arc<RealDisk> {
        RealDisk::open(self.path(), &writable()).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn writable() -> OpenOptions {
    OpenOptions { writable: true, ..OpenOptions::default() }
}

/// Runs a test on the file system of temporary files and on tmpfs.
pub fn everywhere(test: impl Fn(&Scratch, &RealDisk)) {
    for base in [std::env::temp_dir(), PathBuf::from("/dev/shm")] {
        let scratch = Scratch::new(&base);
        let disk = scratch.open();
        test(&scratch, &disk);
    }
}

/// A file with a name.
pub fn make(disk: &dyn Disk, path: &str, bytes: &[u8]) -> Arc<dyn File> {
    let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
    let file = disk.create(dir).unwrap();
    file.write_at(bytes, 0).unwrap();
    assert!(disk.link(&*file, path).unwrap());
    file
}

pub fn reopen(disk: &dyn Disk, path: &str, access: Access) -> Arc<dyn File> {
    disk.open(path, access).unwrap().unwrap()
}

/// The error that an operation ends in.
pub fn refused<T>(result: Result<T>, kind: ErrorKind) -> Error {
    let Err(error) = result else { panic!("not refused") };
    assert_eq!(error.kind(), kind, "{error}");
    error
}
