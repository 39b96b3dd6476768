//! A ref as a register: set, changed under a condition, removed, read. Every value is written once and
//! every write that was acknowledged has a version; versions grow in the order of the writes, so that
//! order is known but for the removals, and the search hardly branches.
#![forbid(unsafe_code)]

use crate::frontier::Model;

/// What a ref is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    Absent,
    /// The last version written.
    Last,
    /// What a write left that nobody was told of and nobody has seen.
    Unseen,
}

/// A ref, and the highest version that it has had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    pub last: u64,
    pub bound: Bound,
}

/// A ref that has never been set.
pub const UNSET: State = State { last: 0, bound: Bound::Absent };

/// What must hold for a ref to be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    Any,
    Absent,
    Version(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Set to this version; `None` if nobody knows which.
    Set(Expect, Option<u64>),
    /// Not set, because the condition did not hold.
    Declined(Expect),
    /// Removed, or found that there was nothing.
    Removed(bool),
    /// Seen in this version, or not.
    Got(Option<u64>),
}

pub struct Register;

fn holds(state: State, expect: Expect) -> bool {
    match expect {
        Expect::Any => true,
        Expect::Absent => state.bound == Bound::Absent,
        Expect::Version(version) => state.bound == Bound::Last && state.last == version,
    }
}

impl Model for Register {
    type State = State;
    type Operation = Operation;

    fn apply(&self, state: State, operation: &Operation) -> Option<State> {
        let is_there = state.bound != Bound::Absent;
        match *operation {
            Operation::Set(expect, version) => {
                let is_newer = version.is_none_or(|version| version > state.last);
                let bound = if version.is_some() { Bound::Last } else { Bound::Unseen };
                let last = version.unwrap_or(state.last);
                (holds(state, expect) && is_newer).then_some(State { last, bound })
            }
            Operation::Declined(expect) => (!holds(state, expect)).then_some(state),
            Operation::Removed(true) => is_there.then_some(State { bound: Bound::Absent, ..state }),
            Operation::Removed(false) | Operation::Got(None) => (!is_there).then_some(state),
            Operation::Got(Some(version)) => {
                (state.bound == Bound::Last && state.last == version).then_some(state)
            }
        }
    }

    fn only_looks(&self, operation: &Operation) -> bool {
        !matches!(operation, Operation::Set(..) | Operation::Removed(true))
    }
}
