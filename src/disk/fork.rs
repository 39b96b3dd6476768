//! What happens to locks when the process forks.
//!
//! A child shares the open file descriptions of its parent, and with them the locks: they would
//! outlive the parent's death in a child that knows nothing of them. So every descriptor that bears
//! a lock is entered here before it locks, and a handler in the child replaces it.
//!
//! - I1 A descriptor is entered before it first locks, and stays entered until it holds no lock.
//!   So whenever a fork happens, no descriptor that holds a lock escapes the handler.
//! - I2 The handler does not free the *number* of a descriptor: it puts an `O_PATH` descriptor of
//!   `/` in its place, so that the `File` that still stands in the child's memory closes its own
//!   number and not a stranger's that the kernel has given the same one. Only if there is no descriptor
//!   to be had (a limit) does it close, and marks the entry, so that the `File` does not.
//! - I3 The handler only makes system calls and touches atomics: the child of a process with threads
//!   may do nothing else (spec/SOUNDNESS.md, S7).
//! - I4 Entries are never given back to the allocator; free ones are used again.
//!
//! What the handler cannot see: a raw `clone` system call, and `posix_spawn`, which runs no handler but
//! always execs (all descriptors are close-on-exec).
//!
//! Death: of the parent, at any point: the child holds none of its locks.
#![allow(unsafe_code)]

use crate::error::{Error, Result};
use crate::sync::machine::{AtomicI32, AtomicPtr, AtomicU64, Ordering};
use nix::libc::{self, c_int};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::sync::OnceLock;

/// Nothing stands in this slot.
const FREE: i32 = -1;
/// The handler has closed the descriptor that stood here.
const CLOSED: i32 = -2;
/// Slots that are made at once.
const SLOTS: usize = 128;

/// How many forks lie between the first process of this line and this one.
static GENERATION: AtomicU64 = AtomicU64::new(0);
/// Descriptors that bear locks.
static FIRST: Chunk = Chunk::new();

struct Chunk {
    slots: [AtomicI32; SLOTS],
    next: AtomicPtr<Chunk>,
}

impl Chunk {
    const fn new() -> Self {
        Self {
            slots: [const { AtomicI32::new(FREE) }; SLOTS],
            next: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// The chunk after this one.
    fn next(&self) -> Option<&'static Chunk> {
        // SAFETY: what is stored here comes from `Box::leak` and is never freed (I4).
        unsafe { self.next.load(Ordering::Acquire).as_ref() }
    }

    /// The chunk after this one; made if there is none.
    fn next_or_new(&self) -> &'static Chunk {
        if let Some(next) = self.next() {
            return next;
        }
        let new: *mut Chunk = Box::into_raw(Box::new(Chunk::new()));
        let null = ptr::null_mut();
        match self.next.compare_exchange(null, new, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: just leaked; never freed from here on.
            Ok(_) => unsafe { &*new },
            Err(other) => {
                // SAFETY: nobody else has seen `new`, which came from a box; `other` was leaked by
                // whoever was first.
                unsafe {
                    drop(Box::from_raw(new));
                    &*other
                }
            }
        }
    }

    /// Enters a descriptor in a free slot of this chunk.
    fn enter(&'static self, fd: i32) -> Option<&'static AtomicI32> {
        self.slots.iter().find(|slot| {
            slot.load(Ordering::Relaxed) == FREE
                && slot.compare_exchange(FREE, fd, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        })
    }
}

/// A number that is another one in every forked child: what is tied to the process remembers it.
#[inline]
pub fn fork_generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

/// Sets the handler up, once per process (and its children).
pub fn watch() -> Result<()> {
    // SAFETY: the declaration is that of POSIX.
    unsafe extern "C" {
        // glibc has it in libc_nonshared.a; the `libc` crate does not declare it.
        fn pthread_atfork(
            prepare: Option<extern "C" fn()>,
            parent: Option<extern "C" fn()>,
            child: Option<extern "C" fn()>,
        ) -> c_int;
    }
    static CODE: OnceLock<c_int> = OnceLock::new();
    // SAFETY: the signature is POSIX's, and `in_child` may run in the child of a process with
    // threads (I3, S7).
    match *CODE.get_or_init(|| unsafe { pthread_atfork(None, None, Some(in_child)) }) {
        0 => Ok(()),
        code => Err(Error::io("cannot watch for forks", io::Error::from_raw_os_error(code))),
    }
}

/// Runs in the child, before `fork` returns there.
extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    if bug!("locks-forked") {
        return;
    }
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
    let mut substitute = -1;
    let mut chunk = Some(&FIRST);
    while let Some(Chunk { slots, next: _ }) = chunk {
        for slot in slots {
            let fd = slot.load(Ordering::Relaxed);
            if fd < 0 {
                continue;
            }
            if substitute < 0 {
                // SAFETY: a system call with a C string (S7).
                substitute = unsafe { libc::open(c"/".as_ptr(), flags) };
            }
            if substitute < 0 || !replace(fd, substitute) {
                slot.store(CLOSED, Ordering::Relaxed);
                // SAFETY: the number belongs to a `File` that sees CLOSED and leaves it alone (S7).
                unsafe { libc::close(fd) };
            }
        }
        chunk = chunk.and_then(Chunk::next);
    }
    if substitute >= 0 {
        // SAFETY: opened above, and known to nobody else.
        unsafe { libc::close(substitute) };
    }
}

/// Puts a duplicate of `substitute` in the place of `fd`.
fn replace(fd: i32, substitute: i32) -> bool {
    loop {
        // SAFETY: a system call; the number `fd` belongs to a `File` that does no more with it than
        // close it, now that the generation has changed.
        let code = unsafe { libc::dup3(substitute, fd, libc::O_CLOEXEC) };
        // SAFETY: the address of errno is valid in every thread.
        let errno = unsafe { *libc::__errno_location() };
        match (code, errno) {
            (0.., _) => return true,
            (_, libc::EINTR | libc::EBUSY) => {}
            _ => return false,
        }
    }
}

/// The entry of a descriptor that bears locks.
#[derive(Debug)]
pub struct Entry {
    slot: &'static AtomicI32,
    generation: u64,
}

impl Entry {
    /// Enters a descriptor. It must not be closed before [`Entry::leave`].
    pub fn new(fd: BorrowedFd<'_>) -> Self {
        let generation = fork_generation();
        let mut chunk: &'static Chunk = &FIRST;
        loop {
            match chunk.enter(fd.as_raw_fd()) {
                Some(slot) => return Self { slot, generation },
                None => chunk = chunk.next_or_new(),
            }
        }
    }

    /// Whether this process is a child of the one that entered the descriptor, which then no longer
    /// is what it was.
    pub fn is_forked(&self) -> bool {
        self.generation != fork_generation()
    }

    /// Takes the entry out, once the descriptor holds no lock; `false` if the handler has closed the
    /// descriptor, whose number then belongs to somebody else.
    #[must_use]
    pub fn leave(self) -> bool {
        self.slot.swap(FREE, Ordering::AcqRel) != CLOSED
    }
}
