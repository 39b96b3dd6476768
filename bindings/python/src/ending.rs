//! The end of an interpreter, beside threads that it does not wait for.
//!
//! Up to Python 3.13 a daemon thread that asks for the GIL once the interpreter is ending is taken down by
//! `pthread_exit` where it stands. Where frames of Rust are below it, the process ends by SIGABRT: they stop
//! the unwinding. So before the end nobody may be in Python code that was called from here.
//!
//! I1  Who calls Python code from here is counted, once however deep.
//! I2  After [`end_of_calls`] another thread does not begin such a call: it sleeps, without the GIL, until
//!     the process has ended.

use pyo3::prelude::*;
use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

/// How long the end waits for calls under way.
const WAIT_MAX: Duration = Duration::from_secs(2);

static CALLS: AtomicIsize = AtomicIsize::new(0);
static IS_ENDING: AtomicBool = AtomicBool::new(false);
/// The thread that ends the interpreter.
static ENDING: Mutex<Option<ThreadId>> = Mutex::new(None);

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// A call of Python code from here.
struct Call;

impl Call {
    fn begin(py: Python<'_>) -> Self {
        if DEPTH.get() == 0 {
            CALLS.fetch_add(1, Ordering::SeqCst);
            if IS_ENDING.load(Ordering::SeqCst) && !is_ending_thread() {
                CALLS.fetch_sub(1, Ordering::SeqCst);
                py.detach(|| {
                    loop {
                        thread::sleep(Duration::from_secs(3600));
                    }
                });
            }
        }
        DEPTH.set(DEPTH.get() + 1);
        Self
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
        if DEPTH.get() == 0 {
            CALLS.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

fn is_ending_thread() -> bool {
    let ending = ENDING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    *ending == Some(thread::current().id())
}

/// Calls Python code.
pub fn calling<T>(py: Python<'_>, call: impl FnOnce() -> T) -> T {
    let _call = Call::begin(py);
    call()
}

/// For `atexit`: lets calls of other threads come to their end, and no other begin.
#[pyfunction]
pub fn end_of_calls(py: Python<'_>) {
    *ENDING.lock().unwrap_or_else(std::sync::PoisonError::into_inner) =
        Some(thread::current().id());
    IS_ENDING.store(true, Ordering::SeqCst);
    let own = isize::from(DEPTH.get() > 0);
    py.detach(|| {
        let begin = Instant::now();
        while CALLS.load(Ordering::SeqCst) > own && begin.elapsed() < WAIT_MAX {
            thread::sleep(Duration::from_millis(1));
        }
    });
}

/// For a forked child, which has none of its parent's other threads.
#[pyfunction]
pub fn calls_forked() {
    CALLS.store(isize::from(DEPTH.get() > 0), Ordering::SeqCst);
}
