//! Whole stores: a string of bytes is operations on one, through two handles, with reboots and damage in
//! between. An undamaged store does what a map does; a damaged one never gives other bytes.

use super::Input;
use drystone::{BlobId, GetOptions, HashAlgorithm, Options, Store, Value, Verify};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

const OPERATIONS_MAX: usize = 40;
/// No walk over so small a store is longer.
const WALK_MAX: usize = 1000;
const LENGTHS: [usize; 8] = [0, 1, 63, 64, 65, 700, 5000, 70_000];

/// Runs the operations in a store of their own.
pub fn run(data: &[u8]) {
    let place =
        if Path::new("/dev/shm").is_dir() { "/dev/shm".into() } else { std::env::temp_dir() };
    let dir = tempfile::Builder::new().prefix("drystone-fuzz-").tempdir_in(place);
    let dir = dir.expect("a directory");
    let mut input = Input::new(data);
    let hash = if input.byte() & 1 == 0 { HashAlgorithm::Xxh3 } else { HashAlgorithm::Blake3 };
    let mut world = World {
        path: dir.path().join("store"),
        boot: 0,
        handles: Vec::new(),
        blobs: BTreeMap::new(),
        refs: BTreeMap::new(),
        is_damaged: false,
    };
    let made = world.options().create(true).hash(hash).segment_bytes(256 << 10).open(&world.path);
    world.handles.push(made.expect("a new store"));
    for _ in 0..OPERATIONS_MAX {
        if input.is_empty() || world.handles.is_empty() {
            break;
        }
        world.operate(&mut input);
    }
    world.check();
}

struct World {
    path: PathBuf,
    boot: u32,
    handles: Vec<Store>,
    /// Each blob that was ever put, and whether it is there.
    blobs: BTreeMap<BlobId, (Vec<u8>, bool)>,
    /// What each ref was last bound to.
    refs: BTreeMap<u8, Option<Value>>,
    /// Anything may be missing from then on.
    is_damaged: bool,
}

impl World {
    fn options(&self) -> Options {
        Store::options().threads(1).boot_id(format!("boot {}", self.boot))
    }

    fn operate(&mut self, input: &mut Input<'_>) {
        let (what, with) = (input.byte(), input.byte());
        let store = self.handles[usize::from(what >> 7) % self.handles.len()].clone();
        match what & 15 {
            0..3 => self.put(&store, with),
            3 => self.remove(&store, with),
            4 | 5 => self.set(&store, with, input),
            6 => self.unset(&store, with),
            7 => self.draft(&store, with),
            8 => self.unpin(&store, with),
            9 => drop(self.must(store.sync())),
            10 => self.check(),
            11 => self.join(),
            12 => self.close(store, 0),
            13 => self.close(store, 1),
            14 => self.read_only(),
            _ => self.damage(store, with, input),
        }
    }

