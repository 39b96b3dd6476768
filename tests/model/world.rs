//! A store and its oracle, side by side.
#![forbid(unsafe_code)]

use crate::oracle::{Bound, Oracle};
use crate::steps::{Case, Expected, KEYS, OPENINGS, SIZES, Step, To};
use crate::support::{Scratch, another_boot, bytes};
use drystone::{
    Blob, BlobId, CompactOptions, ErrorKind, Options, Refs, Result, SetOptions, Store, Value,
    Verify, Version,
};
use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;
use std::time::UNIX_EPOCH;

static CONTENTS: LazyLock<Vec<Vec<u8>>> =
    LazyLock::new(|| SIZES.iter().map(|&len| bytes(len, 1)).collect());

/// Plays a sequence in a directory; panics where store and oracle differ.
pub fn play(case: &Case, scratch: Scratch) {
    let mut world = World::new(case, scratch);
    for (opening, step) in &case.steps {
        world.take(*opening, step);
    }
    world.check(0);
    world.reboot();
    world.check(0);
}

struct World {
    scratch: Scratch,
    boot: String,
    stores: Vec<Store>,
    /// The ids of the contents.
    ids: Vec<BlobId>,
    oracle: Oracle,
    /// Blobs that came with [`Step::Grow`].
    grown: usize,
    /// Views, and which blob each is of; of blobs removed long ago, some of them.
    views: Vec<(usize, Blob)>,
    /// The versions that each key has had.
    versions: HashMap<usize, Vec<Version>>,
}

impl World {
    fn new(case: &Case, scratch: Scratch) -> Self {
        let made = Store::options().create(true).hash(case.hash).segment_bytes(1 << 20);
        drop(scratch.open(made));
        let elsewhere = Scratch::in_memory();
        let other = elsewhere.open(Store::options().create(true).hash(case.hash));
        let ids = CONTENTS.iter().map(|content| other.put(content).unwrap()).collect();
        let mut world = Self {
            scratch,
            boot: another_boot(),
            stores: Vec::new(),
            ids,
            oracle: Oracle::default(),
            grown: 0,
            views: Vec::new(),
            versions: HashMap::new(),
        };
        world.reboot();
        world
    }

    fn options(&self) -> Options {
        Store::options().boot_id(self.boot.clone()).verify(Verify::Whole)
    }

    fn open_all(&mut self) {
        self.stores = (0..OPENINGS).map(|_| self.scratch.open(self.options())).collect();
    }

    fn reboot(&mut self) {
        self.stores.clear();
        self.boot = another_boot();
        self.open_all();
        let is_back = |blob: &usize| self.stores[0].contains(&self.ids[*blob]).unwrap();
        let back: Vec<usize> = self.oracle.given_up.iter().copied().filter(is_back).collect();
        back.into_iter().for_each(|blob| self.oracle.store(blob));
    }

    fn take(&mut self, opening: usize, step: &Step) {
        let store = self.stores[opening].clone();
        match step {
            Step::Put(blob) => {
                assert_eq!(store.put(&CONTENTS[*blob]).unwrap(), self.ids[*blob]);
                self.oracle.put(*blob);
            }
            Step::PutMany(blobs) => {
                let values: Vec<&[u8]> = blobs.iter().map(|&blob| &*CONTENTS[blob]).collect();
                assert_eq!(store.put_many(&values).unwrap(), self.ids_of(blobs));
                blobs.iter().for_each(|&blob| self.oracle.put(blob));
            }
            Step::PutReader(blob) => {
                assert_eq!(store.put_reader(&*CONTENTS[*blob]).unwrap(), self.ids[*blob]);
                self.oracle.put(*blob);
            }
            Step::Draft(blob, end) => self.draft(&store, *blob, *end),
            Step::Get(blob) => self.get(&store, *blob),
            Step::GetMany(blobs) => {
                let views = store.get_many(&self.ids_of(blobs)).unwrap();
                assert_eq!(views.len(), blobs.len());
                for (&blob, view) in blobs.iter().zip(views) {
                    self.compare(blob, view.as_deref());
                }
            }
            Step::ReadPart(blob, at) => self.read_part(&store, *blob, *at),
            Step::Remove(blob) => {
                let was_there = self.oracle.blobs.remove(blob);
                assert_eq!(store.remove(&self.ids[*blob]).unwrap(), was_there);
            }
            Step::Unpin(blob) => {
                assert_eq!(store.unpin(&self.ids[*blob]).unwrap(), self.oracle.unpin(*blob));
            }
            Step::Set(key, to) => self.bind(&store, *key, to, |refs, key, value, options| {
                refs.set_with(key, value, options).map(Some)
            }),
            Step::Add(key, to) => self.add(&store, *key, None, to),
            Step::CompareAndSet(key, expected, to) => {
                let current = self.oracle.get(*key).map(|bound| bound.version);
                let versions = self.versions.get(key);
                let expected = match expected {
                    Expected::Absent => None,
                    Expected::Current => current,
                    Expected::Stale => versions.and_then(|all| all.first().copied()),
                };
                self.add(&store, *key, expected, to);
            }
            Step::RemoveRef(key) => {
                assert_eq!(refs(&store).remove(name(*key)).unwrap(), self.oracle.remove_ref(*key));
            }
            Step::GetRef(key) => self.get_ref(&store, *key),
            Step::Grow(count) => self.grow(&store, *count),
            Step::Sync => store.sync().unwrap(),
            Step::Compact(all) => {
                let report = store.compact(&CompactOptions::new().all(*all)).unwrap();
                assert!(report.complete && !report.busy, "{report:?}");
                self.oracle.compact();
            }
            Step::Reopen => {
                self.stores[opening] = self.scratch.open(self.options());
            }
            Step::Reboot => {
                drop(store);
                self.reboot();
            }
            Step::Check => self.check(opening),
        }
    }

