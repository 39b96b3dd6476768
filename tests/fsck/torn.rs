//! What a power loss has torn is not there after the next opening, and does not come back by any later
//! one: sealing and syncing say of a segment that all of it is durable, and then nobody looks again.

use super::rig::{KIB, bytes, in_memory, options, patch, segment_file};
use super::tried::{check, check_clean, deep, told};
use drystone::{Store, Verify};

/// Puts some blobs in; the one that will be torn, and where.
fn put(store: &Store, of: u64) -> (drystone::BlobId, u32, u64) {
    let ids: Vec<_> = (0..of).map(|at| store.put(&bytes(60 * KIB, at)).expect("a put")).collect();
    let stat = store.stat(&ids[1]).expect("a stat").expect("it is there");
    (ids[1], stat.segment, stat.offset)
}

#[test]
fn what_a_power_loss_has_torn_does_not_come_back() {
    // Of so many the segment is open, or sealed, when the power goes.
    for of in [3, 12] {
        let dir = in_memory();
        let path = dir.path().join("store");
        let create = options().create(true).segment_bytes(256 << 10);
        let store = create.open(&path).expect("a store");
        let (id, segment, offset) = put(&store, of);
        store.refs("names").set("name", id).expect("a ref");
        drop(store);
        // Pages that have not reached the medium.
        patch(&segment_file(&path, segment), offset + 64 + 20_000, &[0; 8192]);
        let report = check(&path, &deep().boot_id("second"));
        assert_eq!((report.damage, report.losses > 0), (0, true), "{}", told(&report));
        for boot in ["second", "third", "fourth"] {
            let when = format!("{of} blobs, the {boot} boot");
            let store = options().boot_id(boot).open(&path).expect("a store");
            assert!(store.get(&id).expect("a get").is_none(), "{when}: it is back");
            assert!(store.refs("names").get("name").expect("a ref").is_none(), "{when}");
            for at in (0..of).filter(|&at| at != 1) {
                let body = bytes(60 * KIB, at);
                let how = drystone::GetOptions::new().verify(Verify::Whole);
                let other = super::rig::id_of(store.hash_algorithm(), &body);
                let got = store.get_with(&other, &how).expect("a get").expect("it is there");
                assert!(*got == body[..], "{when}");
            }
            check_clean(&path, &deep().boot_id(boot), &when);
            store.sync().expect("a sync");
            check_clean(&path, &deep().boot_id(boot), &when);
        }
        let store = options().boot_id("last").open(&path).expect("a store");
        assert_eq!(store.put(&bytes(60 * KIB, 1)).expect("a put"), id);
        check_clean(&path, &deep().boot_id("last"), "put again");
    }
}
