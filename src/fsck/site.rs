//! What is checked: the store's files, its superblock, and the run of this boot if there is one.
#![forbid(unsafe_code)]

use super::finding::{Cure, Finding, FindingKind};
use super::layout::names_in;
use super::options::FsckOptions;
use super::origin::superblock_of_segments;
use crate::disk::{Access, Disk, File, Identity, OpenOptions, RealDisk};
use crate::engine::is_in_use;
use crate::error::{Error, ErrorKind, Result};
use crate::format::superblock::{COPY_BYTES, FILE_BYTES, Superblock};
use crate::index::Index;
use crate::run::{RUN_DIR, Run, tag};
use crate::segment::{Files, SEGMENTS_DIR, segment_path};
use crate::sync::epoch::pin;
use rayon::ThreadPool;
use std::path::Path;
use std::sync::Arc;

/// The superblock's file.
pub const STORE_PATH: &str = "STORE";

/// A store, as a check gets at it.
pub struct Site<'a> {
    /// How it is to be checked.
    pub options: &'a FsckOptions,
    /// Its segments.
    pub files: Files,
    /// What it is for ever.
    pub superblock: Superblock,
    /// What its run is tied to.
    pub identity: Identity,
    /// The name of the run of this boot.
    pub tag: String,
    /// Somebody has taken the right to write from all files: then that says nothing about a segment.
    is_write_protected: bool,
}

/// Whether the owner may not write to a file.
fn is_protected(file: &dyn File) -> Result<bool> {
    Ok(!file.is_owner_writable()?)
}

/// Opens the directory of a store.
pub fn open_disk(path: &Path, options: &FsckOptions, writable: bool) -> Result<Arc<dyn Disk>> {
    if let Some(disk) = &options.disk {
        return Ok(disk.clone());
    }
    let how = OpenOptions { writable, boot_id: options.boot_id.clone(), ..OpenOptions::default() };
    match RealDisk::open(path, &how) {
        Ok(disk) => Ok(disk),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(no_store("no such directory")),
        Err(error) => Err(error),
    }
}

fn no_store(why: &str) -> Error {
    Error::new(ErrorKind::NotAStore, format!("not a store: {why}")).advice("check the path")
}

/// Reads both copies of the superblock. If neither is whole, it is what the segments say; `None` if they say
/// nothing. What is wrong is found.
///
/// # Errors
/// `NotAStore`, `UnsupportedVersion`, or an error of the operating system.
pub fn read_superblock(
    disk: &Arc<dyn Disk>,
    findings: &mut Vec<Finding>,
) -> Result<Option<Superblock>> {
    let mut bytes = vec![0; FILE_BYTES];
    let decoded = match disk.open(STORE_PATH, Access::Read) {
        Ok(Some(file)) => {
            let read = file.read_at(&mut bytes, 0)?;
            bytes.truncate(read);
            Superblock::decode(&bytes)
        }
        Ok(None) => Err(no_store("it holds no file STORE")),
        Err(error) => Err(error),
    };
    let superblock = match decoded {
        Ok(superblock) => superblock,
        Err(error) if [ErrorKind::Damaged, ErrorKind::NotAStore].contains(&error.kind()) => {
            return anew(disk, error, findings);
        }
        Err(error) => return Err(error),
    };
    let whole = superblock.encode();
    for at in [0, COPY_BYTES] {
        let stands = bytes.get(at..at + 64).unwrap_or_default();
        if stands != &whole[at..at + 64] {
            let cure = Cure::Superblock(at as u64);
            let message = "a copy of the superblock is damaged";
            let finding = Finding::damage(FindingKind::Superblock, message, cure);
            let finding = finding.path(STORE_PATH).offset(at as u64);
            findings.push(finding.expected("the other copy").found(difference(stands)));
        }
    }
    Ok(Some(superblock))
}

/// A superblock made of what the segments say, in place of one that `error` tells of.
fn anew(
    disk: &Arc<dyn Disk>,
    error: Error,
    findings: &mut Vec<Finding>,
) -> Result<Option<Superblock>> {
    let superblock = superblock_of_segments(disk)?;
    if superblock.is_none() && error.kind() == ErrorKind::NotAStore {
        return Err(error);
    }
    let cure = if superblock.is_some() { Cure::SuperblockAnew } else { Cure::Nothing };
    let finding = Finding::of_error(FindingKind::Superblock, &error, cure);
    findings.push(finding.path(STORE_PATH).offset(0));
    Ok(superblock)
}

fn difference(stands: &[u8]) -> &'static str {
    match stands {
        [] => "the end of the file",
        _ => "other bytes",
    }
}

