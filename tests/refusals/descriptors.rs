//! A limit on open files, met at every step of every operation.

use super::rig::{self, KIB, Ledger, MIB, refused};
use super::{furnished, goes_on, options};
use drystone::{CompactOptions, Durability, Error, ErrorKind, PutOptions, Store};
use std::fs::File;
use std::path::Path;

/// Word 41 of the control page (spec/FORMAT.md, section 7).
const POISON_COUNT_AT: usize = 328;

/// How many segments count as poisoned.
fn poisoned(store: &Path) -> u8 {
    std::fs::read(rig::run_dir(store).join("control")).expect("the page")[POISON_COUNT_AT]
}

/// Takes all descriptors but so many.
fn hoard(left: usize) -> Vec<File> {
    let mut files: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    files.truncate(files.len().saturating_sub(left));
    files
}

/// What ran into the limit says so.
#[track_caller]
fn is_limit(error: &Error) {
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
    assert!(text.contains("Too many open files") && text.contains("ulimit -n"), "{error}");
}

type Operation = (&'static str, fn(&Store, &mut Ledger) -> Result<(), Error>);

fn put(store: &Store, ledger: &mut Ledger, len: usize, seed: u64) -> Result<(), Error> {
    let bytes = rig::bytes(len, seed);
    ledger.may_put(&bytes);
    store.put(&bytes)?;
    ledger.put(&bytes);
    Ok(())
}

const OPERATIONS: [Operation; 8] = [
    ("a small put", |store, ledger| put(store, ledger, 1000, 30)),
    ("a synced put", |store, ledger| {
        let bytes = rig::bytes(1000, 35);
        ledger.may_put(&bytes);
        store.put_with(&bytes, &PutOptions::new().durability(Durability::Synced))?;
        ledger.put(&bytes);
        Ok(())
    }),
    ("a large put", |store, ledger| put(store, ledger, 70 * KIB, 31)),
    ("a put in a segment of its own", |store, ledger| put(store, ledger, 300 * KIB, 32)),
    ("a put of a reader", |store, ledger| {
        let bytes = rig::bytes(5 * MIB, 33);
        ledger.may_put(&bytes);
        store.put_reader(&bytes[..])?;
        ledger.put(&bytes);
        Ok(())
    }),
    ("a draft", |store, ledger| {
        let bytes = rig::bytes(200 * KIB, 34);
        ledger.may_put(&bytes);
        let mut draft = store.reserve(bytes.len() as u64)?;
        draft.copy_from_slice(&bytes);
        draft.commit().map_err(Error::from)?;
        ledger.put(&bytes);
        Ok(())
    }),
    ("a get", |store, ledger| {
        ledger.held().iter().try_for_each(|id| {
            let blob = store.get(id)?.expect("it is there");
            assert!(*blob == *ledger.bytes_of(id));
            Ok(())
        })
    }),
    ("a sync", |store, _| store.sync()),
];

#[test]
fn every_operation_says_when_descriptors_run_out_and_works_when_there_are_some() {
    let test =
        "descriptors::every_operation_says_when_descriptors_run_out_and_works_when_there_are_some";
    if !rig::is_child(test, "ulimit -n 48") {
        return;
    }
    for (name, operation) in OPERATIONS {
        let place = rig::on_disk();
        let path = place.path().join("store");
        let (store, mut ledger) = furnished(&path);
        drop(store);
        let mut refusals = 0;
        for left in 0.. {
            // A new process has nothing mapped and nothing open.
            let store = options().open(&path).expect("a store");
            let files = hoard(left);
            let done = operation(&store, &mut ledger);
            drop(files);
            ledger.check(&store, name);
            match done {
                Err(error) => {
                    is_limit(&error);
                    refusals += 1;
                }
                Ok(()) => break,
            }
            assert!(left < 20, "{name} needs {left} descriptors");
        }
        assert_eq!(poisoned(&path), 0, "{name}: no fsync has failed");
        assert!(refusals > 0 || name == "a sync", "{name} was never refused");
        goes_on(options().open(&path).expect("a store"), ledger);
    }
}

#[test]
fn opening_says_when_descriptors_run_out() {
    if !rig::is_child("descriptors::opening_says_when_descriptors_run_out", "ulimit -n 48") {
        return;
    }
    opening_in(rig::in_memory());
    opening_in(rig::on_disk());
}

fn opening_in(place: tempfile::TempDir) {
    let path = place.path().join("store");
    let (store, ledger) = furnished(&path);
    drop(store);
    let opens = [rig::options(), rig::options().boot_id("next"), rig::options().read_only(true)];
    for open in opens {
        for left in 0.. {
            let files = hoard(left);
            let opened = open.clone().open(&path);
            drop(files);
            match opened {
                Ok(store) => {
                    ledger.check(&store, "with descriptors enough");
                    break;
                }
                Err(error) => is_limit(&error),
            }
            assert!(left < 30, "opening needs {left} descriptors");
        }
    }
    let files = hoard(0);
    refused(Store::open(&path), ErrorKind::Limit, &["ulimit -n"]);
    drop(files);
    goes_on(Store::open(&path).expect("the store"), ledger);
}

#[test]
fn a_compaction_of_many_segments_has_few_descriptors_at_a_time() {
    let test = "descriptors::a_compaction_of_many_segments_has_few_descriptors_at_a_time";
    if !rig::is_child(test, "ulimit -n 96") {
        return;
    }
    let place = rig::in_memory();
    let path = place.path().join("store");
    let create = rig::options().create(true).segment_bytes(MIB as u64);
    let store = create.open(&path).expect("a store");
    let put = |seed| store.put(&rig::bytes(900 << 10, seed)).expect("a put");
    let ids: Vec<_> = (0..400).map(put).collect();
    ids[1..].iter().for_each(|id| assert!(store.unpin(id).expect("an unpinning")));
    let report = store.compact(&CompactOptions::new().all(true)).expect("a compaction");
    assert!(report.complete && report.removed_segments >= 390, "{report:?}");
    assert_eq!(
        *store.get(&ids[0]).expect("a get").expect("it is there"),
        rig::bytes(900 << 10, 0)[..]
    );
}
