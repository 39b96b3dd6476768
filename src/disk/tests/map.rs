//! Mappings.
#![forbid(unsafe_code)]

use super::peer::{Peer, listen, say};
use super::*;
use crate::sync::Words;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// 200 bytes that are all different.
fn numbers() -> Vec<u8> {
    (0..200).collect()
}

#[test]
fn a_block_is_read_if_it_is_aligned_and_mapped() {
    everywhere(|_, disk| {
        let map = make(disk, "file", &numbers()).map(200, Access::Read).unwrap();
        assert_eq!((map.len(), Words::len(&map)), (200, 25));
        assert_eq!(map.read_block(64).unwrap(), numbers()[64..128]);
        assert_eq!(map.read_block(128).unwrap(), numbers()[128..192]);
        for offset in [192, 256, 32, 1, u64::MAX, u64::MAX - 63, 1 << 63] {
            assert_eq!(map.read_block(offset), None, "{offset}");
        }
    });
}

#[test]
fn any_range_is_copied_if_it_is_mapped() {
    everywhere(|_, disk| {
        let (bytes, file) = (numbers(), make(disk, "file", &numbers()));
        for len in [200, 195] {
            let map = file.map(len as u64, Access::Read).unwrap();
            for from in 0..=len {
                for to in from..=len {
                    let mut found = vec![0; to - from];
                    assert!(map.copy_to(from as u64, &mut found));
                    assert_eq!(found, bytes[from..to], "{from}..{to}");
                }
            }
            let mut two = [7; 2];
            for offset in [len as u64 - 1, len as u64, u64::MAX, u64::MAX - 1] {
                assert!(!map.copy_to(offset, &mut two));
            }
            assert_eq!(two, [7; 2]);
        }
    });
}

#[test]
fn two_mappings_of_a_file_share_their_words() {
    everywhere(|_, disk| {
        let file = make(disk, "file", &[0; 4096]);
        let a = file.map(4096, Access::Write).unwrap();
        let b = reopen(disk, "file", Access::Write).map(4096, Access::Write).unwrap();
        let read = reopen(disk, "file", Access::Read).map(4096, Access::Read).unwrap();
        a.store(511, 5);
        assert_eq!((b.load(511), read.load(511)), (5, 5));
        assert_eq!(b.compare_exchange(511, 5, 6), Ok(5));
        assert_eq!(a.compare_exchange(511, 5, 7), Err(6));
        assert_eq!(a.fetch_or(511, 8), 6);
        assert_eq!(b.fetch_and(511, 12), 14);
        assert_eq!(a.fetch_add(511, 1), 12);
        assert_eq!(read.load(511), 13);
        let mut bytes = [0; 8];
        file.read_at(&mut bytes, 511 * 8).unwrap();
        assert_eq!(u64::from_le_bytes(bytes), 13);
        file.write_at(&99u64.to_le_bytes(), 8).unwrap();
        assert_eq!(read.load(1), 99);
    });
}

#[test]
fn threads_add_through_their_own_mappings() {
    let scratch = Scratch::on_disk();
    let disk = scratch.open();
    make(&*disk, "file", &[0; 64]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let map = reopen(&*disk, "file", Access::Write).map(64, Access::Write).unwrap();
                for _ in 0..10_000 {
                    map.fetch_add(3, 1);
                }
            });
        }
    });
    let map = reopen(&*disk, "file", Access::Read).map(64, Access::Read).unwrap();
    assert_eq!(map.load(3), 40_000);
}

#[test]
fn a_word_out_of_range_panics_before_it_is_touched() {
    let map = Map::anonymous(20).unwrap();
    assert_eq!(Words::len(&map), 2);
    for at in [2, 3, usize::MAX, usize::MAX / 8, 1 << 61] {
        let word = AssertUnwindSafe(&map);
        assert!(catch_unwind(|| word.load(at)).is_err());
        assert!(catch_unwind(|| word.store(at, 1)).is_err());
        assert!(catch_unwind(|| word.futex_wait(at, 0, None)).is_err());
        Words::prefetch(&map, at);
    }
    map.prefetch(u64::MAX);
}

#[test]
fn a_mapping_for_reading_is_not_stored_to() {
    everywhere(|_, disk| {
        let file = make(disk, "file", &[1; 64]);
        let mut later = file.map(64, Access::Write).unwrap();
        later.store(0, 3);
        assert!(later.as_mut_ptr().is_some());
        later.protect(Access::Read).unwrap();
        for map in [&file.map(64, Access::Read).unwrap(), &later] {
            let map = AssertUnwindSafe(map);
            assert!(catch_unwind(|| map.store(0, 1)).is_err());
            assert!(catch_unwind(|| map.compare_exchange(0, 1, 1)).is_err());
            assert!(catch_unwind(|| map.fetch_or(0, 1)).is_err());
            assert!(catch_unwind(|| map.fetch_and(0, 1)).is_err());
            assert!(catch_unwind(|| map.fetch_add(0, 1)).is_err());
            assert!(map.as_mut_ptr().is_none());
            assert_eq!((map.access(), map.load(0)), (Access::Read, 3));
        }
    });
}

