//! No space: an error that says so, nothing half-published, and the space comes back.

use super::mounts::Mount;
use super::rig::{self, KIB, Ledger, MIB, refused};
use drystone::{CompactOptions, Durability, ErrorKind, HashAlgorithm, Store};
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

const GIB: usize = 1 << 30;
/// What every error about space advises.
const ADVICE: [&str; 2] = ["No space left on device", "free space on the file system"];

fn open(path: &Path, durability: Durability) -> Store {
    // Segments so long that all but the largest blobs share them.
    let options = rig::options().create(true).segment_bytes(64 << 20);
    options.durability(durability).open(path).expect("a store")
}

/// A few blobs.
fn furnish(store: &Store) -> Ledger {
    let mut ledger = Ledger::new(HashAlgorithm::Xxh3);
    for (len, seed) in [(0, 1), (100, 2), (50 * KIB, 3), (900 * KIB, 4)] {
        let bytes = rig::bytes(len, seed);
        store.put(&bytes).expect("a put");
        ledger.put(&bytes);
    }
    ledger
}

/// What is free, or held back in files of its own.
fn free(store: &Store) -> u64 {
    let spares = ["spare-compaction", "spare-removal"].map(|name| {
        let file = std::fs::metadata(store.path().join("segments").join(name));
        file.map_or(0, |file| file.len())
    });
    free_now(store) + spares.iter().sum::<u64>()
}

fn free_now(store: &Store) -> u64 {
    let stat = nix::sys::statvfs::statvfs(store.path()).expect("the space");
    stat.blocks_available() * stat.fragment_size()
}

