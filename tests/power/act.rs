//! What processes do to a store, and what of it they are told.
#![forbid(unsafe_code)]

use crate::oracle::{Ending, Key, Oracle, Seen, State};
use crate::support::{Dice, KIB, bytes};
use drystone::disk::{Killed, SimDisk};
use drystone::{
    BlobId, CompactOptions, Durability, Error, ErrorKind, HashAlgorithm, PutOptions, SetOptions,
    Store, Value,
};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};

/// Lengths of the contents: in a page, across pages, with a segment of its own, so many that a segment
/// is full.
const LENS: [usize; 12] =
    [0, 100, 900, 3000, 5000, 9 * KIB, 40 * KIB, 60 * KIB, 61 * KIB, 62 * KIB, 66 * KIB, 100 * KIB];
/// Names.
const NAMES: u8 = 4;

struct Content {
    bytes: Vec<u8>,
    id: BlobId,
}

static CONTENTS: LazyLock<Vec<Content>> = LazyLock::new(|| {
    let content = |(seed, &len)| {
        let bytes = bytes(len, seed);
        let digest = drystone::hash::digest(HashAlgorithm::Xxh3, &bytes);
        let digest = &digest[..HashAlgorithm::Xxh3.digest_bytes()];
        let id = BlobId::from_digest(HashAlgorithm::Xxh3, digest).expect("a digest");
        Content { bytes, id }
    };
    (1..).zip(&LENS).map(content).collect()
});

fn content(blob: u8) -> &'static Content {
    &CONTENTS[blob as usize]
}

fn blob_of(id: &BlobId) -> Option<u8> {
    CONTENTS.iter().position(|content| content.id == *id).map(|at| at as u8)
}

/// What a process does.
#[derive(Clone, Debug)]
pub enum Action {
    Put(u8),
    PutMany(Vec<u8>),
    Draft(u8),
    DraftAs(u8, u8),
    Unpin(u8),
    Remove(u8),
    Set(u8, State),
    /// A ref to bytes that are put with it.
    SetLong(u8, u8),
    Add(u8, State),
    /// If nobody has set it since it was looked at.
    Swap(u8, State),
    RemoveRef(u8),
    Sync,
    /// Of all garbage, or where it is worth it.
    Compact(bool),
    /// Of all garbage, in two lanes.
    CompactInLanes,
}

/// Segments that second lanes have dealt with.
pub static BY_SECOND_LANES: AtomicU64 = AtomicU64::new(0);

impl Action {
    /// Any, of blobs up to this number.
    pub fn any(dice: &mut Dice, blobs: u8) -> Self {
        let blob = |dice: &mut Dice| dice.below(u64::from(blobs)) as u8;
        let name = |dice: &mut Dice| dice.below(u64::from(NAMES)) as u8;
        let state = |dice: &mut Dice| match dice.below(4) {
            0 => State::Inline(dice.below(250) as u8),
            1 | 2 => State::One(blob(dice)),
            _ => State::Many(vec![blob(dice), blob(dice)]),
        };
        match dice.below(29) {
            0..=6 => Self::Put(blob(dice)),
            7 => Self::PutMany((0..1 + dice.below(4)).map(|_| blob(dice)).collect()),
            8 => Self::Draft(blob(dice)),
            9 => Self::DraftAs(blob(dice), name(dice)),
            10 => Self::Unpin(blob(dice)),
            11..=13 => Self::Remove(blob(dice)),
            14..=17 => Self::Set(name(dice), state(dice)),
            18 => Self::SetLong(name(dice), 4 + dice.below(u64::from(blobs.max(5)) - 4) as u8),
            19 => Self::Add(name(dice), state(dice)),
            20 => Self::Swap(name(dice), state(dice)),
            21 | 22 => Self::RemoveRef(name(dice)),
            26..=28 => Self::Compact(dice.below(3) > 0),
            _ => Self::Sync,
        }
    }

    /// Whether it can be told when it is acknowledged.
    pub fn takes_durability(&self) -> bool {
        use Action::{Draft, DraftAs, PutMany, Remove, Unpin};
        !matches!(self, PutMany(_) | Draft(_) | DraftAs(..) | Unpin(_) | Remove(_))
    }

