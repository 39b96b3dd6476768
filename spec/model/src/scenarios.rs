//! The scenarios, and for each rule the one that finds its removal.

use crate::rules::Rule;
use crate::script::{Op, Scenario};
use crate::world::{At, Key, NONE};

const A: Key = 0;
const B: Key = 1;
const R: Key = 2;
const S: Key = 3;

const fn put(blob: Key, name: Key) -> Op {
    Op::Put { blob, name, sync: false }
}

const fn put_synced(blob: Key, name: Key) -> Op {
    Op::Put { blob, name, sync: true }
}

const fn set(name: Key, blob: Key) -> Op {
    Op::Set { blob, name, sync: false }
}

const fn set_synced(name: Key, blob: Key) -> Op {
    Op::Set { blob, name, sync: true }
}

const fn value(name: Key) -> Op {
    Op::Set { blob: NONE, name, sync: false }
}

const fn value_synced(name: Key) -> Op {
    Op::Set { blob: NONE, name, sync: true }
}

const fn add_synced(name: Key) -> Op {
    Op::Add { name, sync: true }
}

const fn remove(key: Key) -> Op {
    Op::Remove { key, sync: false }
}

const fn remove_synced(key: Key) -> Op {
    Op::Remove { key, sync: true }
}

use Op::{Collect, Compact, Grow, Recover, Seal, Sync};

/// All scenarios.
pub fn scenarios() -> Vec<Scenario> {
    [
        publishing(),
        syncing(),
        sealing(),
        collecting(),
        expiring(),
        compacting(),
        removing(),
        recovering(),
    ]
    .concat()
}

/// Publishing: blobs, refs, tombstones.
fn publishing() -> Vec<Scenario> {
    let new = Scenario::new;
    vec![
        new("two puts and a remove", &[&[&[put(A, R)], &[put(A, R)], &[remove(R)]]]),
        new("two synced puts of one blob", &[&[&[put_synced(A, R)], &[put_synced(A, R)]]]).kills(1),
        new(
            "a put beside a synced put, and a removal",
            &[&[&[put(A, R)], &[put_synced(A, R)], &[remove_synced(R)]]],
        ),
        new("two conditional sets", &[&[&[add_synced(R)], &[add_synced(R)]]]).kills(1),
        new(
            "a conditional set beside a set and a removal",
            &[&[&[add_synced(R)], &[value(R)], &[remove_synced(R)]]],
        ),
        new(
            "two synced sets and a removal",
            &[&[&[value_synced(R)], &[value_synced(R)], &[remove(R)]]],
        ),
        new(
            "two removers, one acknowledged on the other's tombstone",
            &[&[&[value_synced(R)], &[remove(R)], &[remove_synced(R)]]],
        )
        .after(1)
        .kills(1),
        new(
            "a set to a blob that another put",
            &[&[&[put(A, R)], &[set_synced(S, A)], &[put_synced(A, R)]]],
        )
        .kills(1),
        new(
            "a blob removed and put again between a set's steps",
            &[&[&[put(A, R)], &[set(S, A)], &[remove(A), put(A, R)]]],
        )
        .after(1),
        new(
            "an old tombstone and a blob put again",
            &[&[&[put(A, R), remove(A), Sync], &[put(A, R)], &[set_synced(S, A)]]],
        )
        .after(1)
        .kills(1),
    ]
}

/// sync() beside others.
fn syncing() -> Vec<Scenario> {
    let new = Scenario::new;
    vec![
        new("sync() after a duplicate", &[&[&[put(A, R)], &[put(A, R), Sync]]]).kills(1),
        new("sync() beside a set", &[&[&[value(R)], &[value(R)], &[Sync]]]).after(1).kills(1),
        new("sync() beside two sets", &[&[&[value(R)], &[value(R)], &[value(R)], &[Sync]]])
            .after(1)
            .kills(1),
        new(
            "sync() beside a set and its sealing",
            &[&[&[value(R), Seal], &[value(R), Seal], &[Sync]]],
        )
        .kills(1),
    ]
}

/// Sealing, and segments of the dead.
fn sealing() -> Vec<Scenario> {
    let new = Scenario::new;
    vec![
        new("a relier while a segment is sealed", &[&[&[put(A, R), Seal], &[put_synced(A, R)]]])
            .kills(1),
        new(
            "a dead one's segment is taken up",
            &[&[&[put(A, R)], &[put_synced(B, S), Seal], &[Sync]]],
        )
        .kills(1)
        .taking_up(),
    ]
}

