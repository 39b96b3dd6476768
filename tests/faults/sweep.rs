//! Every call of every operation fails, once and for ever: the operation is done or says why not;
//! nothing that was acknowledged is lost, nothing is half-published, no view changes; and when the
//! fault is over the same operation succeeds, in this process, the next, and after a reboot.

use super::cases::{CASES, Case, UPKEEP};
use super::rig::{self, figure};
use super::world::{Shape, World, inject, is_clear, kinds_for};
use drystone::HashAlgorithm;
use drystone::disk::{Call, FaultKind};
use std::any::Any;
use std::collections::BTreeSet;
use std::panic::catch_unwind;

/// The calls that a case makes where nothing fails.
fn calls_of(case: &Case, shape: Shape) -> Vec<Call> {
    let mut world = (case.before)(shape);
    world.disk.take_calls();
    (case.run)(&mut world).unwrap_or_else(|error| panic!("{}: {error:?}", case.name));
    let calls = world.disk.take_calls();
    settle(case, world);
    calls
}

/// What holds after a case, whatever has failed: it can be done again, and everything is there.
fn settle(case: &Case, mut world: World) {
    if world.is_open() {
        world.check("when the fault is over");
    }
    (case.run)(&mut world).unwrap_or_else(|error| panic!("{}, again: {error:?}", case.name));
    world.check("when it was done again");
    world.put(&rig::bytes(1000, 77)).expect("a small put afterwards");
    world.store().sync().expect("a sync afterwards");
    world.check("after a sync");
    world.close();
    world.open().expect("the next process");
    world.check("in the next process");
    world.put(&rig::bytes(1001, 78)).expect("a put in the next process");
    world.reboot();
    world.open().expect("after a reboot");
    world.check("after a reboot");
    world.put(&rig::bytes(1002, 79)).expect("a put after a reboot");
    world.check("at the end");
}

/// A fault that has led to something that it must not lead to.
type Broken = String;

fn one(case: &Case, shape: Shape, nth: u64, kind: FaultKind, forever: bool) {
    let mut world = (case.before)(shape);
    let before = world.disk.hits();
    inject(&world.disk, kind, nth, forever);
    let outcome = (case.run)(&mut world);
    assert!(world.disk.hits() > before || !case.is_steady, "the fault has not come");
    world.check_views("while it fails");
    world.disk.heal();
    if let Err(error) = outcome {
        is_clear(&error, kind);
    }
    settle(case, world);
}

/// Of many calls of one kind in a row the first two, one in the middle and the last, unless in a
/// campaign.
fn is_worth_it(calls: &[Call], at: u64, thorough: bool) -> bool {
    let at = at as usize;
    let first =
        calls[..at].iter().rposition(|call| *call != calls[at]).map_or(0, |other| other + 1);
    let rest = calls[at..].iter().position(|call| *call != calls[at]);
    let len = at - first + rest.unwrap_or(calls.len() - at);
    thorough || [0, 1, len / 2, len - 1].contains(&(at - first))
}

/// Sweeps a case over all calls; how many faults there were.
fn sweep(case: &Case, shape: Shape, broken: &mut Vec<Broken>) -> u64 {
    let calls = calls_of(case, shape);
    let thorough = rig::campaign() > 1;
    let mut faults = 0;
    for (nth, &call) in (1..).zip(&calls).filter(|(nth, _)| is_worth_it(&calls, nth - 1, thorough))
    {
        for (at, &kind) in kinds_for(call).iter().enumerate() {
            for forever in
                [false, true].into_iter().filter(|forever| !forever || at == 0 || thorough)
            {
                let held = catch_unwind(|| one(case, shape, nth, kind, forever));
                if let Err(panic) = held {
                    let often = if forever { "and all after it" } else { "once" };
                    let why = message(&*panic);
                    broken.push(format!(
                        "{}: call {nth} ({call:?}) {kind:?} {often}: {why}",
                        case.name
                    ));
                }
                faults += 1;
            }
        }
    }
    faults
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words")
}

fn sweep_all(shape: Shape) {
    let hashes = |case: &&Case| case.name.contains("put") || case.name.contains("commit");
    let is_meant = |case: &&Case| shape.hash == HashAlgorithm::Xxh3 || hashes(case);
    sweep_each(CASES.iter().filter(is_meant), shape);
}

fn sweep_each<'a>(cases: impl Iterator<Item = &'a Case>, shape: Shape) {
    let started = std::time::Instant::now();
    let mut faults = 0;
    let (mut met, mut broken) = (BTreeSet::new(), Vec::new());
    for case in cases {
        met.extend(calls_of(case, shape).iter().map(|call| format!("{call:?}")));
        faults += sweep(case, shape, &mut broken);
    }
    for call in ["Write", "Create", "Link", "Map", "Reserve", "Len", "Lock", "SetLen"] {
        assert!(met.contains(call), "no case calls {call}: {met:?}");
    }
    assert!(broken.is_empty(), "{} of {faults} faults: {broken:#?}", broken.len());
    figure(&format!("{faults} faults, {shape:?}: {:.1?}", started.elapsed()));
}

#[test]
fn every_call_of_buffered_operations_may_fail() {
    sweep_all(Shape::BUFFERED);
}

#[test]
fn every_call_of_synced_operations_may_fail() {
    sweep_all(Shape::SYNCED);
}

#[test]
fn every_call_may_fail_where_segments_are_small() {
    if rig::campaign() > 1 {
        sweep_all(Shape::BUFFERED.small_segments());
    }
    sweep_all(Shape::SYNCED.small_segments());
}

#[test]
fn every_call_of_compactions_and_repairs_may_fail() {
    let steady = || UPKEEP.iter().filter(|case| case.is_steady);
    sweep_each(steady(), Shape::SYNCED);
    if rig::campaign() > 1 {
        sweep_each(steady(), Shape::BUFFERED);
    }
}

#[test]
fn every_call_of_a_compaction_in_two_lanes_may_fail() {
    let in_lanes = || UPKEEP.iter().filter(|case| !case.is_steady);
    sweep_each(in_lanes(), Shape::SYNCED);
    if rig::campaign() > 1 {
        sweep_each(in_lanes(), Shape::BUFFERED);
    }
}

#[test]
fn every_call_of_a_compaction_may_fail_where_segments_are_small() {
    sweep_each(UPKEEP.iter().filter(|case| case.name == "compact"), Shape::SYNCED.small_segments());
}

#[test]
fn every_call_may_fail_in_a_store_of_blake3() {
    sweep_all(Shape { hash: HashAlgorithm::Blake3, ..Shape::BUFFERED });
}
