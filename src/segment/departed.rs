//! Giving back what unlinked segments had: their pages, and their blocks on the medium.
//!
//! The kernel does it when the last mapping and the last descriptor of an unlinked file go: 4 to 16 ms for a
//! segment of 64 MiB, most of it waiting where the file system tells the medium (`mount -o discard`). A mapping
//! goes when no guard is left that may have seen it, on whatever thread finds that out: on a reader's, too.
//! So a compaction that unlinks much has a thread for it. It ends by itself soon after the last of it.
//!
//! I1  What is sent is dropped once: by the thread, or by who sends it when the thread has ended.
//! I2  Who sends much waits until little is under way: each file has a descriptor, and space that is on its way is
//!     not there yet.
//!
//! Death: the kernel gives back what nobody maps any more. A child that is forked meanwhile keeps what is
//! under way, and that alone, until it ends: it has no such thread.
#![forbid(unsafe_code)]

use crate::sync::epoch::pin;
use crate::sync::machine::{AtomicU64, Ordering};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Name of the thread.
const THREAD: &str = "drystone-giveback";
/// How long it waits before it looks whether anything can go that was put off.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// So often in a row nothing has come: what somebody still holds, he drops himself.
const IDLE_LOOKS_MAX: u32 = 100;
/// Files and mappings that may be under way when more are to be sent.
const UNDER_WAY_MAX: u64 = 32;

/// A mapping or a file, and then the count.
struct Leaving {
    _what: Box<dyn Send>,
    _counted: Counted,
}

/// One of those that are under way.
struct Counted(Arc<AtomicU64>);

impl Counted {
    fn new(under_way: &Arc<AtomicU64>) -> Self {
        // Relaxed: it only says how many there are.
        under_way.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(under_way))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Takes what is to be given back.
#[derive(Clone)]
pub struct Outbox {
    sender: Sender<Leaving>,
    under_way: Arc<AtomicU64>,
}

impl Outbox {
    /// Has something dropped elsewhere. Does not wait.
    pub fn send(&self, leaving: impl Send + 'static) {
        if bug!("departed-kept") {
            return std::mem::forget(leaving);
        }
        let counted = Counted::new(&self.under_way);
        // Where the thread has ended, it comes back and is dropped here.
        let _ = self.sender.send(Leaving { _what: Box::new(leaving), _counted: counted });
    }

    /// Waits until so little is under way that more may be sent. Nobody's guard keeps what was sent.
    pub fn wait_for_room(&self) {
        while self.under_way.load(Ordering::Relaxed) >= UNDER_WAY_MAX
            && !bug!("departures-unbounded")
        {
            thread::sleep(LOOK_AGAIN);
        }
    }
}

/// The thread, while there is one.
#[derive(Default)]
pub struct Departed {
    running: Option<Running>,
}

struct Running {
    outbox: Outbox,
    thread: JoinHandle<()>,
}

impl Departed {
    /// Sees to it that there is a thread, if one is to be had.
    pub fn begin(&mut self) {
        if self.running.as_ref().is_some_and(|running| !running.thread.is_finished()) {
            return;
        }
        let (sender, inbox) = mpsc::channel();
        let started = thread::Builder::new().name(THREAD.into()).spawn(move || give_back(&inbox));
        let outbox = Outbox { sender, under_way: Arc::default() };
        self.running = started.ok().map(|thread| Running { outbox, thread });
    }

    /// Where to send what goes, if there is a thread.
    pub fn outbox(&self) -> Option<Outbox> {
        self.running.as_ref().map(|running| running.outbox.clone())
    }

    /// What to wait for until all that was sent is given back, but for what somebody still holds. Nothing more
    /// is to be sent.
    pub fn end(&mut self) -> Option<JoinHandle<()>> {
        let thread = self.running.take()?.thread;
        // It may be the one that drops the last of a store.
        Some(thread).filter(|thread| thread.thread().id() != thread::current().id())
    }
}

fn give_back(inbox: &Receiver<Leaving>) {
    let mut idle = 0;
    while idle < IDLE_LOOKS_MAX {
        match inbox.recv_timeout(LOOK_AGAIN) {
            Ok(leaving) => {
                drop(leaving);
                idle = 0;
            }
            Err(RecvTimeoutError::Timeout) => {
                pin().flush();
                idle += 1;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// Tells where it was dropped.
    struct Told(Arc<Mutex<Vec<Option<String>>>>);

    impl Drop for Told {
        fn drop(&mut self) {
            self.0.lock().unwrap().push(thread::current().name().map(str::to_owned));
        }
    }

    #[test]
    fn what_is_sent_is_dropped_on_the_thread_and_afterwards_where_it_is_sent() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let mut departed = Departed::default();
        assert!(departed.outbox().is_none() && departed.end().is_none());
        departed.begin();
        departed.begin();
        let outbox = departed.outbox().unwrap();
        (0..3).for_each(|_| outbox.send(Told(Arc::clone(&told))));
        let thread = departed.end().unwrap();
        drop(outbox);
        thread.join().unwrap();
        assert_eq!(*told.lock().unwrap(), vec![Some(THREAD.to_owned()); 3]);

        departed.begin();
        let outbox = departed.outbox().unwrap();
        // It ends by itself, though something might still be sent.
        while !departed.running.as_ref().unwrap().thread.is_finished() {
            thread::sleep(LOOK_AGAIN);
        }
        outbox.send(Told(Arc::clone(&told)));
        assert_eq!(told.lock().unwrap().len(), 4);
        departed.begin();
        assert!(!departed.running.as_ref().unwrap().thread.is_finished(), "there is a new one");
    }
}
