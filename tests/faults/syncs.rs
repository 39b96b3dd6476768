//! A failed fsync: the caller is told, nothing that was acknowledged rests on what the medium did not
//! take, and what is done again is done.

use super::lossy::LossyDisk;
use super::rig::{self, KIB, Ledger, figure, random, refused};
use drystone::{Draft, Durability, ErrorKind, HashAlgorithm, Options, Result, Store, Value};
use std::path::Path;
use std::sync::Arc;

fn options(disk: &Arc<LossyDisk>, durability: Durability) -> Options {
    rig::options().create(true).disk(disk.clone()).durability(durability)
}

fn new_store(place: &Path, durability: Durability) -> (Arc<LossyDisk>, Store) {
    let path = place.join("store");
    let disk = LossyDisk::new(&path);
    let store = options(&disk, durability).segment_bytes(256 << 10).open(path).expect("a store");
    (disk, store)
}

/// What is left after a power loss now.
fn after_power_loss(disk: &LossyDisk, place: &Path, chance: impl FnMut() -> bool) -> Store {
    let to = place.join("rebooted");
    let _ = std::fs::remove_dir_all(&to);
    disk.cut_power(&to, chance);
    rig::options().open(&to).unwrap_or_else(|error| panic!("after a power loss: {error}"))
}

fn never() -> bool {
    false
}

#[test]
fn a_put_whose_fsync_failed_says_so_and_succeeds_when_it_is_repeated() {
    for len in [100, 100 * KIB, 400 * KIB] {
        let place = rig::in_memory();
        let (disk, store) = new_store(place.path(), Durability::Synced);
        let mut ledger = Ledger::new(HashAlgorithm::Xxh3);
        for seed in 0..3 {
            let bytes = rig::bytes(500, seed);
            store.put(&bytes).expect("a put");
            ledger.put(&bytes);
        }
        let bytes = rig::bytes(len, 9);
        let id = ledger.may_put(&bytes);
        disk.fail_syncs(&[true]);
        let says = ["did not take", "Input/output error", "appended elsewhere", "try again"];
        refused(store.put(&bytes), ErrorKind::SyncFailed, &says);
        let first = store.stat(&id).expect("a stat").expect("it was appended elsewhere").segment;
        assert_eq!(store.put(&bytes).expect("again"), id);
        ledger.put(&bytes);
        ledger.check(&store, "afterwards");
        let second = store.stat(&id).expect("a stat").expect("it is there").segment;
        assert_eq!(first, second, "it was durable there already");
        ledger.check(&after_power_loss(&disk, place.path(), never), "after a power loss");
    }
}

#[test]
fn a_segment_whose_fsync_failed_is_left_by_all() {
    let place = rig::in_memory();
    let (disk, store) = new_store(place.path(), Durability::Buffered);
    let other = options(&disk, Durability::Buffered).open(place.path().join("store"));
    let other = other.expect("the same store again");
    let mut ledger = Ledger::new(HashAlgorithm::Xxh3);
    let (a, b) = (rig::bytes(500, 1), rig::bytes(500, 2));
    let segment = |store: &Store, bytes: &[u8]| {
        let id = rig::id_of(HashAlgorithm::Xxh3, bytes);
        store.stat(&id).expect("a stat").expect("it is there").segment
    };
    store.put(&a).expect("a put");
    other.put(&b).expect("a put beside it");
    let poisoned = [segment(&store, &a), segment(&store, &b)];
    assert_ne!(poisoned[0], poisoned[1], "parallel writers use different segments");
    disk.fail_syncs(&[true, true]);
    refused(store.sync(), ErrorKind::SyncFailed, &["did not take"]);
    disk.fail_syncs(&[]);
    store.sync().expect("the next one");
    for (seed, writer) in (10..).zip([&store, &other, &store, &other]) {
        let bytes = rig::bytes(300, seed);
        writer.put(&bytes).expect("a put afterwards");
        assert_ne!(segment(writer, &bytes), poisoned[0], "it was appended to what is poisoned");
        ledger.put(&bytes);
    }
    ledger.put(&a);
    ledger.put(&b);
    store.sync().expect("a sync");
    ledger.check(&after_power_loss(&disk, place.path(), never), "after a power loss");
}