    fn ids_of(&self, blobs: &[usize]) -> Vec<BlobId> {
        blobs.iter().map(|&blob| self.ids[blob]).collect()
    }

    fn compare(&self, blob: usize, found: Option<&[u8]>) {
        let expected = self.oracle.blobs.contains(&blob).then(|| &*CONTENTS[blob]);
        assert!(found == expected, "blob {blob}: {:?} bytes", found.map(<[u8]>::len));
    }

    fn get(&mut self, store: &Store, blob: usize) {
        let view = store.get(&self.ids[blob]).unwrap();
        self.compare(blob, view.as_deref());
        assert_eq!(store.read_guard().get(&self.ids[blob]).unwrap(), view.as_deref());
        let stat = store.stat(&self.ids[blob]).unwrap();
        assert_eq!(stat.is_some_and(|stat| stat.pinned), self.oracle.is_pinned(blob));
        self.views.extend(view.map(|view| (blob, view)));
    }

    fn read_part(&self, store: &Store, blob: usize, at: u64) {
        let at = at % (SIZES[blob] as u64 + 2);
        let mut buffer = vec![0; 1000];
        let read = store.read_into(&self.ids[blob], at, &mut buffer).unwrap();
        let expected = self.oracle.blobs.contains(&blob).then(|| {
            let rest = CONTENTS[blob].get(at as usize..).unwrap_or_default();
            &rest[..rest.len().min(1000)]
        });
        assert_eq!(read.map(|read| &buffer[..read]), expected);
    }

    fn draft(&mut self, store: &Store, blob: usize, end: Option<Option<usize>>) {
        let mut draft = store.reserve(SIZES[blob] as u64).unwrap();
        draft.copy_from_slice(&CONTENTS[blob]);
        match end {
            None => drop(draft),
            Some(None) => {
                assert_eq!(draft.commit().unwrap(), self.ids[blob]);
                self.oracle.put(blob);
            }
            Some(Some(key)) => {
                assert_eq!(draft.commit_as(&refs(store), name(key)).unwrap(), self.ids[blob]);
                let version = refs(store).get(name(key)).unwrap().unwrap().version;
                self.note(key, &To::Long(blob), version);
            }
        }
    }

    fn value(&self, to: &To) -> Value {
        match to {
            To::Bytes(len) => bytes(*len, 2).into(),
            To::Long(blob) => CONTENTS[*blob].clone().into(),
            To::Blob(blob) => self.ids[*blob].into(),
            To::Blobs(blobs) => self.ids_of(blobs).into(),
            To::Expired => "expired".into(),
        }
    }

