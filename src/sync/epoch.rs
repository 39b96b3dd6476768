//! Pointers that readers follow without touching a reference count.
//!
//! One collector of the crate's own serves all stores of the process. A [`Slot`] holds an `Arc`; a
//! reader that is pinned borrows what is in it, and whoever replaces it puts off the drop until
//! nobody who was pinned then still is.
//!
//! I1  A reference handed out by [`Slot::get`] lives no longer than the guard it was read under.
//! I2  What a slot gave up is dropped only through `Guard::defer`, so after every guard that could
//!     have seen it.
//!
//! In a forked child the parent's other threads stay pinned for ever in the copied collector: there
//! nothing is freed any more, which leaks address space and harms nobody.
#![allow(unsafe_code)]

use super::{AtomicPtr, Ordering};
use crossbeam_epoch::{Collector, LocalHandle};
use std::marker::PhantomData;
use std::sync::{Arc, LazyLock};

static COLLECTOR: LazyLock<Collector> = LazyLock::new(Collector::new);

thread_local! {
    static HANDLE: LocalHandle = COLLECTOR.register();
}

/// Keeps alive what slots held when it was made.
pub struct Guard(crossbeam_epoch::Guard);

/// Pins this thread.
#[inline]
pub fn pin() -> Guard {
    let pinned = HANDLE.try_with(LocalHandle::pin);
    // While a thread is torn down its handle may be gone already.
    Guard(pinned.unwrap_or_else(|_| COLLECTOR.register().pin()))
}

impl Guard {
    /// Lets go of everything read under this guard, and pins again.
    pub fn repin(&mut self) {
        self.0.repin();
    }

    /// Lets what was given up under this guard go as soon as nobody can see it any more, and not when
    /// this thread has given up some more; and what others gave up, if it is time.
    pub fn flush(&self) {
        self.0.flush();
    }
}

/// A replaceable `Arc<T>`, or nothing.
pub struct Slot<T> {
    pointer: AtomicPtr<T>,
    owns: PhantomData<Arc<T>>,
}

/// What [`Slot::get`] found, alive as long as its guard.
pub struct Pinned<'g, T> {
    pointer: *const T,
    guard: PhantomData<&'g Guard>,
}

impl<T> Clone for Pinned<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Pinned<'_, T> {}

impl<'g, T> Pinned<'g, T> {
    /// The value.
    #[inline]
    pub fn as_ref(self) -> &'g T {
        // SAFETY: the pointer came out of a slot under the guard of lifetime 'g, so by I2 the `Arc`
        // that owns it is not dropped before that guard.
        unsafe { &*self.pointer }
    }

    /// A handle that outlives the guard.
    #[inline]
    pub fn to_arc(self) -> Arc<T> {
        // SAFETY: the pointer came from `Arc::into_raw` and by I2 at least one strong reference to
        // it exists while the guard does; the new `Arc` owns the count added here.
        unsafe {
            Arc::increment_strong_count(self.pointer);
            Arc::from_raw(self.pointer)
        }
    }
}

impl<T: Send + Sync + 'static> Slot<T> {
    /// An empty slot.
    pub fn new() -> Self {
        Self { pointer: AtomicPtr::new(std::ptr::null_mut()), owns: PhantomData }
    }

    /// What is in it. Acquire, partner of the release in [`Slot::replace`].
    #[inline]
    pub fn get<'g>(&self, _guard: &'g Guard) -> Option<Pinned<'g, T>> {
        let pointer = self.pointer.load(Ordering::Acquire).cast_const();
        (!pointer.is_null()).then_some(Pinned { pointer, guard: PhantomData })
    }

    /// Whether nothing but the slot (and guards) holds what is in it.
    pub fn is_unshared(&self, guard: &Guard) -> bool {
        self.get(guard).is_some_and(|pinned| Arc::strong_count(&pinned.to_arc()) == 2)
    }

    /// Puts something else in; what was there goes when nobody can see it any more.
    pub fn replace(&self, new: Option<Arc<T>>, guard: &Guard) {
        self.replace_and(new, guard, drop);
    }

    /// As [`replace`](Self::replace); what was there is handed on when nobody can see it any more, on some
    /// thread.
    pub fn replace_and(
        &self,
        new: Option<Arc<T>>,
        guard: &Guard,
        then: impl FnOnce(Arc<T>) + Send + 'static,
    ) {
        let new = new.map_or(std::ptr::null(), Arc::into_raw);
        let order = if bug!("slot-relaxed") { Ordering::Relaxed } else { Ordering::AcqRel };
        let old = self.pointer.swap(new.cast_mut(), order);
        if !old.is_null() {
            // SAFETY: the slot owned one count of `old`, which the swap moved to us alone.
            let old = unsafe { Arc::from_raw(old.cast_const()) };
            if bug!("freed-at-once") {
                return drop(old);
            }
            // SAFETY: an `Arc<T>` with `T: Send + Sync` may be dropped on any thread, and so may `then`, which
            // is `Send` and borrows nothing, be called there.
            unsafe { guard.0.defer_unchecked(move || then(old)) };
        }
    }
}

impl<T: Send + Sync + 'static> Default for Slot<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Drop for Slot<T> {
    fn drop(&mut self) {
        let pointer = self.pointer.load(Ordering::Acquire);
        if !pointer.is_null() {
            // SAFETY: `&mut self` proves that no reader can reach the slot any more, and `Pinned`
            // borrows from a guard taken while the slot was reachable; owners of slots keep them in
            // an `Arc` that readers hold, so none outlives it. The slot owns one count.
            drop(unsafe { Arc::from_raw(pointer.cast_const()) });
        }
    }
}

// SAFETY: a slot is an `Arc<T>` behind an atomic pointer; sharing it shares `T` between threads.
unsafe impl<T: Send + Sync> Send for Slot<T> {}
// SAFETY: `get` and `replace` exchange the pointer atomically, and hand out only `&T` and `Arc<T>`.
unsafe impl<T: Send + Sync> Sync for Slot<T> {}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_a_guard_sees_outlives_its_replacement() {
        let slot = Slot::new();
        let guard = pin();
        slot.replace(Some(Arc::new(String::from("first"))), &guard);
        let seen = slot.get(&guard).unwrap();
        let kept = seen.to_arc();
        slot.replace(Some(Arc::new(String::from("second"))), &guard);
        assert_eq!(seen.as_ref(), "first");
        drop(guard);
        assert_eq!(*kept, "first");
        assert_eq!(slot.get(&pin()).unwrap().as_ref(), "second");
        slot.replace(None, &pin());
        assert!(slot.get(&pin()).is_none());
    }
}
