//! Opening a store: the superblock, the users' lock, the run of this boot.
#![forbid(unsafe_code)]

use super::{Options, Store};
use crate::disk::{Access, Disk, File, Identity, LockKind, OpenOptions, RealDisk};
use crate::engine::{Engine, is_sole_user, take_users_lock};
use crate::error::{Error, ErrorKind, Result};
use crate::format::superblock::{FILE_BYTES, Superblock};
use crate::id::HashAlgorithm;
use crate::index::Index;
use crate::recover::{Source, Unproved, place_burial, prove, rebuild_private, rebuild_shared};
use crate::run::{LOCKS_PATH, RUN_DIR, Run, RunBuilder, open_locks, tag};
use crate::segment::{Files, SEGMENTS_DIR, segment_number};
use crate::sync::epoch::pin;
use crate::units::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The superblock's file.
const STORE_PATH: &str = "STORE";
/// Directory for what `fsck --repair` takes out.
const QUARANTINE_DIR: &str = "quarantine";
/// Byte of `locks` that a recoverer holds, so that others do not do its work again.
const RECOVERY_BYTE: u64 = 2;
/// So long an opener waits for somebody who holds the store exclusively.
const USERS_PATIENCE: Duration = Duration::from_secs(2);

/// See [`Options::open`].
pub fn open(options: Options, path: &Path) -> Result<Store> {
    open_engine(&options, path).map(Store::new).map_err(|error| error.path(path))
}

fn open_engine(options: &Options, path: &Path) -> Result<Engine> {
    check(options)?;
    let disk = open_disk(options, path)?;
    let superblock = match read_superblock(&*disk)? {
        Some(superblock) => superblock,
        None if options.create && !options.read_only => create(&*disk, options)?,
        None => return Err(not_a_store("it holds no file STORE")),
    };
    check_properties(&superblock, options)?;
    let files = Files { disk: disk.clone(), uuid: superblock.uuid, hash: superblock.hash };
    let (run, unproved, users) = if options.read_only {
        let run = read_only_run(&files, &superblock, options)?;
        // One in memory was built just now.
        let unproved = (!run.is_shared()).then(Vec::new);
        (run, unproved, None)
    } else {
        complete_layout(&*disk)?;
        let users = join_users(&*disk)?;
        let (run, unproved) = shared_run(&files, &superblock, options, &*users)?;
        (run, unproved, Some(users))
    };
    let total = disk.space()?.total;
    let mut engine = Engine::new(
        path.to_path_buf(),
        superblock,
        options.settings.clone(),
        files,
        run,
        users,
        total,
    );
    if let Some(unproved) = unproved {
        engine.recovered = Some(engine.run.control.lost());
        prove(&engine, &unproved);
    }
    Ok(engine)
}

fn open_disk(options: &Options, path: &Path) -> Result<Arc<dyn Disk>> {
    if let Some(disk) = &options.disk {
        return Ok(disk.clone());
    }
    let opened = RealDisk::open(
        path,
        &OpenOptions {
            writable: !options.read_only,
            create: options.create,
            trust_other_users: options.trust_other_users,
            boot_id: options.boot_id.clone(),
        },
    );
    match opened {
        Ok(disk) => Ok(disk),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(not_a_store("there is no such directory"))
        }
        Err(error) => Err(error),
    }
}

fn not_a_store(why: &str) -> Error {
    Error::new(ErrorKind::NotAStore, format!("not a store: {why}"))
        .advice("check the path, or make one with Options::create or `blobtool init`")
}

fn check(options: &Options) -> Result<()> {
    let Some(bytes) = options.segment_bytes else { return Ok(()) };
    if bytes.is_power_of_two() && (SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&bytes) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidInput, "a segment size that cannot be")
        .expected(format!("a power of two from {SEGMENT_BYTES_MIN} to {SEGMENT_BYTES_MAX}"))
        .found(bytes))
}

