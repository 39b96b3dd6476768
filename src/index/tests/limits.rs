//! Where there is no space, and where the shared words are not what they should be.
#![forbid(unsafe_code)]

use super::bed::{Bed, key_at, live};
use super::oracle::Random;
use crate::error::ErrorKind;
use crate::format::word::{Root, Word};
use crate::id::Key;
use crate::index::layout::{HEADER_WORDS, SEALED, canonical, home, next_position, table_words};
use crate::index::{Index, Seen};
use crate::sync::Words;
use std::ops::ControlFlow;

fn key(number: u64) -> Key {
    Key { hi: Random(number).next(), lo: Random(!number).next() }
}

fn insert(index: &Index<super::bed::Participant>, key: Key, record: u32) -> crate::Result<()> {
    let mut seen = index.lookup(key)?;
    // Nobody else is here: who loses has made room for his own key, in another table.
    while let Err(found) = index.publish(key, seen, live(record))? {
        assert_eq!((seen.word, found.word), (Word::NONE, Word::NONE));
        seen = found;
    }
    Ok(())
}

#[test]
fn an_index_that_cannot_grow_refuses_only_new_keys() {
    let bed = Bed::new(4);
    bed.limit_space(4);
    let index = bed.join();
    let mut count = 0;
    let error = loop {
        match insert(&index, key(count), 1 + count as u32) {
            Ok(()) => count += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind(), count), (ErrorKind::IndexFull, 80 - 5));
    for number in 0..count {
        let seen = index.lookup(key(number)).unwrap();
        assert_eq!(seen.word, live(1 + number as u32));
        index.publish(key(number), seen, live(1000 + number as u32)).unwrap().unwrap();
    }
    bed.limit_space(10);
    insert(&index, key(count), 1).unwrap();
    index.finish_growth().unwrap();
    assert_eq!(index.stats().unwrap().buckets, 32);
    assert_eq!(index.lookup(key(5)).unwrap().word, live(1005));
}

#[test]
fn a_table_grows_above_seven_tenths_and_keeps_everything() {
    let bed = Bed::new(0);
    let index = bed.join();
    for number in 0..20_000 {
        insert(&index, key(number), 1 + number as u32).unwrap();
        let stats = index.stats().unwrap();
        assert!(
            stats.growing || stats.used * 10 <= stats.slots * 7 + 10 + stats.slots / 10,
            "{stats:?}"
        );
    }
    for number in 0..20_000 {
        assert_eq!(index.lookup(key(number)).unwrap().word, live(1 + number as u32));
    }
}

/// Keys that all have one home make long probes, and must not make the table double for each of them.
#[test]
fn crafted_keys_do_not_double_the_table_without_end() {
    let bed = Bed::new(3);
    let index = bed.join();
    for number in 0..1500 {
        insert(&index, key_at((1 << 40) - 1, 40, number), 1 + number as u32).unwrap();
    }
    assert!(index.stats().unwrap().buckets <= 1024, "{:?}", index.stats());
    for number in 0..1500 {
        let found = index.lookup(key_at((1 << 40) - 1, 40, number)).unwrap();
        assert_eq!(found.word, live(1 + number as u32));
    }
}

/// A store that only churns needs no larger table than one that holds as much.
#[test]
fn dead_words_are_shed_without_growing() {
    let bed = Bed::new(4);
    let index = bed.join();
    for number in 0..2000 {
        insert(&index, key(number), 1 + number as u32).unwrap();
        if let Some(old) = number.checked_sub(16) {
            let seen = index.lookup(key(old)).unwrap();
            index.publish(key(old), seen, seen.word.dead()).unwrap().unwrap();
        }
    }
    let stats = index.stats().unwrap();
    assert!(stats.buckets == 16 && stats.generation > 20, "{stats:?}");
    assert_eq!(index.lookup(key(1999)).unwrap().word, live(2000));
}

