//! `blobtool put`: stores files, and prints an id for each as soon as it is stored.
//!
//! A blob is pinned (it stays until `rm`), or named instead, with `--name` or `-r`. A file that cannot
//! be read is reported and the others are stored all the same; an error of the store ends the run.

use crate::cli::{Cli, NAMES, Put, key_of};
use crate::exit::{ERROR, Failure, Outcome, USAGE};
use crate::output::{Name, Output, printable};
use crate::progress::{self, Watched};
use drystone::{BlobId, Durability, ErrorKind, PutOptions, SetOptions, Store};
use serde::Serialize;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

#[derive(Serialize)]
struct Stored {
    id: String,
    bytes: u64,
    file: Name,
    name: Option<Name>,
}

/// Something to store.
struct Item {
    /// `None` is standard input.
    path: Option<PathBuf>,
    key: Option<Vec<u8>>,
}

/// Runs the verb.
pub fn run(cli: &Cli, args: &Put) -> Outcome {
    let prefix = args.name.as_deref().map(key_of).transpose()?;
    if prefix.is_some() && !args.recursive && args.files.len() > 1 {
        let many = format!("--name names one blob, and there are {} files", args.files.len());
        return Err(Failure::new(USAGE, many + "; put them one by one, or a directory with -r"));
    }
    let store = cli.open()?;
    let mut run = Run { store, args, output: Output::new(cli.json), failed: false };
    for file in &args.files {
        let is_dir = file.as_os_str() != "-" && fs::metadata(file).is_ok_and(|m| m.is_dir());
        if is_dir && args.recursive {
            run.put_directory(file, prefix)?;
        } else if is_dir {
            run.report(Failure::new(ERROR, format!("{} is a directory; say -r", file.display())));
        } else {
            let path = (file.as_os_str() != "-").then(|| file.clone());
            let key =
                if args.recursive { name_of_file(file, prefix) } else { prefix.map(Vec::from) };
            run.put(&Item { path, key })?;
        }
    }
    if run.failed { Err(Failure::said(ERROR)) } else { Ok(()) }
}

/// With `-r`, a file that is given by itself is named by the last part of its path.
fn name_of_file(file: &Path, prefix: Option<&[u8]>) -> Option<Vec<u8>> {
    Some(prefixed(prefix, file.file_name()?.as_bytes()))
}

fn prefixed(prefix: Option<&[u8]>, name: &[u8]) -> Vec<u8> {
    prefix.map_or_else(|| name.to_vec(), |prefix| [prefix, name].join(&b'/'))
}

struct Run<'a> {
    store: Store,
    args: &'a Put,
    output: Output,
    failed: bool,
}

impl Run<'_> {
    fn report(&mut self, failure: Failure) {
        failure.say();
        self.failed = true;
    }

    /// Stores the files below a directory, in order of their names; links and devices are passed
    /// over with a word.
    fn put_directory(&mut self, top: &Path, prefix: Option<&[u8]>) -> Outcome {
        let mut open = vec![top.to_path_buf()];
        while let Some(path) = open.pop() {
            let kind = match fs::symlink_metadata(&path) {
                Ok(metadata) => metadata.file_type(),
                Err(error) => {
                    self.report(Failure::file("read", &path, &error));
                    continue;
                }
            };
            if kind.is_dir() || path == top {
                match entries(&path) {
                    Ok(entries) => open.extend(entries.into_iter().rev()),
                    Err(error) => self.report(Failure::file("list", &path, &error)),
                }
            } else if kind.is_file() {
                let below = path.strip_prefix(top).unwrap_or(&path);
                let key = Some(prefixed(prefix, below.as_os_str().as_bytes()));
                self.put(&Item { path: Some(path), key })?;
            } else {
                eprintln!("blobtool: {} is not a file: passed over", path.display());
            }
        }
        Ok(())
    }

    /// Stores one thing. An error of the file is reported; one of the store is returned.
    fn put(&mut self, item: &Item) -> Outcome {
        let file: &Path = item.path.as_deref().unwrap_or(Path::new("-"));
        let id = match self.store_item(item) {
            Ok(id) => id,
            Err(Trouble::File(failure)) => {
                self.report(failure);
                return Ok(());
            }
            Err(Trouble::Store(failure)) => return Err(failure.about(file.display())),
        };
        let bytes = self.store.stat(&id)?.map_or(0, |stat| stat.len);
        let stored = Stored {
            id: id.to_string(),
            bytes,
            file: Name::new(file.as_os_str().as_bytes()),
            name: item.key.as_deref().map(Name::new),
        };
        let text = || match (&item.key, self.args.recursive) {
            (Some(key), true) => format!("{id}  {}", printable(key)),
            _ => id.to_string(),
        };
        self.output.line_now(text, &stored)
    }

    fn store_item(&self, item: &Item) -> Result<BlobId, Trouble> {
        let Some(key) = &item.key else { return self.store_bytes(item, true) };
        let durability = self.durability();
        // Between the two steps nothing names the blob. Should the collector come by just then, it is
        // put again; from standard input that is impossible, and said.
        for _ in 0..8 {
            let id = self.store_bytes(item, false)?;
            let set =
                self.store.refs(NAMES).set_with(key, id, &SetOptions::new().durability(durability));
            match set {
                Ok(_) => return Ok(id),
                Err(error) if error.kind() == ErrorKind::NotFound && item.path.is_some() => {}
                Err(error) => return Err(Trouble::Store(error.into())),
            }
        }
        Err(Trouble::Store(Failure::new(ERROR, "its blob was removed as often as it was put")))
    }

    fn durability(&self) -> Durability {
        if self.args.sync { Durability::Synced } else { Durability::Buffered }
    }

    fn store_bytes(&self, item: &Item, pin: bool) -> Result<BlobId, Trouble> {
        let options = PutOptions::new().durability(self.durability()).pin(pin);
        let of_store = |error: drystone::Error| Trouble::Store(error.into());
        let Some(path) = &item.path else {
            let stdin = io::stdin().lock();
            return self.store.put_reader_with(stdin, &options).map_err(of_store);
        };
        let of_file = |error: io::Error| Trouble::File(Failure::file("read", path, &error));
        let file = File::open(path).map_err(of_file)?;
        let metadata = file.metadata().map_err(of_file)?;
        let bar = progress::bar(metadata.len(), &path.display().to_string());
        if bar.is_none() && metadata.is_file() {
            return self.store.put_file_with(path, &options).map_err(of_store);
        }
        self.store.put_reader_with(Watched { inner: file, bar }, &options).map_err(of_store)
    }
}

/// Whose fault it was.
enum Trouble {
    File(Failure),
    Store(Failure),
}

fn entries(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths =
        fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}
