//! `blobtool init`: makes a store. Where there is one already, and it is as asked for, all is well.

use crate::cli::{Cli, Init};
use crate::exit::Outcome;
use crate::output::{Name, Output, printable};
use drystone::Store;
use serde::Serialize;
use std::os::unix::ffi::OsStrExt;

#[derive(Serialize)]
struct Made {
    #[serde(flatten)]
    path: Name,
    hash: &'static str,
    uuid: String,
}

/// Runs the verb.
pub fn run(cli: &Cli, args: &Init) -> Outcome {
    let path = match &args.dir {
        Some(dir) => dir,
        None => cli.store_path()?,
    };
    let mut options = Store::options().create(true).hash(args.hash);
    if let Some(size) = args.segment_size {
        options = options.segment_bytes(size.0);
    }
    let store = options.open(path)?;
    let path = store.path().as_os_str().as_bytes();
    let hash = store.hash_algorithm().name();
    let made = Made { path: Name::new(path), hash, uuid: uuid_text(&store.uuid()) };
    let text = || format!("{}: a store of {hash} blobs", printable(path));
    Output::new(cli.json).line_now(text, &made)
}

/// A UUID as people write it.
pub fn uuid_text(uuid: &[u8; 16]) -> String {
    let hex: String = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
