//! What participants are to do.

use crate::world::{At, Key, NONE, is_ref, name_of};
use std::fmt::{self, Display, Formatter};

/// An operation of a participant.
#[derive(Clone, Copy, Debug)]
pub enum Op {
    /// Puts a blob together with a ref to it.
    Put { blob: Key, name: Key, sync: bool },
    /// Sets a ref to a blob, or to small bytes where that is [`NONE`].
    Set { blob: Key, name: Key, sync: bool },
    /// Sets a ref to small bytes if there is none.
    Add { name: Key, sync: bool },
    /// Removes a ref or a blob.
    Remove { key: Key, sync: bool },
    /// Removes a ref that has expired, as the collector does.
    Expire { key: Key },
    /// Makes everything that is visible last.
    Sync,
    /// Seals one's segment.
    Seal,
    /// Condemn, in flight, walk, sweep.
    Collect,
    /// Rewrites all sealed segments, and drops tombstones.
    Compact,
    /// Builds the run of this boot, if there is none.
    Recover,
    /// Grows the index.
    Grow,
}

impl Display for Op {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let synced = |sync: bool| if sync { ", synced" } else { "" };
        match *self {
            Self::Put { blob, name, sync } => {
                write!(f, "put({}, {}{})", name_of(blob), name_of(name), synced(sync))
            }
            Self::Set { blob: NONE, name, sync } => {
                write!(f, "set({}{})", name_of(name), synced(sync))
            }
            Self::Set { blob, name, sync } => {
                write!(f, "set({}, {}{})", name_of(name), name_of(blob), synced(sync))
            }
            Self::Add { name, sync } => write!(f, "add({}{})", name_of(name), synced(sync)),
            Self::Remove { key, sync } => write!(f, "remove({}{})", name_of(key), synced(sync)),
            Self::Expire { key } => write!(f, "expire({})", name_of(key)),
            _ => write!(f, "{self:?}"),
        }
    }
}

/// Who does what, and what may happen meanwhile.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: String,
    /// What each participant does: in this boot, after the first power loss, after the second.
    pub acts: Vec<Vec<Vec<Op>>>,
    /// Participants of the first act whose operations come first, alone and undisturbed.
    pub prologue: usize,
    /// At most so many participants are killed.
    pub kills: u8,
    /// Whether each state's recoveries from a power loss are checked.
    pub power: bool,
    /// Whether appenders take up open segments of others.
    pub takes_up: bool,
    /// Whether the participants are threads of one process, which share what they know to last.
    pub is_one_process: bool,
    /// Who dies in the first act, in which of its operations, before which step.
    pub death: Option<(usize, u8, At)>,
    /// The versions of a ref that have expired, up to a number.
    pub expired: Option<(Key, u8)>,
    /// Records that a compactor copies at most.
    pub budget: u8,
}

impl Scenario {
    pub fn new(name: &str, acts: &[&[&[Op]]]) -> Self {
        let act = |act: &&[&[Op]]| act.iter().map(|ops| ops.to_vec()).collect();
        Self {
            name: name.into(),
            acts: acts.iter().map(act).collect(),
            prologue: 0,
            kills: 0,
            power: true,
            takes_up: false,
            is_one_process: false,
            death: None,
            expired: None,
            budget: u8::MAX,
        }
    }

    /// The first `count` participants do what they do first, one after another.
    pub fn after(self, count: usize) -> Self {
        Self { prologue: count, ..self }
    }

    pub fn kills(self, kills: u8) -> Self {
        Self { kills, ..self }
    }

    pub fn without_power_loss(self) -> Self {
        Self { power: false, ..self }
    }

    pub fn taking_up(self) -> Self {
        Self { takes_up: true, ..self }
    }

    /// A participant dies in its operation with this number, before this step.
    pub fn dying(self, who: usize, op: u8, at: At) -> Self {
        Self { death: Some((who, op, at)), ..self }
    }

    /// The versions of a ref up to this number have expired.
    pub fn expired(self, name: Key, number: u8) -> Self {
        Self { expired: Some((name, number)), ..self }
    }

    pub fn in_one_process(self) -> Self {
        Self { is_one_process: true, ..self }
    }

    pub fn copying_at_most(self, budget: u8) -> Self {
        Self { budget, ..self }
    }

    /// Whether anybody removes a blob: then a ref to it may read as absent.
    pub fn removes_blobs(&self) -> bool {
        let removes = |op: &Op| matches!(op, Op::Remove { key, .. } if !is_ref(*key));
        self.acts.iter().flatten().flatten().any(removes)
    }
}
