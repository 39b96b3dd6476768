//! What may be seen after a power loss, by what was done before it and how it was acknowledged.
//!
//! An event says that a key had a state at some moment between its begin and its end. An event that was
//! acknowledged under `Synced`, or before a `sync` began that succeeded, is durable: then the key has
//! its state, or that of an event that did not end before the durable one began.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

/// What has a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A blob, by the number of its content.
    Blob(u8),
    /// Its pin.
    Pin(u8),
    /// A ref.
    Name(u8),
}

/// A state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Not there, or removed.
    Absent,
    /// There: a blob or pin.
    There,
    /// A ref to these bytes.
    Inline(u8),
    /// A ref to one blob.
    One(u8),
    /// A ref to several.
    Many(Vec<u8>),
}

impl State {
    /// The blobs that it names.
    pub fn blobs(&self) -> &[u8] {
        match self {
            Self::One(blob) => std::slice::from_ref(blob),
            Self::Many(blobs) => blobs,
            _ => &[],
        }
    }
}

/// A moment: its place among all moments of the test, and how much had happened to the disk.
#[derive(Clone, Copy, Debug)]
struct Moment {
    tick: u64,
    op: usize,
}

#[derive(Clone, Debug)]
struct Event {
    key: Key,
    state: State,
    begin: Moment,
    end: Option<Moment>,
    is_acknowledged: bool,
    is_synced: bool,
    is_void: bool,
    /// Of a ref that was there before the power loss: whether a blob that it names may have been
    /// removed, so that it reads as absent. One whose blob was lost is passed over.
    may_hide: bool,
}

/// What may be seen.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    tick: u64,
    events: Vec<Event>,
    /// Syncs that succeeded.
    syncs: Vec<(Moment, Moment)>,
    /// How much had happened when each compaction began.
    compactions: Vec<usize>,
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was acknowledged.
    Acknowledged,
    /// It may have had its effect, and nobody was told.
    Unknown,
    /// It certainly had none.
    Void,
}

impl Oracle {
    fn moment(&mut self, op: usize) -> Moment {
        self.tick += 1;
        Moment { tick: self.tick, op }
    }

    /// An operation begins that gives these keys these states.
    pub fn begin(&mut self, effects: &[(Key, State)], is_synced: bool, op: usize) -> Vec<usize> {
        let begin = self.moment(op);
        let first = self.events.len();
        self.events.extend(effects.iter().map(|(key, state)| Event {
            key: *key,
            state: state.clone(),
            begin,
            end: None,
            is_acknowledged: false,
            is_synced,
            is_void: false,
            may_hide: false,
        }));
        (first..self.events.len()).collect()
    }

    /// It ends.
    pub fn end(&mut self, events: &[usize], ending: Ending, op: usize) {
        let end = self.moment(op);
        for &event in events {
            let event = &mut self.events[event];
            event.end = Some(end);
            event.is_acknowledged = ending == Ending::Acknowledged;
            event.is_void = ending == Ending::Void;
        }
    }

    /// A `sync` begins.
    pub fn begin_sync(&mut self, op: usize) -> (u64, usize) {
        let Moment { tick, op } = self.moment(op);
        (tick, op)
    }

    /// It has succeeded.
    pub fn end_sync(&mut self, (tick, begin): (u64, usize), op: usize) {
        let end = self.moment(op);
        self.syncs.push((Moment { tick, op: begin }, end));
    }

    /// A compaction begins: blobs that nothing names may go from now on.
    pub fn begin_compaction(&mut self, op: usize) {
        self.compactions.push(op);
    }

    /// The keys that anything was ever done to.
    pub fn keys(&self) -> BTreeSet<Key> {
        self.events.iter().map(|event| event.key).collect()
    }

    /// Moments after which more is durable than before.
    pub fn acknowledgements(&self) -> Vec<usize> {
        let synced = self.events.iter().filter(|event| event.is_acknowledged && event.is_synced);
        let ends = synced.filter_map(|event| event.end).chain(self.syncs.iter().map(|sync| sync.1));
        ends.map(|end| end.op).collect()
    }

    /// How much was durable for certain when so much had happened.
    pub fn durable_count(&self, at: usize) -> usize {
        self.events.iter().filter(|event| self.is_durable(event, at)).count()
    }

    fn is_durable(&self, event: &Event, at: usize) -> bool {
        let Some(end) = event.end.filter(|_| event.is_acknowledged) else { return false };
        let by = |sync: &(Moment, Moment)| end.tick < sync.0.tick && sync.1.op <= at;
        (event.is_synced && end.op <= at) || self.syncs.iter().any(by)
    }

    /// The states that a key may show if the power goes when so much has happened.
    pub fn allowed(&self, key: Key, at: usize) -> BTreeSet<State> {
        let mut states = self.given(key, at);
        if let Key::Blob(blob) = key
            && self.compactions.iter().any(|begin| *begin < at)
            && !self.is_named(blob, at)
        {
            states.insert(State::Absent);
        }
        states
    }

