//! Files under the numbers of segments that nobody has drawn.

use super::rig::{self, KIB, Ledger};
use super::{furnished, goes_on, options, put};
use drystone::Store;
use std::path::Path;
use xxhash_rust::xxh3::xxh3_64;

/// The head of a segment of this number, as the store would have written it.
fn forged_head(store: &Store, number: u32) -> [u8; 64] {
    let mut head = [0; 64];
    head[..8].copy_from_slice(b"DRYSEG\r\n");
    head[8..12].copy_from_slice(&1u32.to_le_bytes());
    head[16..32].copy_from_slice(&store.uuid());
    head[32..40].copy_from_slice(&u64::from(number).to_le_bytes());
    let checksum = xxh3_64(&head[..56]);
    head[56..].copy_from_slice(&checksum.to_le_bytes());
    head
}

/// Puts that need new segments.
fn need_segments(store: &Store, ledger: &mut Ledger, seed: u64) {
    for seed in seed..seed + 5 {
        put(store, ledger, 100 * KIB, seed);
        put(store, ledger, 300 * KIB, seed);
    }
}

fn next_boot(path: &Path, boot: &str) -> Store {
    rig::options().boot_id(boot).open(path).expect("the store")
}

#[test]
fn the_last_number_does_not_use_up_all_before() {
    const LAST: u32 = (1 << 28) - 1;
    let place = rig::on_disk();
    let path = place.path().join("store");
    let (store, mut ledger) = furnished(&path);
    let head = forged_head(&store, LAST);
    let strangers: [(u32, &[u8]); 6] = [
        (LAST, &head),
        (LAST - 1, &head),
        (LAST - 1000, b""),
        (LAST - 70_000, b"not a segment"),
        (LAST + 1, &head),
        (u32::MAX, b""),
    ];
    for (number, content) in strangers {
        std::fs::write(rig::segment_file(&path, number), content).unwrap();
    }
    need_segments(&store, &mut ledger, 100);
    drop(store);
    for (boot, seed) in [("second", 200), ("third", 300)] {
        let store = next_boot(&path, boot);
        ledger.check(&store, boot);
        need_segments(&store, &mut ledger, seed);
        ledger.check(&store, boot);
    }
    goes_on(next_boot(&path, "fourth"), ledger);
}

#[test]
fn a_number_that_is_taken_is_passed_over() {
    let place = rig::on_disk();
    let path = place.path().join("store");
    let (store, mut ledger) = furnished(&path);
    let highest = rig::segment_files(&path).pop().unwrap();
    let text = highest.file_stem().unwrap().to_str().unwrap();
    let next = u32::from_str_radix(text, 16).unwrap() + 1;
    let at = |offset: u32| rig::segment_file(&path, next + offset);
    std::fs::write(at(0), forged_head(&store, next)).unwrap();
    std::fs::write(at(1), "").unwrap();
    std::fs::create_dir(at(2)).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", at(3)).unwrap();
    nix::unistd::mkfifo(&at(5), nix::sys::stat::Mode::S_IRWXU).unwrap();
    need_segments(&store, &mut ledger, 100);
    ledger.check(&store, "beside strangers");
    assert_eq!(std::fs::read(at(1)).unwrap(), b"");
    drop(store);
    goes_on(options().open(&path).expect("the store"), ledger);
}
