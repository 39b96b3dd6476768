//! File systems of a test's own on memory, whose power can be cut.
//!
//! `unsafe` stands here because these are system calls that no crate at hand wraps.

use nix::errno::Errno;
use nix::libc;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `_IOR('X', 125, __u32)`: the file system stops at once, as if its power were cut.
const SHUTDOWN: libc::c_ulong = 0x8004_587D;
/// What its journal has not written yet is not written.
const WITHOUT_LOG_FLUSH: u32 = 2;

/// A file system in a file in memory, behind a loop device.
pub struct Disk {
    dir: tempfile::TempDir,
    kind: &'static str,
    device: String,
    is_mounted: bool,
}

/// Runs a program; what it says, or why it failed.
fn run(program: &str, args: &[&str]) -> Result<String, String> {
    match Command::new(program).args(args).output() {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        }
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(format!("{program}: {error}")),
    }
}

fn c(text: impl AsRef<std::ffi::OsStr>) -> CString {
    CString::new(text.as_ref().as_bytes()).expect("no zero in a path")
}

impl Disk {
    /// A new one, not mounted.
    ///
    /// # Errors
    /// Why there can be none here.
    pub fn new(kind: &'static str) -> Result<Self, String> {
        let dir = tempfile::Builder::new().prefix("drystone-power-").tempdir_in("/dev/shm");
        let dir = dir.map_err(|error| format!("/dev/shm: {error}"))?;
        let (image, mib) = (dir.path().join("image"), if kind == "ext4" { 48 } else { 320 });
        let made = File::create(&image).and_then(|file| file.set_len(mib << 20));
        made.map_err(|error| error.to_string())?;
        let path = image.to_str().expect("UTF-8");
        match kind {
            "ext4" => run("mkfs.ext4", &["-q", "-F", "-m", "0", "-J", "size=4", path])?,
            _ => run(&format!("mkfs.{kind}"), &["-q", "-f", path])?,
        };
        std::fs::create_dir(dir.path().join("mount")).map_err(|error| error.to_string())?;
        let device = run("losetup", &["-f", "--show", path])?;
        let mut disk = Self { dir, kind, device, is_mounted: false };
        let mount =
            |disk: &mut Self| disk.mount("").map_err(|errno| format!("mount {kind}: {errno}"));
        mount(&mut disk)?;
        // Of some kinds no power can be cut, or not by every kernel.
        disk.cut()?;
        disk.unmount();
        mount(&mut disk)?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("mount")
    }

    /// What stands beside it and is not lost.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Mounts it.
    pub fn mount(&mut self, options: &str) -> Result<(), Errno> {
        let (device, path, kind) = (c(&self.device), c(self.path()), c(self.kind));
        let options = c(options);
        // SAFETY: four strings that end with a zero and live through the call.
        let mounted = unsafe {
            let data = options.as_ptr().cast();
            libc::mount(device.as_ptr(), path.as_ptr(), kind.as_ptr(), libc::MS_NOATIME, data)
        };
        self.is_mounted = Errno::result(mounted).is_ok();
        Errno::result(mounted).map(drop)
    }

    /// Cuts its power. It stays mounted, and every call that needs the medium fails.
    pub fn cut(&self) -> Result<(), String> {
        let root = File::open(self.path()).map_err(|error| error.to_string())?;
        let how = WITHOUT_LOG_FLUSH;
        // SAFETY: the request reads a number of 32 bits, which lives through the call.
        let done = unsafe { libc::ioctl(root.as_raw_fd(), SHUTDOWN, &raw const how) };
        Errno::result(done).map(drop).map_err(|errno| format!("FS_IOC_SHUTDOWN: {errno}"))
    }

    /// Unmounts it; nobody uses it any more.
    pub fn unmount(&mut self) {
        let path = c(self.path());
        for _ in 0..2000 {
            // SAFETY: a string that ends with a zero and lives through the call.
            let done = unsafe { libc::umount2(path.as_ptr(), 0) };
            match Errno::result(done) {
                Err(Errno::EBUSY) => std::thread::sleep(std::time::Duration::from_millis(1)),
                Err(errno) => panic!("cannot unmount: {errno}"),
                Ok(_) => {
                    self.is_mounted = false;
                    return;
                }
            }
        }
        panic!("the file system stays busy");
    }
}

/// Nanoseconds on a clock that all processes share.
pub fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to the one place that it is given, which is a time.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Begins to write a file back, and waits for it.
pub fn write_back(path: &Path) {
    let Ok(file) = File::open(path) else { return };
    let how = libc::SYNC_FILE_RANGE_WAIT_BEFORE
        | libc::SYNC_FILE_RANGE_WRITE
        | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    // SAFETY: the call takes a descriptor and numbers, and touches no memory.
    let _ = unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, how) };
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.is_mounted {
            let path = c(self.path());
            // SAFETY: a string that ends with a zero and lives through the call.
            let _ = unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
        }
        let _ = run("losetup", &["-d", &self.device]);
    }
}
