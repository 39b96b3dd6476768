//! What a reader process measures of itself.

use crate::exit::Outcome;
use drystone::{BlobId, Store};
use std::fs;
use std::hint::black_box;
use std::time::Instant;

/// Gets that are timed after each step: so many batches of so many.
const SAMPLE_BATCHES: usize = 8;
const SAMPLE_GETS: u32 = 64;

/// Times `get` over all that has been seen, in random order.
pub struct Sampler<'a> {
    store: &'a Store,
    ids: Vec<BlobId>,
    random: u64,
}

impl<'a> Sampler<'a> {
    /// One that has seen nothing.
    pub fn new(store: &'a Store) -> Self {
        Self { store, ids: Vec::new(), random: 0x9E37_79B9_7F4A_7C15 }
    }

    /// Has seen these.
    pub fn add(&mut self, ids: impl IntoIterator<Item = BlobId>) {
        self.ids.extend(ids);
    }

    /// Nanoseconds of one `get`, each the mean of a batch: a clock is slower than what it measures.
    pub fn sample(&mut self) -> Outcome<Vec<f64>> {
        let mut samples = Vec::with_capacity(SAMPLE_BATCHES);
        for _ in 0..SAMPLE_BATCHES {
            let picked: Vec<BlobId> = (0..SAMPLE_GETS).map(|_| self.pick()).collect();
            let begin = Instant::now();
            for id in &picked {
                black_box(self.store.get(black_box(id))?);
            }
            samples.push(begin.elapsed().as_nanos() as f64 / f64::from(SAMPLE_GETS));
        }
        Ok(samples)
    }

    /// An id, by xorshift.
    fn pick(&mut self) -> BlobId {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.ids[(self.random % self.ids.len() as u64) as usize]
    }
}

/// Memory that only this process has: what `RssAnon` counts. The private part of smaps would count
/// pages of the page cache too, as long as no second process happens to have mapped them.
pub fn own_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
