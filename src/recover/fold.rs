//! Which record of each key counts.
#![forbid(unsafe_code)]

use super::gather::{Gathered, Reliance};
use super::parts::{Item, Parts, part_of};
use crate::format::word::Location;
use crate::id::Key;
use rayon::prelude::*;
use std::collections::HashMap;

/// A ref whose newest version was passed over.
#[derive(Clone, Copy, Debug)]
pub struct Buried {
    /// The newest version, passed over.
    pub passed: Item,
    /// The version that counts instead, if there is one that names something.
    pub instead: Option<Item>,
}

/// The records that count, one a key; and what is to be buried.
pub struct Folded {
    /// One record a key, in the order of their keys, part by part.
    pub winners: Vec<Vec<Item>>,
    /// Refs whose newest version was passed over; not among the winners.
    pub buried: Vec<Buried>,
}

/// Folds the published records, in parallel on the current pool.
pub fn fold(gathered: &mut Gathered) -> Folded {
    let sorted = sort(std::mem::take(&mut gathered.items));
    let broken = broken_refs(&sorted, &gathered.reliances);
    let folded: Vec<_> = sorted.into_par_iter().map(|items| fold_part(items, &broken)).collect();
    let (winners, buried): (_, Vec<_>) = folded.into_iter().unzip();
    Folded { winners, buried: buried.concat() }
}

/// The records part by part, in the order of their keys, newest first within a key; in parallel on the
/// current pool.
pub fn sort(items: Vec<Parts>) -> Vec<Vec<Item>> {
    let sorted = |part| {
        let mut items = Parts::concat(&items, part);
        // Two of one number are copies, and equal.
        items.sort_unstable_by_key(|item| (item.key, std::cmp::Reverse(item.sequence)));
        items
    };
    Parts::numbers().into_par_iter().map(sorted).collect()
}

fn fold_part(mut items: Vec<Item>, broken: &HashMap<Location, ()>) -> (Vec<Item>, Vec<Buried>) {
    if broken.is_empty() {
        items.dedup_by_key(|item| item.key);
        return (items, Vec::new());
    }
    let (mut winners, mut buried) = (Vec::new(), Vec::new());
    for versions in items.chunk_by(|a, b| a.key == b.key) {
        let counts = versions.iter().find(|item| !broken.contains_key(&item.word.location()));
        match counts {
            Some(item) if item.sequence == versions[0].sequence => winners.push(*item),
            instead => buried.push(Buried {
                passed: versions[0],
                instead: instead.copied().filter(|item| item.word.is_live()),
            }),
        }
    }
    (winners, buried)
}

/// The refs that rely on a blob record that did not survive.
fn broken_refs(sorted: &[Vec<Item>], reliances: &[Reliance]) -> HashMap<Location, ()> {
    let is_broken = |reliance: &&Reliance| {
        newest(sorted, reliance.on) < Some(reliance.held) && !bug!("reliance-ignored")
    };
    reliances.par_iter().filter(is_broken).map(|reliance| (reliance.by, ())).collect()
}

/// The highest number of a key's published records, tombstones counted.
fn newest(sorted: &[Vec<Item>], key: Key) -> Option<u64> {
    winner(sorted, key).map(|item| item.sequence)
}

/// The published record of a key with the highest number.
pub fn winner(sorted: &[Vec<Item>], key: Key) -> Option<&Item> {
    let items = &sorted[part_of(key)];
    let at = items.partition_point(|item| item.key < key);
    items.get(at).filter(|item| item.key == key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::word::Word;

    fn item(key: u64, sequence: u64, offset: u64) -> Item {
        let location = Location::new(1, offset * 64).unwrap();
        Item { key: Key { hi: key, lo: key }, sequence, word: Word::live(location, key > 100, 64) }
    }

    fn fold_of(items: &[Item], reliances: &[(u64, u64, u64)]) -> Folded {
        let reliances = reliances.iter().map(|&(by, on, held)| Reliance {
            by: Location::new(1, by * 64).unwrap(),
            on: Key { hi: on, lo: on },
            held,
        });
        // In two heaps, as two threads would have gathered them.
        let (one, two) = items.split_at(items.len() / 2);
        let parted = |items: &[Item]| {
            let mut parts = Parts::default();
            items.iter().for_each(|&item| parts.push(item));
            parts
        };
        fold(&mut Gathered {
            items: vec![parted(one), parted(two)],
            reliances: reliances.collect(),
            ..Gathered::default()
        })
    }

    #[test]
    fn the_highest_number_counts() {
        let folded = fold_of(&[item(1, 5, 1), item(2, 9, 2), item(1, 7, 3), item(1, 6, 4)], &[]);
        let numbers: Vec<u64> = folded.winners.concat().iter().map(|item| item.sequence).collect();
        assert_eq!(numbers, [7, 9]);
    }

    #[test]
    fn a_ref_without_its_blob_is_passed_over_and_buried() {
        // Ref 200 has versions 5 (relies on blob 1 of number 4) and 9 (on blob 2, which is lost).
        let items = [item(1, 4, 1), item(200, 5, 2), item(200, 9, 3)];
        let folded = fold_of(&items, &[(2, 1, 4), (3, 2, 8)]);
        assert_eq!(folded.winners.concat().len(), 1);
        let [buried] = folded.buried[..] else { panic!("one is buried") };
        assert_eq!((buried.passed.sequence, buried.instead.unwrap().sequence), (9, 5));
    }

    #[test]
    fn an_older_blob_record_does_not_do() {
        let items = [item(1, 4, 1), item(200, 9, 2)];
        let folded = fold_of(&items, &[(2, 1, 8)]);
        assert!(folded.buried[0].instead.is_none());
    }
}
