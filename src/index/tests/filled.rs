//! A table that was filled stretch by stretch is one that could have been published to.
#![forbid(unsafe_code)]

use super::bed::{Bed, live};
use super::oracle::Random;
use crate::id::Key;
use crate::index::layout::home;
use crate::index::{fill, stretch};

const LOG2: u32 = 6;
const STRETCHES_LOG2: u32 = 3;

/// Keys, many of them at home in the last bucket of a stretch, which they overflow.
fn keys() -> Vec<Key> {
    let mut random = Random(7);
    let mut keys: Vec<Key> =
        (0..100).map(|_| Key { hi: random.next(), lo: random.next() }).collect();
    for bucket in [7, 8, 63] {
        keys.extend((0..9).map(|at| Key { hi: bucket << (64 - LOG2) | at << 20, lo: 5 + at }));
    }
    keys.extend([Key { hi: 0, lo: 0 }, Key { hi: 1, lo: 9 }]);
    keys.sort();
    keys
}

#[test]
fn what_is_filled_in_is_found_and_can_be_changed() {
    let bed = Bed::new(LOG2);
    let words = bed.words(0).unwrap();
    let keys = keys();
    let mut left = Vec::new();
    for number in 0..1 << STRETCHES_LOG2 {
        let stretch = stretch(number, STRETCHES_LOG2, LOG2).unwrap();
        let inside =
            keys.iter().enumerate().filter(|(_, key)| stretch.contains(&home(key.hi, LOG2)));
        let inside = inside.map(|(at, &key)| (key, live(1 + at as u32)));
        fill(&*words, LOG2, stretch.clone(), inside, &mut left);
    }
    assert!(left.len() >= 4, "the last buckets of stretches overflow: {}", left.len());
    let index = bed.join();
    for (key, word) in left {
        index.publish(key, index.lookup(key).unwrap(), word).unwrap().unwrap();
    }
    assert_eq!(index.stats().unwrap().used, keys.len() as u64);
    for (at, &key) in keys.iter().enumerate() {
        let seen = index.lookup(key).unwrap();
        assert_eq!(seen.word, live(1 + at as u32), "{key:?}");
        index.publish(key, seen, live(500 + at as u32)).unwrap().unwrap();
    }
    index.grow().unwrap();
    index.finish_growth().unwrap();
    for (at, &key) in keys.iter().enumerate() {
        assert_eq!(index.lookup(key).unwrap().word, live(500 + at as u32), "{key:?}");
    }
}

#[test]
fn what_is_at_home_elsewhere_is_handed_back() {
    let bed = Bed::new(LOG2);
    let mut left = Vec::new();
    let elsewhere = (Key { hi: u64::MAX, lo: 1 }, live(1));
    fill(&*bed.words(0).unwrap(), LOG2, 0..8, [elsewhere].into_iter(), &mut left);
    assert_eq!(left, [elsewhere]);
    assert_eq!(stretch(0, 8, 7), None);
}
