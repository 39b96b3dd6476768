//! A store over a disk whose calls fail when a test wants them to, and the ledger of what it owes.

use super::rig::{self, Binding, KIB, Ledger, Name};
use drystone::disk::{Call, Disk, Fault, FaultDisk, FaultKind, OpenOptions, RealDisk};
use drystone::{Blob, Durability, Error, FsckOptions, HashAlgorithm, Result, Store};
use std::path::PathBuf;
use std::sync::Arc;

/// How the store of a world is.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// When its operations are acknowledged.
    pub durability: Durability,
    /// Its segment size; `None` is the default.
    pub segment_bytes: Option<u64>,
    /// Its algorithm.
    pub hash: HashAlgorithm,
}

impl Shape {
    /// Buffered, with the default segments.
    pub const BUFFERED: Self =
        Self { durability: Durability::Buffered, segment_bytes: None, hash: HashAlgorithm::Xxh3 };
    /// Synced, with the default segments.
    pub const SYNCED: Self = Self { durability: Durability::Synced, ..Self::BUFFERED };
    /// With the smallest segments.
    pub const fn small_segments(self) -> Self {
        Self { segment_bytes: Some(256 << 10), ..self }
    }
}

/// A store, its faulty disk and its ledger.
pub struct World {
    dir: tempfile::TempDir,
    shape: Shape,
    boots: u32,
    /// What fails. A new one with every opening.
    pub disk: Arc<FaultDisk>,
    store: Option<Store>,
    /// What the store owes.
    pub ledger: Ledger,
    /// Views that must not change.
    views: Vec<Blob>,
}

impl World {
    /// A directory with no store in it yet.
    pub fn empty(shape: Shape) -> Self {
        let dir = rig::in_memory();
        let disk = faulty(&dir.path().join("store"), 0);
        let ledger = Ledger::new(shape.hash);
        Self { dir, shape, boots: 0, disk, store: None, ledger, views: Vec::new() }
    }

    /// A store with something of everything in it.
    pub fn furnished(shape: Shape) -> Self {
        let mut world = Self::empty(shape);
        world.open().expect("a new store");
        for (len, seed) in [(0, 1), (100, 2), (5 * KIB, 3), (70 * KIB, 4), (300 * KIB, 5)] {
            world.put(&rig::bytes(len, seed)).expect("a put");
        }
        let shared = rig::bytes(100, 2);
        let id = rig::id_of(shape.hash, &shared);
        world.set("n", b"bytes", drystone::Value::Bytes(b"first".to_vec())).expect("a ref");
        world.set("n", b"blob", drystone::Value::Blob(id)).expect("a ref");
        world.see_all();
        world
    }

    /// Where the store is.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    /// A path beside the store.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Opens the store over the disk of this world.
    pub fn open(&mut self) -> Result<()> {
        let mut options = rig::options().create(true).disk(self.disk.clone());
        options = options.durability(self.shape.durability).hash(self.shape.hash);
        if let Some(bytes) = self.shape.segment_bytes {
            options = options.segment_bytes(bytes);
        }
        self.store = Some(options.open(self.path())?);
        Ok(())
    }

    /// Repairs the store while it is closed, and opens it.
    pub fn repair(&mut self) -> Result<()> {
        self.store = None;
        let options = FsckOptions::new().repair(true).threads(1).disk(self.disk.clone());
        drystone::fsck(self.path(), &options.boot_id(format!("boot-{}", self.boots)))?;
        self.open()
    }

    /// Closes the store; the next opening is over a new disk.
    pub fn close(&mut self) {
        self.store = None;
        self.disk = faulty(&self.path(), self.boots);
    }

    /// Closes the store; the next opening comes after a reboot.
    pub fn reboot(&mut self) {
        self.boots += 1;
        self.close();
    }

    /// The opened store.
    pub fn store(&self) -> &Store {
        self.store.as_ref().expect("it is open")
    }

    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        self.store.is_some()
    }

    /// Holds a view of every blob that must be there.
    pub fn see_all(&mut self) {
        let (store, ids) = (self.store.as_ref().expect("it is open"), self.ledger.held());
        self.views = ids
            .iter()
            .map(|id| store.get(id).expect("a view").expect("it must be there"))
            .collect();
    }

    /// The views still show what they did.
    #[track_caller]
    pub fn check_views(&self, when: &str) {
        for view in &self.views {
            assert!(**view == *self.ledger.bytes_of(&view.id()), "{when}: a view has changed");
        }
    }

    /// Holds the store against the ledger.
    #[track_caller]
    pub fn check(&self, when: &str) {
        self.check_views(when);
        self.ledger.check(self.store(), when);
    }

    /// Puts bytes in.
    pub fn put(&mut self, bytes: &[u8]) -> Result<()> {
        let id = self.ledger.may_put(bytes);
        assert_eq!(self.store().put(bytes)?, id);
        self.ledger.put(bytes);
        Ok(())
    }

    /// Sets a ref.
    pub fn set(&mut self, namespace: &str, key: &[u8], value: drystone::Value) -> Result<()> {
        let name: Name = (namespace.into(), key.to_vec());
        let binding: Binding = Some(value.clone());
        self.ledger.may_set(&name, binding.clone());
        self.store().refs(namespace).set(key, value)?;
        self.ledger.set(&name, binding);
        Ok(())
    }
}

fn faulty(path: &std::path::Path, boots: u32) -> Arc<FaultDisk> {
    let options = OpenOptions {
        writable: true,
        create: true,
        boot_id: Some(format!("boot-{boots}")),
        ..OpenOptions::default()
    };
    let real: Arc<dyn Disk> = RealDisk::open(path, &options).expect("the directory");
    FaultDisk::new(real)
}

/// What can go wrong at a call: by default what the kernel would say there, in a campaign all.
pub fn kinds_for(call: Call) -> &'static [FaultKind] {
    use FaultKind::{Io, NoMemory, NoSpace, ShortWrite, TooManyFiles};
    if rig::campaign() > 1 {
        return &[Io, NoSpace, ShortWrite, TooManyFiles, NoMemory];
    }
    match call {
        Call::Write => &[Io, NoSpace, ShortWrite],
        Call::Map => &[Io, NoMemory],
        Call::Open | Call::List => &[Io, TooManyFiles],
        Call::Create => &[NoSpace, TooManyFiles],
        Call::Link | Call::Reserve | Call::SetLen | Call::MakeDir => &[Io, NoSpace],
        _ => &[Io],
    }
}

/// An error that a fault has led to names its cause, in a kind that fits.
#[track_caller]
pub fn is_clear(error: &Error, kind: FaultKind) {
    use drystone::ErrorKind::{IndexFull, Io, Limit, NoSpace, SyncFailed};
    let fits = match kind {
        FaultKind::Io => [Io, SyncFailed, Io],
        FaultKind::NoSpace | FaultKind::ShortWrite => [NoSpace, SyncFailed, IndexFull],
        FaultKind::TooManyFiles | FaultKind::NoMemory => [Limit, SyncFailed, IndexFull],
    };
    assert!(fits.contains(&error.kind()), "{kind:?} became {error:?}");
    let text = error.to_string();
    assert!(text.contains("as a test wanted"), "the cause of {kind:?} is lost: {error:?}");
}

/// Lets the `nth` call from now fail, once or for ever.
pub fn inject(disk: &FaultDisk, kind: FaultKind, nth: u64, forever: bool) {
    let fault = Fault::new(kind).nth(nth);
    disk.inject(if forever { fault.forever() } else { fault });
}
