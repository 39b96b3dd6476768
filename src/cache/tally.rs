//! Hits and misses, counted without a store to a line that others share: each thread has a stripe of this
//! process, and what has come together is added to the shared page now and then.
#![forbid(unsafe_code)]

use super::ledger::{Count, Ledger};
use crate::sync::machine::{AtomicU64, Ordering};
use std::cell::Cell;

/// Stripes; threads beyond share.
const STRIPES: usize = 16;
/// A stripe is emptied when so much has come together.
const FLUSH: u64 = 1 << 12;

thread_local! {
    static STRIPE: Cell<usize> = const { Cell::new(usize::MAX) };
}
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Two cache lines, which the hardware fetches together.
#[repr(align(128))]
#[derive(Default)]
struct Stripe([AtomicU64; 2]);

/// What this process has counted and not yet told.
#[derive(Default)]
pub struct Tally([Stripe; STRIPES]);

impl Tally {
    /// Counts a lookup.
    #[inline]
    pub fn note(&self, is_hit: bool, ledger: &Ledger) {
        let stripe = STRIPE.with(|stripe| {
            if stripe.get() == usize::MAX {
                stripe.set(NEXT.fetch_add(1, Ordering::Relaxed) as usize % STRIPES);
            }
            stripe.get()
        });
        let count = &self.0[stripe].0[usize::from(!is_hit)];
        if count.fetch_add(1, Ordering::Relaxed) >= FLUSH {
            self.flush(ledger);
        }
    }

    /// Adds everything to the shared page.
    pub fn flush(&self, ledger: &Ledger) {
        for Stripe([hits, misses]) in &self.0 {
            ledger.tally(Count::Hits, hits.swap(0, Ordering::Relaxed));
            ledger.tally(Count::Misses, misses.swap(0, Ordering::Relaxed));
        }
    }
}
