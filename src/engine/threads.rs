//! The store's own threads: lazy, few, and never those of the caller's pool.
#![forbid(unsafe_code)]

use crate::engine::Engine;
use crate::stream::Pool;
use crate::sync::epoch::Guard;
use std::time::Duration;

/// Threads by default: what this process may run on, four at most.
pub fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(4)
}

/// Looks at what is running before all cores are taken for busy: something short runs now and then.
const LOOKS: u32 = 5;
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Whether a core has nothing to do beside this thread. Where nobody tells, it has. What runs is counted of
/// the whole machine, the cores are those of this process: who has few of many takes them for busy.
pub fn has_idle_core() -> bool {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let is_idle = || {
        let load = std::fs::read_to_string("/proc/loadavg").ok();
        load.as_deref().and_then(running).is_none_or(|running| running < cores)
    };
    bug!("idle-assumed")
        || (0..LOOKS).any(|look| {
            if look > 0 {
                std::thread::sleep(LOOK_AGAIN);
            }
            is_idle()
        })
}

/// How many threads want to run, by the line of `/proc/loadavg` (proc_loadavg(5)).
fn running(load: &str) -> Option<usize> {
    load.split(' ').nth(3)?.split('/').next()?.parse().ok()
}

impl Engine {
    /// The threads that hash large blobs, started on first use; none where one is enough or no more
    /// can be had.
    pub fn pool<'g>(&self, guard: &'g Guard) -> Pool<'g> {
        let start = || {
            let builder = rayon::ThreadPoolBuilder::new().num_threads(self.settings.threads);
            let named = builder.thread_name(|index| format!("drystone-hash-{index}"));
            (self.settings.threads > 1).then(|| named.build().ok()).flatten()
        };
        self.appenders(guard).pool.get_or_init(start).as_ref()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::running;

    #[test]
    fn the_line_about_the_load_says_how_many_threads_want_to_run() {
        assert_eq!(running("0.20 0.18 0.12 1/80 11206\n"), Some(1));
        assert_eq!(running("12.00 9.30 4.01 17/2048 99\n"), Some(17));
        assert!(running("").is_none() && running("0.20 0.18 0.12 many").is_none());
        let load = std::fs::read_to_string("/proc/loadavg").unwrap();
        assert!(running(&load).is_some_and(|running| running > 0), "{load}");
    }
}
