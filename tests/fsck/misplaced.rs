//! What stands in a place of the store and is not the store's is found, however whole the rest is, and a
//! repair moves it out of the way.

use super::furnished::{Furnished, Hit};
use super::rig::{bytes, options};
use super::tried::{check, check_clean, deep, repair, told};
use drystone::disk::{Access, Disk, File, Identity, OpenOptions, RealDisk, Space};
use drystone::{CompactOptions, FindingKind, FsckOptions, HashAlgorithm, Result, Store};
use std::fs;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::Path;
use std::sync::{Arc, Mutex};

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
fn a_file_in_the_place_of_the_quarantine_goes_in_whatever_stands_beside_it() {
    let made = Furnished::new(HashAlgorithm::Xxh3);
    exchange(&made.path().join("quarantine"), file);
    for beside in ["quarantine.old", "quarantine.old.1"] {
        fs::write(made.path().join(beside), b"of an earlier death").expect("a file");
    }
    let report = check(&made.path(), &repair());
    let done = report.repair.as_ref().expect("it was mended");
    assert_eq!((&done.quarantined[..], done.remaining), (&["quarantine/quarantine".into()][..], 0));
    check_clean(&made.path(), &deep(), "afterwards");
}

/// A disk on which something happens in front of the first renaming of `locks`.
#[derive(Debug)]
struct Between {
    inner: Arc<RealDisk>,
    then: Mutex<Option<Then>>,
}

struct Then(Box<dyn FnOnce() + Send>);

impl std::fmt::Debug for Then {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Then")
    }
}

impl Disk for Between {
    fn open(&self, path: &str, access: Access) -> Result<Option<Arc<dyn File>>> {
        self.inner.open(path, access)
    }
    fn create(&self, dir: &str) -> Result<Arc<dyn File>> {
        self.inner.create(dir)
    }
    fn link(&self, file: &dyn File, path: &str) -> Result<bool> {
        self.inner.link(file, path)
    }
    fn unlink(&self, path: &str) -> Result<bool> {
        self.inner.unlink(path)
    }
    fn is_named(&self, file: &dyn File, path: &str) -> Result<bool> {
        self.inner.is_named(file, path)
    }
    fn rename(&self, from: &str, to: &str) -> Result<bool> {
        if from == "locks"
            && let Some(then) = self.then.lock().expect("no panic").take()
        {
            (then.0)();
        }
        self.inner.rename(from, to)
    }
    fn make_dir(&self, path: &str) -> Result<bool> {
        self.inner.make_dir(path)
    }
    fn remove_dir(&self, path: &str) -> Result<bool> {
        self.inner.remove_dir(path)
    }
    fn list(&self, dir: &str) -> Result<Vec<String>> {
        self.inner.list(dir)
    }
    fn sync_dir(&self, dir: &str) -> Result<()> {
        self.inner.sync_dir(dir)
    }
    fn file_system(&self) -> &'static str {
        self.inner.file_system()
    }
    fn space(&self) -> Result<Space> {
        self.inner.space()
    }
    fn identity(&self) -> Result<Identity> {
        self.inner.identity()
    }
}

#[test]
fn a_repair_that_comes_second_leaves_the_locks_of_the_first() {
    let made = Furnished::new(HashAlgorithm::Xxh3);
    let locks = made.path().join("locks");
    exchange(&locks, directory);
    let how = OpenOptions { writable: true, ..OpenOptions::default() };
    let inner = RealDisk::open(&made.path(), &how).expect("the directory");
    let used: Arc<Mutex<Option<Store>>> = Arc::default();
    let (path, user) = (made.path(), used.clone());
    let then = move || {
        // The first is through, and somebody uses the store.
        check(&path, &repair());
        let store = options().open(&path).expect("a store");
        store.put(&bytes(100, 66)).expect("a put");
        *user.lock().expect("no panic") = Some(store);
    };
    let then = Mutex::new(Some(Then(Box::new(then))));
    let second = repair().disk(Arc::new(Between { inner, then }));
    let refused = drystone::fsck(made.path(), &second).expect_err("somebody uses the store");
    assert_eq!(refused.kind(), drystone::ErrorKind::Busy, "{refused}");
    let store = used.lock().expect("no panic").take().expect("a store in use");
    assert!(locks.is_file());
    let refused = drystone::fsck(made.path(), &repair()).expect_err("it is still in use");
    assert_eq!(refused.kind(), drystone::ErrorKind::Busy, "{refused}");
    let id = store.put(&bytes(100, 67)).expect("a put");
    let other = options().open(made.path()).expect("a store");
    assert!(other.get(&id).expect("a get").is_some(), "both see the same");
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