    /// The states that it gives to keys.
    pub fn effects(&self) -> Vec<(Key, State)> {
        let there = |blob: u8| (Key::Blob(blob), State::There);
        let pinned = |blob: u8| [there(blob), (Key::Pin(blob), State::There)];
        match self {
            Self::Put(blob) | Self::Draft(blob) => pinned(*blob).to_vec(),
            Self::PutMany(blobs) => blobs.iter().copied().flat_map(pinned).collect(),
            Self::DraftAs(blob, name) | Self::SetLong(name, blob) => {
                vec![there(*blob), (Key::Name(*name), State::One(*blob))]
            }
            Self::Unpin(blob) => vec![(Key::Pin(*blob), State::Absent)],
            Self::Remove(blob) => vec![(Key::Blob(*blob), State::Absent)],
            Self::Set(name, state) | Self::Add(name, state) | Self::Swap(name, state) => {
                let named = state.blobs().iter().copied().map(there);
                named.chain([(Key::Name(*name), state.clone())]).collect()
            }
            Self::RemoveRef(name) => vec![(Key::Name(*name), State::Absent)],
            Self::Sync | Self::Compact(_) | Self::CompactInLanes => Vec::new(),
        }
    }
}

/// A process and the store that it has opened.
#[derive(Clone)]
pub struct Actor {
    pub disk: SimDisk,
    pub store: Store,
    /// What its store was opened with: some operations take no other.
    pub durability: Durability,
    pub oracle: Arc<Mutex<Oracle>>,
}

/// Runs what a process may die in; `None` if it did.
pub fn until_death<T>(doing: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(doing)) {
        Ok(done) => Some(done),
        Err(payload) if payload.is::<Killed>() => None,
        Err(payload) => resume_unwind(payload),
    }
}

impl Actor {
    fn oracle(&self) -> MutexGuard<'_, Oracle> {
        self.oracle.lock().unwrap_or_else(|held| held.into_inner())
    }

    /// Does it, and notes what is said of it.
    pub fn act(&self, action: &Action, durability: Durability) {
        if self.disk.is_dead() {
            return;
        }
        if matches!(action, Action::Sync) {
            return self.sync();
        }
        let durability = if action.takes_durability() { durability } else { self.durability };
        let (effects, now) = (action.effects(), self.disk.now());
        if matches!(action, Action::Compact(_) | Action::CompactInLanes) {
            self.oracle().begin_compaction(now);
        }
        let is_synced = durability == Durability::Synced;
        let events = self.oracle().begin(&effects, is_synced, now);
        let done = until_death(|| perform(&self.store, action, durability));
        let ending = match done {
            Some(Ok(true)) => Ending::Acknowledged,
            Some(Ok(false)) => Ending::Void,
            Some(Err(error)) if !self.disk.is_dead() => {
                assert_eq!(error.kind(), ErrorKind::NotFound, "{action:?}: {error}");
                Ending::Void
            }
            _ => Ending::Unknown,
        };
        let end = self.disk.now();
        trace(|| format!("{:?} {action:?} {durability:?} {now}..{end} {ending:?}", self.disk));
        self.oracle().end(&events, ending, end);
    }

    fn sync(&self) {
        let now = self.disk.now();
        let begun = self.oracle().begin_sync(now);
        let done = until_death(|| self.store.sync());
        trace(|| format!("{:?} sync {now}..{} {:?}", self.disk, self.disk.now(), done));
        let now = self.disk.now();
        match done {
            Some(Ok(())) => self.oracle().end_sync(begun, now),
            Some(Err(error)) if !self.disk.is_dead() => panic!("sync: {error}"),
            _ => {}
        }
    }
}

/// Whether it took effect: what finds nothing to remove has seen that nothing is there.
pub fn perform(store: &Store, action: &Action, durability: Durability) -> Result<bool, Error> {
    let put = PutOptions::new().durability(durability);
    let (refs, set) = (store.refs("n"), SetOptions::new().durability(durability));
    match action {
        Action::Put(blob) => store.put_with(&content(*blob).bytes, &put).map(|_| true),
        Action::PutMany(blobs) => {
            let values: Vec<&[u8]> = blobs.iter().map(|blob| &content(*blob).bytes[..]).collect();
            store.put_many(&values).map(|_| true)
        }
        Action::Draft(blob) => draft(store, *blob)?.commit().map_err(Error::from).map(|_| true),
        Action::DraftAs(blob, name) => {
            draft(store, *blob)?.commit_as(&refs, [*name]).map_err(Error::from).map(|_| true)
        }
        Action::Unpin(blob) => store.unpin(&content(*blob).id).map(|_| true),
        // Where a blob was swept there is nothing to remove, and that promises nothing.
        Action::Remove(blob) => store.remove(&content(*blob).id),
        Action::Set(name, state) => refs.set_with([*name], value(state), &set).map(|_| true),
        Action::SetLong(name, blob) => {
            let bytes = Value::Bytes(content(*blob).bytes.clone());
            refs.set_with([*name], bytes, &set).map(|_| true)
        }
        Action::Add(name, state) => {
            refs.compare_and_set_with([*name], None, value(state), &set).map(|set| set.is_some())
        }
        Action::Swap(name, state) => {
            let version = refs.get([*name])?.map(|entry| entry.version);
            refs.compare_and_set_with([*name], version, value(state), &set).map(|set| set.is_some())
        }
        Action::RemoveRef(name) => refs.remove_with([*name], Some(durability)).map(|_| true),
        Action::Sync => store.sync().map(|()| true),
        Action::Compact(all) => store.compact(&CompactOptions::new().all(*all)).map(|_| true),
        Action::CompactInLanes => store.compact(&in_lanes()).map(|_| true),
    }
}

