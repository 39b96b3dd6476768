//! Hashing buffers at memory speed, for keys that are made of what arguments hold.

use crate::bytes::Held;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use xxhash_rust::xxh3::xxh3_128;

/// What one thread hashes at a time.
const CHUNK: usize = 2 << 20;
/// From here on several threads hash.
const SEVERAL_FROM: usize = 8 << 20;
const THREADS_MAX: usize = 4;
/// Bytes that stay in a core's cache between copying and hashing.
const PIECE: usize = 128 << 10;

/// XXH3-128 of the chunks of 2 MiB, and of their digests. A buffer that somebody writes meanwhile gives the
/// digest of some mixture.
#[pyfunction]
pub fn hash_buffer<'py>(
    py: Python<'py>,
    buffer: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyBytes>> {
    let held = Held::new(buffer)?;
    let digest = if held.len() < PIECE { hash_all(&held) } else { py.detach(|| hash_all(&held)) };
    Ok(PyBytes::new(py, &digest.to_le_bytes()))
}

fn hash_all(held: &impl Chunks) -> u128 {
    let count = held.len().div_ceil(CHUNK).max(1);
    let mut digests = vec![0_u128; count];
    let threads = match held.len() {
        // Asking the system takes longer than hashing few bytes.
        ..SEVERAL_FROM => 1,
        _ => std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX),
    };
    if threads == 1 {
        hash_some(held, 0, &mut digests);
    } else {
        std::thread::scope(|scope| {
            let share = count.div_ceil(threads);
            for (part, digests) in digests.chunks_mut(share).enumerate() {
                scope.spawn(move || hash_some(held, part * share, digests));
            }
        });
    }
    match digests[..] {
        [sole] => sole,
        _ => xxh3_128(&digests.iter().flat_map(|digest| digest.to_le_bytes()).collect::<Vec<_>>()),
    }
}

/// The digests of the chunks from `first` on.
fn hash_some(held: &impl Chunks, first: usize, digests: &mut [u128]) {
    let mut piece = vec![0; held.len().clamp(1, PIECE)];
    for (at, digest) in digests.iter_mut().enumerate() {
        let start = (first + at) * CHUNK;
        *digest = held.hash(start..held.len().min(start + CHUNK), &mut piece);
    }
}

/// Bytes of which parts can be hashed by several threads.
trait Chunks: Sync {
    fn len(&self) -> usize;
    fn hash(&self, range: std::ops::Range<usize>, piece: &mut [u8]) -> u128;
}

impl Chunks for Held {
    fn len(&self) -> usize {
        self.len()
    }

    fn hash(&self, range: std::ops::Range<usize>, piece: &mut [u8]) -> u128 {
        let mut hasher = xxhash_rust::xxh3::Xxh3::new();
        let bytes = self.racy();
        for start in range.clone().step_by(piece.len()) {
            let end = range.end.min(start + piece.len());
            let copy = &mut piece[..end - start];
            bytes.copy_to(start, copy);
            hasher.update(copy);
        }
        hasher.digest128()
    }
}
