//! Relying on a record that somebody supersedes meanwhile.
#![forbid(unsafe_code)]

use super::play::Op;
use super::world::{FIRST, World, Writer, blob, name};
use crate::index::bed::until_stopped;
use crate::protocol::{is_settled, rely};

/// What is known to last may have been made so with the record still pending; then the byte that is set
/// now does not last, and the record is not to be relied on once another one has its place.
#[test]
fn a_record_superseded_while_it_is_vouched_for_is_not_relied_on() {
    let world = World::new(1);
    let mut first = Writer::new(&world, FIRST, world.bed.join());
    Op::Put.run(&mut first);
    let word = first.index.lookup(blob()).unwrap().word;
    let others = {
        let world = world.clone();
        move || {
            let mut other = Writer::new(&world, 2, world.bed.join());
            Op::RemoveBlob.run(&mut other);
        }
    };
    // The only change of a vouching is that of the state byte.
    let mut one = Writer::new(&world, 1, world.bed.join_beside(0, others));
    one.is_synced = true;
    assert_eq!(rely(&one, blob(), word).unwrap(), None);
    assert!(one.index.participant().has_met());
    let tomb = one.index.lookup(blob()).unwrap().word;
    assert!(rely(&one, blob(), tomb).unwrap().is_some() && is_settled(&one, blob(), tomb).unwrap());
}

/// Whoever put it died right after its exchanges: who relies on the ref sets the bytes of both records.
#[test]
fn who_relies_on_a_ref_relies_on_its_blob() {
    let mut has_found = false;
    for steps in 0.. {
        let world = World::new(1);
        let mut dying = Writer::new(&world, 1, world.bed.join_for(steps));
        let outcome = until_stopped(|| Op::Put.run(&mut dying));
        let late = Writer::new(&world, 2, world.bed.join());
        let word = late.index.lookup(name()).unwrap().word;
        if word.is_live() {
            has_found |= world.records().iter().all(|record| !record.is_published);
            rely(&late, name(), word).unwrap();
            assert!(world.records().iter().all(|record| record.is_published));
        }
        if outcome.is_some() {
            break;
        }
    }
    assert!(has_found, "no death leaves both records pending");
}