    /// The result of an operation, which has no error in an undamaged store.
    #[track_caller]
    fn must<T>(&self, result: drystone::Result<T>) -> Option<T> {
        match result {
            Ok(done) => Some(done),
            Err(error) if self.is_damaged => {
                assert!(!error.to_string().is_empty());
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn body(with: u8) -> Vec<u8> {
        vec![with >> 3; LENGTHS[usize::from(with % 8)]]
    }

    fn put(&mut self, store: &Store, with: u8) {
        let body = Self::body(with);
        if let Some(id) = self.must(store.put(&body)) {
            self.blobs.insert(id, (body, true));
        }
    }

    fn draft(&mut self, store: &Store, with: u8) {
        let body = Self::body(with);
        let Some(mut draft) = self.must(store.reserve(body.len() as u64)) else { return };
        draft.copy_from_slice(&body);
        match draft.commit() {
            Ok(id) => drop(self.blobs.insert(id, (body, true))),
            Err(failed) => assert!(self.is_damaged, "{failed:?}"),
        }
    }

    /// Some blob.
    fn any(&self, with: u8) -> Option<BlobId> {
        self.blobs.keys().nth(usize::from(with) % self.blobs.len().max(1)).copied()
    }

    fn remove(&mut self, store: &Store, with: u8) {
        let Some(id) = self.any(with) else { return };
        let removed = self.must(store.remove(&id));
        let blob = self.blobs.get_mut(&id).expect("a blob");
        assert!(self.is_damaged || removed == Some(blob.1), "{removed:?} of {id}");
        blob.1 = false;
    }

    fn unpin(&mut self, store: &Store, with: u8) {
        if let Some(id) = self.any(with) {
            self.must(store.unpin(&id));
        }
    }

    fn set(&mut self, store: &Store, with: u8, input: &mut Input<'_>) {
        let value = match (with >> 6, self.any(input.byte())) {
            (0, Some(id)) => Value::Blob(id),
            (1, Some(id)) => Value::Blobs(vec![id; usize::from(with % 3)]),
            _ => Value::Bytes(vec![with; usize::from(input.byte())]),
        };
        let named = match &value {
            Value::Blob(id) => vec![*id],
            Value::Blobs(ids) => ids.clone(),
            _ => vec![],
        };
        let is_there = named.iter().all(|id| self.blobs[id].1);
        let set = store.refs("fuzz").set([with % 4], value.clone());
        match set {
            Ok(_) => drop(self.refs.insert(with % 4, Some(value))),
            // A ref can only name what is there.
            Err(error) => assert!(self.is_damaged || !is_there, "{error}"),
        }
    }

    fn unset(&mut self, store: &Store, with: u8) {
        if self.must(store.refs("fuzz").remove([with % 4])).is_some() {
            self.refs.insert(with % 4, None);
        }
    }

    /// Opens the store once more beside the handles that there are.
    fn join(&mut self) {
        if self.handles.len() < 2
            && let Some(store) = self.must(self.options().open(&self.path))
        {
            self.handles.push(store);
        }
    }

    /// Closes all handles and opens one, in the same boot or another.
    fn close(&mut self, store: Store, boots: u32) {
        drop(store);
        self.handles.clear();
        self.boot += boots;
        let opened = self.options().open(&self.path);
        self.handles.extend(self.must(opened));
    }

    fn read_only(&self) {
        if let Some(store) = self.must(self.options().read_only(true).open(&self.path)) {
            self.check_by(&store);
        }
    }

    fn check(&self) {
        self.handles.iter().for_each(|store| self.check_by(store));
    }

    fn check_by(&self, store: &Store) {
        for (id, (body, is_there)) in &self.blobs {
            if let Some(got) =
                self.must(store.get_with(id, &GetOptions::new().verify(Verify::Whole)))
            {
                assert!(self.is_damaged || got.is_some() == *is_there, "{id}: {}", got.is_some());
                assert!(got.is_none_or(|blob| *blob == body[..]), "{id} has other bytes");
            }
            let _ = self.must(store.stat(id));
            if let Ok(Some(blob)) = store.get(id) {
                // What nobody has verified may be anything, and is somewhere.
                std::hint::black_box(blob.iter().fold(0, |sum, byte| sum ^ byte));
            }
        }
        for (key, value) in &self.refs {
            let got = self.must(store.refs("fuzz").get([*key]));
            // A ref to a blob that was removed reads as absent, one to another value does not.
            if let (false, Some(got), Some(Value::Bytes(_)) | None) = (self.is_damaged, got, value)
            {
                assert_eq!(got.map(|entry| entry.value), *value);
            }
        }
        let _ = self.must(store.stats());
        assert!(store.blobs().take(WALK_MAX).count() < WALK_MAX, "a walk that does not end");
        assert!(store.refs("fuzz").iter().take(WALK_MAX).count() < WALK_MAX, "a walk without end");
    }

    /// Changes some bytes of a file of the closed store.
    fn damage(&mut self, store: Store, with: u8, input: &mut Input<'_>) {
        drop(store);
        self.handles.clear();
        self.is_damaged = true;
        let files = files(&self.path);
        let file = &files[usize::from(with) % files.len()];
        let len = fs::metadata(file).expect("a file").len();
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).expect("a mode");
        let opened = fs::OpenOptions::new().write(true).read(true).open(file).expect("a file");
        let at = input.edge(len).min(2 * len);
        match input.byte() % 4 {
            0 => opened.set_len(at).expect("a length"),
            1 => opened.write_all_at(&input.edge(0).to_le_bytes(), at & !7).expect("a word"),
            2 => opened.write_all_at(&[input.byte()], at).expect("a byte"),
            _ => {
                let len = usize::from(input.byte());
                opened.write_all_at(&input.bytes(len), at).expect("bytes");
            }
        }
        self.boot += u32::from(input.byte() & 1);
        let opened = self.options().open(&self.path);
        self.handles.extend(self.must(opened));
    }
}

/// The files below a directory, in order.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.append(&mut files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}
