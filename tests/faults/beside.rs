//! What one participant reads beside another that seals: a segment is cut to its records then, and a
//! mapping of what was cut off is a SIGBUS.

use super::rig::{self, random};
use drystone::{Options, Store};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn options() -> Options {
    rig::options().create(true).segment_bytes(16 << 20)
}

/// Puts small values in, so that a segment is sealed every few milliseconds, while `other` runs again
/// and again.
fn beside_sealing(path: &Path, mut other: impl FnMut(&Store)) -> u64 {
    let store = options().open(path).expect("a store");
    let is_over = AtomicBool::new(false);
    let mut rounds = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut state = rig::seed();
            let writer = options().open(path).expect("the same store");
            while !is_over.load(Ordering::Relaxed) {
                let bytes = rig::bytes(200_000, random(&mut state, 1 << 40));
                let id = writer.put(&bytes).expect("a put");
                // Not too much of it.
                if random(&mut state, 8) == 0 {
                    writer.remove(&id).expect("a removal");
                }
            }
        });
        let start = Instant::now();
        let time = Duration::from_secs(2 * rig::campaign());
        while start.elapsed() < time {
            other(&store);
            rounds += 1;
        }
        is_over.store(true, Ordering::Relaxed);
    });
    rounds
}

#[test]
fn a_sync_beside_a_writer_that_seals() {
    if rig::is_child("beside::a_sync_beside_a_writer_that_seals", "") {
        let place = rig::in_memory();
        let rounds = beside_sealing(&place.path().join("store"), |store| {
            store.sync().expect("a sync");
        });
        assert!(rounds > 10, "{rounds} syncs");
    }
}

#[test]
fn a_recovery_beside_a_writer_that_seals() {
    if rig::is_child("beside::a_recovery_beside_a_writer_that_seals", "") {
        let place = rig::in_memory();
        let path = place.path().join("store");
        let mut boots = 0;
        let rounds = beside_sealing(&path, |_| {
            boots += 1;
            // As through another mount, where the run of the writer cannot be used.
            let options = rig::options().read_only(true).boot_id(format!("{boots}"));
            let reader = options.open(&path).expect("a reader");
            assert!(reader.blobs().all(|blob| blob.is_ok()));
        });
        assert!(rounds > 10, "{rounds} recoveries");
    }
}
