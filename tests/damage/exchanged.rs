//! Segments that are cut short, gone, exchanged, or another store's: they are not believed, and those
//! beside them are.

use super::rig::{KIB, bytes, in_memory, options, patch, resize, segment_file, segment_files};
use drystone::{BlobId, ErrorKind, GetOptions, Store, Verify};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

type Blobs = Vec<(BlobId, Vec<u8>, u32)>;

/// A store of several segments; its blobs, and the segment that each stands in.
fn store_in(path: &Path, seed: u64) -> Blobs {
    let store = options().create(true).segment_bytes(256 << 10).open(path).expect("a store");
    let blobs = (0..30).map(|at| {
        let body = bytes(40 * KIB + at, seed + at as u64);
        let id = store.put(&body).expect("a put");
        let stat = store.stat(&id).expect("a stat").expect("it is there");
        (id, body, stat.segment)
    });
    let blobs: Blobs = blobs.collect();
    assert!(segment_files(path).len() > 3, "too few segments");
    blobs
}

fn reboot(path: &Path, boot: &str) -> Store {
    options().boot_id(boot).open(path).unwrap_or_else(|error| panic!("{boot}: {error}"))
}

/// The blobs of segments that are whole are there; of the others none has other bytes. How many of
/// those are missing.
#[track_caller]
fn check(store: &Store, blobs: &Blobs, is_whole: impl Fn(u32) -> bool) -> usize {
    let mut missing = 0;
    for (id, body, segment) in blobs {
        match store.get_with(id, &GetOptions::new().verify(Verify::Whole)) {
            Ok(Some(blob)) => assert!(*blob == body[..], "{id} has other bytes"),
            Ok(None) => {
                assert!(!is_whole(*segment), "{id} of segment {segment} is lost");
                missing += 1;
            }
            Err(error) => {
                assert!(!is_whole(*segment), "{id} of segment {segment}: {error}");
                assert!(error.is_damage(), "{error:?}");
                assert_eq!(error.segment(), Some(*segment), "{error}");
                missing += 1;
            }
        }
    }
    missing
}

fn swap(path: &Path, a: u32, b: u32) {
    let (a, b, aside) = (segment_file(path, a), segment_file(path, b), path.join("aside"));
    fs::rename(&a, &aside).expect("moved");
    fs::rename(&b, &a).expect("moved");
    fs::rename(&aside, &b).expect("moved");
}

#[test]
fn segments_under_each_others_names_are_not_believed_and_come_back_with_their_names() {
    let dir = in_memory();
    let path = dir.path().join("store");
    let blobs = store_in(&path, 1);
    swap(&path, 0, 2);
    let others = |segment| segment != 0 && segment != 2;
    let of_two = blobs.iter().filter(|blob| !others(blob.2)).count();
    let same_run = options().open(&path).expect("the same run");
    assert_eq!(check(&same_run, &blobs, others), of_two);
    let error = same_run.get(&blobs[0].0).expect_err("it stands in segment 0");
    assert!(error.to_string().contains("another segment's number"), "{error}");
    drop(same_run);
    assert_eq!(check(&reboot(&path, "second"), &blobs, others), of_two);
    swap(&path, 0, 2);
    assert_eq!(check(&reboot(&path, "third"), &blobs, |_| true), 0);
}

#[test]
fn a_missing_segment_costs_its_own_blobs_and_says_so() {
    let dir = in_memory();
    let path = dir.path().join("store");
    let blobs = store_in(&path, 1);
    fs::remove_file(segment_file(&path, 1)).expect("removed");
    let same_run = options().open(&path).expect("the same run");
    assert!(check(&same_run, &blobs, |segment| segment != 1) > 0);
    let lost = &blobs.iter().find(|blob| blob.2 == 1).expect("a blob of it").0;
    let error = same_run.get(lost).expect_err("its segment is gone");
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(error.to_string().contains("missing"), "{error}");
    drop(same_run);
    let store = reboot(&path, "second");
    check(&store, &blobs, |segment| segment != 1);
    // What was lost can be put again.
    for (_, body, _) in blobs.iter().filter(|blob| blob.2 == 1) {
        store.put(body).expect("a put");
    }
    drop(store);
    assert_eq!(check(&reboot(&path, "third"), &blobs, |_| true), 0);
}

