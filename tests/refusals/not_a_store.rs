//! What is opened is not a store, not one of this version, or a damaged one; and ids that are none.

use super::rig::{self, refused};
use super::{furnished, goes_on, options};
use drystone::{BlobId, ErrorKind, HashAlgorithm, Store};
use std::path::Path;
use xxhash_rust::xxh3::xxh3_64;

const COPIES: [usize; 2] = [0, 4096];

fn open(path: &Path, is_read_only: bool) -> drystone::Result<Store> {
    rig::options().read_only(is_read_only).open(path)
}

/// Each way to open it is refused.
#[track_caller]
fn all_refused(path: &Path, kind: ErrorKind, says: &[&str]) {
    for is_read_only in [false, true] {
        let error = refused(open(path, is_read_only), kind, says);
        assert!(error.advice_text().is_some(), "{error}");
        assert!(error.file_path().is_some(), "{error}");
    }
}

#[test]
fn what_is_not_a_store_is_left_as_it_is() {
    let place = rig::on_disk();
    let at = |name: &str| place.path().join(name);
    all_refused(&at("missing"), ErrorKind::NotAStore, &["no such directory", "blobtool init"]);
    std::fs::create_dir(at("empty")).unwrap();
    all_refused(&at("empty"), ErrorKind::NotAStore, &["no file STORE", "blobtool init"]);
    for (name, content) in [("short", &b""[..]), ("zeros", &[0; 8192]), ("text", b"shopping list")]
    {
        std::fs::create_dir(at(name)).unwrap();
        std::fs::write(at(name).join("STORE"), content).unwrap();
        all_refused(&at(name), ErrorKind::NotAStore, &["expected DRYSTONE", "found"]);
        let created = options().open(at(name));
        refused(created, ErrorKind::NotAStore, &["STORE"]);
        assert!(std::fs::read(at(name).join("STORE")).unwrap() == content);
    }
    assert_eq!(std::fs::read_dir(at("empty")).unwrap().count(), 0, "nothing was made");
    assert!(!at("missing").exists());
}

#[test]
fn a_file_is_not_a_store() {
    let place = rig::on_disk();
    let file = place.path().join("file");
    std::fs::write(&file, "years of work").unwrap();
    all_refused(&file, ErrorKind::NotAStore, &["not a directory", "path of a store"]);
    refused(options().open(&file), ErrorKind::NotAStore, &["not a directory"]);
    assert_eq!(std::fs::read(&file).unwrap(), b"years of work");
}

/// Changes both copies of the superblock so that their checksums hold.
fn forge(store: &Path, change: impl Fn(&mut [u8])) -> Vec<u8> {
    let file = store.join("STORE");
    let before = std::fs::read(&file).unwrap();
    let mut forged = before.clone();
    for at in COPIES {
        change(&mut forged[at..at + 56]);
        let checksum = xxh3_64(&forged[at..at + 56]);
        forged[at + 56..at + 64].copy_from_slice(&checksum.to_le_bytes());
    }
    rig::patch(&file, 0, &forged);
    before
}

#[test]
fn another_version_and_impossible_properties_are_refused_by_name() {
    let place = rig::on_disk();
    let path = place.path().join("store");
    let (store, ledger) = furnished(&path);
    drop(store);
    let version = ["expected version 1", "found version 7", "release of drystone"];
    let hash = ["hash algorithm", "1 (xxh3) or 2 (blake3)", "found 9", "backup"];
    let segment = ["segment size", "expected 262144 to 1073741824", "found 77", "backup"];
    let chunk = ["chunk size", "expected 2097152", "found 5", "backup"];
    let forgeries: [(usize, u8, ErrorKind, &[&str]); 4] = [
        (8, 7, ErrorKind::UnsupportedVersion, &version),
        (12, 9, ErrorKind::Damaged, &hash),
        (32, 77, ErrorKind::Damaged, &segment),
        (40, 5, ErrorKind::Damaged, &chunk),
    ];
    for (at, value, kind, says) in forgeries {
        let before = forge(&path, |copy| {
            let is_number = at >= 32;
            copy[at..at + if is_number { 8 } else { 1 }].fill(0);
            copy[at] = value;
        });
        all_refused(&path, kind, says);
        rig::patch(&path.join("STORE"), 0, &before);
        ledger.check(&open(&path, true).expect("it is whole again"), "afterwards");
    }
    goes_on(open(&path, false).expect("the store"), ledger);
}

#[test]
fn one_copy_of_the_superblock_is_enough_and_none_is_an_error() {
    let place = rig::on_disk();
    let path = place.path().join("store");
    let (store, ledger) = furnished(&path);
    drop(store);
    let file = path.join("STORE");
    let whole = std::fs::read(&file).unwrap();
    for at in COPIES {
        for damage in [&[0xFF; 64][..], &[0; 64], &[1]] {
            rig::patch(&file, at as u64, damage);
            ledger.check(&open(&path, false).expect("one copy is whole"), "with one copy");
            rig::patch(&file, 0, &whole);
        }
    }
    COPIES.iter().for_each(|&at| rig::patch(&file, at as u64 + 20, b"?"));
    all_refused(&path, ErrorKind::Damaged, &["both copies of the superblock", "fsck --repair"]);
    rig::patch(&file, 0, &whole);
    goes_on(open(&path, false).expect("restored"), ledger);
}

#[test]
fn an_id_that_does_not_parse_says_what_one_looks_like() {
    let hex = "0123456789abcdef".repeat(4);
    let [short, long] = [&hex[..32], &hex[..64]];
    for text in [
        "".to_owned(),
        ":".to_owned(),
        short.to_owned(),
        format!("md5:{short}"),
        format!("XXH3:{short}"),
        format!("xxh3:{long}"),
        format!("b3:{short}"),
        format!("xxh3:{}", &hex[..31]),
        format!("xxh3:{}g", &hex[..31]),
        format!("xxh3:+{}", &hex[..31]),
        format!("xxh3: {short}"),
        format!("xxh3:{}é", &hex[..30]),
    ] {
        let says = ["expected xxh3: and 32 hexadecimal digits, or b3: and 64", &text];
        refused(text.parse::<BlobId>(), ErrorKind::InvalidInput, &says);
    }
    for name in ["md5", "sha256", "", "XXH3"] {
        let says = ["unknown hash algorithm", "expected xxh3 or blake3", name];
        refused(name.parse::<HashAlgorithm>(), ErrorKind::InvalidInput, &says);
    }
}
