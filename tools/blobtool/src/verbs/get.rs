//! `blobtool get`: writes a blob, or a part of it, to standard output or into a file.
//!
//! A file appears when it is complete: it is written beside its place and renamed into it.

use crate::cli::{Cli, Get, NAMES, Target, key_of};
use crate::exit::{ERROR, Failure, NOT_FOUND, Outcome, USAGE};
use crate::output::{Name, Output, printable};
use crate::progress;
use crate::unfinished::Unfinished;
use drystone::{Blob, BlobId, GetOptions, Store, Value, Verify};
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
    let verify = if args.verify { Verify::Whole } else { Verify::No };
    let content = content(&store, &args.target, &GetOptions::new().verify(verify))?;
    let len = content.len() as u64;
    let range = match args.range {
        Some(range) => range.within(len).map_err(|why| Failure::new(ERROR, why))?,
        None => 0..len,
    };
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

fn document(content: &Content, bytes: u64, range: Range<u64>, path: &Path) -> Got {
    let id = match content {
        Content::Blob(blob) => Some(blob.id().to_string()),
        Content::Inline(_) => None,
    };
    let file = Name::new(path.as_os_str().as_bytes());
    Got { id, bytes, range: [range.start, range.end], file }
}

fn content(store: &Store, target: &Target, options: &GetOptions) -> Outcome<Content> {
    let value = match (&target.id, &target.name) {
        (Some(id), _) => Value::Blob(*id),
        (None, name) => named(store, key_of(name.as_deref().unwrap_or_default())?)?,
    };
    match value {
        Value::Bytes(bytes) => Ok(Content::Inline(bytes)),
        Value::Blob(id) => match store.get_with(&id, options)? {
            Some(blob) => Ok(Content::Blob(blob)),
            None => Err(no_blob(&id)),
        },
        Value::Blobs(ids) => {
            let count = format!("the name stands for {} blobs; get them by id:", ids.len());
            let lines = ids.iter().map(|id| format!("\n  {id}"));
            Err(Failure::new(ERROR, count + &lines.collect::<String>()))
        }
    }
}

/// What a name stands for.
pub fn named(store: &Store, key: &[u8]) -> Outcome<Value> {
    let entry = store.refs(NAMES).get(key)?;
    let absent = || Failure::new(NOT_FOUND, format!("there is no name {}", printable(key)));
    Ok(entry.ok_or_else(absent)?.value)
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
    let mut beside = tempfile::Builder::new()
        .prefix(".blobtool-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(parent)
        .map_err(failed)?;
    let _unfinished = Unfinished::file(beside.path());
    write(beside.as_file_mut(), bytes, &label).map_err(failed)?;
    beside.persist(&place).map_err(|error| failed(error.error))?;
    Ok(())
}
