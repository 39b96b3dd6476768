//! Blobs computed in place: what `commit` costs beside hashing the same bytes.

use crate::Bench;
use crate::bytes::{Random, renew};
use crate::report::{Line, MS};
use crate::samples::Samples;
use anyhow::{Context, Result};
use drystone::hash::chunk_digest;
use drystone::{HashAlgorithm, Store};
use rayon::prelude::*;
use std::hint::black_box;
use std::time::Instant;

const CHUNK_BYTES: usize = 2 << 20;

/// `reserve`, fill, `commit`.
pub fn run(bench: &Bench) -> Result<Vec<Line>> {
    let sizes_mib: &[usize] = if bench.quick { &[64] } else { &[64, 1024] };
    let mut lines = Vec::new();
    for hash in [HashAlgorithm::Xxh3, HashAlgorithm::Blake3] {
        for len_mib in sizes_mib {
            lines.push(of_size(bench, hash, len_mib << 20)?);
        }
    }
    Ok(lines)
}

fn of_size(bench: &Bench, hash: HashAlgorithm, len: usize) -> Result<Line> {
    let threads = std::thread::available_parallelism()?.get().min(4);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    let mut random = Random::new(len as u64);
    let mut bytes = random.bytes(len);
    let [mut reserved, mut committed, mut hashed] = std::array::from_fn(|_| Samples::default());
    let seconds = |start: Instant| start.elapsed().as_secs_f64() * 1e3;
    for round in 0..=bench.rounds {
        let scratch = bench.place.scratch()?;
        let store = Store::options().create(true).hash(hash).open(scratch.join("store"))?;
        store.put(&bytes[..5 << 20])?;
        renew(&mut bytes, &mut random);
        let start = Instant::now();
        let mut draft = store.reserve(len as u64)?;
        let reserve_ms = seconds(start);
        draft.copy_from_slice(&bytes);
        let mut hash_ms = 0.0;
        let mut hash_it = |bytes: &[u8]| {
            let start = Instant::now();
            let chunks = || bytes.par_chunks(CHUNK_BYTES).enumerate();
            pool.install(|| {
                chunks().for_each(|(index, chunk)| {
                    black_box(chunk_digest(hash, index as u64, chunk));
                });
            });
            hash_ms = seconds(start);
        };
        // The same bytes at the same place, hashed before the commit or after it.
        if round % 2 == 0 {
            hash_it(&draft);
        }
        let start = Instant::now();
        let id = draft.commit()?;
        let commit_ms = seconds(start);
        if round % 2 == 1 {
            hash_it(&store.get(&id)?.context("it was committed")?);
        }
        if round > 0 {
            reserved.push(reserve_ms);
            committed.push(commit_ms);
            hashed.push(hash_ms);
        }
    }
    let ratio = committed.over(&hashed);
    Ok(Line::new(format!(
        "commit of a draft of {} MiB, {hash} (`reserve` before: {:.2} ms)",
        len >> 20,
        reserved.median()
    ))
    .measured(&committed, MS)
    .peer("hashing alone", &hashed, MS)
    .ratio(&ratio)
    .target("hashing only: at most 1.1", ratio.median() <= 1.1))
}
