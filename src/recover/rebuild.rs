//! Putting the records that count into a new run.
#![forbid(unsafe_code)]

use super::burial::bury;
use super::fold::{Folded, fold};
use super::gather::{Gathered, Unproved, gather};
use super::parts::{Item, PARTS_LOG2};
use crate::control::{Control, Fresh};
use crate::disk::{Disk, Identity, Map};
use crate::error::{Error, ErrorKind, Result};
use crate::format::control::BYTES;
use crate::format::superblock::Superblock;
use crate::format::word::{Root, Word};
use crate::id::Key;
use crate::index::{Index, Tables, fill, header, stretch, table_words};
use crate::run::{PRIVATE_TAG, Run, RunBuilder, stamp, tag};
use crate::segment::Files;
use crate::sync::Words;
use rayon::ThreadPool;
use rayon::prelude::*;
use std::sync::Arc;

/// Room in the first table: at most this share of its slots is taken.
const FILL_PERCENT: u64 = 40;

/// What recovery works on.
pub struct Source<'a> {
    /// The segments.
    pub files: &'a Files,
    /// The store.
    pub superblock: &'a Superblock,
    /// What the run is tied to.
    pub identity: &'a Identity,
    /// Size limit in bytes, 0 none.
    pub limit: u64,
    /// Threads.
    pub threads: usize,
}

impl Source<'_> {
    fn pool(&self) -> Result<ThreadPool> {
        rayon::ThreadPoolBuilder::new()
            .num_threads(self.threads)
            .thread_name(|index| format!("drystone-recovery-{index}"))
            .build()
            .map_err(|error| {
                Error::new(ErrorKind::Limit, format!("cannot start threads: {error}"))
                    .advice("raise the limits on processes (ulimit -u) and on memory")
            })
    }

    fn read(&self, pool: &ThreadPool) -> Result<(Gathered, Folded)> {
        pool.install(|| {
            let mut gathered = gather(self.files)?;
            let folded = fold(&mut gathered);
            gathered.lost.refs = folded.buried.len() as u64;
            Ok((gathered, folded))
        })
    }

    fn fresh(&self, gathered: &Gathered, log2: u32) -> Fresh {
        Fresh {
            uuid: self.superblock.uuid,
            mount: self.identity.mount,
            limit: self.limit,
            root: Root::stable(0, log2),
            next_segment: gathered.segment_max.map_or(0, |number| number + 1),
            next_sequence: if bug!("counter-low") { 2 } else { gathered.sequence_max.max(1) + 1 },
            bytes: gathered.bytes,
            lost: gathered.lost,
        }
    }
}

/// Builds the run of this boot and gives it its name, and tells which segments are to be proved
/// through it; `None` if somebody else was faster.
pub fn rebuild_shared(source: &Source<'_>) -> Result<Option<Vec<Unproved>>> {
    let disk = &source.files.disk;
    let builder = RunBuilder::new(disk)?;
    let dir = builder.dir().to_owned();
    let built = build(source, builder);
    if !matches!(built, Ok(Some(_))) {
        RunBuilder::abandon(&**disk, &dir);
    }
    built
}

fn build(source: &Source<'_>, builder: RunBuilder) -> Result<Option<Vec<Unproved>>> {
    let pool = source.pool()?;
    let (gathered, folded) = source.read(&pool)?;
    let keys = folded.winners.iter().map(Vec::len).sum::<usize>() + folded.buried.len();
    let log2 = log2_for(keys as u64);
    let stamp = stamp(&source.superblock.uuid, &tag(source.identity));
    let table = builder.table(0, table_words(log2), &header(stamp, 0, log2))?;
    let control = scratch_control(&source.fresh(&gathered, log2))?;
    let building = Building { root: control.root(), table: &table, stamp };
    let index = Index::new(building);
    pool.install(|| building.fill(&folded.winners))?;
    bury(source, &builder, &control, &index, &folded.buried)?;
    let is_named = builder.finish(&control.words(), &tag(source.identity))?;
    Ok(is_named.then_some(gathered.unproved))
}

