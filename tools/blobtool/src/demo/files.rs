//! The demonstration on the user's own files: writers put them, readers sum them up.

use super::events::{Event, report};
use super::plan::{Plan, Work};
use super::sample::{Sampler, own_bytes};
use super::steps::blob_named;
use crate::cli::NAMES;
use crate::exit::{Failure, Outcome};
use drystone::{SetOptions, Store};
use std::fs::File;
use std::time::Instant;

/// A writer process: stores its share of the files.
pub fn write(store: &Store, plan: &Plan, index: u32) -> Outcome {
    let Work::Files(files) = &plan.work else { return Ok(()) };
    let refs = store.refs(NAMES);
    let share = (index..files.len() as u32).step_by(plan.writers as usize);
    for step in share {
        let key = plan.file_key(step);
        if refs.get(&key)?.is_some() {
            continue;
        }
        report(&Event::Begun { step })?;
        let begin = Instant::now();
        let path = files[step as usize].path();
        let file = File::open(path).map_err(|error| Failure::file("read", path, &error))?;
        let (id, _) = refs.set_reader(&key, file, &SetOptions::new())?;
        let busy_ns = begin.elapsed().as_nanos() as u64;
        let bytes = store.stat(&id)?.map_or(0, |stat| stat.len);
        report(&Event::Stored { step, bytes, store_ns: busy_ns, busy_ns })?;
    }
    Ok(())
}

/// A reader process: waits for each file and sums its bytes up where they lie.
pub fn read(store: &Store, plan: &Plan, from: u32) -> Outcome {
    let refs = store.refs(NAMES);
    let mut sampler = Sampler::new(store);
    for step in from..plan.steps() {
        let blob = blob_named(store, &refs, &plan.file_key(step))?;
        let begin = Instant::now();
        let value = sum(&blob);
        let busy_ns = begin.elapsed().as_nanos() as u64;
        sampler.add([blob.id()]);
        report(&Event::Seen {
            step,
            bytes: blob.len() as u64,
            value,
            busy_ns,
            get_ns: sampler.sample()?,
            own_bytes: own_bytes(),
        })?;
    }
    Ok(())
}

/// The sum of the 64-bit words, and of the bytes behind the last whole one: cheap, and every byte is
/// looked at.
pub fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let words = words.iter().map(|word| u64::from_le_bytes(*word));
    let sum = words.fold(0, u64::wrapping_add);
    rest.iter().fold(sum, |sum, byte| sum.wrapping_add(u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_counts() {
        assert_eq!((sum(&[]), sum(&[7]), sum(&[1, 0, 0, 0, 0, 0, 0, 0, 2])), (0, 7, 3));
        let bytes: Vec<u8> = (0..29).collect();
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert_ne!(sum(&bytes), sum(&other), "byte {at}");
        }
    }
}
