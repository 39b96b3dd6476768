//! Segments that their appenders have left are taken up, and small ones made one.
#![forbid(unsafe_code)]

use crate::support::{KIB, Scratch, bytes, read};
use drystone::{CompactOptions, Store};

#[test]
fn many_small_segments_become_few() {
    let scratch = Scratch::new();
    let mut kept = Vec::new();
    let openers: Vec<Store> = (0..12).map(|_| scratch.store()).collect();
    for (seed, store) in openers.iter().enumerate() {
        let content = bytes(10 * KIB, seed as u64);
        kept.push((store.put(&content).unwrap(), content));
    }
    drop(openers);
    let store = scratch.store();
    assert_eq!(store.stats().unwrap().segments, 12);
    store.compact(&CompactOptions::new()).unwrap();
    assert!(store.stats().unwrap().segments <= 2, "{:?}", store.stats().unwrap());
    assert!(kept.iter().all(|(id, content)| read(&store, id) == *content));
    drop(store);
    let store = scratch.rebooted();
    assert!(kept.iter().all(|(id, content)| read(&store, id) == *content));
}

#[test]
fn the_open_segment_of_another_stays_its_own() {
    let scratch = Scratch::new();
    let (one, other) = (scratch.store(), scratch.store());
    let mine = one.put(&bytes(10 * KIB, 1)).unwrap();
    let theirs = other.put(&bytes(10 * KIB, 2)).unwrap();
    one.unpin(&mine).unwrap();
    other.unpin(&theirs).unwrap();
    let report = one.compact(&CompactOptions::new().all(true)).unwrap();
    // Its own segment goes, and the one that the tombstones were copied to once they are dropped.
    assert_eq!((report.collected_blobs, report.removed_segments), (2, 2));
    assert_eq!(one.stats().unwrap().segments, 1, "theirs");
    let again = other.put(&bytes(10 * KIB, 3)).unwrap();
    assert!(read(&one, &again) == bytes(10 * KIB, 3));
}

#[test]
fn a_segment_in_which_a_damaged_record_is_named_stays() {
    let scratch = Scratch::in_memory();
    let store = scratch.store();
    let contents: Vec<Vec<u8>> = (0..6).map(|seed| bytes(50 * KIB, seed)).collect();
    let ids: Vec<_> = contents.iter().map(|content| store.put(content).unwrap()).collect();
    let hurt = store.stat(&ids[3]).unwrap().unwrap();
    drop(store);
    let file = scratch.path().join(format!("segments/{:08x}.seg", hurt.segment));
    let written = std::fs::File::options().write(true).open(&file).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&written, &[0xFF], hurt.offset + 9).unwrap();
    let store = scratch.store();
    assert!(store.unpin(&ids[1]).unwrap());
    // Sealing lists what can be read, and so not this one.
    let report = store.compact(&CompactOptions::new().all(true)).unwrap();
    assert!(report.damaged_segments > 0, "{report:?}");
    assert!(file.exists(), "what is left of it");
    for at in [0, 2, 4, 5] {
        assert!(read(&store, &ids[at]) == contents[at]);
    }
    assert!(store.get(&ids[3]).is_err(), "and it is known to be damaged");
}