/// The collector beside setters.
fn collecting() -> Vec<Scenario> {
    let new = Scenario::new;
    vec![
        new("a collector beside a set", &[&[&[put(A, R)], &[set(S, A), remove(R)], &[Collect]]])
            .after(1)
            .kills(1),
        new(
            "a collector beside a set and a removal",
            &[&[&[put(A, R)], &[set(S, A)], &[remove(R)], &[Collect]]],
        )
        .after(1)
        .without_power_loss()
        .kills(1),
        new(
            "a collector beside a put of what it condemns",
            &[&[&[put(A, R), remove(R)], &[put_synced(A, S)], &[Collect]]],
        )
        .after(1)
        .kills(1),
        new(
            "a collector beside a growth",
            &[&[&[put(A, R)], &[remove(R), set(S, A)], &[Collect], &[Grow]]],
        )
        .after(1)
        .without_power_loss(),
        new("a put beside a growth", &[&[&[put(A, R)], &[put(A, R), remove(R), Collect, Grow]]])
            .without_power_loss(),
        new(
            "a collector beside a set over what is there",
            &[&[&[put(A, R), value(S)], &[set(S, A)], &[remove(R)], &[Collect]]],
        )
        .after(1)
        .kills(1),
        new(
            "a collector beside two setters of one ref",
            &[&[&[put(A, R), value(S)], &[set(S, A), remove(R)], &[value(S)], &[Collect]]],
        )
        .after(1)
        .without_power_loss(),
    ]
}

/// Expiry, and several collectors.
fn expiring() -> Vec<Scenario> {
    let new = Scenario::new;
    vec![
        new(
            "an expired ref that is set again beside a collector",
            &[&[&[put_synced(A, R), Seal], &[set_synced(R, A)], &[Collect]]],
        )
        .after(1)
        .expired(R, 2)
        .kills(1),
        new(
            "a ref set again and read by nobody, collected and compacted",
            &[&[
                &[value_synced(R), Seal, put_synced(A, R), Seal],
                &[put(A, S), remove_synced(S)],
                &[Compact],
            ]],
        )
        .after(1)
        .expired(R, 3)
        .kills(1),
        new("two collectors beside nothing else", &[&[&[put(A, R)], &[Collect], &[Collect]]])
            .after(1)
            .kills(1),
        new(
            "a record superseded while it is relied on",
            &[&[
                &[value(S), value(R)],
                &[add_synced(R)],
                &[add_synced(S)],
                &[value(R)],
                &[Collect],
            ]],
        )
        .after(1)
        .dying(0, 1, At::PublishRef)
        .in_one_process(),
        new(
            "a compactor that copies only some",
            &[&[&[put_synced(A, R), Seal], &[value(R)], &[Compact, Compact]]],
        )
        .after(1)
        .copying_at_most(1)
        .kills(1),
    ]
}

/// The compactor, and tombstones.
fn compacting() -> Vec<Scenario> {
    let new = Scenario::new;
    vec![
        new("a compactor beside a set", &[&[&[value_synced(R), Seal], &[value(R)], &[Compact]]])
            .after(1)
            .kills(1),
        new(
            "a synced value replaced, collected, compacted",
            &[&[&[put_synced(A, R), Seal], &[value(R)], &[Compact]]],
        )
        .after(1)
        .kills(1),
        new(
            "a removal, compacted twice",
            &[&[&[value_synced(R), Seal], &[remove_synced(R), Seal], &[Compact, Compact]]],
        )
        .after(1)
        .kills(1),
    ]
}

/// Removals and expiry, collected and compacted.
fn removing() -> Vec<Scenario> {
    let new = Scenario::new;
    vec![
        new(
            "a removed blob that a ref names, collected and compacted",
            &[&[
                &[value_synced(S), Seal, put_synced(A, R), set_synced(S, A), Seal],
                &[remove_synced(A), remove(R)],
                &[Compact, Compact],
            ]],
        )
        .after(1)
        .kills(1),
        new(
            "a collector dies, and another compacts, where a removed blob is named",
            &[&[
                &[value_synced(S), Seal, put_synced(A, R), set(S, A), remove(A), Seal],
                &[Collect],
                &[Compact],
            ]],
        )
        .after(1)
        .kills(1),
        new(
            "a ref that expires, collected and compacted",
            &[&[
                &[value_synced(R), Seal],
                &[value_synced(R), Seal],
                &[Op::Expire { key: R }, Compact],
                &[Sync],
            ]],
        )
        .after(2)
        .kills(1),
        new(
            "two collectors",
            &[&[&[put_synced(A, R), Seal], &[value(R), Seal], &[Compact], &[Compact]]],
        )
        .after(2)
        .kills(1),
    ]
}

