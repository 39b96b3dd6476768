//! Whose files they are: a process that is not root, before directories that it may not read, stores of
//! others, and segments that it may not write to.

use super::rig::{self, KIB, Ledger, refused, say};
use super::{furnished, goes_on, options, put};
use drystone::{ErrorKind, Store};
use nix::unistd::{Gid, Uid, chown, setgid, setgroups, setuid};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const NOBODY: u32 = 65_534;

/// Whether this process can become another; says so if not.
fn is_root() -> bool {
    let is_root = Uid::effective().is_root();
    if !is_root {
        say("SKIPPED: only root can become somebody else");
    }
    is_root
}

fn become_nobody() {
    setgroups(&[]).expect("root");
    setgid(Gid::from_raw(NOBODY)).expect("root");
    setuid(Uid::from_raw(NOBODY)).expect("root");
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("a mode");
}

fn chmod(path: &Path, how: &str) {
    let status = std::process::Command::new("chmod").arg("-R").arg(how).arg(path).status();
    assert!(status.expect("chmod").success());
}

/// A directory that all may look into, with `own` in it, which is nobody's.
fn place_for_nobody() -> tempfile::TempDir {
    let place = rig::on_disk();
    mode(place.path(), 0o755);
    let own = place.path().join("own");
    std::fs::create_dir(&own).expect("a directory");
    chown(&own, Some(Uid::from_raw(NOBODY)), Some(Gid::from_raw(NOBODY))).expect("root");
    place
}

#[test]
fn a_directory_that_cannot_be_read() {
    if !is_root() || !rig::is_child("owners::a_directory_that_cannot_be_read", "") {
        return;
    }
    let place = place_for_nobody();
    let secret = place.path().join("secret");
    drop(furnished(&secret));
    become_nobody();
    let says = ["Permission denied", "check the owner and the mode"];
    refused(Store::open(&secret), ErrorKind::Permission, &says);
    refused(rig::options().read_only(true).open(&secret), ErrorKind::Permission, &says);
    refused(options().open(place.path().join("new")), ErrorKind::Permission, &says);
    let path = place.path().join("own/store");
    let (store, mut ledger) = furnished(&path);
    for part in ["", "segments", "run", "STORE", "locks"] {
        let part = path.join(part);
        ledger.check_blobs(&store, "mapping what there is");
        let before = std::fs::metadata(&part).expect("a part").permissions();
        mode(&part, 0);
        let error = refused(Store::open(&path), ErrorKind::Permission, &says);
        assert!(error.file_path().is_some_and(|named| named.starts_with(&path)), "{error}");
        ledger.check_blobs(&store, "what is mapped can be read");
        std::fs::set_permissions(&part, before).expect("a mode");
        put(&store, &mut ledger, 3 * KIB, 70);
        ledger.check(&Store::open(&path).expect("the store"), "readable again");
    }
    goes_on(store, ledger);
}

#[test]
fn the_store_of_somebody_else() {
    if !is_root() || !rig::is_child("owners::the_store_of_somebody_else", "") {
        return;
    }
    let place = place_for_nobody();
    let [roots, others] = ["root", "other"].map(|name| place.path().join(name));
    let (store, ledger) = furnished(&roots);
    drop((store, furnished(&others)));
    chmod(&roots, "go+rX");
    chmod(&others, "go+rX");
    chown(&others, Some(Uid::from_raw(12_345)), None).expect("root");
    let foreign = ["belongs to another user", "or root", "found user 12345", "trust_other_users"];
    let is_refused = |path: &Path| {
        refused(Store::open(path), ErrorKind::Permission, &foreign);
        refused(rig::options().read_only(true).open(path), ErrorKind::Permission, &foreign);
    };
    is_refused(&others);
    become_nobody();
    is_refused(&others);
    let says = ["Permission denied", "check the owner and the mode"];
    refused(Store::open(&roots), ErrorKind::Permission, &says);
    // Root could do anything anyway: what is root's may be read.
    let reader = rig::options().read_only(true).open(&roots).expect("a reader");
    ledger.check(&reader, "read by another user");
    refused(reader.put(b"new"), ErrorKind::ReadOnly, &["opened read-only", "read_only"]);
    let after_reboot = rig::options().read_only(true).boot_id("next");
    ledger.check(&after_reboot.open(&roots).expect("a reader"), "after a reboot");
}

