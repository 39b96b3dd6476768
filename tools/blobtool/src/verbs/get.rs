//! `blobtool get`: writes a blob, or a part of it, to standard output or into a file.
//!
//! A file appears when it is complete: it is written beside its place and renamed into it.

use crate::cli::{Cli, Get, NAMES, Target, key_of};
use crate::exit::{ERROR, Failure, NOT_FOUND, Outcome, USAGE};
use crate::output::{Name, Output, printable};
use crate::progress;
use crate::unfinished::Unfinished;
use drystone::{Blob, BlobId, Entry, GetOptions, Store, Verify};
use serde::Serialize;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::ops::{Deref, Range};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Written at once: large enough for the kernel, small enough for a progress bar.
const PIECE_BYTES: usize = 4 << 20;

#[derive(Serialize)]
struct Got {
    id: Option<String>,
    bytes: u64,
    range: [u64; 2],
    file: Name,
}

/// The bytes that a target names.
enum Content {
    Blob(Blob),
    Inline(Vec<u8>),
}

impl Deref for Content {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Self::Blob(blob) => blob,
            Self::Inline(bytes) => bytes,
        }
    }
}

/// Runs the verb.
pub fn run(cli: &Cli, args: &Get) -> Outcome {
    if cli.json && args.output.is_none() {
        return Err(Failure::new(USAGE, "get --json needs -o: standard output has the data"));
    }
    let store = cli.open_to_read()?;
    // Of a range only the chunks that it touches are verified, below.
    let is_whole = args.verify && args.range.is_none();
    let verify = if is_whole { Verify::Whole } else { Verify::No };
    let content = content(&store, &args.target, &GetOptions::new().verify(verify))?;
    let len = content.len() as u64;
    let range = match args.range {
        Some(range) => range.within(len).map_err(|why| Failure::new(ERROR, why))?,
        None => 0..len,
    };
    if let (Content::Blob(blob), true, false) = (&content, args.verify, is_whole) {
        check(&store, &blob.id(), range.clone())?;
    }
    // The range lies within a slice, so its ends fit.
    let bytes = &content[range.start as usize..range.end as usize];
    let Some(path) = &args.output else {
        let mut stdout = io::stdout().lock();
        write(&mut stdout, bytes, "standard output")?;
        return Ok(stdout.flush()?);
    };
    write_file(path, bytes)?;
    if cli.json {
        let got = document(&content, len, range, path);
        return Output::new(true).line_now(String::new, &got);
    }
    Ok(())
}

/// Verifies the chunks that a range of a blob touches.
fn check(store: &Store, id: &BlobId, mut range: Range<u64>) -> Outcome {
    let options = GetOptions::new().verify(Verify::Touched);
    let mut piece = vec![0; PIECE_BYTES];
    while !range.is_empty() {
        // Up to a multiple of the length of a piece, so that no chunk is read twice.
        let end = range.end.min((range.start / PIECE_BYTES as u64 + 1) * PIECE_BYTES as u64);
        let piece = &mut piece[..(end - range.start) as usize];
        store.read_into_with(id, range.start, piece, &options)?.ok_or_else(|| no_blob(id))?;
        range.start = end;
    }
    Ok(())
}

fn document(content: &Content, bytes: u64, range: Range<u64>, path: &Path) -> Got {
    let id = match content {
        Content::Blob(blob) => Some(blob.id().to_string()),
        Content::Inline(_) => None,
    };
    let file = Name::new(path.as_os_str().as_bytes());
    Got { id, bytes, range: [range.start, range.end], file }
}

fn content(store: &Store, target: &Target, options: &GetOptions) -> Outcome<Content> {
    let id = match (&target.id, &target.name) {
        (Some(id), _) => *id,
        (None, name) => {
            let entry = named(store, key_of(name.as_deref().unwrap_or_default())?)?;
            match (entry.blob(), entry.bytes()) {
                (_, Some(bytes)) => return Ok(Content::Inline(bytes.to_vec())),
                (Some(id), _) => *id,
                (None, None) => return Err(several(&entry)),
            }
        }
    };
    let blob = store.get_with(&id, options)?;
    blob.map(Content::Blob).ok_or_else(|| no_blob(&id))
}

/// A name that stands for several blobs, where one is wanted.
pub fn several(entry: &Entry) -> Failure {
    let blobs = entry.blobs();
    let lines = blobs.iter().map(|id| format!("\n  {id}"));
    let count = format!("the name stands for {} blobs; take one by its id:", blobs.len());
    Failure::new(ERROR, count + &lines.collect::<String>())
}

/// What a name stands for.
pub fn named(store: &Store, key: &[u8]) -> Outcome<Entry> {
    let absent = || Failure::new(NOT_FOUND, format!("there is no name {}", printable(key)));
    store.refs(NAMES).get(key)?.ok_or_else(absent)
}

/// There is no such blob.
pub fn no_blob(id: &BlobId) -> Failure {
    Failure::new(NOT_FOUND, format!("there is no blob {id}"))
}

fn write(to: &mut impl Write, bytes: &[u8], label: &str) -> io::Result<()> {
    let bar = progress::bar(bytes.len() as u64, label);
    for piece in bytes.chunks(PIECE_BYTES) {
        to.write_all(piece)?;
        if let Some(bar) = &bar {
            bar.inc(piece.len() as u64);
        }
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    Ok(())
}

fn write_file(path: &Path, bytes: &[u8]) -> Outcome {
    let failed = |error: io::Error| Failure::file("write", path, &error);
    let label = path.display().to_string();
    // A device or pipe cannot be replaced; a symbolic link is followed to what it names.
    let place = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    if fs::metadata(&place).is_ok_and(|metadata| !metadata.is_file()) {
        let mut file = File::options().write(true).open(&place).map_err(failed)?;
        return write(&mut file, bytes, &label).map_err(failed);
    }
    let parent = place.parent().filter(|dir| !dir.as_os_str().is_empty());
    let parent = parent.map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    // What is new gets what the umask leaves; what is replaced keeps its mode.
    let replaced = fs::metadata(&place).ok().map(|metadata| metadata.permissions());
    let mode = if replaced.is_some() { 0o600 } else { 0o666 };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".blobtool-").permissions(Permissions::from_mode(mode));
    let made = Unfinished::file(|| builder.tempfile_in(parent));
    let (_unfinished, mut beside) = made.map_err(failed)?;
    if let Some(replaced) = replaced {
        beside.as_file().set_permissions(replaced).map_err(failed)?;
    }
    write(beside.as_file_mut(), bytes, &label).map_err(failed)?;
    beside.persist(&place).map_err(|error| failed(error.error))?;
    Ok(())
}