#[test]
fn keys_that_look_like_marks_are_moved_aside() {
    let bed = Bed::new(2);
    let index = bed.join();
    let marks = [Key { hi: 0, lo: 0 }, Key { hi: 1, lo: 0 }, Key { hi: u64::MAX, lo: u64::MAX }];
    for (at, key) in marks.into_iter().enumerate() {
        insert(&index, key, 1 + at as u32).unwrap();
    }
    let mut keys = Vec::new();
    let add = |key, _| {
        keys.push(key);
        ControlFlow::<()>::Continue(())
    };
    assert!(index.for_each(add).unwrap().is_continue());
    assert_eq!(keys, marks.map(canonical));
    for (at, key) in marks.into_iter().enumerate() {
        assert_eq!(index.lookup(key).unwrap().word, live(1 + at as u32));
    }
}

#[test]
fn homes_split_in_two() {
    let mut random = Random(1);
    for log2 in 0..40 {
        let hi = random.next();
        assert_eq!(home(hi, log2 + 1) / 2, home(hi, log2));
        if let Some(position) = next_position(home(hi, log2), log2) {
            assert_eq!(home(position, log2), home(hi, log2) + 1);
        }
    }
    assert_eq!((home(u64::MAX, 0), next_position(0, 0)), (0, None));
}

#[test]
fn visited_is_set_once_and_never_on_another_word() {
    let bed = Bed::new(1);
    let index = bed.join();
    insert(&index, key(1), 1).unwrap();
    let seen = index.lookup(key(1)).unwrap();
    index.mark_visited(seen);
    let visited = index.lookup(key(1)).unwrap();
    assert_eq!(visited.word.0, live(1).0 | Word::VISITED);
    index.publish(key(1), visited, live(2)).unwrap().unwrap();
    index.mark_visited(seen);
    index.mark_visited(Seen::exactly(live(2)));
    assert_eq!(index.lookup(key(1)).unwrap().word, live(2));
}

/// Whatever the words hold: an answer or an error, in bounded time.
#[test]
fn damaged_words_give_errors_or_misses() {
    for seed in 0..3000 {
        let mut random = Random(seed);
        let bed = Bed::new(2);
        let index = bed.join();
        for number in 0..8 {
            insert(&index, key(number), 1 + number as u32).unwrap();
        }
        if random.below(2) == 0 {
            index.grow().unwrap();
        }
        scribble(&bed, &mut random);
        for index in [index, bed.join()] {
            let _ = index.stats();
            for number in 0..12 {
                index.prefetch(key(number));
                let _ = index.lookup(key(number)).map(|seen| index.mark_visited(seen));
                let _ = insert_anyway(&index, key(number));
                let _ = index.update_flags(key(number), Word::CONDEMNED, 0);
            }
            let _ = index.for_each(|_, _| ControlFlow::<()>::Continue(()));
            let _ = index.grow();
            let _ = index.finish_growth();
        }
    }
}

fn insert_anyway(index: &Index<super::bed::Participant>, key: Key) -> crate::Result<bool> {
    let seen = index.lookup(key)?;
    Ok(index.publish(key, seen, live(9))?.is_ok())
}

fn scribble(bed: &Bed, random: &mut Random) {
    bed.limit_space(6);
    for _ in 0..=random.below(4) {
        let value = match random.below(6) {
            0 => 0,
            1 => SEALED,
            2 => Word::FROZEN,
            3 => u64::MAX,
            4 => live(3).0 | Word::FROZEN,
            _ => random.next(),
        };
        if random.below(8) == 0 {
            let log2 = random.below(64) as u32;
            let root = Root::stable(random.below(3) as u32, random.below(4) as u32);
            bed.set_root(if random.below(2) == 0 {
                root.migrating(log2)
            } else {
                Root::stable(1, log2)
            });
        } else if let Some(words) = bed.words(random.below(2) as u32) {
            words.store(random.below(words.len() as u64) as usize, value);
        }
    }
}

#[test]
fn a_missing_table_is_an_error_and_no_loop() {
    let bed = Bed::new(1);
    bed.set_root(Root::stable(1, 1));
    assert_eq!(bed.join().lookup(key(1)).unwrap_err().kind(), ErrorKind::Damaged);
    bed.set_root(Root::stable(0, 60));
    assert_eq!(bed.join().lookup(key(1)).unwrap_err().kind(), ErrorKind::Damaged);
}

#[test]
fn a_table_is_as_long_as_its_buckets() {
    assert_eq!(table_words(0), HEADER_WORDS + 16);
    assert_eq!(table_words(10), HEADER_WORDS + (16 << 10));
    assert_eq!(table_words(u32::MAX), table_words(40));
}
