//! Whether an order of operations explains what everybody was told: an exact search that goes through
//! a history once, forward in time.
//!
//! It keeps the frontier: all configurations (a state, and which of the operations under way have taken
//! effect) that explain everything so far. An operation takes effect at the latest when it ends, so only
//! there the frontier moves: each configuration in which it has not taken effect yet is carried on, by
//! effects of operations under way, to where it has. When none is left, nothing explains the history.
//!
//! Three rules keep the frontier narrow and lose nothing. An operation that only looks takes effect as
//! soon as it can. What may never have happened is done only where that makes a difference: of two
//! configurations with one state, the one that has more of it in hand serves for both. And effects are
//! put off: they come only before the end of somebody else's operation that may need them.
#![forbid(unsafe_code)]

use std::fmt::Debug;

/// Operations that may be under way at a time.
const OPEN_MAX: usize = 64;
/// Configurations beyond which a search is given up, loudly.
const WIDTH_MAX: usize = 50_000;

/// What the operations of one key do.
pub trait Model {
    type State: Copy + Eq + Debug;
    type Operation: Debug;

    /// The state after an operation has taken effect, with the outcome that it had; `None` if it could
    /// not have had that.
    fn apply(&self, state: Self::State, operation: &Self::Operation) -> Option<Self::State>;
    /// Whether it never changes anything.
    fn only_looks(&self, operation: &Self::Operation) -> bool;
    /// What an operation may do besides while it is under way and has not taken effect.
    fn in_passing(&self, _: Self::State, _: &Self::Operation) -> Option<Self::State> {
        None
    }
    /// What may happen without anybody's operation.
    fn by_itself(&self, _: Self::State) -> Option<Self::State> {
        None
    }
}

/// An operation, and when it was under way.
#[derive(Clone, Copy, Debug)]
pub struct Timed<O> {
    pub operation: O,
    pub begin: u64,
    pub end: u64,
    /// Whether it was acknowledged; what was not may have taken effect or not.
    pub is_certain: bool,
}

/// Where no order explains a history any more.
#[derive(Debug)]
pub struct Unexplained {
    pub why: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Configuration<S> {
    state: S,
    /// Which of those under way have taken effect.
    done: u64,
}

struct Search<'a, M: Model> {
    model: &'a M,
    operations: &'a [Timed<M::Operation>],
    /// Those under way, by slot.
    open: [Option<usize>; OPEN_MAX],
    open_mask: u64,
    optional_mask: u64,
    looks_mask: u64,
    frontier: Vec<Configuration<M::State>>,
    widest: usize,
}

/// Looks for an order; the widest that the frontier has been.
pub fn explain<M: Model>(
    model: &M,
    initial: M::State,
    operations: &[Timed<M::Operation>],
) -> Result<usize, Unexplained> {
    let mut events = Vec::with_capacity(2 * operations.len());
    for (at, Timed { begin, end, .. }) in operations.iter().enumerate() {
        assert!(begin <= end, "an operation that ends before it begins");
        // At one instant beginnings come first: the clock does not tell them apart.
        events.push((*begin, false, at));
        events.push((*end, true, at));
    }
    events.sort_unstable();
    let mut search = Search {
        model,
        operations,
        open: [None; OPEN_MAX],
        open_mask: 0,
        optional_mask: 0,
        looks_mask: 0,
        frontier: vec![Configuration { state: initial, done: 0 }],
        widest: 1,
    };
    for (_, is_end, at) in events {
        if is_end { search.end(at)? } else { search.begin(at)? }
    }
    Ok(search.widest)
}