#[test]
fn all_segments_missing_is_an_empty_store() {
    let dir = in_memory();
    let path = dir.path().join("store");
    let blobs = store_in(&path, 1);
    fs::remove_dir_all(path.join("segments")).expect("removed");
    let store = reboot(&path, "second");
    assert_eq!(check(&store, &blobs, |_| false), blobs.len());
    store.put(b"new").expect("a put");
}

#[test]
fn a_truncated_segment_keeps_what_stands_before_the_cut() {
    for segment in [0, 2] {
        for len in [0, 1, 63, 64, 65, 4096, 50_000, 100_001] {
            let dir = in_memory();
            let path = dir.path().join("store");
            let blobs = store_in(&path, 1);
            resize(&segment_file(&path, segment), len);
            let same_run = options().open(&path).expect("the same run");
            check(&same_run, &blobs, |other| other != segment);
            drop(same_run);
            let store = reboot(&path, "second");
            let lost = check(&store, &blobs, |other| other != segment);
            let whole = (len.saturating_sub(64) / (45 * KIB as u64)) as usize;
            let of_it = blobs.iter().filter(|blob| blob.2 == segment).count();
            assert!(lost <= of_it - whole, "{lost} of {of_it} are lost at {len}");
            store.put(b"new").expect("a put");
        }
    }
}

#[test]
fn a_segment_of_another_store_is_not_taken_for_ones_own() {
    for is_garbled in [false, true] {
        let dir = in_memory();
        let (path, other) = (dir.path().join("store"), dir.path().join("other"));
        let (blobs, foreign) = (store_in(&path, 1), store_in(&other, 1000));
        // Over one of its own, under a free number, and with a head that says nothing any more.
        for number in [1, 0x50] {
            fs::copy(segment_file(&other, 1), segment_file(&path, number)).expect("a copy");
            if is_garbled {
                patch(&segment_file(&path, number), 3, &[0]);
            }
        }
        for boot in ["second", "third"] {
            let store = reboot(&path, boot);
            check(&store, &blobs, |segment| segment != 1);
            for (id, _, _) in &foreign {
                assert!(store.get(id).expect("a get").is_none(), "{id} is another store's");
            }
            store.put(boot.as_bytes()).expect("a put");
        }
    }
}

#[test]
fn a_copy_of_a_segment_under_another_number_changes_nothing() {
    let dir = in_memory();
    let path = dir.path().join("store");
    let blobs = store_in(&path, 1);
    let store = options().open(&path).expect("a store");
    store.remove(&blobs[0].0).expect("a removal");
    drop(store);
    fs::copy(segment_file(&path, 0), segment_file(&path, 0x90)).expect("a copy");
    let store = reboot(&path, "second");
    assert!(store.get(&blobs[0].0).expect("a get").is_none(), "what was removed is back");
    check(&store, &blobs[1..].to_vec(), |_| true);
    let new = store.put(b"new").expect("a put");
    let stat = store.stat(&new).expect("a stat").expect("it is there");
    assert!(stat.segment > 0x90, "numbers are drawn upwards");
}

#[test]
fn what_is_no_file_in_place_of_a_segment_costs_that_segment() {
    type Put = fn(&Path, &Path);
    let puts: [Put; 4] = [
        |aside, file| symlink(aside, file).expect("a link"),
        |_, file| symlink("nowhere", file).expect("a link"),
        |_, file| fs::create_dir(file).expect("a directory"),
        |_, file| {
            let mode = nix::sys::stat::Mode::from_bits_truncate(0o600);
            nix::unistd::mkfifo(file, mode).expect("a pipe");
        },
    ];
    for put in puts {
        let dir = in_memory();
        let path = dir.path().join("store");
        let blobs = store_in(&path, 1);
        let (file, aside) = (segment_file(&path, 1), path.join("aside"));
        fs::rename(&file, &aside).expect("moved");
        put(&aside, &file);
        if file.is_dir() {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o700)).expect("a mode");
        }
        let same_run = options().open(&path).expect("the same run");
        for (id, _, _) in blobs.iter().filter(|blob| blob.2 == 1) {
            let error = same_run.get(id).expect_err("its segment is no file");
            assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
            assert!(error.advice_text().is_some(), "{error}");
        }
        drop(same_run);
        let store = reboot(&path, "second");
        for (id, body, segment) in &blobs {
            let got = store.get(id).expect("a get");
            assert_eq!(got.as_deref(), (*segment != 1).then_some(&body[..]), "{id}");
        }
    }
}
