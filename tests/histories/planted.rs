//! Bad histories, each of which its checker must refuse, and beside each a good one that differs little.
#![forbid(unsafe_code)]

use crate::frontier::{Timed, explain};
use crate::presence::{self, NEW, Operation::*, Presence};
use crate::register::{self, Expect, Operation::*, Register, UNSET};
use crate::write_once::{Interval, Life, check};

fn at<O>(begin: u64, end: u64, operation: O) -> Timed<O> {
    Timed { operation, begin, end, is_certain: true }
}

/// Cut short by a kill, at the latest at `end`.
fn cut<O>(begin: u64, end: u64, operation: O) -> Timed<O> {
    Timed { is_certain: false, ..at(begin, end, operation) }
}

#[track_caller]
fn can_be_ref(history: &[Timed<register::Operation>], expected: bool) {
    let explained = explain(&Register, UNSET, history);
    assert_eq!(explained.is_ok(), expected, "{explained:?}");
}

#[track_caller]
fn can_be_blob(history: &[Timed<presence::Operation>], collects: bool, expected: bool) {
    let explained = explain(&Presence { collects }, NEW, history);
    assert_eq!(explained.is_ok(), expected, "{explained:?}");
}

fn set(version: u64) -> register::Operation {
    Set(Expect::Any, Some(version))
}

fn changed(from: u64, to: u64) -> register::Operation {
    Set(Expect::Version(from), Some(to))
}

fn saw(version: u64) -> register::Operation {
    register::Operation::Got(Some(version))
}

const UNSEEN: register::Operation = Set(Expect::Any, None);
const NO_REF: register::Operation = register::Operation::Got(None);
const NO_BLOB: presence::Operation = presence::Operation::Got(false);
const A_BLOB: presence::Operation = presence::Operation::Got(true);

fn ref_removed(was_there: bool) -> register::Operation {
    register::Operation::Removed(was_there)
}

fn blob_removed(was_there: bool) -> presence::Operation {
    presence::Operation::Removed(was_there)
}

#[test]
fn a_stale_read() {
    can_be_ref(&[at(0, 1, set(1)), at(2, 3, set(2)), at(4, 5, saw(1))], false);
    can_be_ref(&[at(0, 1, set(1)), at(2, 5, set(2)), at(3, 4, saw(1))], true);
    // One has seen the new value, and after that another one the old value.
    let reads = [at(0, 1, set(1)), at(2, 9, set(2)), at(3, 4, saw(2)), at(5, 6, saw(1))];
    can_be_ref(&reads, false);
    can_be_ref(&[reads[0], reads[1], at(3, 5, saw(2)), at(4, 6, saw(1))], true);
}

#[test]
fn a_read_from_the_future() {
    can_be_ref(&[at(0, 1, saw(1)), at(2, 3, set(1))], false);
    can_be_ref(&[at(0, 2, saw(1)), at(2, 3, set(1))], true);
    can_be_blob(&[at(0, 1, A_BLOB), at(2, 3, Put)], false, false);
    can_be_blob(&[at(0, 2, A_BLOB), at(1, 3, Put)], false, true);
}

#[test]
fn a_lost_update() {
    can_be_ref(&[at(0, 1, set(1)), at(2, 5, changed(1, 2)), at(3, 6, changed(1, 3))], false);
    can_be_ref(&[at(0, 1, set(1)), at(2, 5, changed(1, 2)), at(3, 6, changed(2, 3))], true);
    // The second of two versions that nothing has replaced is not there.
    can_be_ref(&[at(0, 1, set(1)), at(2, 3, changed(1, 2)), at(4, 5, NO_REF)], false);
}

#[test]
fn a_change_of_a_wrong_version() {
    can_be_ref(&[at(0, 1, set(1)), at(2, 3, set(2)), at(4, 5, changed(1, 3))], false);
    can_be_ref(&[at(0, 1, set(1)), at(2, 5, set(2)), at(3, 4, changed(1, 3))], false);
    can_be_ref(&[at(0, 1, set(1)), at(2, 5, set(3)), at(3, 4, changed(1, 2))], true);
}

