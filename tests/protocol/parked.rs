//! A thread that is parked before one of its writes or syncs, as if it had been stopped there.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

thread_local! {
    static STOP: RefCell<Option<Stop>> = const { RefCell::new(None) };
}

struct Stop {
    /// Calls that it may still make.
    left: usize,
    here: Sender<()>,
    on: Receiver<()>,
}

/// Called before each write and sync of every thread.
pub fn pass() {
    // A thread that is ending makes no calls of the store.
    let _ = STOP.try_with(|stop| {
        let Ok(mut stop) = stop.try_borrow_mut() else { return };
        match &mut *stop {
            Some(Stop { left: 0, here, on }) => {
                // Whoever has gone does not want it parked any more.
                let _ = here.send(());
                let _ = on.recv();
                *stop = None;
            }
            Some(Stop { left, .. }) => *left -= 1,
            None => {}
        }
    });
}

/// A thread that may be parked.
pub struct Parked<T> {
    thread: JoinHandle<T>,
    on: Sender<()>,
    pub is_parked: bool,
}

impl<T: Send + 'static> Parked<T> {
    /// Lets a thread do something up to its `nth` call, counted from 0, or to its end.
    pub fn start(nth: usize, work: impl FnOnce() -> T + Send + 'static) -> Self {
        let (here, arrived) = channel();
        let (on, may_go_on) = channel();
        let thread = std::thread::spawn(move || {
            STOP.set(Some(Stop { left: nth, here, on: may_go_on }));
            let value = work();
            STOP.set(None);
            value
        });
        // When it is done it has dropped its end.
        let is_parked = arrived.recv().is_ok();
        Self { thread, on, is_parked }
    }

    /// Lets it go on; what it did.
    pub fn end(self) -> T {
        drop(self.on);
        self.thread.join().expect("the parked operation panicked")
    }
}