/// Refuses a store that is there with other properties than were asked for.
fn check_properties(superblock: &Superblock, options: &Options) -> Result<()> {
    let differs = |what: &str, asked: String, is: String| {
        Err(Error::new(ErrorKind::AlreadyExists, format!("a store with another {what} is there"))
            .expected(asked)
            .found(is)
            .advice("open it without asking for one, or choose another directory"))
    };
    if let Some(hash) = options.hash
        && hash != superblock.hash
    {
        return differs("hash algorithm", hash.to_string(), superblock.hash.to_string());
    }
    if let Some(bytes) = options.segment_bytes
        && bytes != superblock.segment_bytes
    {
        return differs("segment size", bytes.to_string(), superblock.segment_bytes.to_string());
    }
    Ok(())
}

fn read_superblock(disk: &dyn Disk) -> Result<Option<Superblock>> {
    let Some(file) = disk.open(STORE_PATH, Access::Read)? else { return Ok(None) };
    let mut bytes = vec![0; FILE_BYTES];
    let read = file.read_at(&mut bytes, 0)?;
    Superblock::decode(&bytes[..read]).map(Some)
}

fn create(disk: &dyn Disk, options: &Options) -> Result<Superblock> {
    let present = disk.list("")?;
    if present.iter().any(|name| name == STORE_PATH) {
        // Somebody else has been faster, since it was looked for.
        return made_by_another(disk);
    }
    if let Some(stranger) = present.iter().find(|name| !is_ours(name)) {
        return Err(Error::new(ErrorKind::NotAStore, "the directory holds other files")
            .expected("an empty directory, or a store")
            .found(stranger)
            .advice("choose an empty or new directory"));
    }
    for dir in [SEGMENTS_DIR, RUN_DIR, QUARANTINE_DIR] {
        disk.make_dir(dir)?;
    }
    if disk.list(SEGMENTS_DIR)?.iter().any(|name| segment_number(name).is_some()) {
        // Of a store that somebody else has made meanwhile, or of one that has lost its superblock: under
        // another uuid they would be nobody's.
        return read_superblock(disk)?.ok_or_else(|| {
            not_a_store("it holds segments, but no file STORE")
                .advice("run `blobtool fsck --repair`: it makes it again of what the segments say")
        });
    }
    let superblock = Superblock {
        hash: options.hash.unwrap_or(HashAlgorithm::Xxh3),
        uuid: crate::uuid::random()?,
        segment_bytes: options.segment_bytes.unwrap_or(0),
        created_ns: crate::clock::now_ns(),
    };
    make_file(disk, LOCKS_PATH, &[])?;
    disk.sync_dir(SEGMENTS_DIR)?;
    let made = make_file(disk, STORE_PATH, &superblock.encode())?;
    disk.sync_dir("")?;
    if made {
        return Ok(superblock);
    }
    made_by_another(disk)
}

/// Somebody else was faster: theirs is the store.
fn made_by_another(disk: &dyn Disk) -> Result<Superblock> {
    read_superblock(disk)?.ok_or_else(|| not_a_store("its file STORE has just been removed"))
}

fn is_ours(name: &str) -> bool {
    [SEGMENTS_DIR, RUN_DIR, QUARANTINE_DIR, LOCKS_PATH].contains(&name)
}

fn make_file(disk: &dyn Disk, path: &str, bytes: &[u8]) -> Result<bool> {
    let file = disk.create("")?;
    if bug!("linked-before-written") && !disk.link(&*file, path)? {
        return Ok(false);
    }
    file.write_at(bytes, 0)?;
    file.sync_data()?;
    Ok(bug!("linked-before-written") || disk.link(&*file, path)?)
}

/// Puts back what a copy of the store may have left out.
fn complete_layout(disk: &dyn Disk) -> Result<()> {
    for dir in [SEGMENTS_DIR, RUN_DIR, QUARANTINE_DIR] {
        disk.make_dir(dir)?;
    }
    // What stands there must be a directory that can be used, and no link: looking into it tells.
    for dir in [SEGMENTS_DIR, RUN_DIR] {
        disk.open(&format!("{dir}/none"), Access::Read)?;
    }
    if disk.open(LOCKS_PATH, Access::Read)?.is_none() {
        make_file(disk, LOCKS_PATH, &[])?;
    }
    Ok(())
}

