//! Write-back of a file system, kept going while something else is measured.

use anyhow::Result;
use nix::unistd::syncfs;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Pause between two rounds of write-back.
const PAUSE: Duration = Duration::from_millis(100);

/// Runs `work` while another thread writes back the file system of `dir`, over and over.
pub fn during_write_back<R>(dir: &Path, work: impl FnOnce() -> Result<R>) -> Result<R> {
    let file = File::open(dir)?;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                // A medium that fails tells those who sync their own files.
                let _ = syncfs(&file);
                std::thread::sleep(PAUSE);
            }
        });
        let result = work();
        over.store(true, Ordering::Relaxed);
        result
    })
}
