//! A store with something of everything in it, that can be put back as it was byte for byte; and what
//! it must still give when some of its bytes have been damaged.
#![allow(dead_code)] // each of the two crates uses its part

use super::rig::{KIB, MIB, bytes, in_memory, options};
use drystone::{
    ArrayHeader, BlobId, GetOptions, HashAlgorithm, Result, SetOptions, Store, Value, Verify,
};
use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A file as it was.
#[derive(Debug)]
pub struct Saved {
    /// Its path below the store.
    pub path: String,
    /// What it held.
    pub bytes: Vec<u8>,
    mode: u32,
}

/// A record of a segment, found by its magic.
#[derive(Debug)]
pub struct Record {
    /// The file that it stands in.
    pub file: String,
    /// The bytes that it takes.
    pub range: Range<u64>,
    /// What it is, by the code of spec/FORMAT.md, section 4.1.
    pub kind: u8,
    digest: [u8; 32],
    body: Vec<u8>,
}

type Name = (&'static str, &'static [u8]);

/// A closed store and what is in it.
pub struct Furnished {
    dir: tempfile::TempDir,
    /// Its files.
    pub files: Vec<Saved>,
    /// Their records.
    pub records: Vec<Record>,
    /// Each blob, and whether it is there.
    pub blobs: Vec<(BlobId, Vec<u8>, bool)>,
    /// What each ref has been bound to, the newest first.
    refs: BTreeMap<Name, Vec<Option<Value>>>,
}

/// What may be missing.
#[derive(Clone, Copy)]
pub enum Hit<'a> {
    /// What stands in these bytes of this file.
    Bytes(&'a str, &'a Range<u64>),
    /// Anything: the index itself was damaged.
    Index,
}