    /// Sets a ref in some way; `None` from `how` says that it was declined.
    fn bind(
        &mut self,
        store: &Store,
        key: usize,
        to: &To,
        how: impl Fn(&Refs, String, Value, &SetOptions) -> Result<Option<Version>>,
    ) {
        let mut options = SetOptions::new().tag("tag").metadata(key.to_le_bytes());
        if matches!(to, To::Expired) {
            options = options.expires_at(UNIX_EPOCH);
        }
        let names = to.names();
        let set = how(&refs(store), name(key), self.value(to), &options);
        if !matches!(to, To::Long(_)) && !names.iter().all(|blob| self.oracle.blobs.contains(blob))
        {
            // Where the condition does not hold either, that may be the answer.
            match set {
                Ok(set) => assert_eq!(set, None, "something named is not there"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
            }
        } else if let Some(version) = set.unwrap() {
            self.note(key, to, version);
        } else if let To::Long(blob) = to {
            // Declined when the bytes were stored already: then the blob is there, or is not.
            let is_there = store.contains(&self.ids[*blob]).unwrap();
            assert!(is_there >= self.oracle.blobs.contains(blob));
            if is_there {
                self.oracle.store(*blob);
            }
        }
    }

    /// Sets a ref only if its version is the one expected.
    fn add(&mut self, store: &Store, key: usize, expected: Option<Version>, to: &To) {
        let current = self.oracle.get(key).map(|bound| bound.version);
        self.bind(store, key, to, |refs, key, value, options| {
            let set = refs.compare_and_set_with(key, expected, value, options)?;
            assert_eq!(set.is_some(), current == expected, "expected {expected:?} of {current:?}");
            Ok(set)
        });
    }

    fn note(&mut self, key: usize, to: &To, version: Version) {
        let names = to.names();
        let before = self.versions.entry(key).or_default();
        assert!(before.iter().all(|&earlier| earlier < version), "versions grow");
        before.push(version);
        let value = match to {
            To::Long(blob) => {
                self.oracle.store(*blob);
                self.ids[*blob].into()
            }
            _ => self.value(to),
        };
        let is_expired = matches!(to, To::Expired);
        self.oracle.refs.insert(key, Bound { value, names, version, is_expired });
    }

    fn get_ref(&self, store: &Store, key: usize) {
        let entry = refs(store).get(name(key)).unwrap();
        let found = entry.map(|entry| (entry.value, entry.version));
        let bound = self.oracle.get(key);
        assert_eq!(found, bound.map(|bound| (bound.value.clone(), bound.version)), "key {key}");
    }

    fn grow(&mut self, store: &Store, count: usize) {
        let from = self.grown;
        self.grown += count;
        let values: Vec<[u8; 9]> = (from..self.grown)
            .map(|i| std::array::from_fn(|at| if at == 8 { b'g' } else { i.to_le_bytes()[at] }))
            .collect();
        store.put_many(&values).unwrap();
    }

    /// Looks at everything, also through an opening that only reads.
    fn check(&self, opening: usize) {
        let reader = self.scratch.open(self.options().read_only(true));
        let alone = Store::options().read_only(true).boot_id(another_boot());
        let alone = self.scratch.open(alone);
        let given_up = &self.oracle.given_up;
        for (store, is_recovered) in
            [(&self.stores[opening], false), (&reader, false), (&alone, true)]
        {
            let mut back = 0;
            for (blob, id) in self.ids.iter().enumerate() {
                if is_recovered && given_up.contains(&blob) {
                    back += usize::from(store.contains(id).unwrap());
                    continue;
                }
                self.compare(blob, store.get(id).unwrap().as_deref());
                let pinned = store.stat(id).unwrap().is_some_and(|stat| stat.pinned);
                assert_eq!(pinned, self.oracle.is_pinned(blob), "blob {blob}");
            }
            (0..KEYS).for_each(|key| self.get_ref(store, key));
            assert_eq!(store.blobs().count(), self.oracle.blobs.len() + self.grown + back);
            let walked: BTreeMap<Vec<u8>, Version> = refs(store)
                .iter()
                .map(|entry| entry.map(|entry| (entry.key, entry.version)).unwrap())
                .collect();
            let expected = (0..KEYS).filter_map(|key| {
                self.oracle.get(key).map(|bound| (name(key).into_bytes(), bound.version))
            });
            assert_eq!(walked, expected.collect());
        }
        for (blob, view) in &self.views {
            assert!(**view == *CONTENTS[*blob], "a view of blob {blob} has changed");
        }
    }
}

impl To {
    fn names(&self) -> Vec<usize> {
        match self {
            Self::Bytes(_) | Self::Expired => Vec::new(),
            Self::Long(blob) | Self::Blob(blob) => vec![*blob],
            Self::Blobs(blobs) => blobs.clone(),
        }
    }
}

fn refs(store: &Store) -> Refs {
    store.refs("model")
}

fn name(key: usize) -> String {
    format!("key {key}")
}
