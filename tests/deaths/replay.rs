//! A case that has failed, played again by the line that it printed.
#![forbid(unsafe_code)]

use crate::calls::Strace;
use crate::case::{Case, Way};
use crate::figures::option;
use crate::stage::{Stage, Tracer};

#[test]
fn the_case_that_is_asked_for() {
    let Some(case) = Case::asked_for() else { return };
    let tracer = (case.way == Way::Trace).then(|| Strace::killing(&case.call, case.n));
    let mut stage = Stage::new();
    for _ in 0..option("DRYSTONE_DEATHS_TIMES").unwrap_or(1) {
        let played = stage.play(&case, tracer.as_ref().map(|tracer| tracer as &dyn Tracer));
        println!("{case}: {:?}", played.unwrap_or_else(|why| panic!("{why}")));
    }
}