fn join_users(disk: &dyn Disk) -> Result<Arc<dyn File>> {
    let start = Instant::now();
    loop {
        if let Some(users) = take_users_lock(disk)? {
            return Ok(users);
        }
        if start.elapsed() > USERS_PATIENCE {
            return Err(Error::new(ErrorKind::Busy, "somebody holds the store exclusively")
                .advice("wait until it is done, then open again"));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The run of this boot; where it had to be built here, also what is to be proved through it.
fn shared_run(
    files: &Files,
    superblock: &Superblock,
    options: &Options,
    users: &dyn File,
) -> Result<(Run, Option<Vec<Unproved>>)> {
    let disk = &files.disk;
    let identity = disk.identity()?;
    let tag = tag(&identity);
    let attach = || attach(files, &tag, Access::Write);
    match attach() {
        Ok(Some(run)) if run.control.is_of_mount(&identity) => return Ok((run, None)),
        Ok(None) => {}
        // Built under another mount, or damaged: only whoever is alone may put it aside.
        Ok(Some(run)) => {
            if !put_aside(&**disk, users, &tag)? {
                return Ok((run, None));
            }
        }
        Err(error) => {
            let is_damage = error.is_damage() || error.kind() == ErrorKind::ProtocolMismatch;
            if !is_damage || !put_aside(&**disk, users, &tag)? {
                return Err(error);
            }
        }
    }
    let lock = open_locks(&**disk)?;
    let start = Instant::now();
    loop {
        if let Some(run) = attach()? {
            return Ok((run, None));
        }
        if lock.try_lock(RECOVERY_BYTE, 1, LockKind::Exclusive)? {
            RunBuilder::remove_others(&**disk, Some(&tag));
            break;
        }
        if start.elapsed() > options.recovery_patience {
            break;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    if let Some(run) = attach()? {
        return Ok((run, None));
    }
    let unproved = rebuild_shared(&source(files, superblock, &identity, options))?;
    let run = attach()?;
    let run = run.ok_or_else(|| Error::new(ErrorKind::Io, "a run that was just built is gone"))?;
    Ok((run, unproved))
}

/// The run of this boot, if there is one. What costs the same whatever is in the store has been checked:
/// the control page, its counter, and the tables that its root names, their headers and lengths.
fn attach(files: &Files, tag: &str, access: Access) -> Result<Option<Run>> {
    let Some(run) = Run::attach(&files.disk, tag, &files.uuid, access)? else { return Ok(None) };
    if !bug!("run-unchecked") {
        run.control.check_counter()?;
        Index::new(run.tables(&pin())).stats()?;
    }
    place_burial(files, &run)?;
    Ok(Some(run))
}

/// Takes the name from a run that must not be used, if nobody else uses the store.
fn put_aside(disk: &dyn Disk, users: &dyn File, tag: &str) -> Result<bool> {
    is_sole_user(users, || {
        let aside = format!("{RUN_DIR}/old-{:x}-{:x}", crate::clock::now_ns(), std::process::id());
        disk.rename(&format!("{RUN_DIR}/{tag}"), &aside).map(drop)
    })
}

fn source<'a>(
    files: &'a Files,
    superblock: &'a Superblock,
    identity: &'a Identity,
    options: &Options,
) -> Source<'a> {
    let threads = options.settings.threads;
    Source { files, superblock, identity, limit: options.size_limit, threads }
}

/// For reading, the run is used where there is one; else the index is built in memory.
fn read_only_run(files: &Files, superblock: &Superblock, options: &Options) -> Result<Run> {
    let identity = files.disk.identity()?;
    let shared = attach(files, &tag(&identity), Access::Read);
    match shared {
        Ok(Some(run)) if run.control.is_of_mount(&identity) => Ok(run),
        _ => rebuild_private(&source(files, superblock, &identity, options)),
    }
}