#[test]
fn where_moving_fails_too_no_sync_succeeds_until_it_is_done() {
    let place = rig::in_memory();
    let (disk, store) = new_store(place.path(), Durability::Buffered);
    let mut ledger = Ledger::new(HashAlgorithm::Xxh3);
    let bytes = rig::bytes(2000, 1);
    store.put(&bytes).expect("a put");
    ledger.put(&bytes);
    // The segment; where its records were moved to; and so on.
    disk.fail_syncs(&[true; 5]);
    let error = refused(store.sync(), ErrorKind::SyncFailed, &["failed, too"]);
    assert_eq!(disk.failed(), 2, "{error}");
    refused(store.sync(), ErrorKind::SyncFailed, &["Input/output error"]);
    disk.fail_syncs(&[]);
    store.sync().expect("the medium works again");
    ledger.check(&after_power_loss(&disk, place.path(), never), "after a power loss");
}

#[test]
fn a_sealed_segment_that_cannot_be_synced_is_moved() {
    let place = rig::in_memory();
    let (disk, store) = new_store(place.path(), Durability::Buffered);
    let mut ledger = Ledger::new(HashAlgorithm::Xxh3);
    for seed in 0..12 {
        let bytes = rig::bytes(60 * KIB, seed);
        store.put(&bytes).expect("a put");
        ledger.put(&bytes);
    }
    let large = rig::bytes(3 << 20, 99);
    store.put(&large).expect("a put");
    ledger.put(&large);
    let mut failures = 0;
    while let Err(error) = {
        disk.fail_syncs(&[true; 1][..usize::from(failures < 4)]);
        store.sync()
    } {
        assert_eq!(error.kind(), ErrorKind::SyncFailed, "{error}");
        failures += 1;
    }
    assert_eq!(failures, 4);
    ledger.check(&store, "afterwards");
    ledger.check(&after_power_loss(&disk, place.path(), never), "after a power loss");
}

#[test]
fn a_draft_whose_fsync_failed_can_be_committed_again() {
    let place = rig::in_memory();
    let (disk, store) = new_store(place.path(), Durability::Synced);
    let mut ledger = Ledger::new(HashAlgorithm::Xxh3);
    let bytes = rig::bytes(3 << 20, 5);
    let mut draft = store.reserve(bytes.len() as u64).expect("a draft");
    draft.copy_from_slice(&bytes);
    disk.fail_syncs(&[true]);
    let failed = draft.commit().expect_err("the fsync fails");
    assert_eq!(failed.error.kind(), ErrorKind::SyncFailed, "{failed}");
    let mut draft: Draft = failed.draft;
    assert!(*draft == bytes[..]);
    ledger.may_put(&bytes);
    draft[..8].fill(7);
    let changed = draft.to_vec();
    draft.commit().expect("the next one");
    ledger.put(&changed);
    ledger.check(&store, "afterwards");
    ledger.check(&after_power_loss(&disk, place.path(), never), "after a power loss");
}

/// One of many small changes, with the ledger kept.
fn change(store: &Store, ledger: &mut Ledger, state: &mut u64) -> Result<()> {
    let sizes = [10, 700, 9 * KIB, 70 * KIB, 300 * KIB];
    let bytes = rig::bytes(sizes[random(state, 5) as usize], random(state, 40));
    let id = rig::id_of(ledger.algorithm, &bytes);
    let name = ("n".to_owned(), vec![random(state, 6) as u8]);
    let refs = store.refs("n");
    match random(state, 12) {
        0..4 => {
            ledger.may_put(&bytes);
            store.put(&bytes)?;
            ledger.put(&bytes);
        }
        4 => {
            ledger.may_put(&bytes);
            let mut draft = store.reserve(bytes.len() as u64)?;
            draft.copy_from_slice(&bytes);
            draft.commit()?;
            ledger.put(&bytes);
        }
        5 => {
            ledger.may_put(&bytes);
            store.put_reader(&bytes[..])?;
            ledger.put(&bytes);
        }
        6 => {
            let values: Vec<Vec<u8>> = (0..5).map(|i| rig::bytes(100 + i, 60 + i as u64)).collect();
            values.iter().for_each(|value| {
                ledger.may_put(value);
            });
            store.put_many(&values)?;
            values.iter().for_each(|value| {
                ledger.put(value);
            });
        }
        7 if ledger.held().contains(&id) && !ledger.is_named(&id) => {
            ledger.may_remove(&id);
            ledger.may_unpin(&id);
            store.remove(&id)?;
            ledger.removed(&id);
        }
        8 => {
            ledger.may_set(&name, None);
            let _ = refs.remove(&name.1)?;
            ledger.set(&name, None);
        }
        9 if ledger.held().contains(&id) => {
            ledger.may_set(&name, Some(Value::Blob(id)));
            refs.set(&name.1, id)?;
            ledger.set(&name, Some(Value::Blob(id)));
        }
        _ => {
            let value = Value::Bytes(bytes[..10].to_vec());
            ledger.may_set(&name, Some(value.clone()));
            refs.set(&name.1, value.clone())?;
            ledger.set(&name, Some(value));
        }
    }
    Ok(())
}

