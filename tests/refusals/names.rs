//! Names: bytes that are not UTF-8, and symbolic links.

use super::rig::{self, KIB, refused};
use super::{furnished, goes_on, options, put};
use drystone::{ErrorKind, Store};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

#[test]
fn paths_need_not_be_utf_8() {
    let place = rig::on_disk();
    let path = place.path().join(OsStr::from_bytes(b"sto\xFFre/\xC3("));
    refused(Store::open(&path), ErrorKind::NotAStore, &["no such directory"]);
    let (store, mut ledger) = furnished(&path);
    let file = place.path().join(OsStr::from_bytes(b"\x80.npy"));
    refused(store.put_file(&file), ErrorKind::Io, &["No such file"]);
    std::fs::write(&file, rig::bytes(100 * KIB, 20)).unwrap();
    let id = store.put_file(&file).expect("a put");
    assert_eq!(ledger.put(&rig::bytes(100 * KIB, 20)), id);
    goes_on(store, ledger);
}

#[test]
fn strange_names_in_the_directories_of_a_store_are_passed_over() {
    let place = rig::on_disk();
    let path = place.path().join("store");
    let (store, ledger) = furnished(&path);
    drop(store);
    for dir in ["", "segments", "run", "quarantine"] {
        for name in [&b"\xFF\xFE"[..], b"0000000\xFF.seg", b"00000001.seg~", b"lost+found"] {
            let stranger = path.join(dir).join(OsStr::from_bytes(name));
            std::fs::write(&stranger, "not ours").unwrap();
            std::fs::create_dir(stranger.with_extension("d")).unwrap();
        }
    }
    ledger.check(&options().open(&path).expect("a store"), "beside strangers");
    goes_on(rig::options().boot_id("next").open(&path).expect("a store"), ledger);
    assert_eq!(std::fs::read(path.join("lost+found")).unwrap(), b"not ours");
}

#[test]
fn a_store_is_reached_through_a_link_to_it_or_above_it() {
    let place = rig::on_disk();
    let at = |name: &str| place.path().join(name);
    let (store, mut ledger) = furnished(&at("disk/store"));
    symlink(at("disk/store"), at("link")).unwrap();
    symlink("disk", at("above")).unwrap();
    for (through, seed) in [("link", 30), ("above/store", 31)] {
        let same = options().open(at(through)).expect("the store");
        assert_eq!(same.uuid(), store.uuid());
        put(&same, &mut ledger, 3 * KIB, seed);
        ledger.check(&same, through);
    }
    ledger.check(&store, "where it is");
    std::fs::write(at("file"), "content").unwrap();
    symlink("file", at("file link")).unwrap();
    assert_eq!(store.put_file(at("file link")).unwrap(), ledger.put(b"content"));
    goes_on(store, ledger);
}

#[test]
fn a_link_to_nothing_or_to_itself_is_not_a_store() {
    let place = rig::on_disk();
    let at = |name: &str| place.path().join(name);
    symlink("nowhere", at("dangling")).unwrap();
    symlink("loop", at("loop")).unwrap();
    refused(Store::open(at("dangling")), ErrorKind::NotAStore, &["no such directory"]);
    refused(Store::open(at("loop")), ErrorKind::Io, &["Too many levels of symbolic links"]);
}

#[test]
fn a_link_in_place_of_a_part_of_the_store_is_refused() {
    let place = rig::on_disk();
    let path = place.path().join("store");
    let (store, ledger) = furnished(&path);
    drop(store);
    for part in ["STORE", "locks", "segments", "run"] {
        let elsewhere = place.path().join(part);
        std::fs::rename(path.join(part), &elsewhere).unwrap();
        symlink(&elsewhere, path.join(part)).unwrap();
        let error = refused(Store::open(&path), ErrorKind::Damaged, &["symbolic link", part]);
        assert!(error.advice_text().is_some(), "{error}");
        std::fs::remove_file(path.join(part)).unwrap();
        std::fs::rename(&elsewhere, path.join(part)).unwrap();
        ledger.check(&Store::open(&path).expect("the store"), "put back");
    }
    goes_on(Store::open(&path).expect("the store"), ledger);
}
