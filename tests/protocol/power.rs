//! A medium on which a power cut can be played: what was synced survives it, and of the rest what a
//! policy says.
//!
//! A file's image is what it held when its last fdatasync began; a directory's, the names in it at its
//! last fsync. A cut makes a new directory of these and of parts of what stands there now: names
//! come or not, and files are mixed in steps of 64 bytes.
#![forbid(unsafe_code)]

use crate::support::{Dice, Scratch};
use drystone::{Options, Store};
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Steps in which what was not synced survives or not.
const STEP: usize = 64;
/// The directories of a store whose files are not made anew with each run.
const DIRS: [&str; 2] = ["", "segments"];

/// What is on the medium for sure.
#[derive(Default)]
struct Synced {
    /// By inode.
    files: HashMap<u64, Vec<u8>>,
    /// Names and inodes, by directory.
    dirs: HashMap<PathBuf, BTreeMap<String, u64>>,
}

static MEDIA: Mutex<BTreeMap<PathBuf, Synced>> = Mutex::new(BTreeMap::new());

fn media() -> MutexGuard<'static, BTreeMap<PathBuf, Synced>> {
    MEDIA.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes that a file or directory is synced; `false` if it is not on one of these media.
pub fn note_sync(fd: i32) -> bool {
    let through = format!("/proc/self/fd/{fd}");
    let Ok(path) = fs::read_link(&through) else { return false };
    let mut media = media();
    let Some((root, synced)) = media.iter_mut().find(|(root, _)| path.starts_with(root)) else {
        return false;
    };
    let metadata = fs::metadata(&through).unwrap();
    if metadata.is_dir() {
        let dir = path.strip_prefix(root).unwrap().to_path_buf();
        synced.dirs.insert(dir, names_in(&path));
    } else {
        synced.files.insert(metadata.ino(), fs::read(&through).unwrap());
    }
    true
}

fn names_in(dir: &Path) -> BTreeMap<String, u64> {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    files
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().ino()))
        .collect()
}

/// What survives a cut of what was not synced.
#[derive(Clone, Debug)]
pub enum Survives {
    Nothing,
    Everything,
    Anything(Dice),
}

impl Survives {
    pub fn any(seed: u64) -> Self {
        Self::Anything(Dice::new(seed))
    }

    /// The three policies, the last one some times.
    pub fn each(seed: u64) -> Vec<Self> {
        let any = (0..3).map(|i| Self::any(seed * 16 + i));
        [Self::Nothing, Self::Everything].into_iter().chain(any).collect()
    }

    fn does_name(&mut self) -> bool {
        match self {
            Self::Nothing => false,
            Self::Everything => true,
            Self::Anything(dice) => dice.below(2) == 0,
        }
    }

    fn mix(&mut self, synced: &[u8], now: Vec<u8>) -> Vec<u8> {
        let dice = match self {
            Self::Nothing => return synced.to_vec(),
            Self::Everything => return now,
            Self::Anything(dice) => dice,
        };
        let len = [synced.len(), now.len()][dice.below(2) as usize];
        let (mut mixed, of_four) = (synced.to_vec(), dice.below(5));
        mixed.resize(len, 0);
        for at in (0..len.min(now.len())).step_by(STEP) {
            let end = len.min(now.len()).min(at + STEP);
            if dice.below(4) < of_four {
                mixed[at..end].copy_from_slice(&now[at..end]);
            }
        }
        mixed
    }
}

/// A directory in memory with a store.
pub struct Medium {
    scratch: Scratch,
}

impl Medium {
    pub fn new() -> Self {
        let scratch = Scratch::in_memory();
        media().insert(scratch.path(), Synced::default());
        Self { scratch }
    }

    pub fn path(&self) -> PathBuf {
        self.scratch.path()
    }

    pub fn open(&self) -> Store {
        self.open_with(Store::options())
    }

    pub fn open_with(&self, options: Options) -> Store {
        self.scratch.open(options.create(true))
    }

    /// The medium after the power was cut now, and has come back.
    pub fn cut(&self, mut survives: Survives) -> Self {
        let after = Self { scratch: Scratch::in_memory() };
        let mut synced = Synced::default();
        for dir in DIRS {
            let place = after.path().join(dir);
            fs::create_dir_all(&place).unwrap();
            fs::set_permissions(&place, Permissions::from_mode(0o700)).unwrap();
            for (name, content) in self.surviving(Path::new(dir), &mut survives) {
                let path = place.join(&name);
                fs::write(&path, &content).unwrap();
                fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
                synced.files.insert(fs::metadata(&path).unwrap().ino(), content);
            }
            synced.dirs.insert(dir.into(), names_in(&place));
        }
        media().insert(after.path(), synced);
        after
    }

    /// The files of a directory that survive, and what they hold.
    fn surviving(&self, dir: &Path, survives: &mut Survives) -> Vec<(String, Vec<u8>)> {
        let media = media();
        let synced = &media[&self.path()];
        let now = names_in(&self.path().join(dir));
        let sure = synced.dirs.get(dir).cloned().unwrap_or_default();
        let is_sure = |name: &String| sure.contains_key(name);
        let names = now.iter().filter(|(name, _)| is_sure(name) || survives.does_name());
        let names: Vec<_> = names.map(|(name, inode)| (name.clone(), *inode)).collect();
        let held = |inode: u64| synced.files.get(&inode).map_or(&[][..], Vec::as_slice);
        names
            .into_iter()
            .map(|(name, inode)| {
                let content = fs::read(self.path().join(dir).join(&name)).unwrap();
                (name, survives.mix(held(inode), content))
            })
            .collect()
    }
}

impl Drop for Medium {
    fn drop(&mut self) {
        media().remove(&self.path());
    }
}

#[test]
fn what_was_not_synced_is_gone() {
    let medium = Medium::new();
    let store = medium.open();
    let id = store.put(b"only in memory").unwrap();
    assert!(medium.cut(Survives::Everything).open().contains(&id).unwrap());
    assert!(!medium.cut(Survives::Nothing).open().contains(&id).unwrap());
    store.sync().unwrap();
    let after = medium.cut(Survives::Nothing);
    assert!(after.open().contains(&id).unwrap());
    assert!(after.cut(Survives::Nothing).open().contains(&id).unwrap(), "it stays there");
}
