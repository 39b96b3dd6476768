//! A run: the volatile state of one boot, that is the control page and the tables of the index.
//!
//! I1  A run is complete when it gets its name `run/TAG`; who comes second uses the first one's.
//! I2  TAG is made of boot, device and inode, so a reboot, a copy or another host never finds it.
//!
//! Death: a whole run that the next opener uses.
#![forbid(unsafe_code)]

use crate::control::{Control, Fresh};
use crate::disk::{Access, Disk, File, Identity, Map, Reserve};
use crate::error::{Error, ErrorKind, REMOVE_RUN, Result};
use crate::format::control as layout;
use crate::format::word::Root;
use crate::index::Tables;
use crate::segment::Purpose;
use crate::sync::Words;
use crate::sync::epoch::{Guard, Slot};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_128;

mod builder;

pub use builder::RunBuilder;

/// The file of which ranges of bytes are locked.
pub const LOCKS_PATH: &str = "locks";
/// Opens that file, once more each time: what is locked through one description does not exclude itself.
pub fn open_locks(disk: &dyn Disk) -> Result<Arc<dyn File>> {
    disk.open(LOCKS_PATH, Access::Write)?.ok_or_else(|| {
        Error::new(ErrorKind::Damaged, "the file `locks` of the store is missing")
            .advice("create it empty, mode 0600")
    })
}

/// The directory of the runs in a store.
pub const RUN_DIR: &str = "run";

/// What the names of pages begin with.
pub const PAGE: &str = "page-";

/// Stands for the tag of a run in memory.
pub const PRIVATE_TAG: &str = "private";

/// A table of the index, mapped.
#[derive(Debug)]
struct Table {
    generation: u32,
    map: Map,
}

/// The run that a store works with.
pub struct Run {
    /// The shared words.
    pub control: Control,
    disk: Arc<dyn Disk>,
    dir: String,
    access: Access,
    /// At most two generations are in use at a time.
    tables: [Slot<Table>; 4],
    stamp: [u64; 4],
}

/// What the headers of a run's tables carry: the store's uuid and the run's tag.
pub fn stamp(uuid: &[u8; 16], tag: &str) -> [u64; 4] {
    let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| uuid[at + i]));
    let named = xxh3_128(tag.as_bytes());
    [word(0), word(8), (named >> 64) as u64, named as u64]
}

/// The tag of the runs of this boot and place.
pub fn tag(identity: &Identity) -> String {
    let inode = if bug!("tag-without-place") { 0 } else { identity.inode };
    let text = format!("{}/{}/{inode}", identity.boot, identity.device);
    format!("{:032x}", xxh3_128(text.as_bytes()))
}

fn burial_path(dir: &str) -> String {
    format!("{dir}/burial.seg")
}

fn run_dir(tag: &str) -> String {
    format!("{RUN_DIR}/{tag}")
}

/// The control page of a run; `None` if there is no run.
fn open_control(disk: &dyn Disk, dir: &str, access: Access) -> Result<Option<Arc<dyn File>>> {
    let path = format!("{dir}/control");
    if let Some(file) = disk.open(&path, access)? {
        return Ok(Some(file));
    }
    if disk.list(dir)?.is_empty() {
        return Ok(None);
    }
    // A run has its page when it gets its name (I1), which it may have got just now.
    match disk.open(&path, access)? {
        Some(file) => Ok(Some(file)),
        None => Err(Error::new(ErrorKind::Damaged, "the run has lost its control page")
            .path(path)
            .advice(REMOVE_RUN)),
    }
}

impl Run {
    fn new(
        control: Control,
        disk: Arc<dyn Disk>,
        dir: String,
        access: Access,
        stamp: [u64; 4],
    ) -> Self {
        Self { control, disk, dir, access, tables: std::array::from_fn(|_| Slot::new()), stamp }
    }

    /// The run of this boot, if there is one.
    ///
    /// # Errors
    /// `ProtocolMismatch` or `Damaged` when it cannot be used.
    pub fn attach(
        disk: &Arc<dyn Disk>,
        tag: &str,
        uuid: &[u8; 16],
        access: Access,
    ) -> Result<Option<Self>> {
        let dir = run_dir(tag);
        let Some(file) = open_control(&**disk, &dir, access)? else { return Ok(None) };
        if file.len()? < layout::BYTES as u64 {
            return Err(Error::new(ErrorKind::Damaged, "the control page of the run is cut short")
                .path(format!("{dir}/control"))
                .expected(format!("{} bytes", layout::BYTES))
                .found(format!("{} bytes", file.len()?))
                .advice(REMOVE_RUN));
        }
        let control = Control::new(file.map(layout::BYTES as u64, access)?, uuid)?;
        Ok(Some(Self::new(control, disk.clone(), dir, access, stamp(uuid, tag))))
    }

    /// A run in this process's memory, for reading where there is no usable one: `table` is the
    /// finished table of `fresh.root`.
    pub fn private(disk: &Arc<dyn Disk>, fresh: &Fresh, table: Map) -> Result<Self> {
        let map = Map::anonymous(layout::BYTES as u64)?;
        for (at, &word) in fresh.words().iter().enumerate() {
            map.store(at, word);
        }
        let control = Control::new(map, &fresh.uuid)?;
        let stamp = stamp(&fresh.uuid, PRIVATE_TAG);
        let run = Self::new(control, disk.clone(), String::new(), Access::Read, stamp);
        let generation = fresh.root.generation();
        let guard = crate::sync::epoch::pin();
        run.slot(generation).replace(Some(Arc::new(Table { generation, map: table })), &guard);
        Ok(run)
    }