impl Furnished {
    /// Makes it.
    pub fn new(algorithm: HashAlgorithm) -> Self {
        let dir = in_memory();
        let mut made =
            Self { dir, files: vec![], records: vec![], blobs: vec![], refs: BTreeMap::new() };
        let create = options().create(true).hash(algorithm).segment_bytes(256 << 10);
        let store = create.open(made.path()).expect("a store");
        made.fill(&store).expect("what is put in");
        drop(store);
        made.save("");
        made.find_records(algorithm.digest_bytes() as u64);
        made
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    /// Makes one of a few dozen KiB, with a segment of each kind: finished, sealed, and open.
    pub fn small(algorithm: HashAlgorithm) -> Self {
        let dir = in_memory();
        let mut made =
            Self { dir, files: vec![], records: vec![], blobs: vec![], refs: BTreeMap::new() };
        let create = || options().create(true).threads(1);
        let first = create().boot_id("first").hash(algorithm).open(made.path()).expect("a store");
        let ids = made.fill_first(&first).expect("what is put in first");
        drop(first);
        // Each boot seals what the one before has left.
        let second = create().boot_id("second boot").open(made.path()).expect("a recovery");
        made.fill_second(&second, &ids).expect("what is put in second");
        drop(second);
        let third = create().open(made.path()).expect("a recovery");
        made.fill_third(&third, &ids).expect("what is put in last");
        drop(third);
        made.save("");
        made.find_records(algorithm.digest_bytes() as u64);
        made
    }

    fn fill_first(&mut self, store: &Store) -> Result<Vec<BlobId>> {
        let mut ids = Vec::new();
        for (at, len) in [0, 1, 100, 9 * KIB].iter().enumerate() {
            ids.push(self.put(store, *len, at as u64)?);
        }
        self.set(store, ("first", b"the key of an inline ref"), Value::Bytes(b"inline".to_vec()))?;
        self.set(store, ("first", b"the key of a ref to a blob"), Value::Blob(ids[2]))?;
        Ok(ids)
    }

    fn fill_second(&mut self, store: &Store, ids: &[BlobId]) -> Result<()> {
        let data = bytes(8 * 12, 50);
        let header = ArrayHeader { descr: "<f8".into(), fortran_order: true, shape: vec![3, 4] };
        let id = store.put_array(&header, &data)?;
        self.blobs.push((id, [header.encode(), data].concat(), true));
        self.put(store, 34 * KIB, 51)?;
        self.set(store, ("second", b"the key of a list"), Value::Blobs(ids[..3].to_vec()))?;
        self.set(store, ("first", b"the key of a ref to a blob"), Value::Blob(ids[3]))?;
        store.sync()?;
        self.forget(store, &ids[1])
    }

    fn fill_third(&mut self, store: &Store, ids: &[BlobId]) -> Result<()> {
        self.put(store, 6 * KIB, 60)?;
        self.set(store, ("third", b"a ref that is removed"), Value::Bytes(vec![2; 9]))?;
        store.refs("third").remove(b"a ref that is removed")?;
        let removed = self.refs.get_mut(&("third", b"a ref that is removed".as_slice()));
        removed.expect("it").insert(0, None);
        store.sync()?;
        store.unpin(&ids[2])?;
        self.put(store, 3 * KIB, 61)?;
        Ok(())
    }

    /// Removes a blob that the list names, which reads as absent from then on.
    fn forget(&mut self, store: &Store, id: &BlobId) -> Result<()> {
        store.remove(id)?;
        self.blobs.iter_mut().find(|blob| blob.0 == *id).expect("a blob").2 = false;
        let list = self.refs.get_mut(&("second", b"the key of a list".as_slice()));
        list.expect("it").insert(0, None);
        Ok(())
    }

    fn put(&mut self, store: &Store, len: usize, seed: u64) -> Result<BlobId> {
        let body = bytes(len, seed);
        let id = store.put(&body)?;
        self.blobs.push((id, body, true));
        Ok(id)
    }

    fn set(&mut self, store: &Store, name: Name, value: Value) -> Result<()> {
        let with = SetOptions::new().tag("a tag").metadata(b"metadata".as_slice());
        store.refs(name.0).set_with(name.1, value.clone(), &with)?;
        self.refs.entry(name).or_insert_with(|| vec![None]).insert(0, Some(value));
        Ok(())
    }

    fn fill(&mut self, store: &Store) -> Result<()> {
        let mut ids = Vec::new();
        for (at, len) in [0, 1, 100, 5 * KIB, 70 * KIB, 300 * KIB, 2 * MIB + 99].iter().enumerate()
        {
            ids.push(self.put(store, *len, at as u64)?);
        }
        self.set(store, ("first", b"the key of an inline ref"), Value::Bytes(b"inline".to_vec()))?;
        self.set(store, ("first", b"the key of a ref to a blob"), Value::Blob(ids[2]))?;
        self.set(store, ("second", b"the key of a list"), Value::Blobs(ids.clone()))?;
        store.sync()?;
        let data = bytes(8 * 12, 50);
        let header = ArrayHeader { descr: "<f8".into(), fortran_order: true, shape: vec![3, 4] };
        let id = store.put_array(&header, &data)?;
        self.blobs.push((id, [header.encode(), data].concat(), true));
        for at in 0..40 {
            ids.push(self.put(store, 3 * KIB + at, 100 + at as u64)?);
        }
        for at in [1, 3, 5, 20] {
            store.remove(&ids[at])?;
            let removed = self.blobs.iter_mut().find(|blob| blob.0 == ids[at]);
            removed.expect("a blob").2 = false;
        }
        store.unpin(&ids[21])?;
        self.set(store, ("first", b"a ref that is replaced"), Value::Bytes(vec![1; 99]))?;
        self.set(store, ("first", b"a ref that is replaced"), Value::Blob(ids[10]))?;
        self.set(store, ("third", b"a ref that is removed"), Value::Bytes(vec![2; 9]))?;
        store.refs("third").remove(b"a ref that is removed")?;
        self.refs
            .get_mut(&("third", b"a ref that is removed".as_slice()))
            .expect("it")
            .insert(0, None);
        // Its blob is gone, and so it reads as absent.
        self.refs
            .get_mut(&("second", b"the key of a list".as_slice()))
            .expect("it")
            .insert(0, None);
        Ok(())
    }

    fn save(&mut self, dir: &str) {
        for entry in fs::read_dir(self.path().join(dir)).expect("a directory") {
            let entry = entry.expect("an entry");
            let path = format!("{dir}{}", entry.file_name().to_str().expect("UTF-8"));
            let metadata = entry.metadata().expect("metadata");
            if metadata.is_dir() {
                self.save(&format!("{path}/"));
                continue;
            }
            let bytes = fs::read(entry.path()).expect("a file");
            self.files.push(Saved { path, bytes, mode: metadata.permissions().mode() });
        }
    }

    fn find_records(&mut self, digest_bytes: u64) {
        for file in self.files.iter().filter(|file| file.path.starts_with("segments/")) {
            for (at, block) in
                file.bytes.chunks_exact(64).enumerate().filter(|b| b.1.starts_with(b"DRYR"))
            {
                let at = at as u64 * 64;
                let len = u64::from_le_bytes(block[8..16].try_into().expect("8 bytes"));
                let chunks = if len > 2 << 20 { len.div_ceil(2 << 20) } else { 0 };
                let body_end = at + 64 + len.next_multiple_of(64);
                self.records.push(Record {
                    file: file.path.clone(),
                    range: at..body_end + (chunks * digest_bytes).next_multiple_of(64),
                    kind: block[4],
                    digest: block[24..56].try_into().expect("32 bytes"),
                    body: file.bytes[at as usize + 64..(at + 64 + len) as usize].to_vec(),
                });
            }
        }
        let blobs = self.records.iter().filter(|record| record.kind == 1).count();
        assert!(blobs >= self.blobs.len(), "{blobs} blob records were found");
    }

    /// Puts every file back, in the same directory: the run is that of this boot again.
    pub fn restore(&self) {
        for dir in ["segments", "run", "quarantine"] {
            let dir = self.path().join(dir);
            fs::remove_dir_all(&dir).expect("a directory");
            make_dir(&dir);
        }
        for file in &self.files {
            let path = self.path().join(&file.path);
            let dir = path.parent().expect("a directory");
            if !dir.is_dir() {
                make_dir(dir);
            }
            fs::write(&path, &file.bytes).expect("a file");
            fs::set_permissions(&path, fs::Permissions::from_mode(file.mode)).expect("a mode");
        }
    }

    /// Whether the damage may have cost any of these records.
    fn is_hit(&self, hit: Hit<'_>, is_concerned: impl Fn(&Record) -> bool) -> bool {
        let Hit::Bytes(file, range) = hit else { return true };
        self.records.iter().any(|record| {
            let overlaps = record.range.start < range.end && range.start < record.range.end;
            record.file == file && overlaps && is_concerned(record)
        })
    }

    fn is_blob_hit(&self, hit: Hit<'_>, id: &BlobId) -> bool {
        self.is_hit(hit, |record| {
            matches!(record.kind, 1 | 4) && record.digest.starts_with(id.digest())
        })
    }

    /// Reads everything: right bytes, or missing or an error where that may be.
    #[track_caller]
    pub fn check(&self, store: &Store, hit: Hit<'_>, when: &str) {
        self.check_views(store, hit, when);
        self.check_reads(store, hit, when);
    }

    /// The same, by views alone.
    #[track_caller]
    pub fn check_views(&self, store: &Store, hit: Hit<'_>, when: &str) {
        for (id, body, is_there) in &self.blobs {
            let is_hit = self.is_blob_hit(hit, id);
            match store.get_with(id, &GetOptions::new().verify(Verify::Whole)) {
                Ok(Some(blob)) => {
                    assert!(*blob == body[..], "{when}: {id} has other bytes");
                    assert!(*is_there || is_hit, "{when}: {id} is back");
                }
                Ok(None) => assert!(!is_there || is_hit, "{when}: {id} is lost"),
                Err(error) => assert!(is_hit, "{when}: {id}: {error}"),
            }
            let _ = store.stat(id);
        }
        for (name, values) in &self.refs {
            self.check_ref(store, hit, name, values, when);
        }
        self.walk(store, when);
    }

    /// Reads everything where anything may be missing, and any ref may say something else: no blob has
    /// other bytes.
    #[track_caller]
    pub fn look(&self, store: &Store, when: &str) {
        for (id, body, _) in &self.blobs {
            if let Ok(Some(blob)) = store.get_with(id, &GetOptions::new().verify(Verify::Whole)) {
                assert!(*blob == body[..], "{when}: {id} has other bytes");
            }
            // What nobody has verified may be anything, and is somewhere.
            let _ = store.get(id).map(|blob| blob.map(|blob| blob.iter().fold(0, |a, b| a ^ b)));
            let _ = store.stat(id);
            let mut read = vec![0; body.len() + 100];
            let _ = store.read_into(id, 0, &mut read);
        }
        for (namespace, key) in self.refs.keys() {
            let _ = store.refs(namespace).get(key);
        }
        self.walk(store, when);
    }

    #[track_caller]
    fn check_reads(&self, store: &Store, hit: Hit<'_>, when: &str) {
        for (id, body, _) in self.blobs.iter().filter(|blob| blob.2) {
            if !self.is_blob_hit(hit, id) {
                let mut read = vec![0; body.len()];
                let count = store.read_into(id, 0, &mut read);
                let count = count.unwrap_or_else(|error| panic!("{when}: {id}: {error}"));
                assert!(count == Some(body.len()) && read == *body, "{when}: {id} by pread");
            }
        }
    }

    #[track_caller]
    fn check_ref(
        &self,
        store: &Store,
        hit: Hit<'_>,
        name: &Name,
        values: &[Option<Value>],
        when: &str,
    ) {
        let text = [name.0.as_bytes(), name.1].concat();
        let is_own = |record: &Record| {
            matches!(record.kind, 2 | 5) && record.body.windows(text.len()).any(|part| part == text)
        };
        let named = values.iter().flatten().flat_map(|value| match value {
            Value::Blob(id) => vec![*id],
            Value::Blobs(ids) => ids.clone(),
            _ => vec![],
        });
        let is_hit =
            self.is_hit(hit, is_own) || named.into_iter().any(|id| self.is_blob_hit(hit, &id));
        match store.refs(name.0).get(name.1) {
            Ok(entry) => {
                let value = entry.map(|entry| entry.value);
                let is_right = value == values[0] || is_hit && values.contains(&value);
                assert!(is_right || is_hit && value.is_none(), "{when}: {name:?} is {value:?}");
            }
            Err(error) => assert!(is_hit, "{when}: {name:?}: {error}"),
        }
    }

    /// Walks come to an end, whatever they find.
    #[track_caller]
    fn walk(&self, store: &Store, when: &str) {
        const MOST: usize = 1000;
        let _ = store.stats();
        let blobs = store.blobs().take(MOST).filter_map(Result::ok).count();
        assert!(blobs < MOST, "{when}: a walk that does not end");
        for namespace in store.namespaces().unwrap_or_default() {
            let refs = store.refs(&namespace).iter().take(MOST).count();
            assert!(refs < MOST, "{when}: a walk that does not end");
        }
    }
}

fn make_dir(dir: &Path) {
    fs::create_dir(dir).expect("a directory");
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).expect("a mode");
}