/// Puts small blobs into a segment that stays open, and gives all of them this mode; the open one.
fn with_hints(path: &Path, bits: u32) -> (Ledger, PathBuf) {
    let (store, mut ledger) = furnished(path);
    for seed in 0..6 {
        put(&store, &mut ledger, 30 * KIB, 80 + seed);
    }
    let last = store.put(b"last").expect("a put");
    ledger.put(b"last");
    let stat = store.stat(&last).expect("an answer").expect("it is there");
    drop(store);
    for file in rig::segment_files(path) {
        mode(&file, bits);
    }
    (ledger, rig::segment_file(path, stat.segment))
}

#[test]
fn a_hint_at_a_segment_that_cannot_be_written_is_passed_over() {
    let test = "owners::a_hint_at_a_segment_that_cannot_be_written_is_passed_over";
    if !is_root() || !rig::is_child(test, "") {
        return;
    }
    let place = place_for_nobody();
    become_nobody();
    let path = place.path().join("own/store");
    let (mut ledger, _) = with_hints(&path, 0o400);
    let store = options().open(&path).expect("the store");
    put(&store, &mut ledger, 1000, 90);
    store.sync().expect("a sync");
    goes_on(store, ledger);
}

#[test]
fn a_hint_at_what_is_not_a_file_is_passed_over() {
    let place = rig::on_disk();
    let path = place.path().join("store");
    let (mut ledger, open) = with_hints(&path, 0o600);
    let kept = place.path().join("kept");
    std::fs::rename(&open, &kept).expect("a file");
    std::os::unix::fs::symlink(&kept, &open).expect("a link");
    let store = options().open(&path).expect("the store");
    put(&store, &mut ledger, 1000, 90);
    put(&store, &mut ledger, 300 * KIB, 91);
    drop(store);
    std::fs::remove_file(&open).expect("the link");
    std::fs::rename(&kept, &open).expect("a file");
    goes_on(options().open(&path).expect("the store"), ledger);
}

#[test]
fn hints_at_a_finished_segment_do_not_stay() {
    if !is_root() || !rig::is_child("owners::hints_at_a_finished_segment_do_not_stay", "") {
        return;
    }
    /// The words 64 to 319 of the control page (spec/FORMAT.md, section 7).
    const HINTS: std::ops::Range<usize> = 64 * 8..320 * 8;
    let place = place_for_nobody();
    become_nobody();
    let path = place.path().join("own/store");
    let (store, mut ledger) = furnished(&path);
    let lone = store.put(&rig::bytes(300 * KIB, 70)).expect("a put");
    ledger.put(&rig::bytes(300 * KIB, 70));
    store.sync().expect("a sync, which finishes what is sealed");
    let sealed = store.stat(&lone).expect("an answer").expect("it is there").segment;
    let file = rig::segment_file(&path, sealed);
    let bits = std::fs::metadata(&file).expect("a file").permissions().mode();
    assert_eq!(bits & 0o777, 0o400, "the segment of its own is finished");
    drop(store);
    // As if as many processes had died between sealing it and forgetting it.
    let control = rig::run_dir(&path).join("control");
    let hint = ((u64::from(sealed) << 24) + 1).to_le_bytes();
    for at in HINTS.step_by(8) {
        rig::patch(&control, at as u64, &hint);
    }
    let store = options().open(&path).expect("the store");
    put(&store, &mut ledger, 1000, 90);
    let page = std::fs::read(&control).expect("the page");
    let left = page[HINTS].chunks(8).filter(|word| **word == hint).count();
    assert_eq!(left, 0, "hints at a finished segment");
    goes_on(store, ledger);
}
