//! The run is a cache of the segments: whatever is wrong with it, whoever opens the store alone gets a
//! new one, and whoever does not is told what to do.

use super::rig::{Ledger, bytes, copy_dir, in_memory, options, patch, refused, resize, run_dir};
use drystone::{ErrorKind, HashAlgorithm, Store};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

const PROTOCOL_WORD: u64 = 1;
const ROOT_WORD: u64 = 8;

fn store_in(path: &Path) -> Ledger {
    let mut ledger = Ledger::new(HashAlgorithm::Xxh3);
    let store = options().create(true).open(path).expect("a store");
    for seed in 0..20 {
        store.put(&bytes(seed as usize * 211, seed)).expect("a put");
        ledger.put(&bytes(seed as usize * 211, seed));
    }
    ledger
}

fn control(path: &Path) -> PathBuf {
    run_dir(path).join("control")
}

fn table(path: &Path) -> PathBuf {
    run_dir(path).join("00000000.idx")
}

fn garble_word(file: &Path, word: u64, value: u64) {
    patch(file, word * 8, &value.to_le_bytes());
}

type Damage = (&'static str, fn(&Path));

/// What can be wrong with a run that shows at once.
const DAMAGES: [Damage; 17] = [
    ("the page is cut to nothing", |path| resize(&control(path), 0)),
    ("the page is cut short", |path| resize(&control(path), 16383)),
    ("the page is gone", |path| fs::remove_file(control(path)).expect("gone")),
    ("the page has no magic", |path| garble_word(&control(path), 0, 1)),
    ("the page is of another store", |path| garble_word(&control(path), 2, 7)),
    ("the page speaks another protocol", |path| garble_word(&control(path), PROTOCOL_WORD, 2)),
    ("the root is zero", |path| garble_word(&control(path), ROOT_WORD, 0)),
    ("the root is all ones", |path| garble_word(&control(path), ROOT_WORD, u64::MAX)),
    ("the root names a generation that is not", |path| {
        garble_word(&control(path), ROOT_WORD, 9 << 32 | 5 << 26);
    }),
    ("the page is a link", |path| link_aside(&control(path))),
    ("the page is a directory", |path| {
        fs::remove_file(control(path)).expect("gone");
        fs::create_dir(control(path)).expect("a directory");
        fs::set_permissions(control(path), fs::Permissions::from_mode(0o700)).expect("a mode");
    }),
    ("the table is cut to nothing", |path| resize(&table(path), 0)),
    ("the table is cut short", |path| {
        let len = fs::metadata(table(path)).expect("a table").len();
        resize(&table(path), len - 1);
    }),
    ("the table is gone", |path| fs::remove_file(table(path)).expect("gone")),
    ("the table has another header", |path| garble_word(&table(path), 4, 5)),
    ("the table has another size", |path| garble_word(&table(path), 7, 40)),
    ("the table is a link", |path| link_aside(&table(path))),
];

fn link_aside(file: &Path) {
    let aside = file.with_extension("aside");
    fs::rename(file, &aside).expect("moved");
    symlink(&aside, file).expect("a link");
}

#[test]
fn a_damaged_run_is_rebuilt_by_who_opens_alone() {
    for (what, damage) in DAMAGES {
        let dir = in_memory();
        let path = dir.path().join("store");
        let ledger = store_in(&path);
        damage(&path);
        let reader = options().read_only(true).open(&path);
        ledger.check(&reader.unwrap_or_else(|error| panic!("{what}: {error}")), what);
        let store = options().open(&path).unwrap_or_else(|error| panic!("{what}: {error}"));
        ledger.check(&store, what);
        store.put(b"after").expect("a put");
        drop(store);
        options().open(&path).unwrap_or_else(|error| panic!("{what}, again: {error}"));
    }
}

#[test]
fn a_damaged_run_in_use_is_refused_with_advice_that_works() {
    for (what, damage) in DAMAGES {
        let dir = in_memory();
        let path = dir.path().join("store");
        let ledger = store_in(&path);
        // A user that has nothing mapped that could be cut: it only holds the lock.
        let user = options().open(&path).expect("a store");
        damage(&path);
        let error = options().open(&path).expect_err(what);
        let kind = match what {
            "the page speaks another protocol" => ErrorKind::ProtocolMismatch,
            _ => ErrorKind::Damaged,
        };
        assert_eq!(error.kind(), kind, "{what}: {error}");
        assert!(error.advice_text().is_some(), "{what}: {error}");
        drop(user);
        fs::remove_dir_all(path.join("run")).expect("removed, as the advice says");
        ledger.check(&options().open(&path).expect(what), what);
    }
}

/// A table whose slots are garbled does not show at once: its header is as it was.
#[test]
fn advice_on_a_garbled_table_works() {
    let dir = in_memory();
    let path = dir.path().join("store");
    let ledger = store_in(&path);
    let len = fs::metadata(table(&path)).expect("a table").len();
    // Every key reads as sealed, which only a growth does.
    patch(&table(&path), 64 * 8, &1u64.to_le_bytes().repeat(len as usize / 8 - 64));
    let store = options().open(&path).expect("its header is whole");
    refused(store.put(b"new"), ErrorKind::Damaged, &["index", "remove its directory `run`"]);
    drop(store);
    fs::remove_dir_all(path.join("run")).expect("removed, as the advice says");
    ledger.check(&options().open(&path).expect("a recovery"), "rebuilt");
}

#[test]
fn another_protocol_is_left_alone_while_it_is_used() {
    let dir = in_memory();
    let path = dir.path().join("store");
    let ledger = store_in(&path);
    let user = options().open(&path).expect("a store");
    garble_word(&control(&path), PROTOCOL_WORD, 2);
    let says = ["another version", "protocol 1", "protocol 2"];
    refused(options().open(&path), ErrorKind::ProtocolMismatch, &says);
    let page = fs::read(control(&path)).expect("it is still there");
    assert_eq!(page[8], 2);
    drop(user);
    let store = options().open(&path).expect("built anew");
    ledger.check(&store, "of this protocol");
    assert_eq!(fs::read(control(&path)).expect("a page")[8], 1);
}

/// The tag of a run is made of boot and place; a run under a tag that is not its own is told by the
/// headers of its tables.
#[test]
fn a_run_that_came_from_elsewhere_is_not_believed() {
    let dir = in_memory();
    let (path, copy) = (dir.path().join("store"), dir.path().join("copy"));
    let ledger = store_in(&path);
    copy_dir(&path, &copy);
    let store = Store::open(&path).expect("a store");
    let late = store.put(b"only in the first").expect("a put");
    drop(store);
    let elsewhere = run_dir(&path);
    drop(options().open(&copy).expect("a copy"));
    // Under the copy's own tag stands now the run of the first store, which names a later blob.
    let own = run_dir(&copy);
    fs::remove_dir_all(&own).expect("removed");
    copy_dir(&elsewhere, &own);
    let store = options().open(&copy).expect("built anew");
    ledger.check(&store, "in the copy");
    assert!(store.get(&late).expect("a get").is_none(), "the other store's run is believed");
}

#[test]
fn a_run_of_an_earlier_boot_is_not_used_and_goes() {
    let dir = in_memory();
    let path = dir.path().join("store");
    let ledger = store_in(&path);
    let before = run_dir(&path);
    resize(&before.join("00000000.idx"), 100);
    ledger.check(&options().boot_id("second").open(&path).expect("a recovery"), "second boot");
    assert_ne!(run_dir(&path), before);
}

#[test]
fn a_table_that_others_may_write_is_refused() {
    let dir = in_memory();
    let path = dir.path().join("store");
    store_in(&path);
    for file in [table(&path), control(&path)] {
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).expect("a mode");
        refused(options().open(&path), ErrorKind::Permission, &["mode 0666", "chmod"]);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("a mode");
    }
}