fn in_lanes() -> CompactOptions {
    let begun_by = std::thread::current().id();
    CompactOptions::new().all(true).two_lanes_from(1).on_progress(move |_| {
        let is_second = std::thread::current().id() != begun_by;
        BY_SECOND_LANES.fetch_add(is_second.into(), Ordering::Relaxed);
    })
}

fn draft(store: &Store, blob: u8) -> Result<drystone::Draft, Error> {
    let bytes = &content(blob).bytes;
    let mut draft = store.reserve(bytes.len() as u64)?;
    draft.copy_from_slice(bytes);
    Ok(draft)
}

fn value(state: &State) -> Value {
    match state {
        State::Inline(byte) => Value::Bytes(vec![*byte; 3]),
        State::One(blob) => Value::Blob(content(*blob).id),
        State::Many(blobs) => Value::Blobs(blobs.iter().map(|blob| content(*blob).id).collect()),
        State::Absent | State::There => unreachable!("not what a ref is bound to"),
    }
}

fn state(value: &Value) -> Result<State, String> {
    let blob = |id: &BlobId| blob_of(id).ok_or_else(|| format!("a ref to the unknown {id}"));
    match value {
        Value::Bytes(bytes) => match bytes[..] {
            [a, b, c] if a == b && b == c => Ok(State::Inline(a)),
            _ => Err(format!("a ref to bytes that nobody has set: {bytes:?}")),
        },
        Value::Blob(id) => blob(id).map(State::One),
        Value::Blobs(ids) => ids.iter().map(blob).collect::<Result<_, _>>().map(State::Many),
        other => Err(format!("a ref to {other:?}")),
    }
}

/// All that is seen in a store; every byte of it is checked, and nothing that is named may be missing.
pub fn look(store: &Store) -> Result<Seen, String> {
    let mut seen = Seen::default();
    let text = |error: Error| error.to_string();
    for (blob, content) in (0..).zip(CONTENTS.iter()) {
        let Some(found) = store.get(&content.id).map_err(text)? else { continue };
        if *found != *content.bytes {
            return Err(format!("blob {blob} has other bytes"));
        }
        seen.states.insert(Key::Blob(blob), State::There);
        if store.stat(&content.id).map_err(text)?.is_some_and(|stat| stat.pinned) {
            seen.states.insert(Key::Pin(blob), State::There);
        }
    }
    for stat in store.blobs() {
        let id = stat.map_err(text)?.id;
        blob_of(&id).ok_or_else(|| format!("a blob that nobody has put: {id}"))?;
    }
    for name in 0..NAMES {
        let Some(entry) = store.refs("n").get([name]).map_err(text)? else { continue };
        let state = state(&entry.value)?;
        if let Some(gone) =
            state.blobs().iter().find(|blob| !seen.states.contains_key(&Key::Blob(**blob)))
        {
            return Err(format!("ref {name} names blob {gone}, which is not there"));
        }
        seen.states.insert(Key::Name(name), state);
    }
    for entry in store.refs("n").iter() {
        let entry = entry.map_err(text)?;
        let is_known = matches!(entry.key[..], [name] if name < NAMES);
        if !is_known {
            return Err(format!("a ref that nobody has set: {:?}", entry.key));
        }
    }
    Ok(seen)
}

/// Tells what is going on, to who replays a seed.
pub fn trace(line: impl FnOnce() -> String) {
    static WANTED: LazyLock<bool> = LazyLock::new(|| std::env::var_os("DRYSTONE_TRACE").is_some());
    if *WANTED {
        println!("{}", line());
    }
}
