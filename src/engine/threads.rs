//! The store's own threads: lazy, few, and never those of the caller's pool.
#![forbid(unsafe_code)]

use crate::engine::Engine;
use crate::stream::Pool;
use crate::sync::epoch::Guard;

/// Threads by default: what this process may run on, four at most.
pub fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(4)
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
