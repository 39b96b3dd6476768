//! Runs models under loom, within a bound on preemptions, and tells how many schedules there were.
//!
//! What a test asks for lets all of them end within minutes; `DRYSTONE_LOOM_PREEMPTIONS` puts another
//! bound in the place of all of theirs.
#![forbid(unsafe_code)]

use std::sync::{Arc, Mutex};

/// Switches of threads, and loads with several answers, in one schedule: far more than any has.
const BRANCHES_MAX: usize = 50_000;

/// Counts schedules, and tells how many there were.
pub struct Explorer {
    name: &'static str,
    preemptions: usize,
    is_given: bool,
    schedules: Arc<Mutex<usize>>,
    scenarios: usize,
}

impl Drop for Explorer {
    fn drop(&mut self) {
        let schedules = *self.schedules.lock().unwrap();
        let Self { name, scenarios, preemptions, .. } = self;
        println!(
            "{name}: {schedules} schedules of {scenarios} scenarios, {preemptions} preemptions"
        );
    }
}

impl Explorer {
    /// Bounds the preemptions of each schedule, unless the environment does.
    pub fn new(name: &'static str, preemptions: usize) -> Self {
        let given = std::env::var("DRYSTONE_LOOM_PREEMPTIONS").ok();
        let given = given.map(|number| number.parse().expect("a number of preemptions"));
        let is_given = given.is_some();
        let preemptions = given.unwrap_or(preemptions);
        Self { name, preemptions, is_given, schedules: Arc::default(), scenarios: 0 }
    }

    /// Another bound from here on, unless the environment has set one.
    pub fn bound(&mut self, preemptions: usize) {
        if !self.is_given {
            self.preemptions = preemptions;
        }
    }

    /// Explores all schedules of this.
    pub fn model(&mut self, execution: impl Fn() + Sync + Send + 'static) {
        self.scenarios += 1;
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(self.preemptions);
        builder.max_branches = BRANCHES_MAX;
        let schedules = self.schedules.clone();
        builder.check(move || {
            *schedules.lock().unwrap() += 1;
            execution();
        });
    }
}