impl<M: Model> Search<'_, M> {
    fn begin(&mut self, at: usize) -> Result<(), Unexplained> {
        let slot = (!self.open_mask).trailing_zeros() as usize;
        if slot >= OPEN_MAX {
            return Err(self.give_up(at, "more operations at a time than there is room for"));
        }
        self.open[slot] = Some(at);
        self.open_mask |= 1 << slot;
        let Timed { operation, is_certain, .. } = &self.operations[at];
        self.optional_mask |= u64::from(!is_certain) << slot;
        self.looks_mask |= u64::from(self.model.only_looks(operation)) << slot;
        Ok(())
    }

    fn end(&mut self, at: usize) -> Result<(), Unexplained> {
        let slot = self.open.iter().position(|open| *open == Some(at)).expect("it has begun");
        let bit = 1 << slot;
        let mut ended = Vec::new();
        if let Err(why) = self.carry_on(slot, &mut ended) {
            return Err(self.give_up(at, why));
        }
        if ended.is_empty() {
            return Err(self.give_up(at, "no order explains this outcome"));
        }
        self.open[slot] = None;
        for mask in [&mut self.open_mask, &mut self.optional_mask, &mut self.looks_mask] {
            *mask &= !bit;
        }
        ended.iter_mut().for_each(|configuration| configuration.done &= !bit);
        self.frontier = self.without_surplus(ended);
        self.widest = self.widest.max(self.frontier.len());
        Ok(())
    }

    /// Carries every configuration to where the operation in `slot` has taken effect; one that may
    /// never have done so may also have come to its end in between.
    fn carry_on(
        &self,
        slot: usize,
        ended: &mut Vec<Configuration<M::State>>,
    ) -> Result<(), &'static str> {
        let is_optional = self.optional_mask >> slot & 1 == 1;
        let mut seen: Vec<Configuration<M::State>> = Vec::new();
        let mut open = self.frontier.clone();
        while let Some(configuration) = open.pop() {
            let configuration = self.look(configuration);
            if seen.contains(&configuration) {
                continue;
            }
            seen.push(configuration);
            if seen.len() > WIDTH_MAX {
                return Err("too many configurations to go on");
            }
            let is_done = configuration.done >> slot & 1 == 1;
            if is_done || is_optional {
                ended.push(configuration);
            }
            if is_done {
                continue;
            }
            self.step(configuration, &mut open);
        }
        Ok(())
    }

    /// Lets all take effect that only look and can.
    fn look(&self, mut configuration: Configuration<M::State>) -> Configuration<M::State> {
        for slot in slots(self.open_mask & self.looks_mask & !configuration.done) {
            if self.model.apply(configuration.state, self.operation(slot)).is_some() {
                configuration.done |= 1 << slot;
            }
        }
        configuration
    }

    /// Everything that may happen next.
    fn step(&self, from: Configuration<M::State>, next: &mut Vec<Configuration<M::State>>) {
        let Configuration { state, done } = from;
        for slot in slots(self.open_mask & !self.looks_mask & !done) {
            let operation = self.operation(slot);
            if let Some(state) = self.model.apply(state, operation) {
                next.push(Configuration { state, done: done | 1 << slot });
            }
            if let Some(state) = self.model.in_passing(state, operation) {
                next.push(Configuration { state, done });
            }
        }
        if let Some(state) = self.model.by_itself(state) {
            next.push(Configuration { state, done });
        }
    }

    fn operation(&self, slot: usize) -> &M::Operation {
        &self.operations[self.open[slot].expect("an operation under way")].operation
    }

    /// Without those that another one serves for.
    fn without_surplus(
        &self,
        mut all: Vec<Configuration<M::State>>,
    ) -> Vec<Configuration<M::State>> {
        if all.len() == 1 {
            return all;
        }
        all.sort_unstable_by_key(|configuration| configuration.done.count_ones());
        let mut kept: Vec<Configuration<M::State>> = Vec::new();
        for configuration in all {
            let serves = |other: &Configuration<M::State>| {
                let more = configuration.done & !other.done;
                other.state == configuration.state
                    && other.done & !configuration.done == 0
                    && more & !self.optional_mask == 0
            };
            if !kept.iter().any(serves) {
                kept.push(configuration);
            }
        }
        kept
    }

    fn give_up(&self, at: usize, why: &str) -> Unexplained {
        let under_way: Vec<_> =
            slots(self.open_mask).map(|slot| self.open[slot].unwrap()).collect();
        let of = |at: usize| format!("    {at}: {:?}", self.operations[at]);
        let told: Vec<String> = under_way.into_iter().map(of).collect();
        let states: Vec<_> = self.frontier.iter().take(20).collect();
        let why = format!(
            "{why}:\n{}\n  under way:\n{}\n  frontier ({}): {states:?}",
            of(at),
            told.join("\n"),
            self.frontier.len()
        );
        Unexplained { why }
    }
}

fn slots(mut mask: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let slot = (mask != 0).then(|| mask.trailing_zeros() as usize)?;
        mask &= mask - 1;
        Some(slot)
    })
}
