//! What fails in one lane of a compaction is told, and costs nothing.
#![forbid(unsafe_code)]

use super::cases::with_much_garbage;
use super::world::{Shape, World};
use drystone::disk::{Call, Fault, FaultDisk, FaultKind};
use drystone::{CompactOptions, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// So long one lane waits for the other to meet what fails.
const PATIENCE: Duration = Duration::from_millis(200);

fn in_lanes() -> CompactOptions {
    CompactOptions::new().all(true).two_lanes_from(1)
}

fn is_second_lane() -> bool {
    std::thread::current().name() == Some("drystone-compact")
}

/// Nothing can be opened while this lane, the first, stands still here; whether the other one met that.
fn fail_the_other(disk: &FaultDisk) -> bool {
    let (before, start) = (disk.hits(), Instant::now());
    disk.inject(Fault::new(FaultKind::Io).on(Call::Open).forever());
    while disk.hits() == before && start.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_micros(50));
    }
    disk.heal();
    disk.hits() > before
}

/// A compaction goes on as if nothing had been, and loses nothing.
fn goes_on(mut world: World) {
    world.check("afterwards");
    let report = world.store().compact(&in_lanes()).expect("another compaction");
    assert!(!report.busy && report.complete, "{report:?}");
    world.check("after another compaction");
    world.reboot();
    world.open().expect("after a reboot");
    world.check("after a reboot");
}

#[test]
fn an_error_of_the_second_lane_is_one_of_the_compaction() {
    let mut met = 0;
    for _ in 0..20 {
        let world = with_much_garbage(Shape::BUFFERED);
        let disk: Arc<FaultDisk> = Arc::clone(&world.disk);
        let hits = world.disk.hits();
        let options = in_lanes().on_progress(move |_| {
            // The other one may be waiting for its turn to tell: then it is asked again.
            if !is_second_lane() && disk.hits() == hits {
                fail_the_other(&disk);
            }
        });
        let outcome = world.store().compact(&options);
        if world.disk.hits() > hits {
            met += 1;
            let error = outcome.expect_err("one lane has failed");
            assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        }
        goes_on(world);
    }
    assert!(met > 0, "the second lane has never met a fault");
}

#[test]
fn a_panic_in_the_second_lane_comes_out_and_leaves_the_store_as_it_should_be() {
    let world = with_much_garbage(Shape::BUFFERED);
    let options = in_lanes().on_progress(|_| assert!(!is_second_lane(), "as a test wanted"));
    let store = world.store();
    let outcome = catch_unwind(AssertUnwindSafe(|| store.compact(&options)));
    let panic = outcome.expect_err("it has panicked");
    assert!(panic.downcast_ref::<&str>().is_some_and(|text| *text == "as a test wanted"));
    goes_on(world);
}
