//! What was acknowledged, noted outside of the store, in a file that outlives who writes it.
#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// What a whole line ends with.
const WHOLE: &str = " .";

/// The log beside a store.
pub fn path(store: &Path) -> PathBuf {
    store.with_extension("log")
}

/// A line is one write, of which a kill may leave a part: who wrote it has not been told more than the log
/// says. So each begins on a line of its own, and ends as only a whole one does.
pub struct Log(File);

impl Log {
    pub fn open(store: &Path) -> Self {
        Self(File::options().create(true).append(true).open(path(store)).unwrap())
    }

    pub fn note(&mut self, what: Note) {
        let line = match what {
            Note::Put { seed, len } => format!("put {seed} {len}"),
            Note::Bound { key, value } => format!("bound {key} {value}"),
            Note::Counted => "counted 0 0".to_owned(),
            Note::Removing { seed } => format!("removing {seed} 0"),
            Note::Removed { seed } => format!("removed {seed} 0"),
        };
        self.0.write_all(format!("\n{line}{WHOLE}").as_bytes()).unwrap();
    }
}

/// Something that was acknowledged (or, of a removal, begun).
#[derive(Clone, Copy, Debug)]
pub enum Note {
    Put { seed: u64, len: usize },
    Bound { key: u64, value: u64 },
    Counted,
    Removing { seed: u64 },
    Removed { seed: u64 },
}

/// All notes so far.
#[derive(Debug, Default)]
pub struct Notes {
    /// Length by seed.
    pub put: HashMap<u64, usize>,
    /// The last value by key.
    pub bound: HashMap<u64, u64>,
    pub counted: u64,
    pub removing: HashSet<u64>,
    pub removed: HashSet<u64>,
}

impl Notes {
    pub fn read(store: &Path) -> Self {
        let mut notes = Self::default();
        let text = std::fs::read_to_string(path(store)).unwrap_or_default();
        for line in text.lines().filter_map(|line| line.strip_suffix(WHOLE)) {
            let fields: Vec<&str> = line.split(' ').collect();
            let [what, a, b] = fields[..] else { panic!("no note: {line:?}") };
            let (a, b): (u64, u64) = (a.parse().unwrap(), b.parse().unwrap());
            match what {
                "put" => drop(notes.put.insert(a, b as usize)),
                "bound" => drop(notes.bound.insert(a, b)),
                "counted" => notes.counted += 1,
                "removing" => drop(notes.removing.insert(a)),
                "removed" => drop(notes.removed.insert(a)),
                what => panic!("no note: {what:?}"),
            }
        }
        notes
    }
}

/// How long the log is: a sign of life.
pub fn len(store: &Path) -> u64 {
    std::fs::metadata(path(store)).map_or(0, |metadata| metadata.len())
}
