//! Hashing buffers at memory speed, for keys that are made of what arguments hold.
//!
//! The digest is of the bytes in C's order, whatever the layout: XXH3-128 of chunks of 2 MiB, and of their digests where
//! there are several. What stands in a row is hashed chunk by chunk; other elements are gathered box by box
//! (`strided`), and each chunk takes its bytes as they come.

use crate::bytes::Held;
use crate::strided::Strided;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// What one thread hashes at a time.
const CHUNK: usize = 2 << 20;
/// From here on several threads hash.
const SEVERAL_FROM: usize = 8 << 20;
/// Gathering takes longer than hashing alone.
const SEVERAL_GATHER_FROM: usize = 4 << 20;
const THREADS_MAX: usize = 4;
/// Bytes that stay in a core's cache between copying and hashing.
const PIECE: usize = 128 << 10;

/// The digest of the elements of a buffer in C's order. A buffer that somebody writes meanwhile gives the digest of
/// some mixture.
#[pyfunction]
pub fn hash_buffer<'py>(
    py: Python<'py>,
    buffer: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyBytes>> {
    let held = Held::scattered(buffer)?;
    let hash =
        || if held.is_row() || held.len() == 0 { hash_row(&held) } else { hash_scattered(&held) };
    let digest = if held.len() < PIECE { hash() } else { py.detach(hash) };
    Ok(PyBytes::new(py, &digest.to_le_bytes()))
}

/// How many threads hash so many bytes: asking the system takes longer than hashing few.
fn threads(len: usize, several_from: usize) -> usize {
    match len < several_from {
        true => 1,
        false => std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX),
    }
}

fn joined(digests: &[u128]) -> u128 {
    match digests {
        [sole] => *sole,
        _ => xxh3_128(&digests.iter().flat_map(|digest| digest.to_le_bytes()).collect::<Vec<_>>()),
    }
}

fn hash_row(held: &Held) -> u128 {
    let count = held.len().div_ceil(CHUNK).max(1);
    let mut digests = vec![0_u128; count];
    let threads = threads(held.len(), SEVERAL_FROM);
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
    joined(&digests)
}

/// The digests of the chunks from `first` on.
fn hash_some(held: &Held, first: usize, digests: &mut [u128]) {
    let mut piece = vec![0; held.len().clamp(1, PIECE)];
    let bytes = held.racy();
    for (at, digest) in digests.iter_mut().enumerate() {
        let start = (first + at) * CHUNK;
        let end = held.len().min(start + CHUNK);
        let mut hasher = Xxh3::new();
        for start in (start..end).step_by(piece.len()) {
            let copy = &mut piece[..(end - start).min(PIECE)];
            bytes.copy_to(start, copy);
            hasher.update(copy);
        }
        *digest = hasher.digest128();
    }
}

fn hash_scattered(held: &Held) -> u128 {
    let strided = Strided::new(held);
    let chunks = Chunks::new(strided.len());
    let threads = threads(strided.len(), SEVERAL_GATHER_FROM);
    let share = strided.len().div_ceil(threads).clamp(CHUNK, 4 * CHUNK);
    let together = if threads == 1 { strided.boxes() } else { strided.boxes_together(share) };
    let next = AtomicUsize::new(0);
    let work = || {
        let mut buffer = vec![0; strided.box_bytes()];
        loop {
            let first = next.fetch_add(together, Ordering::Relaxed);
            for number in first..strided.boxes().min(first + together) {
                for piece in strided.copy(number, &mut buffer) {
                    chunks.take(piece.at, &buffer[piece.from..piece.from + piece.len]);
                }
            }
            if first >= strided.boxes() {
                break;
            }
        }
    };
    std::thread::scope(|scope| {
        (1..threads).for_each(|_| drop(scope.spawn(work)));
        work();
    });
    joined(&chunks.digests())
}

/// Chunks that are hashed at a time, of bytes that come in any order.
struct Chunks {
    len: usize,
    chunks: Vec<Mutex<Chunk>>,
    /// Memory for what came before its turn.
    spare: Mutex<Vec<Vec<u8>>>,
}

#[derive(Default)]
struct Chunk {
    /// Of the bytes before `next`.
    hasher: Option<Box<Xxh3>>,
    next: usize,
    /// What came before its turn, and where it stands: runs that do not touch each other.
    early: Vec<(usize, Vec<u8>)>,
    digest: u128,
}

/// A thread that panicked makes the whole call panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Chunks {
    fn new(len: usize) -> Self {
        let chunks = (0..len.div_ceil(CHUNK)).map(|_| Mutex::default()).collect();
        Self { len, chunks, spare: Mutex::default() }
    }

    /// Takes the bytes that stand at `at` of the whole.
    fn take(&self, mut at: usize, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (chunk, start) = (at / CHUNK, at % CHUNK);
            let (now, rest) = bytes.split_at(bytes.len().min(CHUNK - start));
            self.take_into(chunk, start, now);
            (at, bytes) = (at + now.len(), rest);
        }
    }

    fn take_into(&self, number: usize, start: usize, bytes: &[u8]) {
        let mut chunk = lock(&self.chunks[number]);
        if start != chunk.next {
            return self.keep(&mut chunk, start, bytes);
        }
        chunk.hash(bytes);
        while let Some(at) = chunk.early.iter().position(|(start, _)| *start == chunk.next) {
            let (_, mut kept) = chunk.early.swap_remove(at);
            chunk.hash(&kept);
            kept.clear();
            lock(&self.spare).push(kept);
        }
        if chunk.next == CHUNK.min(self.len - number * CHUNK) {
            chunk.digest = chunk.hasher.take().map_or(0, |hasher| hasher.digest128());
        }
    }

    fn keep(&self, chunk: &mut Chunk, start: usize, bytes: &[u8]) {
        let before = chunk.early.iter_mut().find(|(at, kept)| at + kept.len() == start);
        if let Some((_, kept)) = before {
            return kept.extend_from_slice(bytes);
        }
        let mut kept = lock(&self.spare).pop().unwrap_or_default();
        kept.reserve(CHUNK - start);
        kept.extend_from_slice(bytes);
        chunk.early.push((start, kept));
    }

    fn digests(self) -> Vec<u128> {
        self.chunks.iter().map(|chunk| lock(chunk).digest).collect()
    }
}

impl Chunk {
    fn hash(&mut self, bytes: &[u8]) {
        self.hasher.get_or_insert_default().update(bytes);
        self.next += bytes.len();
    }
}
