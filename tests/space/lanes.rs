//! A compaction in two lanes under which the disk fills up is finished in one.
#![forbid(unsafe_code)]

use crate::mounts::Mount;
use crate::rig::{self, KIB, Ledger};
use drystone::{Blob, CompactOptions, FsckOptions, HashAlgorithm, Store};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

const MIB: u64 = 48;
const BLOBS: u64 = 600;
const BLOB_BYTES: usize = 25 * KIB;
/// The name of the second lane's thread, as the kernel has it.
const SECOND_LANE: &str = "drystone-compac";

/// Takes all the space that there is.
fn fill(place: &Path) {
    let mut file = File::create(place).expect("a file beside the store");
    for step in [1 << 20, 64 << 10, 4 << 10] {
        while file.write_all(&vec![7; step]).is_ok() {}
    }
}

fn is_second_lane_at_work() -> bool {
    let tasks = std::fs::read_dir("/proc/self/task").expect("the threads");
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.ok()?.path().join("comm")).ok()
    };
    tasks.filter_map(name).any(|name| name.trim() == SECOND_LANE)
}

/// What is told of a compaction, under which the disk is full from its first word until one lane is left.
#[derive(Default)]
struct Told {
    last: u64,
    lanes: BTreeSet<Option<String>>,
    is_filled: bool,
    was_told_by_one: bool,
}

impl Told {
    fn hear(&mut self, done: u64, total: u64, filler: &PathBuf, spare: &Path) {
        assert!(self.last <= done && done <= total, "{} and then {done} of {total}", self.last);
        let is_in_two = is_second_lane_at_work();
        assert!(!is_in_two || spare.exists(), "one of two has taken what is held back");
        self.last = done;
        self.lanes.insert(std::thread::current().name().map(String::from));
        if !self.is_filled {
            self.is_filled = true;
            return fill(filler);
        }
        if !self.was_told_by_one && !is_in_two {
            self.was_told_by_one = true;
            std::fs::remove_file(filler).expect("the file beside the store");
        }
    }
}

/// Half of each segment is garbage, and views keep the space of what is unlinked.
fn half_empty(store: &Store, ledger: &mut Ledger) -> Vec<Blob> {
    let mut views = Vec::new();
    for seed in 0..BLOBS {
        let bytes = rig::bytes(BLOB_BYTES, seed);
        let id = store.put(&bytes).expect("a put");
        if seed % 2 == 0 {
            ledger.put(&bytes);
            views.push(store.get(&id).expect("a view").expect("it is there"));
        } else {
            assert!(store.unpin(&id).expect("an unpin"));
        }
    }
    views
}

/// Which lane finds no space when is another thing each time.
const ROUNDS: u32 = 16;

#[test]
fn two_lanes_that_find_no_space_leave_the_rest_to_one() {
    (0..ROUNDS).for_each(|_| fill_up_under_two_lanes());
}

fn fill_up_under_two_lanes() {
    let Some(mount) = Mount::tmpfs(MIB) else { return };
    let (place, filler) = (mount.path().join("store"), mount.path().join("filler"));
    let spare = place.join("segments/spare-compaction");
    let options = rig::options().create(true).segment_bytes(256 * KIB as u64);
    let store = options.open(&place).expect("a store");
    let mut ledger = Ledger::new(HashAlgorithm::Xxh3);
    let views = half_empty(&store, &mut ledger);
    let told = Arc::new(Mutex::new(Told::default()));
    let hearing = Arc::clone(&told);
    let options = CompactOptions::new().two_lanes_from(1).on_progress(move |progress| {
        let mut told = hearing.lock().expect("nobody has panicked");
        told.hear(progress.done_bytes, progress.total_bytes, &filler, &spare);
    });
    let report = store.compact(&options).expect("a compaction");
    let told = told.lock().expect("nobody has panicked");
    assert_eq!(told.lanes.len(), 2, "there were two lanes: {report:?}");
    assert!(told.was_told_by_one, "the disk has not filled up in time: {report:?}");
    assert!(report.complete && !report.out_of_space, "{report:?}");
    let live = BLOBS / 2 * BLOB_BYTES as u64;
    assert!(report.bytes_after < live + live / 4, "{report:?}");
    for view in &views {
        assert!(**view == *ledger.bytes_of(&view.id()), "a view has changed");
    }
    ledger.check(&store, "afterwards");
    drop((views, store));
    let checked = drystone::fsck(&place, &FsckOptions::new().deep(true)).expect("a check");
    assert!(checked.is_clean(), "{checked:?}");
    let rebooted = rig::options().boot_id("another boot").open(&place).expect("the store");
    ledger.check(&rebooted, "after a reboot");
}