/// Recoveries, several at a time, and power losses one after another.
fn recovering() -> Vec<Scenario> {
    let new = Scenario::new;
    vec![
        new(
            "a version that was passed over, and a second power loss",
            &[
                &[&[value_synced(R), Seal], &[put(B, R)]],
                &[&[Recover, put_synced(B, S)], &[Recover]],
            ],
        )
        .after(1)
        .kills(1),
        new(
            "a user comes between the run and its burials",
            &[&[&[value_synced(R), Seal], &[put(B, R)]], &[&[Recover], &[put_synced(B, S)]]],
        )
        .after(1)
        .kills(1),
        new(
            "a late recoverer beside a user",
            &[
                &[&[value_synced(R), Seal], &[put(B, R)]],
                &[&[Recover, value_synced(R)], &[Recover]],
            ],
        )
        .after(1),
        new(
            "a late recoverer beside a compactor",
            &[
                &[&[put_synced(A, R), Seal], &[set(S, A)]],
                &[&[Recover, Compact], &[Recover, value_synced(R)]],
            ],
        )
        .after(1),
        new(
            "a late recoverer beside one that dies",
            &[&[&[value_synced(R), Seal]], &[&[Recover, value(S)], &[Recover], &[Sync]]],
        )
        .after(1)
        .kills(1),
        new(
            "three power losses",
            &[
                &[&[value_synced(R), Seal], &[put(B, R)]],
                &[&[Recover], &[Recover]],
                &[&[Recover, put_synced(B, S)]],
            ],
        )
        .after(1)
        .kills(1),
    ]
}

/// Of each rule the scenario that finds a violation when it is removed.
pub fn removed() -> &'static [(Rule, &'static str)] {
    &[
        (Rule::NumberAfterLoad, "two puts and a remove"),
        (Rule::PublishedWhenNamed, "two puts and a remove"),
        (Rule::LoserStaysPending, "two conditional sets"),
        (Rule::NewNumberWhenLost, "two conditional sets"),
        (Rule::RefBeforeBlob, "a collector beside a set and a removal"),
        (Rule::SetterAcquits, "a collector beside a set and a removal"),
        (Rule::HeldIsMet, "a blob removed and put again between a set's steps"),
        (Rule::SetterReliesOnBlob, "a set to a blob that another put"),
        (Rule::RelierSetsByte, "two removers, one acknowledged on the other's tombstone"),
        (Rule::RelierSyncs, "two removers, one acknowledged on the other's tombstone"),
        (Rule::RelierReliesOnBlob, "two synced puts of one blob"),
        (Rule::SecondLook, "a record superseded while it is relied on"),
        (Rule::NamesSynced, "two synced puts of one blob"),
        (Rule::SyncSettles, "sync() after a duplicate"),
        (Rule::SyncListsAgain, "sync() beside two sets"),
        (Rule::SyncOfEverySegment, "sync() beside two sets"),
        (Rule::SuperseederSettled, "sync() beside two sets"),
        (Rule::SealSettles, "a dead one's segment is taken up"),
        (Rule::FootersVerified, "a compactor beside a set"),
        (Rule::RemovalIsTombstone, "two removers, one acknowledged on the other's tombstone"),
        (Rule::ExpiryIsTombstone, "a ref that expires, collected and compacted"),
        (Rule::OneCollector, "two collectors beside nothing else"),
        (Rule::InflightSeen, "a collector beside a set and a removal"),
        (Rule::InflightAfterCondemn, "a collector beside a set and a removal"),
        (Rule::VoidWhenSuperseded, "a collector beside a set over what is there"),
        (Rule::ExpiredExactly, "an expired ref that is set again beside a collector"),
        (Rule::WalkAcquits, "a collector beside a set"),
        (Rule::WalkSeesGrowth, "a collector beside a growth"),
        (Rule::SweepExact, "a collector beside a set and a removal"),
        (Rule::SweepWithoutTombstone, "a synced value replaced, collected, compacted"),
        (Rule::VictimsSealed, "a compactor that copies only some"),
        (Rule::TombsCopied, "a removal, compacted twice"),
        (Rule::RelocateExact, "a removal, compacted twice"),
        (Rule::ProbedBeforeUnlink, "a compactor that copies only some"),
        (Rule::SyncBeforeUnlink, "a synced value replaced, collected, compacted"),
        (Rule::UnlinkSettles, "a synced value replaced, collected, compacted"),
        (Rule::TombAlone, "a removal, compacted twice"),
        (Rule::TombStillCondemned, "a removed blob that a ref names, collected and compacted"),
        (
            Rule::TombsUnderOwnWalk,
            "a collector dies, and another compacts, where a removed blob is named",
        ),
        (Rule::PassedOver, "a version that was passed over, and a second power loss"),
        (Rule::TombsCountForRefs, "a removed blob that a ref names, collected and compacted"),
        (Rule::PassedOverBuried, "a version that was passed over, and a second power loss"),
        (Rule::BuriedBeforeAppends, "a user comes between the run and its burials"),
        (Rule::BurialLasts, "three power losses"),
        (Rule::BuriedUnderRun, "a late recoverer beside a user"),
        (Rule::SealedUnderRun, "a late recoverer beside one that dies"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_removed_once_and_in_a_scenario_that_exists() {
        let scenarios = scenarios();
        for &(rule, name) in removed() {
            assert!(scenarios.iter().any(|scenario| scenario.name == name), "{rule:?}: {name}");
        }
        for rule in Rule::ALL {
            let times = removed().iter().filter(|(removed, _)| removed == rule).count();
            assert_eq!(times, 1, "{rule:?}");
        }
    }
}
