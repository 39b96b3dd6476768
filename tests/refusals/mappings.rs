//! Mappings: a process that has used up what the kernel allows it, and segments that are unlinked.

use super::rig::{self, KIB, Ledger};
use super::{furnished, goes_on, options, put};
use drystone::disk::{Access, Disk, Map, OpenOptions, RealDisk};
use drystone::{Blob, Error, ErrorKind, Store};
use std::path::Path;

/// Word 9 of the control page (spec/FORMAT.md, section 7).
const UNLINK_EPOCH_AT: u64 = 72;

/// Maps one page again and again, until the kernel refuses.
fn use_up(place: &Path) -> Vec<Map> {
    let options = OpenOptions { writable: true, ..OpenOptions::default() };
    let disk = RealDisk::open(place, &options).expect("a directory");
    let file = disk.create("").expect("a file");
    file.set_len(4096).expect("a length");
    let mut maps = Vec::with_capacity(70_000);
    loop {
        match file.map(4096, Access::Read) {
            Ok(map) => maps.push(map),
            Err(error) => {
                is_limit(&error);
                return maps;
            }
        }
    }
}

fn is_limit(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
    let text = error.to_string();
    assert!(text.contains("Cannot allocate memory") && text.contains("vm.max_map_count"), "{text}");
}

/// Gets everything, keeping all views; how many were refused.
fn get_all(store: &Store, ledger: &Ledger, views: &mut Vec<Blob>) -> usize {
    let mut refusals = 0;
    for id in ledger.held() {
        match store.get(&id) {
            Ok(blob) => {
                let blob = blob.expect("it is there");
                assert!(*blob == *ledger.bytes_of(&id));
                views.push(blob);
            }
            Err(error) => {
                is_limit(&error);
                refusals += 1;
            }
        }
    }
    refusals
}

#[test]
fn the_limit_on_mappings_is_an_error_that_names_it() {
    let test = "mappings::the_limit_on_mappings_is_an_error_that_names_it";
    if !rig::is_child(test, "") {
        return;
    }
    let limit = std::fs::read_to_string("/proc/sys/vm/max_map_count").expect("the limit");
    if limit.trim().parse::<u64>().expect("a number") > 1 << 20 {
        return rig::say("note: SKIPPED: this kernel allows too many mappings to use them up");
    }
    let place = rig::on_disk();
    let path = place.path().join("store");
    let (store, mut ledger) = furnished(&path);
    for seed in 0..40 {
        put(&store, &mut ledger, 300 * KIB, 100 + seed);
    }
    drop(store);
    let store = options().threads(1).open(&path).expect("the store");
    let mut maps = use_up(place.path());
    // A few for the allocator, fewer than there are segments.
    maps.truncate(maps.len() - 20);
    let mut views = Vec::with_capacity(1000);
    assert!(get_all(&store, &ledger, &mut views) > 0, "it was never refused");
    for seed in [200, 201] {
        let bytes = rig::bytes(1000, seed);
        ledger.may_put(&bytes);
        match store.put(&bytes) {
            Ok(_) => drop(ledger.put(&bytes)),
            Err(error) => is_limit(&error),
        }
    }
    assert!(views.iter().all(|view| **view == *ledger.bytes_of(&view.id())), "views stay");
    // Idle mappings make room for others.
    views.clear();
    for id in ledger.held() {
        let blob = store.get(&id).expect("a get").expect("it is there");
        assert!(*blob == *ledger.bytes_of(&id));
    }
    drop(maps);
    assert_eq!(get_all(&store, &ledger, &mut views), 0);
    goes_on(store, ledger);
}

/// How often this process has the file mapped.
fn mapped(file: &Path) -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("the mappings");
    let name = file.to_str().expect("UTF-8");
    maps.lines().filter(|line| line.contains(name)).count()
}

#[test]
fn mappings_of_unlinked_segments_go_with_their_last_view() {
    let place = rig::on_disk();
    let path = place.path().join("store");
    let (store, ledger) = furnished(&path);
    let [idle, viewed] = [300, 301].map(|seed| store.put(&rig::bytes(300 * KIB, seed)).unwrap());
    let file_of = |id| rig::segment_file(&path, store.stat(id).unwrap().unwrap().segment);
    let [idle_file, viewed_file] = [&idle, &viewed].map(file_of);
    drop(store.get(&idle).expect("a get").expect("it is there"));
    let view = store.get(&viewed).expect("a get").expect("it is there");
    for (id, file) in [(&idle, &idle_file), (&viewed, &viewed_file)] {
        assert!(store.unpin(id).expect("a removal"));
        assert!(store.remove(id).expect("a removal"));
        std::fs::remove_file(file).expect("a file");
        assert_eq!(mapped(file), 1, "nobody has told yet");
    }
    rig::patch(&rig::run_dir(&path).join("control"), UNLINK_EPOCH_AT, &1u64.to_le_bytes());
    let settles = |file: &Path| {
        (0..1000).any(|_| {
            assert!(store.get(&idle).expect("an answer").is_none());
            mapped(file) == 0
        })
    };
    assert!(settles(&idle_file), "it is still mapped");
    assert_eq!(mapped(&viewed_file), 1);
    assert!(*view == rig::bytes(300 * KIB, 301), "a view stays");
    drop(view);
    assert!(settles(&viewed_file), "it is still mapped");
    goes_on(store, ledger);
}
