//! The steps of a sequence, and how often each comes.
#![forbid(unsafe_code)]

use drystone::HashAlgorithm;
use proptest::collection::vec;
use proptest::prelude::*;

/// Contents that may be put in; a blob is its number among them.
pub const SIZES: [usize; 20] = [
    0, 1, 63, 64, 65, 500, 501, 502, 4096, 4097, 5000, 20_000, 65_535, 65_536, 65_537, 100_000,
    200_000, 300_000, 1_100_000, 2_097_153,
];
/// Keys of refs.
pub const KEYS: usize = 8;
/// Openings of the store that are used in turn.
pub const OPENINGS: usize = 3;

#[derive(Clone, Debug)]
pub struct Case {
    pub hash: HashAlgorithm,
    pub steps: Vec<(usize, Step)>,
}

/// What a ref is set to.
#[derive(Clone, Debug)]
pub enum To {
    Bytes(usize),
    /// So many bytes that they are a blob: this one's.
    Long(usize),
    Blob(usize),
    Blobs(Vec<usize>),
    Expired,
}

/// Which version a compare_and_set expects.
#[derive(Clone, Copy, Debug)]
pub enum Expected {
    Absent,
    Current,
    Stale,
}

#[derive(Clone, Debug)]
pub enum Step {
    Put(usize),
    PutMany(Vec<usize>),
    PutReader(usize),
    /// A draft with this content, which is named by a key, pinned, or dropped.
    Draft(usize, Option<Option<usize>>),
    Get(usize),
    GetMany(Vec<usize>),
    ReadPart(usize, u64),
    Remove(usize),
    Unpin(usize),
    Set(usize, To),
    Add(usize, To),
    CompareAndSet(usize, Expected, To),
    RemoveRef(usize),
    GetRef(usize),
    /// Puts so many blobs that nobody asks for, so that the index grows.
    Grow(usize),
    Sync,
    /// Gives up what nothing names; all of it, or what is worth it.
    Compact(bool),
    Reopen,
    Reboot,
    /// Everything is looked at, by this opening and by one that only reads.
    Check,
}

fn blob() -> impl Strategy<Value = usize> {
    // The large ones more seldom.
    prop_oneof![12 => 0..12usize, 5 => 12..18usize, 1 => 18..SIZES.len()]
}

fn blobs() -> impl Strategy<Value = Vec<usize>> {
    vec(blob(), 0..6)
}

fn to() -> impl Strategy<Value = To> {
    prop_oneof![
        3 => (0..300usize).prop_map(To::Bytes),
        1 => Just(To::Bytes(4096)),
        2 => (9..SIZES.len() - 2).prop_map(To::Long),
        4 => blob().prop_map(To::Blob),
        2 => blobs().prop_map(To::Blobs),
        1 => Just(To::Expired),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    use Step::*;
    let key = || 0..KEYS;
    let expected = prop_oneof![
        2 => Just(Expected::Absent),
        3 => Just(Expected::Current),
        1 => Just(Expected::Stale)
    ];
    let draft = prop_oneof![Just(None), Just(Some(None)), key().prop_map(|key| Some(Some(key)))];
    prop_oneof![
        10 => blob().prop_map(Put),
        3 => blobs().prop_map(PutMany),
        2 => blob().prop_map(PutReader),
        3 => (blob(), draft).prop_map(|(blob, end)| Draft(blob, end)),
        5 => blob().prop_map(Get),
        2 => blobs().prop_map(GetMany),
        2 => (blob(), any::<u64>()).prop_map(|(blob, at)| ReadPart(blob, at)),
        7 => blob().prop_map(Remove),
        4 => blob().prop_map(Unpin),
        7 => (key(), to()).prop_map(|(key, to)| Set(key, to)),
        4 => (key(), to()).prop_map(|(key, to)| Add(key, to)),
        6 => (key(), expected, to()).prop_map(|(key, e, to)| CompareAndSet(key, e, to)),
        4 => key().prop_map(RemoveRef),
        4 => key().prop_map(GetRef),
        1 => (1..200usize).prop_map(Grow),
        1 => Just(Sync),
        3 => any::<bool>().prop_map(Compact),
        2 => Just(Reopen),
        2 => Just(Reboot),
        2 => Just(Check),
    ]
}

pub fn cases() -> impl Strategy<Value = Case> {
    let hash = prop_oneof![Just(HashAlgorithm::Xxh3), Just(HashAlgorithm::Blake3)];
    (hash, vec((0..OPENINGS, step()), 1..120)).prop_map(|(hash, steps)| Case { hash, steps })
}
