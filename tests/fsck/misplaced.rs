//! What stands in a place of the store and is not the store's is found, however whole the rest is, and a
//! repair moves it out of the way.

use super::furnished::{Furnished, Hit};
use super::rig::{bytes, options};
use super::tried::{check, check_clean, deep, repair, told};
use drystone::{CompactOptions, FindingKind, FsckOptions, HashAlgorithm};
use std::fs;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::Path;

/// Puts something in a place.
type Put = fn(&Path);

fn directory(place: &Path) {
    fs::DirBuilder::new().mode(0o700).create(place).expect("a directory");
    fs::write(place.join("inside"), b"of somebody else").expect("a file");
}

fn pipe(place: &Path) {
    let mode = nix::sys::stat::Mode::from_bits_truncate(0o600);
    nix::unistd::mkfifo(place, mode).expect("a pipe");
}

fn link(place: &Path) {
    symlink("nowhere", place).expect("a link");
}

fn file(place: &Path) {
    fs::write(place, b"of somebody else").expect("a file");
}

/// Takes away what stands in a place, and puts something else there.
fn exchange(place: &Path, put: Put) {
    let _ = fs::remove_file(place);
    let _ = fs::remove_dir_all(place);
    put(place);
}

#[test]
fn what_is_none_in_the_place_of_a_file_or_directory_is_found_and_moved_away() {
    let no_files: [(&str, Put); 3] = [("directory", directory), ("pipe", pipe), ("link", link)];
    let no_directories: [(&str, Put); 3] = [("file", file), ("pipe", pipe), ("link", link)];
    let places = [
        ("locks", no_files),
        ("segments/spare-compaction", no_files),
        ("segments/spare-removal", no_files),
        ("quarantine", no_directories),
        ("run", no_directories),
    ];
    for hash in [HashAlgorithm::Xxh3, HashAlgorithm::Blake3] {
        let made = Furnished::new(hash);
        for (place, puts) in places {
            for (what, put) in puts {
                made.restore();
                exchange(&made.path().join(place), put);
                find_and_mend(&made, place, what);
            }
        }
    }
}

fn find_and_mend(made: &Furnished, place: &str, what: &str) {
    let when = format!("{what} in the place of {place}");
    for how in [FsckOptions::new(), deep()] {
        let report = check(&made.path(), &how);
        let found: Vec<_> = report.damaged().collect();
        let [finding] = found[..] else { panic!("{when}: {}", told(&report)) };
        assert_eq!(finding.kind, FindingKind::Layout, "{when}: {finding}");
        assert_eq!(finding.path.as_deref(), Some(place), "{when}");
        assert!(report.records > 20, "{when}: the rest is checked: {report:?}");
    }
    let report = check(&made.path(), &repair());
    let done = report.repair.as_ref().unwrap_or_else(|| panic!("{when}: {}", told(&report)));
    assert_eq!((done.remaining, done.lost_records), (0, 0), "{when}: {}", told(&report));
    let [moved] = &done.quarantined[..] else { panic!("{when}: {:?}", done.quarantined) };
    let moved = made.path().join(moved);
    assert!(moved.starts_with(made.path().join("quarantine")), "{when}: {moved:?}");
    match what {
        "directory" => assert!(moved.join("inside").is_file(), "{when}"),
        "file" => assert_eq!(fs::read(&moved).expect("a file"), b"of somebody else", "{when}"),
        _ => assert!(fs::symlink_metadata(&moved).is_ok_and(|meta| !meta.is_file()), "{when}"),
    }
    check_clean(&made.path(), &deep(), &when);
    let store = options().open(made.path()).unwrap_or_else(|error| panic!("{when}: {error}"));
    made.check(&store, Hit::Bytes("", &(0..0)), &when);
    store.put(&bytes(1000, 77)).unwrap_or_else(|error| panic!("{when}: {error}"));
    let compacted = store.compact(&CompactOptions::new().all(true));
    compacted.unwrap_or_else(|error| panic!("{when}: {error}"));
}

