//! One blob and one key, and what each operation does to them, in one step.
#![forbid(unsafe_code)]

use crate::support::bytes;
use drystone::{BlobId, Durability, Error, ErrorKind, SetOptions, Store, Value, Version};
use std::collections::HashSet;

/// An operation on the one blob or the one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    Put,
    PutMany,
    Draft,
    Remove,
    Unpin,
    /// The key to the blob.
    Name,
    /// The key to the blob's bytes, which are put with it.
    NameLong,
    /// The key to this byte.
    Set(u8),
    /// To this byte if it is still what it was at first.
    Swap(u8),
    Add(u8),
    RemoveRef,
}

pub const OPS: [Op; 11] = [
    Op::Put,
    Op::PutMany,
    Op::Draft,
    Op::Remove,
    Op::Unpin,
    Op::Name,
    Op::NameLong,
    Op::Set(1),
    Op::Swap(2),
    Op::Add(3),
    Op::RemoveRef,
];

/// Whether an operation took effect.
pub type Took = bool;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    Blob,
    Byte(u8),
}

/// What can be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seen {
    pub blob: bool,
    pub pinned: bool,
    pub key: Option<Key>,
}

/// What is there, seen or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct State {
    blob: bool,
    pin: bool,
    key: Option<Key>,
    /// Whether the key is what it was when the race began.
    is_first: bool,
    had_key: bool,
}

impl State {
    pub fn seen(&self) -> Seen {
        let key = self.key.filter(|key| self.blob || *key != Key::Blob);
        Seen { blob: self.blob, pinned: self.blob && self.pin, key }
    }

    /// The race begins.
    pub fn begin(mut self) -> Self {
        self.is_first = true;
        self.had_key = self.seen().key.is_some();
        self
    }

    fn bind(&mut self, key: Key) -> Took {
        self.key = Some(key);
        self.is_first = false;
        true
    }

    pub fn apply(&mut self, op: Op) -> Took {
        let seen = self.seen();
        match op {
            Op::Put | Op::PutMany | Op::Draft => {
                (self.blob, self.pin) = (true, true);
                true
            }
            Op::Remove => std::mem::take(&mut self.blob),
            Op::Unpin => std::mem::take(&mut self.pin) && self.blob,
            Op::Name => self.blob && self.bind(Key::Blob),
            Op::NameLong => {
                self.blob = true;
                self.bind(Key::Blob)
            }
            Op::Set(byte) => self.bind(Key::Byte(byte)),
            Op::Swap(byte) => {
                let matches = if self.had_key {
                    self.is_first && seen.key.is_some()
                } else {
                    seen.key.is_none()
                };
                matches && self.bind(Key::Byte(byte))
            }
            Op::Add(byte) => seen.key.is_none() && self.bind(Key::Byte(byte)),
            Op::RemoveRef => {
                (self.key, self.is_first) = (None, false);
                seen.key.is_some()
            }
        }
    }
}

impl State {
    /// What an operation did that took effect, whatever it saw.
    fn took(&mut self, op: Op) {
        match op {
            Op::Name => self.bind(Key::Blob),
            Op::Swap(byte) | Op::Add(byte) => self.bind(Key::Byte(byte)),
            op => self.apply(op),
        };
    }
}

/// All that a power cut may leave of `others`, which took effect and last, and of `one`, which was
/// under way. What they saw of it need not last: a key set because a blob was being removed stays
/// set, though the blob comes back.
pub fn remains(start: State, others: &[Op], one: Op) -> HashSet<Seen> {
    let positions = (0..=others.len()).map(Some).chain([None]);
    positions
        .map(|position| {
            let mut state = start;
            for (at, &op) in others.iter().enumerate() {
                if position == Some(at) {
                    state.apply(one);
                }
                state.took(op);
            }
            if position == Some(others.len()) {
                state.apply(one);
            }
            state.seen()
        })
        .collect()
}

/// All that may come of `others` in order, and `one` somewhere between them (or not at all).
pub fn outcomes(start: State, others: &[Op], one: Op, may_lack: bool) -> HashSet<Outcome> {
    let positions = (0..=others.len()).map(Some).chain(may_lack.then_some(None));
    positions
        .map(|position| {
            let mut state = start;
            let (mut of_one, mut of_others) = (None, Vec::new());
            for (at, &op) in others.iter().enumerate() {
                if position == Some(at) {
                    of_one = Some(state.apply(one));
                }
                of_others.push(state.apply(op));
            }
            if position == Some(others.len()) {
                of_one = Some(state.apply(one));
            }
            Outcome { seen: state.seen(), of_one, of_others }
        })
        .collect()
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Outcome {
    pub seen: Seen,
    pub of_one: Option<Took>,
    pub of_others: Vec<Took>,
}

/// The blob and the key in a store.
#[derive(Clone)]
pub struct Subject {
    pub content: Vec<u8>,
    pub id: BlobId,
    pub durability: Durability,
    /// The version that the key had when the race began.
    pub first: Option<Version>,
}

impl Subject {
    pub fn new(store: &Store, len: usize, durability: Durability) -> Self {
        let content = bytes(len, 1);
        let id = id_of(store, &content);
        Self { content, id, durability, first: None }
    }

    /// Does it to the store (which was opened with the durability wanted).
    pub fn apply(&self, store: &Store, op: Op) -> Took {
        let (refs, options) = (store.refs("r"), SetOptions::new().durability(self.durability));
        let byte = |byte: u8| Value::Bytes(vec![byte]);
        match op {
            Op::Put => store.put(&self.content).map(|_| true).unwrap(),
            Op::PutMany => {
                let other = bytes(33, 2);
                store.put_many(&[&other, &self.content]).map(|_| true).unwrap()
            }
            Op::Draft => {
                let mut draft = store.reserve(self.content.len() as u64).unwrap();
                draft.copy_from_slice(&self.content);
                draft.commit().map(|_| true).unwrap()
            }
            Op::Remove => store.remove(&self.id).unwrap(),
            Op::Unpin => store.unpin(&self.id).unwrap(),
            Op::Name => or_missing(refs.set_with("k", self.id, &options).map(Some)),
            Op::NameLong => {
                or_missing(refs.set_with("k", self.content.clone(), &options).map(Some))
            }
            Op::Set(value) => or_missing(refs.set_with("k", byte(value), &options).map(Some)),
            Op::Swap(value) => {
                or_missing(refs.compare_and_set_with("k", self.first, byte(value), &options))
            }
            Op::Add(value) => {
                or_missing(refs.compare_and_set_with("k", None, byte(value), &options))
            }
            Op::RemoveRef => refs.remove("k").unwrap(),
        }
    }

    pub fn seen(&self, store: &Store) -> Seen {
        let stat = store.stat(&self.id).unwrap();
        if stat.is_some() {
            assert!(crate::support::read(store, &self.id) == self.content);
        }
        let key = store.refs("r").get("k").unwrap().map(|entry| match entry.value {
            Value::Bytes(bytes) => Key::Byte(bytes[0]),
            Value::Blob(id) if id == self.id => Key::Blob,
            other => panic!("nobody has set {other:?}"),
        });
        Seen { blob: stat.is_some(), pinned: stat.is_some_and(|stat| stat.pinned), key }
    }
}

fn or_missing(set: Result<Option<Version>, Error>) -> Took {
    match set {
        Ok(set) => set.is_some(),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
            false
        }
    }
}

fn id_of(store: &Store, content: &[u8]) -> BlobId {
    let digest = twox_hash::XxHash3_128::oneshot(content).to_be_bytes();
    BlobId::from_digest(store.hash_algorithm(), &digest).unwrap()
}
