//! A blob as two bits: whether it is there, and whether it is pinned.
//!
//! A put takes effect twice: first the blob appears, then the pin. If it is removed or collected in
//! between, the put makes it appear again. So while a put is under way the blob may appear at any time,
//! and at one time both are there. A collector may take what is not pinned at any time.
//!
//! Removals leave the pin, and unpinning what was removed finds nothing to see; blobs of which some are
//! removed and others unpinned are therefore kept apart.
#![forbid(unsafe_code)]

use crate::frontier::Model;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    pub is_there: bool,
    pub is_pinned: bool,
}

/// A blob that has never been put.
pub const NEW: State = State { is_there: false, is_pinned: false };

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Put,
    /// Found, or not.
    Got(bool),
    /// Removed, or found that there was nothing.
    Removed(bool),
    /// Unpinned, or found no pin.
    Unpinned(bool),
}

pub struct Presence {
    /// Whether somebody collects.
    pub collects: bool,
}

impl Model for Presence {
    type State = State;
    type Operation = Operation;

    fn apply(&self, state: State, operation: &Operation) -> Option<State> {
        match *operation {
            Operation::Put => Some(State { is_there: true, is_pinned: true }),
            Operation::Got(found) => (state.is_there == found).then_some(state),
            Operation::Removed(true) => {
                state.is_there.then_some(State { is_there: false, ..state })
            }
            Operation::Removed(false) => (!state.is_there).then_some(state),
            Operation::Unpinned(true) => {
                state.is_pinned.then_some(State { is_pinned: false, ..state })
            }
            Operation::Unpinned(false) => (!state.is_pinned).then_some(state),
        }
    }

    fn only_looks(&self, operation: &Operation) -> bool {
        matches!(
            operation,
            Operation::Got(_) | Operation::Removed(false) | Operation::Unpinned(false)
        )
    }

    fn in_passing(&self, state: State, operation: &Operation) -> Option<State> {
        let appears = *operation == Operation::Put && !state.is_there;
        appears.then_some(State { is_there: true, ..state })
    }

    fn by_itself(&self, state: State) -> Option<State> {
        let is_taken = self.collects && state.is_there && !state.is_pinned;
        is_taken.then_some(State { is_there: false, ..state })
    }
}