#[test]
fn a_change_that_was_declined_without_a_reason() {
    let declined = Declined(Expect::Version(1));
    can_be_ref(&[at(0, 1, set(1)), at(2, 3, declined)], false);
    can_be_ref(&[at(0, 1, set(1)), at(2, 5, set(2)), at(3, 4, declined)], true);
    can_be_ref(&[at(0, 1, Declined(Expect::Absent))], false);
    can_be_ref(&[at(0, 1, set(1)), at(2, 3, Declined(Expect::Absent))], true);
}

#[test]
fn a_ref_added_twice() {
    let added = |version| Set(Expect::Absent, Some(version));
    can_be_ref(&[at(0, 3, added(1)), at(1, 4, added(2))], false);
    can_be_ref(&[at(0, 3, added(1)), at(1, 4, added(2)), at(2, 5, ref_removed(true))], true);
}

#[test]
fn versions_against_the_clock() {
    can_be_ref(&[at(0, 1, set(2)), at(2, 3, set(1))], false);
    can_be_ref(&[at(0, 2, set(2)), at(1, 3, set(1))], true);
    can_be_ref(&[at(0, 2, set(1)), at(1, 3, set(1))], false);
}

#[test]
fn a_value_that_comes_back() {
    let gone = [at(0, 1, set(1)), at(2, 3, ref_removed(true))];
    can_be_ref(&[gone[0], gone[1], at(4, 5, saw(1))], false);
    can_be_ref(&[gone[0], gone[1], at(4, 5, ref_removed(true))], false);
    can_be_ref(&[gone[0], gone[1], at(4, 5, ref_removed(false)), at(4, 5, NO_REF)], true);
    let gone = [at(0, 1, Put), at(2, 3, blob_removed(true))];
    can_be_blob(&[gone[0], gone[1], at(4, 5, A_BLOB)], false, false);
    can_be_blob(&[gone[0], gone[1], at(4, 5, NO_BLOB)], false, true);
    can_be_blob(&[gone[0], gone[1], at(4, 6, Put), at(5, 7, A_BLOB)], false, true);
}

#[test]
fn what_was_put_and_acknowledged_and_is_not_there() {
    can_be_blob(&[at(0, 1, Put), at(2, 3, NO_BLOB)], false, false);
    can_be_blob(&[at(0, 1, Put), at(2, 3, NO_BLOB)], true, false);
    can_be_blob(&[at(0, 3, Put), at(2, 4, NO_BLOB)], false, true);
    can_be_blob(&[at(0, 1, Put), at(2, 3, blob_removed(false))], true, false);
    can_be_blob(&[at(0, 1, Put), at(2, 3, Unpinned(false))], true, false);
}

#[test]
fn what_was_removed_once_and_acknowledged_twice() {
    let [one, other] = [at(2, 5, blob_removed(true)), at(3, 6, blob_removed(true))];
    can_be_blob(&[at(0, 1, Put), one, other], false, false);
    can_be_blob(&[at(0, 1, Put), one, other, at(4, 7, Put)], false, true);
    let [one, other] = [at(2, 5, Unpinned(true)), at(3, 6, Unpinned(true))];
    can_be_blob(&[at(0, 1, Put), one, other], false, false);
}

#[test]
fn a_collector_takes_only_what_is_not_pinned() {
    let unpinned = [at(0, 1, Put), at(2, 3, Unpinned(true)), at(4, 5, NO_BLOB)];
    can_be_blob(&unpinned, true, true);
    can_be_blob(&unpinned, false, false);
    can_be_blob(&[unpinned[0], unpinned[1], unpinned[2], at(6, 7, A_BLOB)], true, false);
    can_be_blob(&[unpinned[0], unpinned[1], at(4, 5, Put), at(6, 7, NO_BLOB)], true, false);
    // It may have been taken before the second put, which has put it again.
    can_be_blob(&[unpinned[0], unpinned[1], at(4, 7, Put), at(5, 8, NO_BLOB)], true, true);
}

