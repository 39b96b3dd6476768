//! What is to be done: how large the field is, how many steps, who does what.

use crate::cli::Demo;
use crate::exit::{ERROR, Failure, NO_SPACE, Outcome};
use crate::quantity::human_bytes;
use serde::{Deserialize, Serialize};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Steps of the simulation that are aimed at: enough for the wave to cross the field.
const STEPS_AIM: u64 = 128;
const STEPS_MIN: u64 = 8;
/// The edge of the field, in cells; always a multiple of [`EDGE_UNIT`].
const EDGE_MIN: u64 = 32;
const EDGE_MAX: u64 = 1024;
/// Rows are summed in as many lanes.
pub const EDGE_UNIT: u64 = 8;

/// The whole of it; every process gets a copy.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// The directory of the store.
    pub store: PathBuf,
    /// Writer processes.
    pub writers: u32,
    /// Reader processes.
    pub readers: u32,
    /// What they work on.
    pub work: Work,
}

/// What the processes work on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Work {
    /// The wave; one slab of it for each writer.
    Wave(Grid),
    /// Files of the user's; each writer stores its share.
    Files(Vec<Source>),
}

/// A cube of cells, cut into slabs of whole planes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grid {
    /// Cells along each edge.
    pub edge: usize,
    /// Steps in time.
    pub steps: u32,
    /// Slabs.
    pub slabs: u32,
}

/// A file of the user's.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Source {
    /// Its path, as bytes: it need not be UTF-8.
    path: Vec<u8>,
    /// Its length when the plan was made.
    pub bytes: u64,
}

impl Source {
    /// Its path.
    pub fn path(&self) -> &Path {
        Path::new(std::ffi::OsStr::from_bytes(&self.path))
    }
}

impl Grid {
    /// The grid that comes to about `bytes` in all.
    pub fn of(bytes: u64, slabs: u32) -> Self {
        let cells = bytes / 8 / STEPS_AIM;
        // The root is taken a little high, so that a cube's is exact.
        let edge = ((cells as f64).cbrt() + 1e-6) as u64 / EDGE_UNIT * EDGE_UNIT;
        let edge = edge.clamp(EDGE_MIN, EDGE_MAX);
        let steps = (bytes / (8 * edge.pow(3))).clamp(STEPS_MIN, 1 << 20);
        let slabs = slabs.min(edge as u32 / 4);
        Self { edge: edge as usize, steps: steps as u32, slabs }
    }

    /// Cells of a plane.
    pub fn plane_cells(&self) -> usize {
        self.edge * self.edge
    }

    /// The planes of a slab.
    pub fn planes(&self, slab: u32) -> std::ops::Range<usize> {
        let cut = |slab: u32| slab as usize * self.edge / self.slabs as usize;
        cut(slab)..cut(slab + 1)
    }

    /// Bytes of the field at one step.
    pub fn step_bytes(&self) -> u64 {
        8 * (self.edge * self.plane_cells()) as u64
    }

    /// The name of a slab at a step.
    pub fn key(step: u32, slab: u32) -> String {
        format!("demo/step/{step:04}/slab/{slab}")
    }
}

impl Plan {
    /// The plan for these arguments; the store's place is not chosen yet.
    pub fn of(args: &Demo) -> Outcome<Self> {
        let (work, writers) = if args.input.is_empty() {
            let grid = Grid::of(args.size.0, args.writers);
            (Work::Wave(grid), grid.slabs)
        } else {
            let files = args.input.iter().map(|path| source(path)).collect::<Outcome<Vec<_>>>()?;
            let writers = args.writers.min(files.len() as u32);
            (Work::Files(files), writers)
        };
        Ok(Self { store: PathBuf::new(), writers, readers: args.readers, work })
    }

    /// Bytes that will be stored.
    pub fn bytes(&self) -> u64 {
        match &self.work {
            Work::Wave(grid) => grid.step_bytes() * u64::from(grid.steps),
            Work::Files(files) => files.iter().map(|file| file.bytes).sum(),
        }
    }

    /// Steps that a reader sees: time steps, or files.
    pub fn steps(&self) -> u32 {
        match &self.work {
            Work::Wave(grid) => grid.steps,
            Work::Files(files) => files.len() as u32,
        }
    }

    /// Blobs in all.
    pub fn blobs(&self) -> u64 {
        match &self.work {
            Work::Wave(grid) => u64::from(grid.steps) * u64::from(grid.slabs),
            Work::Files(files) => files.len() as u64,
        }
    }

    /// The name of a user's file in the store.
    pub fn file_key(&self, index: u32) -> Vec<u8> {
        let Work::Files(files) = &self.work else { return Vec::new() };
        let name = files.get(index as usize).and_then(|file| file.path().file_name());
        let mut key = format!("demo/input/{index:04}/").into_bytes();
        key.extend_from_slice(name.unwrap_or_default().as_bytes());
        key
    }

    /// Says if there is not enough space, before anything is written.
    pub fn check_space(&self, place: &Path) -> Outcome {
        let space = nix::sys::statvfs::statvfs(place)
            .map_err(|errno| Failure::file("look at", place, &errno.into()))?;
        let free = space.blocks_available() as u64 * space.fragment_size() as u64;
        let needed = self.bytes() + self.bytes() / 8 + (64 << 20);
        if free >= needed {
            return Ok(());
        }
        let (free, needed) = (human_bytes(free), human_bytes(needed));
        Err(Failure::new(
            NO_SPACE,
            format!(
                "the demonstration needs {needed} in {}, where {free} are free; say --size for less, \
                 or --dir for another place",
                place.display()
            ),
        ))
    }
}

fn source(path: &Path) -> Outcome<Source> {
    let metadata = fs::metadata(path).map_err(|error| Failure::file("read", path, &error))?;
    if !metadata.is_file() {
        return Err(Failure::new(ERROR, format!("{} is not a file", path.display())));
    }
    let absolute = fs::canonicalize(path)?;
    Ok(Source { path: absolute.as_os_str().as_bytes().to_vec(), bytes: metadata.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_gibibytes_are_128_steps_of_a_cube_of_128() {
        assert_eq!(Grid::of(2 << 30, 4), Grid { edge: 128, steps: 128, slabs: 4 });
    }

    #[test]
    fn any_size_makes_a_grid_that_is_about_as_large_and_whole() {
        for bytes in [0, 1 << 20, 64 << 20, 3 << 30, 100 << 30] {
            for slabs in [1, 3, 64] {
                let grid = Grid::of(bytes, slabs);
                let total = grid.step_bytes() * u64::from(grid.steps);
                assert!(
                    bytes < 16 << 20 || total <= bytes && total > bytes / 2,
                    "{bytes}: {grid:?}"
                );
                let cells: usize = (0..grid.slabs).map(|slab| grid.planes(slab).len()).sum();
                assert_eq!((cells, grid.edge % EDGE_UNIT as usize), (grid.edge, 0));
                assert!((0..grid.slabs).all(|slab| grid.planes(slab).len() >= 2), "{grid:?}");
            }
        }
    }
}
