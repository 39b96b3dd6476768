//! A store that has reached its size limit takes more after a compaction.
#![forbid(unsafe_code)]

use crate::support::{KIB, Scratch, bytes};
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
