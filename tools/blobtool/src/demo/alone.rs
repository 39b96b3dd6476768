//! What the store can do when nobody else wants the machine: measured by one process, after the run.

use super::files::sum;
use super::plan::Plan;
use super::sample::Sampler;
use super::verify::blobs;
use crate::exit::Outcome;
use drystone::{BlobId, Store};
use std::fs;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Bytes of one put: large enough for the hashing threads, small enough not to wait for.
const PUT_BYTES: usize = 64 << 20;
const PUTS: u64 = 4;
const SAMPLES: usize = 50;

/// Rates, and times of one call.
pub struct Alone {
    /// Bytes put, and in which time.
    pub put: (u64, Duration),
    /// Bytes summed up where they lie, and in which time.
    pub read: (u64, Duration),
    /// Nanoseconds of a `get`, each the mean of a batch.
    pub get_ns: Vec<f64>,
}

/// Measures. The puts go to a store of their own beside the other, which is removed again.
pub fn measure(store: &Store, plan: &Plan) -> Outcome<Alone> {
    let begin = Instant::now();
    let (mut bytes, mut ids) = (0, Vec::new());
    for blob in blobs(store, plan) {
        let blob = blob?;
        black_box(sum(&blob));
        bytes += blob.len() as u64;
        ids.push(blob.id());
    }
    let read = (bytes, begin.elapsed());
    let get_ns = time_gets(store, ids)?;
    let beside = plan.store.with_file_name("alone");
    let put = time_puts(&Store::create(&beside)?);
    fs::remove_dir_all(&beside)?;
    let put = put?;
    Ok(Alone { put, read, get_ns })
}

fn time_gets(store: &Store, ids: Vec<BlobId>) -> Outcome<Vec<f64>> {
    let mut sampler = Sampler::new(store);
    sampler.add(ids);
    let mut samples = Vec::new();
    for _ in 0..SAMPLES {
        samples.extend(sampler.sample()?);
    }
    Ok(samples)
}

fn time_puts(store: &Store) -> Outcome<(u64, Duration)> {
    let mut bytes = vec![0x5A_u8; PUT_BYTES];
    let mut time = Duration::ZERO;
    for round in 0..PUTS {
        // Other content each time: what the store has already, it does not write again.
        bytes[..8].copy_from_slice(&round.to_le_bytes());
        let begin = Instant::now();
        store.put(&bytes)?;
        time += begin.elapsed();
    }
    Ok((PUTS * PUT_BYTES as u64, time))
}