#[test]
fn a_superblock_that_is_no_file_is_made_again_of_what_the_segments_say() {
    for (what, put) in [("directory", directory as Put), ("pipe", pipe), ("link", link)] {
        let made = Furnished::new(HashAlgorithm::Xxh3);
        exchange(&made.path().join("STORE"), put);
        let report = check(&made.path(), &deep());
        let kinds: Vec<_> = report.damaged().map(|finding| finding.kind).collect();
        assert_eq!(kinds, [FindingKind::Superblock], "{what}: {}", told(&report));
        let report = check(&made.path(), &repair());
        let done = report.repair.as_ref().expect("it was mended");
        assert_eq!(done.quarantined, ["quarantine/STORE"], "{what}");
        check_clean(&made.path(), &deep(), what);
        let store = options().open(made.path()).expect("a store");
        made.check(&store, Hit::Bytes("", &(0..0)), what);
    }
}

#[test]
fn a_store_without_the_directory_of_its_segments_is_not_clean() {
    let made = Furnished::new(HashAlgorithm::Xxh3);
    for run_is_there in [true, false] {
        made.restore();
        fs::remove_dir_all(made.path().join("segments")).expect("a removal");
        if !run_is_there {
            fs::remove_dir_all(made.path().join("run")).expect("a removal");
        }
        let report = check(&made.path(), &deep());
        let layout: Vec<_> =
            report.damaged().filter(|finding| finding.kind == FindingKind::Layout).collect();
        let [finding] = layout[..] else { panic!("{run_is_there}: {}", told(&report)) };
        assert_eq!(finding.path.as_deref(), Some("segments"));
        assert!(finding.advice.contains("copy"), "{}", finding.advice);
        let report = check(&made.path(), &repair());
        assert_eq!(report.repair.expect("it was mended").remaining, 0);
        check_clean(&made.path(), &deep(), "afterwards");
    }
}

#[test]
fn a_repair_beside_a_user_moves_nothing_away() {
    let made = Furnished::new(HashAlgorithm::Xxh3);
    let store = options().open(made.path()).expect("a store");
    let spare = made.path().join("segments/spare-removal");
    exchange(&spare, directory);
    let refused = drystone::fsck(made.path(), &repair()).expect_err("somebody uses it");
    assert_eq!(refused.kind(), drystone::ErrorKind::Busy, "{refused}");
    assert!(spare.join("inside").is_file(), "it was moved");
    drop(store);
    check(&made.path(), &repair());
    assert!(!spare.is_dir());
}

#[test]
fn without_its_locks_a_store_that_is_written_to_is_not_repaired() {
    let takes: [fn(&Path); 2] =
        [|locks| fs::remove_file(locks).expect("a removal"), |locks| exchange(locks, directory)];
    for take in takes {
        let made = Furnished::new(HashAlgorithm::Xxh3);
        let store = options().open(made.path()).expect("a store");
        let id = store.put(&bytes(100, 55)).expect("a put");
        let locks = made.path().join("locks");
        take(&locks);
        let report = check(&made.path(), &deep());
        let told: Vec<_> =
            report.findings.iter().filter(|f| f.kind == FindingKind::Layout).collect();
        let [finding] = told[..] else { panic!("{}", super::tried::told(&report)) };
        assert!(finding.advice.contains("end the processes"), "{}", finding.advice);
        let refused = drystone::fsck(made.path(), &repair()).expect_err("somebody writes to it");
        assert_eq!(refused.kind(), drystone::ErrorKind::Busy, "{refused}");
        assert!(!locks.is_file(), "it was changed");
        drop(store);
        check(&made.path(), &repair());
        assert!(locks.is_file());
        let store = options().open(made.path()).expect("a store");
        assert_eq!(*store.get(&id).expect("a get").expect("it was put"), bytes(100, 55)[..]);
        made.check(&store, Hit::Bytes("", &(0..0)), "afterwards");
    }
}
