//! Readers of one large blob share its pages.
#![forbid(unsafe_code)]

use crate::peer::{Peer, listen, say};
use crate::support::{MIB, Scratch};
use drystone::{BlobId, Store};
use std::path::Path;

const BYTES: usize = 1024 * MIB;
const READERS: u64 = 3;

/// The role: reads all of a blob, and tells what memory that took.
pub fn read(place: &Path) {
    let store = Store::open(place).unwrap();
    let id: BlobId = listen().parse().unwrap();
    let view = store.get(&id).unwrap().expect("it is there");
    assert_eq!(view.len(), BYTES);
    let sum = view.as_slice_of::<u64>().unwrap().iter().step_by(512).sum::<u64>();
    say(sum);
    assert_eq!(listen(), "measure");
    for figure in ["Pss:", "Private_Clean:", "Private_Dirty:", "Rss:"] {
        say(kib(figure));
    }
    say(std::fs::read_dir("/proc/self/fd").unwrap().count());
    drop(listen());
}

/// A figure of this process's memory.
fn kib(name: &str) -> u64 {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = rollup.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn readers_of_a_gibibyte_have_few_pages_of_their_own() {
    let scratch = Scratch::in_memory();
    let store = scratch.store();
    let mut draft = store.reserve(BYTES as u64).unwrap();
    let numbers = draft.as_mut_slice_of::<u64>().unwrap();
    numbers.iter_mut().step_by(512).enumerate().for_each(|(i, x)| *x = i as u64);
    let pages = (BYTES / 4096) as u64;
    let id = draft.commit().unwrap();
    let mut readers: Vec<Peer> =
        (0..READERS).map(|_| Peer::start("read", &scratch.path(), 0)).collect();
    for reader in &mut readers {
        reader.tell(&id.to_string());
        assert_eq!(reader.hear_number(), pages * (pages - 1) / 2);
    }
    readers.iter_mut().for_each(|reader| reader.tell("measure"));
    let mut pss_sum = 0;
    for reader in &mut readers {
        let [pss, clean, dirty, rss] = [(); 4].map(|()| reader.hear_number());
        let descriptors = reader.hear_number();
        let private = clean + dirty;
        println!(
            "{} MiB resident, {} MiB private, {} MiB Pss",
            rss >> 10,
            private >> 10,
            pss >> 10
        );
        assert!(rss >> 10 >= 1024, "it has read all pages");
        assert!(private >> 10 <= 16, "{private} KiB private");
        assert!(descriptors <= 16, "{descriptors} descriptors: files are closed after mapping");
        pss_sum += pss;
    }
    assert!(pss_sum >> 10 <= 1024 + 16 * READERS, "{pss_sum} KiB for all together");
}
