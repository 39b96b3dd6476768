//! The tables of an index in files, without a store around them.

use anyhow::Result;
use drystone::disk::{Access, Disk, Map, OpenOptions, RealDisk, Reserve};
use drystone::index::{Root, Tables, header, table_words};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

const STAMP: [u64; 4] = [1, 2, 3, 4];
/// Binary logarithm of the first table's buckets.
const LOG2_MIN: u32 = 8;
/// Generations that there is room for: each has at least as many buckets as the one before.
const GENERATIONS: usize = 64;

/// Tables for one process.
pub struct FileTables {
    disk: Arc<dyn Disk>,
    root: AtomicU64,
    maps: [OnceLock<Map>; GENERATIONS],
}

impl FileTables {
    /// A directory with one empty table.
    pub fn create(path: &Path) -> Result<Self> {
        let options = OpenOptions { create: true, writable: true, ..OpenOptions::default() };
        let tables = Self {
            disk: RealDisk::open(path, &options)?,
            root: AtomicU64::new(Root::stable(0, LOG2_MIN).0),
            maps: std::array::from_fn(|_| OnceLock::new()),
        };
        tables.create(0, table_words(LOG2_MIN), &header(STAMP, 0, LOG2_MIN))?;
        Ok(tables)
    }
}

impl Tables for FileTables {
    type Words = Map;

    fn stamp(&self) -> [u64; 4] {
        STAMP
    }

    fn root_load(&self) -> Root {
        Root(self.root.load(Ordering::Acquire))
    }

    fn root_cas(&self, current: Root, new: Root) -> Result<Root, Root> {
        self.root
            .compare_exchange(current.0, new.0, Ordering::AcqRel, Ordering::Acquire)
            .map(Root)
            .map_err(Root)
    }

    fn kept(&self, generation: u32) -> Option<&Map> {
        self.maps.get(generation as usize)?.get()
    }

    fn open(
        &self,
        generation: u32,
        accept: impl FnOnce(&Map) -> drystone::Result<bool>,
    ) -> drystone::Result<Option<&Map>> {
        let Some(kept) = self.maps.get(generation as usize) else { return Ok(None) };
        if let Some(map) = kept.get() {
            return Ok(Some(map));
        }
        let Some(file) = self.disk.open(&generation.to_string(), Access::Write)? else {
            return Ok(None);
        };
        let map = file.map(file.len()?, Access::Write)?;
        Ok(if accept(&map)? { Some(kept.get_or_init(|| map)) } else { None })
    }

    fn create(&self, generation: u32, words: usize, header: &[u64]) -> drystone::Result<bool> {
        let file = self.disk.create("")?;
        file.reserve(0, words as u64 * 8, Reserve::Backed)?;
        let bytes: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
        file.write_at(&bytes, 0)?;
        self.disk.link(&*file, &generation.to_string())
    }

    fn unlink(&self, generation: u32) -> drystone::Result<()> {
        self.disk.unlink(&generation.to_string()).map(drop)
    }
}
