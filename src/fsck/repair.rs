//! Mending what a check has found.
//!
//! In this order: what stands in a place of the store and is not the store's is moved to `quarantine`
//! (`layout.rs`); the copies of the superblock; the state bytes of the records that the index names; the
//! run loses its name; what is whole in damaged segments is copied, durably; their files are moved to
//! `quarantine`; a new run is built, as a recovery does it, which buries the refs whose blobs are lost.
//! Then everything is checked again.
//!
//! Death: before the run has lost its name, nothing has changed but what anybody may change; after that,
//! whoever opens the store builds a run from the segments that are there, copies or originals or both.
#![forbid(unsafe_code)]

use super::check::{Checked, check};
use super::finding::{Cure, Finding};
use super::layout::{misplaced, place_locks, place_rest};
use super::options::FsckOptions;
use super::quarantine::{settle, take_out};
use super::report::{FsckRepair, FsckReport, cures};
use super::salvage::Salvage;
use super::site::{STORE_PATH, Site, open_disk, read_superblock};
use crate::disk::{Access, Disk};
use crate::engine::{is_sole_user, take_users_lock};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{Header, State};
use crate::format::superblock::{COPY_BYTES, Superblock};
use crate::format::word::{Word, WordKind};
use crate::id::Key;
use crate::index::{Index, canonical};
use crate::recover::{Source, key_of, place_burial, rebuild_shared};
use crate::run::{LOCKS_PATH, RUN_DIR, Run, RunBuilder};
use crate::segment::{publish_foreign, segment_path};
use crate::sync::epoch::pin;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// What a repair uncovers may need another.
const ROUNDS_MAX: u32 = 3;

/// Checks a store and mends it.
pub fn repair(path: &Path, options: &FsckOptions) -> Result<FsckReport> {
    let disk = open_disk(path, options, true)?;
    let mut findings = Vec::new();
    misplaced(&*disk, &mut findings)?;
    let Some(superblock) = read_superblock(&disk, &mut findings)? else {
        return Ok(Checked { findings, ..Checked::default() }.report(options));
    };
    let mut done = FsckRepair::default();
    let is_unlocked = !has_locks(&*disk)? && !bug!("repair-unasked");
    if is_unlocked && is_appended_to(&Site::new(disk.clone(), superblock, options)?)? {
        return Err(in_use());
    }
    place_locks(&*disk, &findings, &mut done.quarantined)?;
    let users = take_users_lock(&*disk)?.ok_or_else(in_use)?;
    if !disk.is_named(&*users, LOCKS_PATH)? {
        // Another repair has exchanged it meanwhile.
        return Err(in_use());
    }
    let mut report = None;
    let is_alone = is_sole_user(&*users, || {
        place_rest(&*disk, &findings, &mut done.quarantined)?;
        report = Some(mend(&disk, superblock, findings, done, options)?);
        Ok(())
    })?;
    report.filter(|_| is_alone).ok_or_else(in_use)
}

/// Whether the file is there by which users are known.
fn has_locks(disk: &dyn Disk) -> Result<bool> {
    match disk.open(LOCKS_PATH, Access::Read) {
        Err(error) if error.is_damage() => Ok(false),
        opened => Ok(opened?.is_some()),
    }
}

/// Whether somebody has a segment open to append to it. What he would go on to put into a run that loses
/// its name would be lost.
fn is_appended_to(site: &Site<'_>) -> Result<bool> {
    for number in site.numbers()? {
        match site.files.open(number, Access::Read) {
            Ok(Some(file)) if file.is_locked(0, 1)? => return Ok(true),
            Err(error) if !error.is_damage() => return Err(error),
            _ => {}
        }
    }
    Ok(false)
}

fn in_use() -> Error {
    Error::new(ErrorKind::Busy, "the store is in use, and a repair needs it to itself").advice(
        "end the processes that use it, then repair again; a check alone may run beside them",
    )
}

fn mend(
    disk: &Arc<dyn Disk>,
    superblock: Superblock,
    findings: Vec<Finding>,
    mut done: FsckRepair,
    options: &FsckOptions,
) -> Result<FsckReport> {
    let site = Site::new(disk.clone(), superblock, options)?;
    let mut checked = check(&site, findings)?;
    let mut told: Option<Checked> = None;
    for _ in 0..ROUNDS_MAX {
        if cures(&checked.findings).next().is_none() {
            break;
        }
        cure(&site, &checked, &mut done)?;
        let mut findings = Vec::new();
        misplaced(&**disk, &mut findings)?;
        read_superblock(disk, &mut findings)?;
        let again = check(&site, findings)?;
        let before = std::mem::replace(&mut checked, again);
        told.get_or_insert(before);
    }
    let Some(mut told) = told else { return Ok(checked.report(options)) };
    done.remaining = cures(&checked.findings).count() as u64;
    told.report.repair = Some(done);
    Ok(told.report(options))
}

