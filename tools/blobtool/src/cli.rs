//! The command line, as clap reads it and as the manual shows it.

use crate::exit::{Failure, Outcome, TABLE, USAGE};
use crate::quantity::{ByteRange, Size, grouped, rate, share};
use clap::{Args, Parser, Subcommand};
use drystone::{BlobId, ErrorKind, HashAlgorithm, Recovery, Store};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// The namespace of the refs that the tool sets and reads.
pub const NAMES: &str = "names";

/// Store large immutable blobs under the digest of their bytes, and name them.
#[derive(Parser)]
#[command(name = "blobtool", version, after_help = TABLE, max_term_width = 100)]
pub struct Cli {
    /// The directory of the store
    #[arg(long, global = true, value_name = "DIR", env = "DRYSTONE_STORE")]
    pub store: Option<PathBuf>,
    /// Print one JSON document, or one per line, with "version": 1
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Subcommand)]
pub enum Verb {
    /// Make a store
    Init(Init),
    /// Store files, or standard input; print an id per line
    Put(Put),
    /// Write a blob to standard output or into a file
    Get(Get),
    /// List blobs, or names
    Ls(Ls),
    /// Unpin blobs, remove names, or remove blobs at once
    Rm(Rm),
    /// Tell what is known about a blob
    Stat(Target),
    /// Tell what is known about the store
    Info,
    /// Give up what nothing names, and get its space back, also while the store is in use
    Compact(Compact),
    /// Check the store, also while it is in use; mend it
    Fsck(Fsck),
    /// Watch many processes write and read multi-GB arrays through one store
    Demo(Demo),
    /// One process of the demonstration.
    #[command(hide = true)]
    DemoWorker,
    /// Print the completions for a shell
    Completions(Completions),
    /// Print the manual page, or write one for every verb into a directory
    Man(Man),
}

/// Arguments of `init`.
#[derive(Args)]
pub struct Init {
    /// The directory (or --store, or $DRYSTONE_STORE)
    #[arg(value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// What names the blobs: xxh3 (memory speed) or blake3 (collision resistant, for exchange)
    #[arg(long, default_value = "xxh3")]
    pub hash: HashAlgorithm,
    /// Bytes of a segment file: a power of two from 256K to 1G [default: grows with the store]
    #[arg(long, value_name = "SIZE")]
    pub segment_size: Option<Size>,
}

/// Arguments of `put`.
#[derive(Args)]
pub struct Put {
    /// Files; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Name the blob instead of pinning it; with -r, put KEY/ in front of every name
    #[arg(long, value_name = "KEY")]
    pub name: Option<OsString>,
    /// Store the files of directories, each named by its path below its directory
    #[arg(short, long)]
    pub recursive: bool,
    /// Return when the blobs would survive a power failure
    #[arg(long)]
    pub sync: bool,
}

/// The id of a blob, as an argument.
fn blob_id(text: &str) -> Result<BlobId, String> {
    text.parse().map_err(|error: drystone::Error| format!("{error}; a name is given by --name"))
}

/// A blob, by id or by name.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub struct Target {
    /// The id of the blob
    #[arg(value_name = "ID", value_parser = blob_id)]
    pub id: Option<BlobId>,
    /// The name of the blob
    #[arg(long, value_name = "KEY")]
    pub name: Option<OsString>,
}

/// Arguments of `get`.
#[derive(Args)]
pub struct Get {
    /// Which blob.
    #[command(flatten)]
    pub target: Target,
    /// Write into this file, which appears, or is replaced, when it is complete
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The bytes from A up to, not including, B; `A-` to the end; suffixes K, M, G
    #[arg(long, value_name = "A-B")]
    pub range: Option<ByteRange>,
    /// Check the bytes against the digest first; of a range the chunks of 2 MiB that it touches
    #[arg(long)]
    pub verify: bool,
}

/// Arguments of `ls`.
#[derive(Args)]
pub struct Ls {
    /// List the names, sorted, instead of the blobs (which come in no order)
    #[arg(long)]
    pub names: bool,
    /// Show bytes, time and pins
    #[arg(short, long)]
    pub long: bool,
}

