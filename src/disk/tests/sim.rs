//! The simulated disk: what it may forget, and what not.

use crate::disk::{Access, Disk, File, Image, LockKind, SimDisk};
use crate::sync::Words;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

const SEEDS: u64 = 400;

fn disk() -> SimDisk {
    SimDisk::boot(Image::default(), "a boot")
}

fn made(disk: &SimDisk, path: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = disk.create("").unwrap();
    file.write_at(bytes, 0).unwrap();
    assert!(disk.link(&*file, path).unwrap());
    file
}

/// All that a file may hold after a power loss now; `None` is that it is not there.
fn outcomes(disk: &SimDisk, path: &str) -> BTreeSet<Option<Vec<u8>>> {
    let (history, at) = (disk.history(), disk.now());
    let found = |seed| {
        let image = history.cut(at, seed);
        image.files().find(|(name, _)| name == path).map(|(_, bytes)| bytes.to_vec())
    };
    (0..SEEDS).map(found).collect()
}

#[test]
fn what_was_not_synced_may_be_there_or_not() {
    let disk = disk();
    let file = made(&disk, "a", b"one");
    let any = outcomes(&disk, "a");
    assert!(any.contains(&None) && any.contains(&Some(vec![])));
    assert!(any.contains(&Some(b"one".to_vec())));
    disk.sync_dir("").unwrap();
    assert!(!outcomes(&disk, "a").contains(&None), "its name lasts");
    file.sync_data().unwrap();
    assert_eq!(outcomes(&disk, "a"), BTreeSet::from([Some(b"one".to_vec())]));
    file.write_at(b"two", 0).unwrap();
    let any = outcomes(&disk, "a");
    assert_eq!(any, BTreeSet::from([Some(b"one".to_vec()), Some(b"two".to_vec())]));
    assert!(disk.unlink("a").unwrap());
    assert!(outcomes(&disk, "a").contains(&None));
}

#[test]
fn writes_are_torn_and_reordered_but_bytes_are_never_made_up() {
    let disk = disk();
    let file = made(&disk, "a", &[1; 8192]);
    disk.sync_dir("").unwrap();
    file.sync_data().unwrap();
    file.write_at(&[2; 8192], 0).unwrap();
    file.write_at(&[3; 100], 4000).unwrap();
    let (mut torn, mut reordered) = (BTreeSet::new(), false);
    for bytes in outcomes(&disk, "a").into_iter().flatten() {
        for (at, byte) in bytes.iter().enumerate() {
            assert!([1, 2, 3].contains(byte) && (*byte != 3 || (4000..4100).contains(&at)));
        }
        torn.extend((1..bytes.len()).filter(|&at| bytes[at - 1] != bytes[at]));
        reordered |= bytes[4000] == 3 && bytes[0] == 1;
    }
    assert!(torn.contains(&8) && torn.contains(&512) && torn.contains(&4096));
    assert!(!torn.contains(&9) && reordered);
}

#[test]
fn a_file_has_one_of_the_lengths_that_it_had_and_zeros_where_nothing_came() {
    let disk = disk();
    let file = made(&disk, "a", &[7; 64]);
    disk.sync_dir("").unwrap();
    file.sync_data().unwrap();
    file.set_len(1024).unwrap();
    file.set_len(128).unwrap();
    let any: Vec<_> = outcomes(&disk, "a").into_iter().flatten().collect();
    let lens: BTreeSet<usize> = any.iter().map(Vec::len).collect();
    assert_eq!(lens, BTreeSet::from([64, 128, 1024]));
    assert!(any.iter().all(|bytes| bytes[..64] == [7; 64] && bytes[64..].iter().all(|b| *b == 0)));
}

#[test]
fn what_is_stored_through_a_mapping_may_reach_the_medium() {
    let disk = disk();
    let file = made(&disk, "a", &[0; 8192]);
    disk.sync_dir("").unwrap();
    file.sync_data().unwrap();
    let map = file.map(8192, Access::Write).unwrap();
    map.store(0, u64::MAX);
    map.store(512, u64::MAX);
    let words = |bytes: &Vec<u8>| [bytes[0], bytes[4096]];
    let any: BTreeSet<_> = outcomes(&disk, "a").into_iter().flatten().map(|b| words(&b)).collect();
    assert_eq!(any, BTreeSet::from([[0, 0], [0, 255], [255, 0], [255, 255]]));
    file.sync_data().unwrap();
    let any: BTreeSet<_> = outcomes(&disk, "a").into_iter().flatten().map(|b| words(&b)).collect();
    assert_eq!(any, BTreeSet::from([[255, 255]]));
}

#[test]
fn a_rename_is_there_as_a_whole_or_not_at_all() {
    let disk = disk();
    assert!(disk.make_dir("d").unwrap());
    made(&disk, "d/a", b"x").sync_data().unwrap();
    disk.sync_dir("").unwrap();
    disk.sync_dir("d").unwrap();
    assert!(disk.rename("d", "e").unwrap());
    let (history, at) = (disk.history(), disk.now());
    let paths = |seed| history.cut(at, seed).files().map(|(path, _)| path).collect::<Vec<_>>();
    let any: BTreeSet<Vec<String>> = (0..SEEDS).map(paths).collect();
    assert_eq!(any, BTreeSet::from([vec!["d/a".to_owned()], vec!["e/a".to_owned()]]));
    assert!(!disk.rename("e", "e/a").unwrap_or(false));
}

#[test]
fn the_dead_hold_no_locks_and_do_nothing() {
    let disk = disk();
    made(&disk, "a", &[1; 64]);
    let (one, two) = (disk.process(), disk.process());
    let open = |process: &SimDisk| process.open("a", Access::Write).unwrap().unwrap();
    let (by_one, by_two) = (open(&one), open(&two));
    assert!(by_one.try_lock(0, 1, LockKind::Exclusive).unwrap());
    assert!(!by_two.try_lock(0, 1, LockKind::Shared).unwrap());
    assert!(by_two.try_lock(1, 1, LockKind::Exclusive).unwrap());
    one.die_at(2, true);
    assert_eq!(by_one.len().unwrap(), 64);
    let died = catch_unwind(AssertUnwindSafe(|| by_one.write_at(&[2; 64], 0)));
    assert!(died.is_err() && one.is_dead());
    let mut bytes = [0; 64];
    by_two.read_at(&mut bytes, 0).unwrap();
    assert_eq!((bytes[31], bytes[32]), (2, 1), "it died in the middle of its write");
    assert!(by_one.write_at(&[3; 64], 0).is_err() && one.list("").is_err());
    assert!(by_two.try_lock(0, 1, LockKind::Exclusive).unwrap());
}

#[test]
fn a_disk_goes_on_over_what_is_left() {
    let first = disk();
    made(&first, "a", &[5; 100]).sync_data().unwrap();
    first.sync_dir("").unwrap();
    let image = first.history().cut(first.now(), 1);
    let second = SimDisk::boot(image.clone(), "another boot");
    let file = second.open("a", Access::Write).unwrap().unwrap();
    file.write_at(&[6; 100], 50).unwrap();
    let mut bytes = [0; 150];
    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), 150);
    assert_eq!((bytes[49], bytes[50]), (5, 6));
    assert_ne!(second.history().everything().fingerprint(), image.fingerprint());
    file.set_mode(0o400).unwrap();
    assert!(second.open("a", Access::Write).is_err(), "nobody is root here");
    assert_eq!(second.identity().unwrap().boot, "another boot");
}
