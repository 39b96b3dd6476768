//! `put_raw`: the id is that of the stored bytes, whatever happens to the buffer meanwhile.
//!
//! `unsafe` stands here because `put_raw` is called here.

use crate::support::{HASHES, KIB, MIB, Scratch, another_boot, bytes};
use drystone::{BlobId, ErrorKind, GetOptions, PutOptions, Store, Verify};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// Puts bytes that nobody changes, by the way of those that somebody may.
pub fn put_still(store: &Store, content: &[u8]) -> BlobId {
    // SAFETY: a slice is readable for as long as it is borrowed.
    unsafe { store.put_raw(content.as_ptr(), content.len(), &PutOptions::new()) }.unwrap()
}

#[test]
fn a_null_pointer_to_nothing_is_the_empty_blob() {
    let scratch = Scratch::new();
    let store = scratch.store();
    // SAFETY: no bytes at all are read.
    let id = unsafe { store.put_raw(std::ptr::null(), 0, &PutOptions::new()) }.unwrap();
    assert_eq!(id, store.put(b"").unwrap());
}

#[test]
fn the_id_is_of_the_stored_bytes_while_another_thread_writes() {
    for hash in HASHES {
        let scratch = Scratch::new();
        let store =
            scratch.open(Store::options().create(true).hash(hash).segment_bytes(MIB as u64));
        for len in [1, 100, 64 * KIB, 64 * KIB + 1, 256 * KIB, 700 * KIB, 2 * MIB + 1, 5 * MIB] {
            let buffer: Vec<AtomicU8> = (0..len).map(|_| AtomicU8::new(0)).collect();
            let is_done = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| scribble(&buffer, &is_done));
                for _ in 0..8 {
                    // SAFETY: the buffer outlives the call, and is written as atomics only.
                    let put =
                        unsafe { store.put_raw(buffer.as_ptr().cast(), len, &PutOptions::new()) };
                    let id = put.unwrap();
                    let whole = GetOptions::new().verify(Verify::Whole);
                    let blob = store.get_with(&id, &whole).unwrap().expect("it was put");
                    assert_eq!(blob.len(), len);
                }
                is_done.store(true, Ordering::Relaxed);
            });
        }
    }
}

/// Writes over the buffer, again and again, from both ends.
fn scribble(buffer: &[AtomicU8], is_done: &AtomicBool) {
    for round in (1..=u8::MAX).cycle() {
        for (at, byte) in buffer.iter().enumerate() {
            byte.store(round ^ at as u8, Ordering::Relaxed);
            buffer[buffer.len() - 1 - at].fetch_add(round, Ordering::Relaxed);
            if at % 4096 == 0 && is_done.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}

#[test]
fn a_full_store_takes_what_it_has_and_nothing_that_changes_meanwhile() {
    for hash in HASHES {
        let scratch = Scratch::new();
        let store = scratch.open(Store::options().create(true).hash(hash));
        for len in [1000, 64 * KIB + 1, 3 * MIB] {
            let (held, other) = (bytes(len, 1), bytes(len, 2));
            let id = store.put(&held).unwrap();
            // Under a limit that was passed before.
            let full = Store::options().size_limit(1).boot_id(another_boot());
            let full = scratch.open(full);
            assert_eq!(put_still(&full, &held), id);
            let headed = full.put_racy(&held[..100], (&held[100..]).into(), &PutOptions::new());
            assert_eq!(headed.unwrap(), id);
            let buffer: Vec<AtomicU8> = held.iter().map(|&byte| AtomicU8::new(byte)).collect();
            let is_done = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    for content in [&other, &held].into_iter().cycle() {
                        let cells = buffer.iter().zip(content);
                        cells.for_each(|(cell, &byte)| cell.store(byte, Ordering::Relaxed));
                        if is_done.load(Ordering::Relaxed) {
                            return;
                        }
                    }
                });
                for _ in 0..50 {
                    // SAFETY: the buffer outlives the call, and is written as atomics only.
                    let put =
                        unsafe { full.put_raw(buffer.as_ptr().cast(), len, &PutOptions::new()) };
                    match put {
                        Ok(put) => assert_eq!(put, id),
                        Err(error) => assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}"),
                    }
                }
                is_done.store(true, Ordering::Relaxed);
            });
            assert_eq!(full.stats().unwrap().blobs, store.stats().unwrap().blobs);
        }
    }
}
