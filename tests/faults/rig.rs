//! What the tests of faults, damage and refusals share: places, contents, and a ledger of what was
//! acknowledged, against which a store is held.
#![allow(dead_code)] // each of the three crates uses its part

use drystone::{BlobId, Error, ErrorKind, HashAlgorithm, Options, Store, Value, Verify, hash};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One kibibyte.
pub const KIB: usize = 1 << 10;
/// One mebibyte.
pub const MIB: usize = 1 << 20;

/// Bytes that no other seed gives.
pub fn bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut x = seed.wrapping_add(0x51_7C).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x
    };
    let mut bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| next().to_le_bytes()).collect();
    bytes.truncate(len);
    bytes
}

/// A number between 0 and `below`, from a state that moves on.
pub fn random(state: &mut u64, below: u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % below
}

/// How many times as long a campaign is than by default: DRYSTONE_CAMPAIGN, a number.
pub fn campaign() -> u64 {
    let asked = std::env::var("DRYSTONE_CAMPAIGN").ok();
    asked.map_or(1, |text| text.parse().expect("DRYSTONE_CAMPAIGN is a number"))
}

/// The seed of what is random: DRYSTONE_SEED, or always the same.
pub fn seed() -> u64 {
    let asked = std::env::var("DRYSTONE_SEED").ok();
    asked.map_or(0x00D1_2570, |text| text.parse().expect("DRYSTONE_SEED is a number"))
}

/// Says something past the harness, which hides what a passing test prints.
pub fn say(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Says how much a test has done. `cargo xtask test` shows such lines.
pub fn figure(text: &str) {
    say(&format!("figure: {text}"));
}

/// A directory in memory, for tests that make thousands of stores.
pub fn in_memory() -> tempfile::TempDir {
    let shm = Path::new("/dev/shm");
    let place = if shm.is_dir() { shm.to_path_buf() } else { std::env::temp_dir() };
    private(&place)
}

/// A directory on the disk of temporary files.
pub fn on_disk() -> tempfile::TempDir {
    private(&std::env::temp_dir())
}

fn private(place: &Path) -> tempfile::TempDir {
    tempfile::Builder::new().prefix("drystone-test-").tempdir_in(place).expect("a directory")
}

/// Runs the body of a test in a process of its own, which shell commands (`ulimit`) prepare: the test
/// calls this first, and goes on where it returns true. What kills the child fails the test.
#[track_caller]
pub fn is_child(test: &str, setup: &str) -> bool {
    if std::env::var_os("DRYSTONE_CHILD").is_some() {
        return true;
    }
    let program = std::env::current_exe().expect("this program");
    let script = format!("{setup}\nexec \"$@\"");
    let mut child = std::process::Command::new("sh");
    child.args(["-ec", &script, "sh"]).arg(program).args([test, "--exact", "--nocapture"]);
    let output = child.env("DRYSTONE_CHILD", "1").output().expect("a child");
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {said}{errors}", output.status);
    assert!(said.contains("1 passed"), "no test of that name: {said}");
    errors.lines().filter(|line| line.starts_with("note: ")).for_each(say);
    false
}

/// The id that these bytes get, without a store.
pub fn id_of(algorithm: HashAlgorithm, bytes: &[u8]) -> BlobId {
    let digest = hash::digest(algorithm, bytes);
    BlobId::from_digest(algorithm, &digest[..algorithm.digest_bytes()]).expect("a digest")
}

/// The error that an operation ends in; it is of this kind, and says all of this.
#[track_caller]
pub fn refused<T>(result: Result<T, Error>, kind: ErrorKind, says: &[&str]) -> Error {
    let Err(error) = result else { panic!("expected {kind:?}, but it was done") };
    assert_eq!(error.kind(), kind, "{error}");
    let text = error.to_string();
    for part in says {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
    error
}

/// Options for tests: nothing that depends on the machine.
pub fn options() -> Options {
    Store::options().threads(2)
}

/// The segment files, in order.
pub fn segment_files(store: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(store.join("segments"))
        .expect("the directory of the segments")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files
}

/// The file of a segment.
pub fn segment_file(store: &Path, segment: u32) -> PathBuf {
    store.join(format!("segments/{segment:08x}.seg"))
}

/// The directory of the one run.
pub fn run_dir(store: &Path) -> PathBuf {
    let mut runs: Vec<PathBuf> = std::fs::read_dir(store.join("run"))
        .expect("the directory of the runs")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    assert_eq!(runs.len(), 1, "one run: {runs:?}");
    runs.remove(0)
}

/// Writes bytes into a file, whatever its mode is.
pub fn patch(file: &Path, offset: u64, bytes: &[u8]) {
    use std::os::unix::fs::FileExt;
    writable(file).write_all_at(bytes, offset).expect("a patch");
}

/// Cuts a file, or makes it longer.
pub fn resize(file: &Path, len: u64) {
    writable(file).set_len(len).expect("a length");
}

fn writable(file: &Path) -> std::fs::File {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    std::fs::OpenOptions::new().write(true).open(file).expect("a file")
}

/// Copies a directory and all below, as `cp -r` does.
pub fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("a directory");
    let mode = std::fs::metadata(from).expect("the directory").permissions();
    for entry in std::fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().expect("its type").is_dir() {
            copy_dir(&from, &to);
        } else {
            match std::fs::copy(&from, &to) {
                // A live store unlinks files, too.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                copied => drop(copied.expect("a copy")),
            }
        }
    }
    std::fs::set_permissions(to, mode).expect("a mode");
}

/// A name of a ref.
pub type Name = (String, Vec<u8>);

/// What a ref may be bound to; `None` is nothing.
pub type Binding = Option<Value>;

