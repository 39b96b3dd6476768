//! File systems of a test's own, where it may mount.

use super::rig::{self, say};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted file system, unmounted when dropped.
pub struct Mount {
    dir: tempfile::TempDir,
}

/// Runs a program; what it said where it failed.
fn run(program: &str, args: &[&str]) -> Result<(), String> {
    match Command::new(program).args(args).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(format!("{program}: {error}")),
    }
}

impl Mount {
    fn new(kind: &str, options: &str, device: &str) -> Option<Self> {
        let dir = rig::on_disk();
        let place = dir.path().join("mount");
        std::fs::create_dir(&place).expect("a directory");
        let text = place.to_str().expect("UTF-8");
        if let Err(why) = run("mount", &["-t", kind, "-o", options, device, text]) {
            say(&format!("SKIPPED: no {kind} to test on: {why}"));
            return None;
        }
        Some(Self { dir })
    }

    /// A tmpfs of so many MiB; `None`, said aloud, where mounting is refused.
    pub fn tmpfs(mib: u64) -> Option<Self> {
        Self::new("tmpfs", &format!("size={mib}m,mode=700"), "tmpfs")
    }

    /// An ext4 of so many MiB in a file.
    pub fn ext4(mib: u64) -> Option<Self> {
        let image = tempfile::NamedTempFile::new().expect("a file");
        image.as_file().set_len(mib << 20).expect("a length");
        let path = image.path().to_str().expect("UTF-8").to_owned();
        if let Err(why) = run("mkfs.ext4", &["-q", "-F", "-m", "0", &path]) {
            say(&format!("SKIPPED: no ext4 to test on: {why}"));
            return None;
        }
        Self::new("ext4", "loop", &path)
    }

    /// Another view of a directory, as `options` say.
    pub fn bind(source: &Path, options: &str) -> Option<Self> {
        let mount = Self::new("none", "bind", source.to_str().expect("UTF-8"))?;
        assert!(mount.try_remount(&format!("bind,{options}")));
        Some(mount)
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("mount")
    }

    /// Mounts it again, as `options` say; whether that went.
    pub fn try_remount(&self, options: &str) -> bool {
        let place = self.path();
        let options = format!("remount,{options}");
        let done = run("mount", &["-o", &options, place.to_str().expect("UTF-8")]);
        done.map_err(|why| say(&why)).is_ok()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let place = self.path();
        // Views of a test that has failed may still hold it.
        let _ = run("umount", &["-l", place.to_str().expect("UTF-8")]);
    }
}