/// Arguments of `rm`.
#[derive(Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["ids", "name"])))]
pub struct Rm {
    /// The ids of blobs
    #[arg(value_name = "ID", value_parser = blob_id)]
    pub ids: Vec<BlobId>,
    /// A name
    #[arg(long, value_name = "KEY")]
    pub name: Option<OsString>,
    /// Remove the blobs at once, whoever names them
    #[arg(long)]
    pub force: bool,
    /// Only tell what would go
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// Arguments of `fsck`.
#[derive(Args)]
pub struct Fsck {
    /// Hold every blob against its digest, too
    #[arg(long)]
    pub deep: bool,
    /// Save what is whole, move damaged files to the directory `quarantine`, and build the index anew;
    /// implies --deep, and nobody else may use the store meanwhile
    #[arg(long)]
    pub repair: bool,
    /// With --repair: only tell what would be mended
    #[arg(long, requires = "repair")]
    pub dry_run: bool,
    /// With --repair: do not ask
    #[arg(short, long, requires = "repair")]
    pub yes: bool,
}

/// Arguments of `compact`.
#[derive(Args)]
pub struct Compact {
    /// Take every segment with more than a trace of garbage, not only those with a quarter or more
    #[arg(long)]
    pub all: bool,
    /// Take the segments of which at least this share is garbage: 0.3, or 30%
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub min_garbage: Option<f64>,
    /// Copy at most so many bytes a second: 50M
    #[arg(long, value_name = "SIZE", value_parser = rate)]
    pub rate: Option<Size>,
    /// Only tell what would be done; marks blobs in the index as a compaction does, and so wants a store that
    /// can be written to, and no other compaction beside it
    #[arg(long)]
    pub dry_run: bool,
}

/// Arguments of `demo`.
#[derive(Args, Clone)]
pub struct Demo {
    /// Bytes to write in all
    #[arg(long, value_name = "SIZE", default_value = "2G", conflicts_with = "input")]
    pub size: Size,
    /// Use these files instead of a simulation
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub input: Vec<PathBuf>,
    /// Where to make the store [default: the directory for temporary files]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Writer processes
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub writers: u32,
    /// Reader processes
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub readers: u32,
    /// Leave the store there to look at
    #[arg(long)]
    pub keep: bool,
}

/// Arguments of `completions`.
#[derive(Args)]
pub struct Completions {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// Arguments of `man`.
#[derive(Args)]
pub struct Man {
    /// Write a page for the tool and one for every verb here
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

impl Cli {
    /// The directory of the store.
    pub fn store_path(&self) -> Outcome<&PathBuf> {
        let no_store = || Failure::new(USAGE, "which store? say --store DIR or set DRYSTONE_STORE");
        self.store.as_ref().filter(|path| !path.as_os_str().is_empty()).ok_or_else(no_store)
    }

    /// The store, to change it.
    pub fn open(&self) -> Outcome<Store> {
        Ok(told(Store::open(self.store_path()?)?))
    }

    /// The store, to read it: as its users do, so that all share one index; where that is refused,
    /// read-only.
    pub fn open_to_read(&self) -> Outcome<Store> {
        let path = self.store_path()?;
        let opened = Store::open(path).or_else(|error| match error.kind() {
            // On a full disk the index is built in memory, if it has to be.
            ErrorKind::FileSystemRefused
            | ErrorKind::ReadOnly
            | ErrorKind::Permission
            | ErrorKind::NoSpace => Store::options().read_only(true).open(path),
            _ => Err(error),
        });
        Ok(told(opened?))
    }
}

/// A store that was opened; what was left out of its index then, is told.
fn told(store: Store) -> Store {
    let recovery = store.recovery().filter(|recovery| !recovery.is_whole());
    if let Some(Recovery { lost_records, lost_refs, damaged_segments, .. }) = recovery {
        eprintln!(
            "blobtool: the index was built from less than there had been: {} records, {} names and {} \
             segments were left out. After a power loss this is to be expected of what was not synced; \
             if there was none, look with `blobtool fsck --deep`, and compact only then: what was left \
             out is garbage now",
            grouped(lost_records),
            grouped(lost_refs),
            grouped(damaged_segments)
        );
    }
    store
}

/// The bytes of a name; a name has some.
pub fn key_of(name: &OsStr) -> Outcome<&[u8]> {
    match name.as_encoded_bytes() {
        [] => Err(Failure::new(USAGE, "a name has at least one byte")),
        key => Ok(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn targets_are_one_thing_or_the_other() {
        let id = format!("xxh3:{}", "0".repeat(32));
        assert!(Cli::try_parse_from(["blobtool", "get", &id]).is_ok());
        assert!(Cli::try_parse_from(["blobtool", "get", "--name", "a"]).is_ok());
        for args in [&["get"][..], &["get", &id, "--name", "a"], &["rm"], &["get", "xxh3:0"]] {
            let error = Cli::try_parse_from([&["blobtool"], args].concat()).err();
            assert_eq!(error.map(|error| error.exit_code()), Some(2), "{args:?}");
        }
    }
}