/// What the store must hold, and what it may.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// The algorithm of the store.
    pub algorithm: HashAlgorithm,
    blobs: BTreeMap<BlobId, Fate>,
    refs: BTreeMap<Name, Vec<Binding>>,
}

#[derive(Clone, Debug)]
struct Fate {
    bytes: Arc<Vec<u8>>,
    /// Whether it may be there, and whether it may be missing.
    present: bool,
    absent: bool,
    /// Whether its put was acknowledged and its pin not removed.
    pinned: bool,
}

impl Ledger {
    /// Of an empty store.
    pub fn new(algorithm: HashAlgorithm) -> Self {
        Self { algorithm, blobs: BTreeMap::new(), refs: BTreeMap::new() }
    }

    /// The id of these bytes, which may be in the store from now on.
    pub fn may_put(&mut self, bytes: &[u8]) -> BlobId {
        let id = id_of(self.algorithm, bytes);
        let unknown =
            || Fate { bytes: Arc::new(bytes.to_vec()), present: true, absent: true, pinned: false };
        self.blobs.entry(id).or_insert_with(unknown).present = true;
        id
    }

    /// A put was acknowledged.
    pub fn put(&mut self, bytes: &[u8]) -> BlobId {
        let id = self.must_hold(bytes);
        self.fate(&id).pinned = true;
        id
    }

    /// A blob was acknowledged, without its pin.
    pub fn must_hold(&mut self, bytes: &[u8]) -> BlobId {
        let id = self.may_put(bytes);
        self.fate(&id).absent = false;
        id
    }

    /// The blob may be gone from now on.
    pub fn may_remove(&mut self, id: &BlobId) {
        self.fate(id).absent = true;
    }

    /// A removal was acknowledged.
    pub fn removed(&mut self, id: &BlobId) {
        let fate = self.fate(id);
        (fate.absent, fate.present, fate.pinned) = (true, false, false);
    }

    /// The pin may be gone from now on.
    pub fn may_unpin(&mut self, id: &BlobId) {
        self.fate(id).pinned = false;
    }

    fn fate(&mut self, id: &BlobId) -> &mut Fate {
        self.blobs.get_mut(id).expect("a blob of the ledger")
    }

    /// A ref may have this value from now on.
    pub fn may_set(&mut self, name: &Name, binding: Binding) {
        self.refs.entry(name.clone()).or_insert_with(|| vec![None]).push(binding);
    }

    /// A setting, or a removal, was acknowledged.
    pub fn set(&mut self, name: &Name, binding: Binding) {
        self.refs.insert(name.clone(), vec![binding]);
    }

    /// Whether a ref may name the blob.
    pub fn is_named(&self, id: &BlobId) -> bool {
        let named = Some(Value::Blob(*id));
        self.refs.values().any(|allowed| allowed.contains(&named))
    }

    /// The ids of all blobs that must be there.
    pub fn held(&self) -> Vec<BlobId> {
        self.blobs.iter().filter(|(_, fate)| !fate.absent).map(|(id, _)| *id).collect()
    }

    /// The bytes of a blob that was mentioned.
    pub fn bytes_of(&self, id: &BlobId) -> &[u8] {
        &self.blobs[id].bytes
    }

    /// Reads everything back: what was acknowledged is there, byte for byte; what was not is there
    /// whole or not at all; nothing else is there.
    #[track_caller]
    pub fn check(&self, store: &Store, when: &str) {
        self.check_blobs(store, when);
        for (name, allowed) in &self.refs {
            let entry = store.refs(&name.0).get(&name.1);
            let entry = entry.unwrap_or_else(|error| panic!("{when}: {name:?}: {error}"));
            let found = entry.map(|entry| entry.value);
            assert!(allowed.contains(&found), "{when}: {name:?} is {found:?}, not {allowed:?}");
        }
        self.check_walks(store, when);
    }

    /// As [`Ledger::check`], the blobs alone, each by itself.
    #[track_caller]
    pub fn check_blobs(&self, store: &Store, when: &str) {
        let verified = drystone::GetOptions::new().verify(Verify::Whole);
        for (id, fate) in &self.blobs {
            let got = store.get_with(id, &verified);
            let got = got.unwrap_or_else(|error| panic!("{when}: get {id}: {error}"));
            match got {
                Some(blob) => {
                    assert!(fate.present, "{when}: {id} is back");
                    assert!(*blob == fate.bytes[..], "{when}: {id} has other bytes");
                }
                None => assert!(fate.absent, "{when}: {id} is lost"),
            }
            let stat = store.stat(id).unwrap_or_else(|error| panic!("{when}: stat {id}: {error}"));
            let is_pinned = stat.is_some_and(|stat| stat.pinned);
            assert!(is_pinned || !fate.pinned, "{when}: the pin of {id} is lost");
        }
    }

    #[track_caller]
    fn check_walks(&self, store: &Store, when: &str) {
        for stat in store.blobs() {
            let stat = stat.unwrap_or_else(|error| panic!("{when}: blobs: {error}"));
            let fate = self.blobs.get(&stat.id);
            let fate = fate.unwrap_or_else(|| panic!("{when}: {} is nobody's", stat.id));
            assert_eq!(stat.len, fate.bytes.len() as u64, "{when}: {}", stat.id);
        }
        for namespace in store.namespaces().unwrap_or_else(|error| panic!("{when}: {error}")) {
            for entry in store.refs(&namespace).iter() {
                let entry = entry.unwrap_or_else(|error| panic!("{when}: refs: {error}"));
                let name = (entry.namespace.clone(), entry.key.clone());
                assert!(self.refs.contains_key(&name), "{when}: {name:?} is nobody's");
            }
        }
    }
}