#[test]
fn what_a_kill_has_cut_short_was_done_once_or_not_at_all() {
    can_be_blob(&[cut(0, 9, Put), at(1, 2, NO_BLOB), at(3, 4, A_BLOB)], false, true);
    can_be_blob(&[cut(0, 9, Put), at(1, 2, A_BLOB), at(3, 4, NO_BLOB)], false, false);
    can_be_blob(&[cut(0, 2, Put), at(3, 4, A_BLOB), at(5, 6, A_BLOB)], false, true);
    // Not after the process was dead.
    can_be_blob(&[cut(0, 2, Put), at(3, 4, NO_BLOB), at(5, 6, A_BLOB)], false, false);
    can_be_ref(&[at(0, 1, set(1)), cut(2, 9, set(2)), at(3, 4, saw(1)), at(5, 6, saw(2))], true);
    can_be_ref(&[at(0, 1, set(1)), cut(2, 9, set(2)), at(3, 4, saw(2)), at(5, 6, saw(1))], false);
    let unseen = [at(0, 1, set(1)), cut(2, 9, UNSEEN)];
    can_be_ref(&[unseen[0], unseen[1], at(3, 4, Declined(Expect::Version(1)))], true);
    let changed = at(5, 6, changed(1, 2));
    can_be_ref(&[unseen[0], unseen[1], at(3, 4, Declined(Expect::Version(1))), changed], false);
}

#[test]
fn many_kills_do_not_make_the_search_wide() {
    let mut history = vec![at(0, 1, set(1))];
    for version in 2..500 {
        let begin = 10 * version;
        history.push(cut(begin, begin + 90, if version % 3 == 0 { UNSEEN } else { set(version) }));
        if version % 3 == 1 {
            history.push(at(begin + 1, begin + 95, saw(version)));
        }
    }
    let widest = explain(&Register, UNSET, &history).unwrap();
    assert!(widest < 200, "{widest} configurations");
}

const PUT: Interval = (10, 20);

#[track_caller]
fn can_be_once(holds: &[Interval], looks: &[(Interval, bool)], expected: bool) {
    let checked = check(&Life { put: PUT, holds: holds.to_vec(), looks: looks.to_vec() });
    assert_eq!(checked.is_ok(), expected, "{checked:?}");
}

#[test]
fn a_blob_that_is_put_once_is_not_seen_before() {
    can_be_once(&[], &[((5, 9), true)], false);
    can_be_once(&[], &[((5, 10), true)], true);
    can_be_once(&[], &[((5, 9), false), ((12, 13), false)], true);
}

#[test]
fn a_blob_that_is_held_is_there() {
    let pin = (20, 50);
    can_be_once(&[pin], &[((30, 31), false)], false);
    can_be_once(&[pin], &[((19, 31), false)], true);
    can_be_once(&[pin], &[((30, 51), false)], true);
    // A ref takes over before the pin goes.
    can_be_once(&[pin, (40, 90)], &[((30, 80), false)], false);
    can_be_once(&[(51, 90), pin], &[((30, 80), false)], true);
    can_be_once(&[(40, 90), pin, (60, 70)], &[((80, 89), false)], false);
    // Nothing holds it for certain: what may have superseded the ref began before its set had ended.
    can_be_once(&[(60, 55)], &[((56, 59), false)], true);
}

#[test]
fn a_blob_that_is_gone_does_not_come_back() {
    can_be_once(&[], &[((60, 70), false), ((71, 72), true)], false);
    can_be_once(&[], &[((60, 70), false), ((70, 72), true)], true);
    can_be_once(&[], &[((15, 17), false), ((18, 19), true)], true);
    can_be_once(&[], &[((60, 99), false), ((61, 70), false), ((71, 72), true)], false);
}
