//! A store that has reached its size limit takes more after a compaction.
#![forbid(unsafe_code)]

use crate::support::{KIB, MIB, Scratch, bytes};
use drystone::{CompactOptions, ErrorKind, Store};

#[test]
fn a_store_at_its_limit_can_be_compacted_and_filled_again() {
    let scratch = Scratch::new();
    let limit = 4 << 20;
    let store =
        scratch.open(Store::options().create(true).size_limit(limit).segment_bytes(256 << 10));
    let mut seed = 0;
    for _ in 0..5 {
        let mut ids = Vec::new();
        let error = loop {
            match store.put(&bytes(50 * KIB, seed)) {
                Ok(id) => ids.push(id),
                Err(error) => break error,
            }
            seed += 1;
        };
        assert_eq!(error.kind(), ErrorKind::NoSpace);
        assert!(error.to_string().contains("compact"), "{error}");
        assert!(ids.len() > 50, "{}", ids.len());
        ids.iter().for_each(|id| assert!(store.unpin(id).unwrap()));
        store.compact(&CompactOptions::new()).unwrap();
    }
}

#[test]
fn a_limit_holds_where_what_killed_processes_had_appended_was_not_counted() {
    let scratch = Scratch::in_memory();
    let limit = 8 * MIB as u64;
    let options = Store::options().create(true).size_limit(limit).segment_bytes(256 << 10);
    let store = scratch.open(options);
    for seed in 0..100 {
        store.put(&bytes(50 * KIB, seed)).unwrap();
    }
    // The counter as it is when much has been copied by processes that were killed.
    let run = std::fs::read_dir(scratch.path().join("run")).unwrap().next().unwrap().unwrap();
    let control = std::fs::File::options().write(true).open(run.path().join("control")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&control, &64u64.to_le_bytes(), 320).unwrap();
    store.compact(&CompactOptions::new()).unwrap();
    assert!(store.stats().unwrap().held_back_bytes > 0, "it is no small store");
    let error = (100..).map(|seed| store.put(&bytes(50 * KIB, seed))).find_map(|put| put.err());
    assert_eq!(error.unwrap().kind(), ErrorKind::NoSpace);
    let stats = store.stats().unwrap();
    assert!(stats.segment_bytes < limit + limit / 10, "{stats:?}");
}