/// Some of the next fsyncs fail.
fn fail_some(disk: &LossyDisk, state: &mut u64) {
    let script: Vec<bool> = (0..random(state, 12)).map(|_| random(state, 3) == 0).collect();
    disk.fail_syncs(&script);
}

fn is_fault(error: &drystone::Error) -> bool {
    let kinds = [ErrorKind::SyncFailed, ErrorKind::Io];
    kinds.contains(&error.kind()) && error.to_string().contains("Input/output error")
        || error.to_string().contains("the sync that covered")
}

/// Two openings of one store, fsyncs that fail now and then, power losses: what was acknowledged in
/// `Synced` survives.
fn synced_round(seed: u64) -> (u64, u64) {
    let place = rig::in_memory();
    let (disk, store) = new_store(place.path(), Durability::Synced);
    let open = || options(&disk, Durability::Synced).open(place.path().join("store"));
    let mut stores = [store, open().expect("the same store again")];
    let mut ledger = Ledger::new(HashAlgorithm::Xxh3);
    let (mut state, mut changes) = (seed, 0);
    for step in 0..60 {
        if random(&mut state, 4) == 0 {
            fail_some(&disk, &mut state);
        }
        let at = random(&mut state, 2) as usize;
        match change(&stores[at], &mut ledger, &mut state) {
            Err(error) => assert!(is_fault(&error), "seed {seed}, step {step}: {error:?}"),
            Ok(()) => changes += 1,
        }
        if random(&mut state, 10) == 0 {
            stores[at] = open().expect("the same store again");
        }
        if step % 12 == 11 {
            let mut chances = state;
            let rebooted = after_power_loss(&disk, place.path(), || random(&mut chances, 2) == 0);
            ledger.check(&rebooted, &format!("seed {seed}, step {step}, after a power loss"));
        }
    }
    (disk.failed(), changes)
}

/// As above with `Buffered` and `sync`.
fn buffered_round(seed: u64) -> (u64, u64) {
    let place = rig::in_memory();
    let (disk, store) = new_store(place.path(), Durability::Buffered);
    let open = || options(&disk, Durability::Buffered).open(place.path().join("store"));
    let mut stores = [store, open().expect("the same store again")];
    let mut ledger = Ledger::new(HashAlgorithm::Xxh3);
    let (mut state, mut syncs) = (seed, 0);
    for step in 0..40 {
        for _ in 0..random(&mut state, 4) {
            let at = random(&mut state, 2) as usize;
            // Segments that are left behind are sealed, and a draft makes its own.
            change(&stores[at], &mut ledger, &mut state).expect("nothing fails but fsyncs");
        }
        if random(&mut state, 3) == 0 {
            fail_some(&disk, &mut state);
        }
        let at = random(&mut state, 2) as usize;
        match stores[at].sync() {
            Err(error) => assert!(is_fault(&error), "seed {seed}, step {step}: {error:?}"),
            Ok(()) => {
                syncs += 1;
                let mut chances = state;
                let rebooted =
                    after_power_loss(&disk, place.path(), || random(&mut chances, 2) == 0);
                ledger.check(&rebooted, &format!("seed {seed}, step {step}, after a power loss"));
            }
        }
        disk.fail_syncs(&[]);
        if random(&mut state, 10) == 0 {
            stores[at] = open().expect("the same store again");
        }
    }
    (disk.failed(), syncs)
}

fn rounds(name: &str, round: fn(u64) -> (u64, u64)) {
    let (mut failed, mut done) = (0, 0);
    for seed in rig::seed()..rig::seed() + 20 * rig::campaign() {
        let (more_failed, more_done) = round(seed);
        failed += more_failed;
        done += more_done;
    }
    assert!(failed > 50 && done > 100, "{failed} failed, {done} done");
    figure(&format!(
        "{name}: {failed} fsyncs failed, {done} acknowledged, from seed {}",
        rig::seed()
    ));
}

#[test]
fn what_was_acknowledged_as_synced_survives_fsyncs_that_fail() {
    rounds("synced", synced_round);
}

#[test]
fn what_a_sync_acknowledged_survives_fsyncs_that_fail() {
    rounds("sync()", buffered_round);
}
