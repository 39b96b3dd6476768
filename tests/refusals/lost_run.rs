//! The run: removed while nobody uses it, removed while somebody does, of another version.

use super::rig::{self, KIB, refused};
use super::{furnished, goes_on, options, put};
use drystone::{ErrorKind, Store};

/// Word 1 of the control page (spec/FORMAT.md, section 7).
const PROTOCOL_AT: u64 = 8;

#[test]
fn a_run_that_is_removed_while_nobody_uses_it_is_rebuilt() {
    let place = rig::on_disk();
    let path = place.path().join("store");
    let (store, ledger) = furnished(&path);
    drop(store);
    for victim in [path.join("run"), rig::run_dir(&path)] {
        std::fs::remove_dir_all(victim).unwrap();
        ledger.check(&options().open(&path).expect("a store"), "with a new run");
    }
    goes_on(options().open(&path).expect("a store"), ledger);
}

#[test]
fn who_uses_a_run_that_is_removed_reads_on_and_is_told_before_long() {
    let says = ["removed while it was in use", "open it again", "nothing that was stored is lost"];
    for victim in ["run", "run/TAG"] {
        let place = rig::on_disk();
        let path = place.path().join("store");
        let (store, mut ledger) = furnished(&path);
        let dir = if victim == "run" { path.join("run") } else { rig::run_dir(&path) };
        std::fs::remove_dir_all(dir).unwrap();
        ledger.check(&store, "when its run is gone");
        put(&store, &mut ledger, 1000, 50);
        let large = rig::bytes(300 * KIB, 51);
        ledger.may_put(&large);
        refused(store.put(&large), ErrorKind::Damaged, &says);
        refused(store.reserve(300 << 10), ErrorKind::Damaged, &says);
        ledger.check(&store, "after the refusals");
        let next = options().open(&path).expect("it is opened again");
        ledger.check(&next, "with a new run");
        put(&next, &mut ledger, 100 * KIB, 52);
        put(&next, &mut ledger, 300 * KIB, 53);
        drop(store);
        goes_on(next, ledger);
    }
}

#[test]
fn an_index_that_cannot_grow_because_its_run_was_removed_says_so() {
    let place = rig::on_disk();
    let path = place.path().join("store");
    let (store, mut ledger) = furnished(&path);
    std::fs::remove_dir_all(path.join("run")).unwrap();
    let mut refusal = None;
    for seed in 0..2000 {
        let bytes = rig::bytes(8, 10_000 + seed);
        ledger.may_put(&bytes);
        match store.put(&bytes) {
            Ok(_) => drop(ledger.put(&bytes)),
            Err(error) => refusal = Some(error),
        }
    }
    let error = refusal.expect("the index had to grow");
    assert!(error.to_string().contains("removed while it was in use"), "{error}");
    ledger.check_blobs(&store, "when it cannot grow");
    drop(store);
    goes_on(options().open(&path).expect("the store"), ledger);
}

#[test]
fn two_versions_of_the_library_do_not_use_a_store_at_a_time() {
    let place = rig::on_disk();
    let path = place.path().join("store");
    let (store, mut ledger) = furnished(&path);
    let control = rig::run_dir(&path).join("control");
    rig::patch(&control, PROTOCOL_AT, &2u64.to_le_bytes());
    let says = ["expected shared-memory protocol 1", "found protocol 2", "one version"];
    refused(options().open(&path), ErrorKind::ProtocolMismatch, &says);
    let reader = rig::options().read_only(true).open(&path).expect("a reader needs no run");
    ledger.check(&reader, "beside another version");
    put(&store, &mut ledger, 100 * KIB, 60);
    ledger.check(&store, "for those who were there");
    drop((store, reader));
    goes_on(Store::open(&path).expect("nobody uses that run any more"), ledger);
}