/// Builds a run in memory, for reading; changes nothing on the disk.
pub fn rebuild_private(source: &Source<'_>) -> Result<Run> {
    let pool = source.pool()?;
    let (gathered, folded) = source.read(&pool)?;
    let instead = folded.buried.iter().filter_map(|buried| buried.instead);
    let instead = instead.map(|item| (item.key, item.word)).collect();
    let keys = folded.winners.iter().map(Vec::len).sum::<usize>() + folded.buried.len();
    let log2 = log2_for(keys as u64);
    let table = Map::anonymous(table_words(log2) as u64 * 8)?;
    let stamp = stamp(&source.superblock.uuid, PRIVATE_TAG);
    for (at, &word) in header(stamp, 0, log2).iter().enumerate() {
        table.store(at, word);
    }
    let fresh = source.fresh(&gathered, log2);
    let building = Building { root: fresh.root, table: &table, stamp };
    pool.install(|| building.fill(&folded.winners))?;
    building.publish(instead)?;
    let disk: &Arc<dyn Disk> = &source.files.disk;
    Run::private(disk, &fresh, table)
}

/// Buckets of a table with room for `keys`, as a binary logarithm.
fn log2_for(keys: u64) -> u32 {
    let slots = keys * 100 / FILL_PERCENT + 64;
    slots.div_ceil(5).next_power_of_two().trailing_zeros()
}

/// A control page in memory, which the new run begins with.
pub fn scratch_control(fresh: &Fresh) -> Result<Control> {
    let map = Map::anonymous(BYTES as u64)?;
    for (at, &word) in fresh.words().iter().enumerate() {
        map.store(at, word);
    }
    Control::new(map, &fresh.uuid)
}

/// The one table of a run that nobody else sees yet. It is made large enough never to grow.
#[derive(Clone, Copy)]
pub(super) struct Building<'a> {
    root: Root,
    table: &'a Map,
    stamp: [u64; 4],
}

impl Tables for Building<'_> {
    type Words = Map;

    fn stamp(&self) -> [u64; 4] {
        self.stamp
    }

    fn root_load(&self) -> Root {
        self.root
    }

    fn root_cas(&self, _: Root, _: Root) -> Result<Root, Root> {
        Err(self.root)
    }

    fn open(&self, generation: u32, _: impl FnOnce(&Map) -> Result<bool>) -> Result<Option<&Map>> {
        Ok(self.kept(generation))
    }

    fn kept(&self, generation: u32) -> Option<&Map> {
        (generation == self.root.generation()).then_some(self.table)
    }

    fn create(&self, _: u32, _: usize, _: &[u64]) -> Result<bool> {
        Err(Error::new(ErrorKind::IndexFull, "the table of a recovery is too small"))
    }

    fn unlink(&self, _: u32) -> Result<()> {
        Ok(())
    }
}

impl Building<'_> {
    /// Puts the winners in, in parallel on the current pool.
    fn fill(&self, winners: &[Vec<Item>]) -> Result<()> {
        let log2 = self.root.log2();
        let fill_part = |(part, items): (usize, &Vec<Item>)| {
            let keys = items.iter().map(|item| (item.key, item.word));
            let mut left = Vec::new();
            match stretch(part, PARTS_LOG2, log2) {
                Some(stretch) => fill(self.table, log2, stretch, keys, &mut left),
                None => left.extend(keys),
            }
            left
        };
        let left: Vec<_> = winners.par_iter().enumerate().flat_map_iter(fill_part).collect();
        self.publish(left)
    }

    /// Publishes keys one by one.
    fn publish(&self, keys: Vec<(Key, Word)>) -> Result<()> {
        let index = Index::new(*self);
        for (key, word) in keys {
            if let Err(met) = index.publish(key, index.lookup(key)?, word)? {
                let location = word.location();
                return Err(Error::damaged(
                    "a key came up twice in recovery",
                    location.segment(),
                    location.offset(),
                )
                .found(format!("{:?}", met.word)));
            }
        }
        Ok(())
    }
}