    fn slot(&self, generation: u32) -> &Slot<Table> {
        &self.tables[generation as usize % self.tables.len()]
    }

    /// The tables, as the index asks for them.
    #[inline]
    pub fn tables<'g>(&'g self, guard: &'g Guard) -> RunTables<'g> {
        RunTables { run: self, guard }
    }

    /// Whether others share it.
    pub fn is_shared(&self) -> bool {
        !self.dir.is_empty()
    }

    /// Whether this process may change it.
    pub fn is_writable(&self) -> bool {
        self.is_shared() && self.access == Access::Write
    }

    /// Refuses to go on with a run that somebody has removed: who opens the store now gets another one,
    /// and neither would see what is put through the other.
    ///
    /// # Errors
    /// `Damaged` when it is gone.
    pub fn check_present(&self) -> Result<()> {
        if !self.is_shared()
            || self.disk.open(&format!("{}/control", self.dir), Access::Read)?.is_some()
        {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Damaged, "the run of the store was removed while it was in use")
            .path(&self.dir)
            .advice("close the store in all processes and open it again: the run is rebuilt, and nothing that was stored is lost"))
    }

    /// A page of shared words with this name, which lasts as long as the run. `first` gives its words if nobody
    /// has made it yet; it appears complete. A run in this process's memory has pages of its own.
    pub fn page(&self, name: &str, first: impl FnOnce() -> Result<Vec<u64>>) -> Result<Map> {
        if !self.is_writable() {
            let words = first()?;
            let map = Map::anonymous(words.len() as u64 * 8)?;
            words.iter().enumerate().for_each(|(at, &word)| map.store(at, word));
            return Ok(map);
        }
        let path = format!("{}/{PAGE}{name}", self.dir);
        if self.disk.open(&path, Access::Read)?.is_none() {
            let words = first()?;
            let file = self.disk.create(&self.dir)?;
            file.reserve(0, words.len() as u64 * 8, Reserve::Backed)?;
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            file.write_at(&bytes, 0)?;
            self.disk.link(&*file, &path)?;
        }
        let opened = self.disk.open(&path, Access::Write)?;
        let gone = || Error::new(ErrorKind::Damaged, "a page of the run is gone").path(&path);
        let file = opened.ok_or_else(|| gone().advice(REMOVE_RUN))?;
        file.map(file.len()?, Access::Write)
    }

    /// Where the segment stands that the recovery has buried in, as long as it has no other name.
    pub fn burial_path(&self) -> String {
        burial_path(&self.dir)
    }

    fn table_path(&self, generation: u32) -> String {
        format!("{}/{generation:08x}.idx", self.dir)
    }
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// The tables of a run, seen under a guard.
#[derive(Clone, Copy)]
pub struct RunTables<'g> {
    run: &'g Run,
    guard: &'g Guard,
}

impl RunTables<'_> {
    #[cold]
    fn open_file(
        &self,
        generation: u32,
        accept: impl FnOnce(&Map) -> Result<bool>,
    ) -> Result<bool> {
        let run = self.run;
        if !run.is_shared() {
            return Ok(false);
        }
        let Some(file) = run.disk.open(&run.table_path(generation), run.access)? else {
            return Ok(false);
        };
        let map = file.map(file.len()?, run.access)?;
        if !accept(&map)? {
            return Ok(false);
        }
        run.slot(generation).replace(Some(Arc::new(Table { generation, map })), self.guard);
        // The one before the last is unlinked, and its space comes back when nobody maps it.
        run.slot(generation.wrapping_sub(2)).replace(None, self.guard);
        self.guard.flush();
        Ok(true)
    }
}

fn make_table(
    disk: &dyn Disk,
    dir: &str,
    path: &str,
    words: usize,
    header: &[u64],
) -> Result<bool> {
    let file = disk.create(dir)?;
    file.reserve(0, words as u64 * 8, Reserve::Backed)?;
    let bytes: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
    file.write_at(&bytes, 0)?;
    disk.link(&*file, path)
}

impl Tables for RunTables<'_> {
    type Words = Map;

    fn stamp(&self) -> [u64; 4] {
        self.run.stamp
    }

    #[inline]
    fn root_load(&self) -> Root {
        self.run.control.root()
    }

    fn root_cas(&self, current: Root, new: Root) -> Result<Root, Root> {
        self.run.control.root_cas(current, new)
    }

    #[inline]
    fn open(
        &self,
        generation: u32,
        accept: impl FnOnce(&Map) -> Result<bool>,
    ) -> Result<Option<&Map>> {
        if let Some(map) = self.kept(generation) {
            return Ok(Some(map));
        }
        Ok(if self.open_file(generation, accept)? { self.kept(generation) } else { None })
    }

    #[inline(always)]
    fn kept(&self, generation: u32) -> Option<&Map> {
        let table = self.run.slot(generation).get(self.guard)?.as_ref();
        (table.generation == generation).then_some(&table.map)
    }

    fn create(&self, generation: u32, words: usize, header: &[u64]) -> Result<bool> {
        let run = self.run;
        Purpose::Put.check(&*run.disk, words as u64 * 8)?;
        let made = make_table(&*run.disk, &run.dir, &run.table_path(generation), words, header);
        made.or_else(|error| run.check_present().and(Err(error)))
    }

    fn unlink(&self, generation: u32) -> Result<()> {
        self.run.disk.unlink(&self.run.table_path(generation)).map(drop)
    }
}