    /// Whether there is a ref or pin that names a blob in every state that it may have: then it has
    /// named it ever since the one that is durable.
    fn is_named(&self, blob: u8, at: usize) -> bool {
        self.keys().into_iter().filter(|key| !matches!(key, Key::Blob(_))).any(|key| {
            let states = self.given(key, at);
            let names = |state: &State| match key {
                Key::Pin(pinned) => pinned == blob && *state == State::There,
                _ => state.blobs().contains(&blob),
            };
            !states.is_empty() && states.iter().all(names)
        })
    }

    /// The states that operations may have given to a key.
    fn given(&self, key: Key, at: usize) -> BTreeSet<State> {
        let of_key = || self.events.iter().filter(|event| event.key == key);
        let latest = of_key().filter(|event| self.is_durable(event, at));
        let latest = latest.map(|event| event.begin.tick).max().unwrap_or(0);
        let is_superseded = |event: &&Event| event.end.is_some_and(|end| end.tick < latest);
        // What has written nothing by then has had no effect, or has found it there.
        let has_begun = |event: &&Event| event.begin.op < at || self.is_durable(event, at);
        let is_possible = |event: &&Event| !event.is_void && !is_superseded(event);
        let mut states: BTreeSet<State> = of_key()
            .filter(has_begun)
            .filter(is_possible)
            .map(|event| event.state.clone())
            .collect();
        if latest == 0 && !of_key().any(|event| event.begin.tick == 0) {
            states.insert(State::Absent);
        }
        states
    }

    /// After a power loss when so much had happened.
    pub fn after(&self, at: usize) -> Self {
        let mut after = Self::default();
        for key in self.keys() {
            for state in self.allowed(key, at) {
                let may_hide = self.may_hide(key, &state, at);
                after.add_first(key, state, may_hide);
            }
        }
        after
    }

    /// Whether a ref in this state may read as absent because a blob that it names was removed, or is
    /// still not there since.
    fn may_hide(&self, key: Key, state: &State, at: usize) -> bool {
        let was_hidden =
            |event: &Event| event.key == key && event.state == *state && event.may_hide;
        let pinned = match key {
            Key::Pin(blob) => Some(blob),
            _ => None,
        };
        let is_removed = |blob: &u8| {
            self.events.iter().any(|event| {
                let is_removal = event.key == Key::Blob(*blob) && event.state == State::Absent;
                is_removal && event.begin.tick > 0 && !event.is_void && event.begin.op <= at
            })
        };
        self.events.iter().any(was_hidden) || state.blobs().iter().chain(&pinned).any(is_removed)
    }

    fn add_first(&mut self, key: Key, state: State, may_hide: bool) {
        let first = Moment { tick: 0, op: 0 };
        self.events.push(Event {
            key,
            state,
            begin: first,
            end: Some(first),
            is_acknowledged: true,
            is_synced: true,
            is_void: false,
            may_hide,
        });
    }

    /// The key was seen like this when nothing has been done yet: of the states that it may have had
    /// at first, these.
    fn settle(&mut self, key: Key, states: &BTreeSet<State>) {
        self.events.retain(|event| event.key != key || states.contains(&event.state));
    }

    /// Holds what is seen when nothing has been done yet against what may be seen, and knows it from
    /// then on.
    ///
    /// # Errors
    /// What is wrong.
    pub fn see(&mut self, seen: &Seen) -> Result<(), String> {
        for key in self.keys() {
            let allowed = self.allowed(key, 0);
            let possible = self.possible(key, &allowed, seen);
            if possible.is_empty() {
                let found = seen.of(key);
                return Err(format!("{key:?} is {found:?}, which is none of {allowed:?}"));
            }
            self.settle(key, &possible);
        }
        Ok(())
    }

    /// The states that a key may have, by how it is seen.
    fn possible(&self, key: Key, allowed: &BTreeSet<State>, seen: &Seen) -> BTreeSet<State> {
        let found = seen.of(key);
        let fits = |state: &&State| {
            let is_hidden = match key {
                Key::Pin(blob) => !seen.is_there(blob),
                _ => {
                    let hides = |event: &Event| {
                        event.key == key && event.state == **state && event.may_hide
                    };
                    self.events.iter().any(hides)
                        && state.blobs().iter().any(|blob| !seen.is_there(*blob))
                }
            };
            **state == found || (found == State::Absent && is_hidden)
        };
        allowed.iter().filter(fits).cloned().collect()
    }
}

/// What is seen in a store.
#[derive(Debug, Default)]
pub struct Seen {
    /// All that is not absent.
    pub states: BTreeMap<Key, State>,
}

impl Seen {
    fn of(&self, key: Key) -> State {
        self.states.get(&key).cloned().unwrap_or(State::Absent)
    }

    fn is_there(&self, blob: u8) -> bool {
        self.states.contains_key(&Key::Blob(blob))
    }
}