/// Waits until nothing of a store is mapped that has been unlinked: what other threads may have seen goes when
/// they look again.
fn until_unmapped(store: &Store) {
    let is_left =
        |line: &str| line.contains(store.path().to_str().unwrap()) && line.ends_with("(deleted)");
    let deadline = Instant::now() + Duration::from_secs(20);
    while std::fs::read_to_string("/proc/self/maps").expect("the mappings").lines().any(is_left) {
        assert!(Instant::now() < deadline, "something that was unlinked stays mapped");
        store.stats().expect("stats");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What puts leave to removals and compactions, and what is held back: of middling file systems five 64ths
/// and one and a half.
fn kept(store: &Store) -> u64 {
    let stat = nix::sys::statvfs::statvfs(store.path()).expect("the space");
    stat.blocks() * stat.fragment_size() * 13 / 128
}

/// The next small put works, and everything is there: here, for the next process, and after a reboot.
fn goes_on(store: Store, ledger: &mut Ledger, path: &Path, seed: u64) {
    let small = rig::bytes(2000, seed);
    store.put(&small).expect("the next small put");
    ledger.put(&small);
    ledger.check(&store, "afterwards");
    drop(store);
    ledger.check(&rig::options().open(path).expect("the store"), "for the next process");
    let rebooted = rig::options().boot_id(format!("boot {seed}")).open(path).expect("the store");
    ledger.check(&rebooted, "after a reboot");
}

/// A reader of so many bytes.
fn endless(len: usize) -> impl Read + Send {
    std::io::repeat(0xA5).take(len as u64)
}

fn a_gibibyte_that_does_not_fit(mount: &Mount, durability: Durability) {
    let path = mount.path().join("store");
    let store = open(&path, durability);
    let mut ledger = furnish(&store);
    let before = free(&store);
    let large = vec![0x5A; GIB];
    refused(store.put(&large), ErrorKind::NoSpace, &ADVICE);
    refused(store.put_reader(endless(GIB)), ErrorKind::NoSpace, &ADVICE);
    refused(store.reserve(GIB as u64), ErrorKind::NoSpace, &ADVICE);
    let id = rig::id_of(HashAlgorithm::Xxh3, &large);
    assert!(!store.contains(&id).expect("an answer"), "it is half-published");
    let after = free(&store);
    assert!(after + MIB as u64 >= before, "of {before} bytes only {after} came back");
    goes_on(store, &mut ledger, &path, 10);
}

#[test]
fn a_gibibyte_that_does_not_fit_in_memory() {
    if let Some(mount) = Mount::tmpfs(200) {
        a_gibibyte_that_does_not_fit(&mount, Durability::Buffered);
    }
}

#[test]
fn a_gibibyte_that_does_not_fit_on_a_disk() {
    if let Some(mount) = Mount::ext4(200) {
        a_gibibyte_that_does_not_fit(&mount, Durability::Synced);
    }
}

/// There is no space for records, or for a larger index; it says so.
fn is_full(error: &drystone::Error) {
    assert!([ErrorKind::NoSpace, ErrorKind::IndexFull].contains(&error.kind()), "{error:?}");
    let text = error.to_string();
    assert!(ADVICE.iter().all(|part| text.contains(part)), "{error}");
}

/// Fills with blobs of one size, until one does not fit; how many did.
fn fill(store: &Store, ledger: &mut Ledger, len: usize, seed: u64) -> u64 {
    for count in 0.. {
        let bytes = rig::bytes(len, seed + count);
        ledger.may_put(&bytes);
        let before = free(store);
        match store.put(&bytes) {
            Ok(_) => drop(ledger.put(&bytes)),
            Err(error) => {
                is_full(&error);
                let after = free(store);
                assert!(after + 128 * KIB as u64 >= before, "{len} bytes: {before}, then {after}");
                return count;
            }
        }
    }
    unreachable!("a file system without an end");
}

/// What is too large for what is left leaves all of it to smaller ones.
fn ever_smaller(mount: &Mount) {
    let path = mount.path().join("store");
    let store = open(&path, Durability::Buffered);
    let mut ledger = furnish(&store);
    let mut seed = 1000;
    for len in [12 * MIB, 3 * MIB, 600 * KIB, 100 * KIB, 20 * KIB, 3 * KIB] {
        let (before, count) = (free(&store), fill(&store, &mut ledger, len, seed));
        let (after, needed) = (free(&store), len as u64 * 2);
        let needed = needed + kept(&store);
        assert!(after < needed + MIB as u64, "{len} bytes do not fit into {after}");
        assert!(count > 0 || before < needed, "{len} bytes did not fit into {before}");
        seed += 100_000;
        ledger.check(&store, "when it is full");
    }
}

#[test]
fn what_is_too_large_leaves_the_space_to_smaller_ones_in_memory() {
    if let Some(mount) = Mount::tmpfs(80) {
        ever_smaller(&mount);
    }
}

#[test]
fn what_is_too_large_leaves_the_space_to_smaller_ones_on_a_disk() {
    if let Some(mount) = Mount::ext4(80) {
        ever_smaller(&mount);
    }
}

/// Writes until nothing more can be written.
fn take_the_rest(file: &Path) {
    use std::io::Write;
    let mut file = std::fs::File::create(file).expect("a file");
    while file.write_all(&[1; 512]).is_ok() {}
}

/// A full store reads; its run needs space when it is built; and when there is space again, it goes on.
fn full_and_reopened(mount: &Mount) {
    let (path, ballast) = (mount.path().join("store"), mount.path().join("ballast"));
    std::fs::write(&ballast, vec![1; 4 * MIB]).expect("space that others take");
    let store = open(&path, Durability::Buffered);
    let mut ledger = furnish(&store);
    for (len, seed) in [(MIB, 1), (30 * KIB, 10_000), (100, 20_000)] {
        fill(&store, &mut ledger, len, seed);
    }
    // What a refused put gives back is enough for some more.
    let refs = store.refs("n");
    let set = |at: u32| refs.set(at.to_le_bytes(), vec![7; 3000]).err().map(|error| (at, error));
    let (at, error) = (0..100).find_map(set).expect("it is full");
    is_full(&error);
    (0..at).for_each(|at| assert!(refs.remove(at.to_le_bytes()).expect("a removal")));
    ledger.check(&store, "when it is full");
    drop(store);
    let full = rig::options().open(&path).expect("a full store opens");
    ledger.check(&full, "in the next process");
    drop(full);
    take_the_rest(&mount.path().join("rest"));
    let after_reboot = || rig::options().boot_id("another");
    refused(after_reboot().open(&path), ErrorKind::NoSpace, &ADVICE);
    let reader = after_reboot().read_only(true).open(&path).expect("it is read all the same");
    ledger.check(&reader, "read-only");
    drop(reader);
    std::fs::remove_file(&ballast).expect("the ballast");
    let store = after_reboot().open(&path).expect("there is space again");
    ledger.check(&store, "with space again");
    goes_on(store, &mut ledger, &path, 30_000);
}

#[test]
fn a_full_store_in_memory_reads_and_goes_on_when_there_is_space() {
    if let Some(mount) = Mount::tmpfs(40) {
        full_and_reopened(&mount);
    }
}

#[test]
fn a_full_store_on_a_disk_reads_and_goes_on_when_there_is_space() {
    if let Some(mount) = Mount::ext4(40) {
        full_and_reopened(&mount);
    }
}

#[test]
fn what_a_dead_appender_reserved_on_a_full_tmpfs_is_no_signal() {
    let test = "space::what_a_dead_appender_reserved_on_a_full_tmpfs_is_no_signal";
    if !rig::is_child(test, "") {
        return;
    }
    let Some(mount) = Mount::tmpfs(40) else { return };
    let path = mount.path().join("store");
    let store = open(&path, Durability::Buffered);
    let mut ledger = furnish(&store);
    drop(store);
    // Its length has grown, and nothing stands there.
    let segment = rig::segment_files(&path).pop().expect("a segment");
    rig::resize(&segment, 8 << 20);
    take_the_rest(&mount.path().join("rest"));
    let store = open(&path, Durability::Buffered);
    let small = rig::bytes(100, 1);
    ledger.may_put(&small);
    if let Err(error) = store.put(&small) {
        is_full(&error);
    }
    ledger.check(&store, "when it is full");
    std::fs::remove_file(mount.path().join("rest")).expect("space");
    goes_on(store, &mut ledger, &path, 40_000);
}

#[test]
fn an_index_that_cannot_grow_refuses_new_keys_and_changes_old_ones() {
    let Some(mount) = Mount::tmpfs(40) else { return };
    let (path, ballast) = (mount.path().join("store"), mount.path().join("ballast"));
    let store = open(&path, Durability::Buffered);
    let mut ledger = furnish(&store);
    store.refs("n").set("k", "first").expect("a ref");
    // A table of 1 MiB, not yet so full that it grows, and then space for the records that fill it, but
    // not for a table of twice the size.
    for seed in 0..13_500 {
        let bytes = rig::bytes(8, 20_000_000 + seed);
        store.put(&bytes).expect("a put");
        ledger.put(&bytes);
    }
    // What comes then goes into one segment: sealing one in between would take the space.
    store.compact(&CompactOptions::new().min_garbage(0.0)).expect("a compaction");
    // What it has unlinked is to be mapped no more.
    drop(store);
    let store = open(&path, Durability::Buffered);
    until_unmapped(&store);
    assert_eq!(store.stats().expect("stats").index_buckets, 1 << 13);
    // Puts leave five 64ths of such a file system alone.
    let room = 1850 * KIB as u64 + (40 << 20) * 5 / 64;
    std::fs::write(&ballast, vec![1; (free_now(&store) - room) as usize]).expect("a ballast");
    let mut refusals = 0;
    for seed in 0..6500 {
        let bytes = rig::bytes(8, 50_000 + seed);
        ledger.may_put(&bytes);
        match store.put(&bytes) {
            Ok(_) => drop(ledger.put(&bytes)),
            Err(error) => {
                is_full(&error);
                refusals += u32::from(error.kind() == ErrorKind::IndexFull);
            }
        }
    }
    assert!(refusals > 0, "the index was never full");
    ledger.check_blobs(&store, "when the index is full");
    std::fs::remove_file(&ballast).expect("the ballast");
    store.refs("n").set("k", "second").expect("there is space again");
    assert_eq!(store.refs("n").get("k").unwrap().unwrap().bytes(), Some(&b"second"[..]));
    let more = rig::bytes(8, 99_999);
    store.put(&more).expect("a new key");
    ledger.put(&more);
    ledger.check_blobs(&store, "with space again");
}

#[test]
fn a_limit_on_file_sizes_is_an_error_that_names_it() {
    let test = "space::a_limit_on_file_sizes_is_an_error_that_names_it";
    // In blocks of 512 bytes: 4 MiB. Without the trap the signal ends the process.
    if !rig::is_child(test, "trap '' XFSZ; ulimit -f 8192") {
        return;
    }
    let place = rig::on_disk();
    let path = place.path().join("store");
    let store = open(&path, Durability::Buffered);
    let mut ledger = furnish(&store);
    let large = rig::bytes(5 * MIB, 77);
    ledger.may_put(&large);
    let says = ["File too large", "ulimit -f"];
    refused(store.put(&large), ErrorKind::NoSpace, &says);
    refused(store.put_reader(&large[..]), ErrorKind::NoSpace, &says);
    refused(store.reserve(5 << 20), ErrorKind::NoSpace, &says);
    goes_on(store, &mut ledger, &path, 78);
}

#[test]
fn a_size_limit_is_an_error_that_names_it() {
    let place = rig::in_memory();
    let path = place.path().join("store");
    let store = rig::options().create(true).size_limit(2 << 20).open(&path).expect("a store");
    let mut ledger = furnish(&store);
    let large = rig::bytes(2 * MIB, 5);
    let says = ["size limit", "expected at most 2097152 bytes", "found", "higher limit"];
    refused(store.put(&large), ErrorKind::NoSpace, &says);
    refused(store.put_many(&[&large]), ErrorKind::NoSpace, &says);
    refused(store.reserve(2 << 20), ErrorKind::NoSpace, &says);
    goes_on(store, &mut ledger, &path, 6);
}

#[test]
fn a_full_store_that_was_emptied_takes_the_next_put() {
    let Some(mount) = Mount::tmpfs(32) else { return };
    let store = rig::options().create(true).open(mount.path().join("store")).expect("a store");
    for round in 0..5 {
        let mut ids = Vec::new();
        let error = loop {
            match store.put(&rig::bytes(100 * KIB, round << 32 | ids.len() as u64)) {
                Ok(id) => ids.push(id),
                Err(error) => break error,
            }
        };
        is_full(&error);
        assert!(ids.len() > 200, "round {round}: {} blobs", ids.len());
        // All of it is mapped here.
        ids.iter().for_each(|id| assert!(store.get(id).expect("a get").is_some()));
        ids.iter().for_each(|id| assert!(store.unpin(id).expect("an unpinning")));
        store.compact(&CompactOptions::new().all(true)).expect("a compaction");
        let most = (ids.len() as u64 * 9 / 10).max(1);
        for seed in 0..most {
            let put = store.put(&rig::bytes(100 * KIB, round << 32 | 1 << 31 | seed));
            put.unwrap_or_else(|error| panic!("round {round}, put {seed} of {most}: {error}"));
        }
        for seed in 0..most {
            let bytes = rig::bytes(100 * KIB, round << 32 | 1 << 31 | seed);
            store.unpin(&rig::id_of(HashAlgorithm::Xxh3, &bytes)).expect("an unpinning");
        }
        store.compact(&CompactOptions::new().all(true)).expect("a compaction");
    }
}

/// Whether something comes true in so long a time.
fn within(time: Duration, is_so: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while !is_so() {
        if start.elapsed() > time {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

/// Whether this process has a thread that gives back what was unlinked.
fn is_giving_back() -> bool {
    let threads = std::fs::read_dir("/proc/self/task").expect("the threads");
    let name = |thread: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(thread.expect("a thread").path().join("comm")).unwrap_or_default()
    };
    threads.map(name).any(|name| name.starts_with("drystone-giveb"))
}

#[test]
fn where_space_is_short_a_compaction_gives_it_back_before_it_returns() {
    let test = "space::where_space_is_short_a_compaction_gives_it_back_before_it_returns";
    if !rig::is_child(test, "true") {
        return;
    }
    let Some(mount) = Mount::tmpfs(64) else { return };
    let disk = rig::on_disk();
    for (place, is_short) in [(mount.path(), true), (disk.path().into(), false)] {
        let store = rig::options().create(true).open(place.join("store")).expect("a store");
        let ids: Vec<_> = (0..48).map(|seed| store.put(&rig::bytes(MIB, seed)).unwrap()).collect();
        ids.iter().for_each(|id| assert!(store.unpin(id).expect("an unpinning")));
        let report = store.compact(&CompactOptions::new().all(true)).expect("a compaction");
        assert!(report.removed_segments > 0, "{report:?}");
        // It has its name when it has begun; from then on it stays for 100 ms.
        let is_there = within(Duration::from_millis(80), is_giving_back);
        assert_eq!(is_there, !is_short, "{}", place.display());
        drop(store);
        // The kernel may list for a moment what has been waited for.
        let is_gone = within(Duration::from_millis(20), || !is_giving_back());
        assert!(is_gone, "a store that was closed has given back all");
    }
}

#[test]
fn names_can_be_removed_where_others_have_filled_the_disk() {
    for mib in [16, 300] {
        let Some(mount) = Mount::tmpfs(mib) else { return };
        let path = mount.path().join("store");
        let store = rig::options().create(true).open(&path).expect("a store");
        for at in 0..150u64 {
            let name = at.to_le_bytes();
            store.refs("n").set(name, rig::bytes(20_000, at)).expect("a ref");
        }
        store.compact(&CompactOptions::new().all(true)).expect("a compaction");
        drop(store);
        let rest = std::fs::File::create(mount.path().join("rest")).expect("a file");
        let stat = nix::sys::statvfs::statvfs(&mount.path()).expect("the space");
        let free = stat.blocks_available() * stat.fragment_size();
        // Left is less than what puts leave alone.
        let left = free.min(600 * KIB as u64);
        nix::fcntl::fallocate(&rest, nix::fcntl::FallocateFlags::empty(), 0, (free - left) as i64)
            .expect("a ballast");
        // Each by a process of its own, as far as the store can tell.
        for at in 0..150u64 {
            let store = rig::options().open(&path).expect("the store");
            let removed = store.refs("n").remove(at.to_le_bytes());
            assert!(removed.unwrap_or_else(|e| panic!("{mib} MiB, name {at}: {e}")));
        }
        let store = rig::options().open(&path).expect("the store");
        let report = store.compact(&CompactOptions::new().all(true)).expect("a compaction");
        assert_eq!(report.live_refs, 0, "{report:?}");
        assert!(report.bytes_after < 100 * KIB as u64, "{report:?}");
    }
}