/// Does what the findings ask for.
fn cure(site: &Site<'_>, checked: &Checked, done: &mut FsckRepair) -> Result<()> {
    let (mut damaged, mut is_run_concerned) = (BTreeSet::new(), false);
    for cure in cures(&checked.findings) {
        match cure {
            Cure::Superblock(at) => write_superblock(site, at)?,
            Cure::SuperblockAnew => make_superblock(site, done)?,
            Cure::Salvage(number) => drop(damaged.insert(number)),
            Cure::Rebuild => is_run_concerned = true,
            // What was there before has been done by now.
            Cure::Place(_) | Cure::Nothing => {}
        }
    }
    if damaged.is_empty() && !is_run_concerned {
        return Ok(());
    }
    let run = site.attach(Access::Write, &mut Vec::new())?;
    let limit = run.as_ref().map_or(0, |run| run.control.limit());
    if let Some(run) = &run {
        publish_named(site, run)?;
    }
    drop(run);
    let pool = site.pool()?;
    let salvage = pool.install(|| Salvage::plan(site, &damaged, &checked.sorted))?;
    let aside = put_run_aside(site)?;
    if !damaged.is_empty() {
        if bug!("quarantine-before-copies") {
            take_out_all(site, &damaged, done)?;
        }
        if let Err(error) = salvage.carry_out() {
            put_run_back(site, aside.as_deref());
            return Err(error);
        }
        take_out_all(site, &damaged, done)?;
    }
    done.saved_records += salvage.records;
    done.saved_bytes += salvage.bytes;
    done.lost_records += salvage.lost;
    done.headless_segments += salvage.headless;
    RunBuilder::remove_others(&**site.disk(), None);
    rebuild(site, limit)?;
    if let Some(run) = site.attach(Access::Read, &mut Vec::new())? {
        done.lost_refs += run.control.lost().refs;
    }
    Ok(())
}

/// Writes a copy of the superblock again, in place: the other one is whole.
fn write_superblock(site: &Site<'_>, at: u64) -> Result<()> {
    let file = site.disk().open(STORE_PATH, Access::Write)?;
    let file = file.ok_or_else(|| Error::new(ErrorKind::NotAStore, "the file STORE is gone"))?;
    file.write_at(&site.superblock.encode()[..COPY_BYTES], at)?;
    file.sync_data()
}

/// Puts a superblock in the place of one that is lost. (Its death leaves copies of which the first may be
/// whole, or the file as it was.)
fn make_superblock(site: &Site<'_>, done: &mut FsckRepair) -> Result<()> {
    match site.disk().open(STORE_PATH, Access::Read) {
        Ok(Some(_)) => {
            write_superblock(site, 0)?;
            return write_superblock(site, COPY_BYTES as u64);
        }
        Ok(None) => {}
        Err(error) if error.is_damage() => {
            done.quarantined.push(take_out(&**site.disk(), STORE_PATH)?)
        }
        Err(error) => return Err(error),
    }
    let file = site.disk().create("")?;
    file.write_at(&site.superblock.encode(), 0)?;
    file.sync_data()?;
    site.disk().link(&*file, STORE_PATH)?;
    site.disk().sync_dir("")
}

/// Sets the state bytes that processes have left out when they died: a new run goes by them.
fn publish_named(site: &Site<'_>, run: &Run) -> Result<()> {
    let guard = pin();
    let mut failed = Ok(());
    let walked = Index::new(run.tables(&guard)).for_each(|key, word| {
        if matches!(word.kind(), WordKind::Live | WordKind::Tomb)
            && let Err(error) = publish_one(site, key, word)
            && !error.is_damage()
        {
            failed = Err(error);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    match walked {
        Err(error) if !error.is_damage() => Err(error),
        _ => failed,
    }
}

fn publish_one(site: &Site<'_>, key: Key, word: Word) -> Result<()> {
    let (segment, offset) = (word.location().segment(), word.location().offset());
    let Some(file) = site.files.open(segment, Access::Read)? else { return Ok(()) };
    let mut block = [0; 64];
    let read = file.read_at(&mut block, offset)?;
    let header = Header::decode(&block, site.files.place(segment), offset).filter(|_| read == 64);
    match header {
        Some(header)
            if header.state == State::Pending && canonical(key_of(&site.files, &header)) == key =>
        {
            publish_foreign(&site.files, segment, offset).map(drop)
        }
        _ => Ok(()),
    }
}

/// Takes its name from the run of this boot; the name that it has now, if there is one.
fn put_run_aside(site: &Site<'_>) -> Result<Option<String>> {
    if !site.disk().list(RUN_DIR)?.contains(&site.tag) {
        return Ok(None);
    }
    let aside = format!("{RUN_DIR}/old-{:x}-{:x}", crate::clock::now_ns(), std::process::id());
    site.disk().rename(&format!("{RUN_DIR}/{}", site.tag), &aside)?;
    Ok(Some(aside))
}

/// Nothing that it knows of has changed: on a full disk there may be no room for another.
fn put_run_back(site: &Site<'_>, aside: Option<&str>) {
    if let Some(aside) = aside {
        let _ = site.disk().rename(aside, &format!("{RUN_DIR}/{}", site.tag));
    }
}

fn take_out_all(site: &Site<'_>, damaged: &BTreeSet<u32>, done: &mut FsckRepair) -> Result<()> {
    for &number in damaged {
        let path = segment_path(number);
        if let Some(home) = site.home_of(number)? {
            site.disk().rename(&path, &home)?;
        } else {
            done.quarantined.push(take_out(&**site.disk(), &path)?);
        }
    }
    settle(&**site.disk())
}

fn rebuild(site: &Site<'_>, limit: u64) -> Result<()> {
    let source = Source {
        files: &site.files,
        superblock: &site.superblock,
        identity: &site.identity,
        limit,
        threads: site.options.threads,
    };
    rebuild_shared(&source)?;
    let run = Run::attach(site.disk(), &site.tag, &site.superblock.uuid, Access::Write)?;
    run.map_or(Ok(()), |run| place_burial(&site.files, &run))
}