#[test]
fn a_mapping_is_never_longer_than_its_file() {
    everywhere(|_, disk| {
        let file = make(disk, "file", &[1; 100]);
        refused(file.map(101, Access::Read), ErrorKind::Damaged);
        refused(file.map(u64::MAX, Access::Read), ErrorKind::Damaged);
        refused(reopen(disk, "file", Access::Read).map(100, Access::Write), ErrorKind::Permission);
        let empty = file.map(0, Access::Read).unwrap();
        assert!(empty.is_empty() && empty.read_block(0).is_none());
        assert!(empty.copy_to(0, &mut []) && !empty.copy_to(0, &mut [0]));
    });
}

#[test]
fn a_mapping_outlives_name_and_descriptor() {
    everywhere(|_, disk| {
        let map = make(disk, "file", &numbers()).map(200, Access::Read).unwrap();
        assert!(disk.unlink("file").unwrap());
        assert_eq!(map.read_block(0).unwrap(), numbers()[..64]);
    });
}

#[test]
fn anonymous_memory_is_zero_and_private() {
    let map = Map::anonymous(1 << 20).unwrap();
    assert_eq!(map.read_block((1 << 20) - 64), Some([0; 64]));
    map.store(9, 7);
    assert_eq!((map.load(9), Map::anonymous(1 << 20).unwrap().load(9)), (7, 0));
    let error = refused(Map::anonymous(1 << 60), ErrorKind::Limit);
    assert!(error.advice_text().unwrap().contains("vm.max_map_count"), "{error}");
}

#[test]
fn a_sleeper_wakes_through_another_mapping() {
    everywhere(|_, disk| {
        let file = make(disk, "file", &[0; 64]);
        let (a, b) = (
            file.map(64, Access::Read).unwrap(),
            reopen(disk, "file", Access::Write).map(64, Access::Write).unwrap(),
        );
        std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| {
                while a.load(4) as u32 == 0 {
                    assert!(a.futex_wait(4, 0, Some(Duration::from_secs(60))), "not woken");
                }
            });
            std::thread::sleep(Duration::from_millis(50));
            b.fetch_add(4, 1);
            b.futex_wake_all(4);
            sleeper.join().unwrap();
        });
    });
}

#[test]
fn waiting_ends_with_its_time_or_if_the_low_half_differs() {
    let map = Map::anonymous(64).unwrap();
    map.store(1, 5 << 32 | 9);
    let begin = Instant::now();
    assert!(!map.futex_wait(1, 9, Some(Duration::from_millis(30))));
    assert!(begin.elapsed() >= Duration::from_millis(30));
    assert!(map.futex_wait(1, 5, None), "another value is no reason to sleep");
    assert!(map.futex_wait(1, 0, Some(Duration::MAX)));
}

/// A peer that sleeps on a word.
pub fn sleep(place: &Path) {
    let disk = RealDisk::open(place, &writable()).unwrap();
    let map = reopen(&*disk, "file", Access::Read).map(64, Access::Read).unwrap();
    say("going to sleep");
    while map.load(4) as u32 == 0 {
        assert!(map.futex_wait(4, 0, Some(Duration::from_secs(60))), "not woken");
    }
    say("awake");
    listen();
}

#[test]
fn a_sleeper_in_another_process_wakes() {
    everywhere(|scratch, disk| {
        let map = make(disk, "file", &[0; 64]).map(64, Access::Write).unwrap();
        let mut peer = Peer::start("sleep", scratch.path());
        peer.expect("going to sleep");
        std::thread::sleep(Duration::from_millis(50));
        map.fetch_add(4, 1);
        map.futex_wake_all(4);
        peer.expect("awake");
    });
}

#[test]
fn a_torn_block_is_made_of_words_that_stood_there() {
    let scratch = Scratch::on_disk();
    let disk = scratch.open();
    let file = make(&*disk, "file", &[0; 64]);
    let map = file.map(64, Access::Read).unwrap();
    let done = crate::sync::machine::AtomicU8::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for at in 0..20_000u32 {
                file.write_at(&[at as u8; 64], 0).unwrap();
            }
            done.store(1, Ordering::Release);
        });
        while done.load(Ordering::Acquire) == 0 {
            for word in map.read_block(0).unwrap().chunks(8) {
                assert!(word.iter().all(|byte| *byte == word[0]), "{word:?}");
            }
        }
    });
}

#[test]
fn a_stretch_is_there_if_every_page_of_it_is() {
    everywhere(|_, disk| {
        let bytes = vec![7; 256 << 10];
        let file = make(disk, "file", &bytes);
        let map = file.map(bytes.len() as u64, Access::Read).unwrap();
        assert!(map.populate(0, 256 << 10) && map.populate(5000, 200_000));
        assert!(!map.populate(0, (256 << 10) + 1), "more than is mapped");
        drop(map);
        let map = file.map(bytes.len() as u64, Access::Read).unwrap();
        file.set_len(100 << 10).unwrap();
        for (start, end, is_there) in [(0, 100, true), (70, 100, true), (0, 104, false)] {
            let (offset, len) = (start << 10, (end - start) << 10);
            assert_eq!(map.populate(offset, len), is_there, "{start} to {end} KiB of 100");
        }
        assert!(!map.populate(96 << 10, 8 << 10) && !map.populate(128 << 10, 4096));
    });
}
