//! Checking every digest of a store that is in the page cache, beside XXH3 over the same files where they
//! have yet to be mapped, as for a check: the least that it has to do. For information also where all of it
//! is mapped already: entering the pages into a page table takes longer than hashing them.

use crate::Bench;
use crate::bytes::Random;
use crate::report::{GBS, Line};
use crate::samples::{Samples, in_turn};
use anyhow::{Context, Result, ensure};
use drystone::disk::{Access, Disk, Map, OpenOptions, RealDisk};
use drystone::{Blob, FsckOptions, HashAlgorithm, Store, fsck, hash};
use rayon::prelude::*;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

/// A chunk of the store's.
const CHUNK_BYTES: usize = 2 << 20;
/// What the issue asks for.
const TARGET: f64 = 0.8;

/// Blobs of 4 KiB to 64 MiB.
pub fn run(bench: &Bench) -> Result<Vec<Line>> {
    let total: usize = if bench.quick { 256 << 20 } else { 1 << 30 };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(4);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    let mut lines = Vec::new();
    for (name, len) in
        [("4 KiB", 4 << 10), ("64 KiB", 64 << 10), ("1 MiB", 1 << 20), ("64 MiB", 64 << 20)]
    {
        let scratch = bench.place.scratch()?;
        let path = scratch.join("store");
        let blobs = fill(&Store::create(&path)?, total, len)?;
        let parts: Vec<&[u8]> = blobs.iter().flat_map(|blob| blob.chunks(CHUNK_BYTES)).collect();
        let bytes = blobs.iter().map(|blob| blob.len()).sum::<usize>();
        let options = FsckOptions::new().deep(true).threads(threads);
        let [check, raw, mapped]: [Samples; 3] = in_turn(bench.rounds, |side| {
            let start = Instant::now();
            match side {
                0 => {
                    let report = fsck(&path, &options)?;
                    ensure!(report.is_clean() && report.hashed_bytes == bytes as u64, "{report:?}");
                }
                1 => pool.install(|| hash_files(&path))?,
                _ => pool.install(|| {
                    parts.par_iter().with_max_len(32).for_each(|part| {
                        black_box(hash::digest(HashAlgorithm::Xxh3, part));
                    });
                }),
            }
            Ok(bytes as f64 / start.elapsed().as_secs_f64() / 1e9)
        })?;
        let ratio = check.over(&raw);
        lines.push(
            Line::new(format!(
                "fsck --deep, {} MiB in blobs of {name}, {threads} threads",
                total >> 20
            ))
            .measured(&check, GBS)
            .peer("XXH3 over the files, freshly mapped", &raw, GBS)
            .ratio(&ratio)
            .target("at least 0.8", ratio.median() >= TARGET),
        );
        lines.push(
            Line::new("    beside XXH3 over the same bytes, all of it mapped before")
                .peer("XXH3", &mapped, GBS)
                .ratio(&check.over(&mapped)),
        );
    }
    Ok(lines)
}

fn fill(store: &Store, total: usize, len: usize) -> Result<Vec<Blob>> {
    let mut random = Random::new(len as u64);
    let mut blobs = Vec::with_capacity(total / len);
    while blobs.len() * len < total {
        let batch = (CHUNK_BYTES / len).clamp(1, 512).min(total / len - blobs.len());
        let values: Vec<_> = (0..batch).map(|_| random.bytes(len)).collect();
        for id in store.put_many(&values)? {
            blobs.push(store.get(&id)?.context("a blob is missing")?);
        }
    }
    Ok(blobs)
}

/// Maps every segment, hashes it by chunks on the current pool, and gives the mapping back.
fn hash_files(store: &Path) -> Result<()> {
    let disk = RealDisk::open(store, &OpenOptions::default())?;
    let mut maps: Vec<Map> = Vec::new();
    for name in disk.list("segments")?.iter().filter(|name| name.ends_with(".seg")) {
        let file = disk.open(&format!("segments/{name}"), Access::Read)?.context("a segment")?;
        maps.push(file.map(file.len()?, Access::Read)?);
    }
    let of_map = |map| (0..Map::len(map)).step_by(CHUNK_BYTES).map(move |at| (map, at));
    let chunks: Vec<(&Map, u64)> = maps.iter().flat_map(of_map).collect();
    chunks.par_iter().with_max_len(1).for_each(|(map, at)| {
        let len = (map.len() - at).min(CHUNK_BYTES as u64);
        // SAFETY: nobody writes to the store while its files are hashed, and the range lies within them.
        let bytes = unsafe { map.slice(*at, len) };
        black_box(hash::digest(HashAlgorithm::Xxh3, bytes.unwrap_or_default()));
    });
    Ok(())
}