impl<'a> Site<'a> {
    /// The store of a superblock.
    pub fn new(
        disk: Arc<dyn Disk>,
        superblock: Superblock,
        options: &'a FsckOptions,
    ) -> Result<Self> {
        let identity = disk.identity()?;
        let tag = tag(&identity);
        let store = match disk.open(STORE_PATH, Access::Read) {
            Err(error) if error.is_damage() => None,
            opened => opened?,
        };
        let is_write_protected = store.map_or(Ok(false), |file| is_protected(&*file))?;
        let files = Files { disk, uuid: superblock.uuid, hash: superblock.hash };
        Ok(Self { options, files, superblock, identity, tag, is_write_protected })
    }

    /// Whether a segment says by its mode that it was finished: sealed, and all of it durable.
    pub fn is_finished(&self, file: &dyn File) -> Result<bool> {
        Ok(!self.is_write_protected && is_protected(file)? && !bug!("fsck-mode-unread"))
    }

    /// The directory.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.files.disk
    }

    /// The run of this boot, if there is one that can be used.
    pub fn attach(&self, access: Access, findings: &mut Vec<Finding>) -> Result<Option<Run>> {
        if names_in(&**self.disk(), RUN_DIR)?.is_empty() {
            return Ok(None);
        }
        let attached = Run::attach(self.disk(), &self.tag, &self.superblock.uuid, access);
        let checked = attached.and_then(|run| match run {
            Some(run) if self.is_believed(&run)? => {
                run.control.check_counter()?;
                Index::new(run.tables(&pin())).stats()?;
                Ok(Some(run))
            }
            Some(_) => {
                findings.push(self.of_another_mount());
                Ok(None)
            }
            None => Ok(None),
        });
        match checked {
            Err(error) if error.is_damage() => {
                let finding = Finding::of_error(FindingKind::Run, &error, Cure::Rebuild);
                findings.push(finding.path(format!("run/{}", self.tag)));
                Ok(None)
            }
            other => other,
        }
    }

    /// Whether a run says what is. One that was built under another mount may be older than what the
    /// file system holds now, if that was mounted anew; whoever is alone puts it aside. But those who are at
    /// work, as in another container, go by it.
    fn is_believed(&self, run: &Run) -> Result<bool> {
        if run.control.is_of_mount(&self.identity) {
            return Ok(true);
        }
        Ok(!self.options.repair && !bug!("fsck-mount-strict") && is_in_use(&**self.disk())?)
    }

    fn of_another_mount(&self) -> Finding {
        let message = "the index was built under another mount of the file system, and nobody uses it: \
                       it was not held against the segments";
        let finding = Finding::notice(FindingKind::Run, message).path(format!("run/{}", self.tag));
        finding.advice(
            "nothing needs to be done: whoever opens the store from here builds it anew; to have it \
             checked, check from where it was built",
        )
    }

    /// Whether a run that was attached is still that of this boot. One of another mount may have been put
    /// aside by an opener that was only beginning when it was seen at work.
    pub fn is_still(&self, run: &Run) -> Result<bool> {
        let now = Run::attach(self.disk(), &self.tag, &self.superblock.uuid, Access::Read);
        match now {
            Ok(now) => Ok(now.is_some_and(|now| now.control.mount() == run.control.mount())),
            Err(error) if error.is_damage() => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// The numbers of its segments, in order.
    pub fn numbers(&self) -> Result<Vec<u32>> {
        match names_in(&**self.disk(), SEGMENTS_DIR)?.is_empty() {
            true => Ok(Vec::new()),
            false => self.files.list(),
        }
    }

    /// Where a segment of this store belongs that goes by the name of another; `None` if that is taken.
    pub fn home_of(&self, number: u32) -> Result<Option<String>> {
        let file = match self.files.open(number, Access::Read) {
            Ok(Some(file)) => file,
            Err(error) if !error.is_damage() => return Err(error),
            _ => return Ok(None),
        };
        let Some(own) = self.files.own_number(&*file)?.filter(|&own| own != number) else {
            return Ok(None);
        };
        let is_free = matches!(self.files.open(own, Access::Read), Ok(None));
        Ok(is_free.then(|| segment_path(own)))
    }

    /// Threads of the check's own.
    pub fn pool(&self) -> Result<ThreadPool> {
        rayon::ThreadPoolBuilder::new()
            .num_threads(self.options.threads)
            .thread_name(|index| format!("drystone-fsck-{index}"))
            .build()
            .map_err(|error| {
                Error::new(ErrorKind::Limit, format!("cannot start threads: {error}"))
                    .advice("raise the limits on processes (ulimit -u) and on memory")
            })
    }
}
