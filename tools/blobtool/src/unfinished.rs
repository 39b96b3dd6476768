//! What must not stay behind when the tool is interrupted: a half-written output file, the processes
//! and the directory of the demonstration.
//!
//! The store itself needs no care: it is whole whatever instruction its users die at. So a signal
//! needs no polling in the verbs: one thread waits for it, discards what is registered, and exits.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{self, Child};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Thing {
    Process(u32),
    File(PathBuf),
    Directory(PathBuf),
}

static UNFINISHED: Mutex<Vec<Thing>> = Mutex::new(Vec::new());

/// Something registered; dropping it says that it is finished, or was discarded in another way.
pub struct Unfinished(Thing);

impl Unfinished {
    /// A file that is made now, to be unlinked.
    pub fn file<T: AsRef<Path>>(make: impl FnOnce() -> io::Result<T>) -> io::Result<(Self, T)> {
        Self::register(make, |made| Thing::File(made.as_ref().into()))
    }

    /// A directory that is made now, to be removed with all that is in it.
    pub fn directory<T: AsRef<Path>>(
        make: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<(Self, T)> {
        Self::register(make, |made| Thing::Directory(made.as_ref().into()))
    }

    /// A child process that is made now, to be killed.
    pub fn process(make: impl FnOnce() -> io::Result<Child>) -> io::Result<(Self, Child)> {
        Self::register(make, |made| Thing::Process(made.id()))
    }

    /// Made under the lock: an interrupt finds what is there registered.
    fn register<T>(
        make: impl FnOnce() -> io::Result<T>,
        thing: impl FnOnce(&T) -> Thing,
    ) -> io::Result<(Self, T)> {
        let mut things = things();
        let made = make()?;
        let thing = thing(&made);
        things.push(thing.clone());
        Ok((Self(thing), made))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let mut things = things();
        if let Some(at) = things.iter().position(|thing| *thing == self.0) {
            things.swap_remove(at);
        }
    }
}

fn things() -> std::sync::MutexGuard<'static, Vec<Thing>> {
    UNFINISHED.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Waits for an interrupt on a thread of its own. A limit on file sizes is caught too, so that it
/// comes back from the write as an error, and does not kill.
pub fn watch() -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGXFSZ])?;
    thread::spawn(move || {
        if let Some(signal) = signals.forever().find(|signal| *signal != SIGXFSZ) {
            // The lock is kept to the end: nothing may be registered any more.
            let things = things();
            discard(&things);
            // Nobody may be there to read it: that must not keep the tool alive.
            say("interrupted; what was acknowledged is stored, nothing is lost");
            process::exit(128 + signal);
        }
    });
    Ok(())
}

fn say(what: &str) {
    let _ = writeln!(io::stderr(), "blobtool: {what}");
}

fn discard(things: &[Thing]) {
    for thing in things {
        match thing {
            // A child that is gone already is what we want.
            Thing::Process(id) => drop(kill(Pid::from_raw(*id as i32), Signal::SIGKILL)),
            Thing::File(path) => drop(fs::remove_file(path)),
            Thing::Directory(_) => {}
        }
    }
    for thing in things {
        if let Thing::Directory(path) = thing {
            remove_directory(path);
        }
    }
}

/// Removes a directory in which a process that is just dying may still make a file.
fn remove_directory(path: &Path) {
    for _ in 0..50 {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                thread::sleep(Duration::from_millis(20));
            }
            _ => return,
        }
    }
    say(&format!("{} could not be removed; please do", path.display()));
}
