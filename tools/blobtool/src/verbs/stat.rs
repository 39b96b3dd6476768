//! `blobtool stat`: what is known about one blob.

use crate::cli::{Cli, Target, key_of};
use crate::exit::{ERROR, Failure, Outcome};
use crate::output::{Name, Output, printable};
use crate::quantity::{grouped, human_bytes, moment};
use crate::verbs::get::{named, no_blob};
use drystone::{BlobId, BlobStat, Store, Value};
use serde::Serialize;
use std::fmt::Write;

#[derive(Serialize)]
struct Known {
    id: String,
    bytes: u64,
    chunks: u64,
    pinned: bool,
    created: Option<String>,
    segment: u32,
    offset: u64,
    sequence: u64,
    named_by: Vec<NamedBy>,
}

#[derive(Serialize)]
struct NamedBy {
    namespace: String,
    #[serde(flatten)]
    name: Name,
}

/// Runs the verb.
pub fn run(cli: &Cli, target: &Target) -> Outcome {
    let store = cli.open_to_read()?;
    let id = id_of(&store, target)?;
    let stat = store.stat(&id)?.ok_or_else(|| no_blob(&id))?;
    let names = store.named_by(&id)?;
    let known = known(&stat, &names);
    Output::new(cli.json).line_now(|| table(&known, &names), &known)
}

fn id_of(store: &Store, target: &Target) -> Outcome<BlobId> {
    if let Some(id) = target.id {
        return Ok(id);
    }
    match named(store, key_of(target.name.as_deref().unwrap_or_default())?)? {
        Value::Blob(id) => Ok(id),
        Value::Blobs(ids) => Err(Failure::new(
            ERROR,
            format!("the name stands for {} blobs; see ls --names", ids.len()),
        )),
        Value::Bytes(bytes) => {
            let inline = format!("the name stands for {} bytes, which are no blob", bytes.len());
            Err(Failure::new(ERROR, inline))
        }
    }
}

fn known(stat: &BlobStat, names: &[(String, Vec<u8>)]) -> Known {
    let named = |(namespace, key): &(String, Vec<u8>)| NamedBy {
        namespace: namespace.clone(),
        name: Name::new(key),
    };
    Known {
        id: stat.id.to_string(),
        bytes: stat.len,
        chunks: stat.chunks,
        pinned: stat.pinned,
        created: stat.created.map(moment),
        segment: stat.segment,
        offset: stat.offset,
        sequence: stat.sequence,
        named_by: names.iter().map(named).collect(),
    }
}

fn table(known: &Known, names: &[(String, Vec<u8>)]) -> String {
    let mut text = format!("id        {}", known.id);
    let mut row = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n{name:<10}{value}");
    };
    row("bytes", format!("{} ({})", grouped(known.bytes), human_bytes(known.bytes)));
    row("chunks", grouped(known.chunks));
    row("pinned", if known.pinned { "yes".into() } else { "no".into() });
    row("created", known.created.clone().unwrap_or_else(|| "-".into()));
    row("place", format!("segment {}, offset {}", known.segment, known.offset));
    row("sequence", grouped(known.sequence));
    for (namespace, key) in names {
        row("named by", format!("{namespace}/{}", printable(key)));
    }
    text
}
