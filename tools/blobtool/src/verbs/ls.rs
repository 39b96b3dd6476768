//! `blobtool ls`: lists blobs as the index holds them, or names in their order.

use crate::cli::{Cli, Ls, NAMES};
use crate::exit::Outcome;
use crate::output::{Name, Output, printable};
use crate::quantity::moment;
use drystone::{BlobStat, Entry, Value};
use serde::Serialize;

#[derive(Serialize)]
struct Listed {
    id: String,
    bytes: u64,
    pinned: bool,
    created: Option<String>,
}

#[derive(Serialize)]
struct Named {
    #[serde(flatten)]
    name: Name,
    ids: Vec<String>,
    inline_bytes: Option<u64>,
    created: String,
    expires: Option<String>,
    tags: Vec<String>,
}

/// Runs the verb.
pub fn run(cli: &Cli, args: &Ls) -> Outcome {
    let store = cli.open_to_read()?;
    let mut output = Output::new(cli.json);
    if args.names {
        // The store keeps no order, so the names are sorted here.
        let mut entries = store.refs(NAMES).iter().collect::<Result<Vec<_>, _>>()?;
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        entries.dedup_by(|a, b| a.key == b.key);
        for entry in &entries {
            output.line(|| name_line(entry, args.long), &named(entry))?;
        }
    } else {
        for stat in store.blobs() {
            let stat = stat?;
            output.line(|| blob_line(&stat, args.long), &listed(&stat))?;
        }
    }
    output.flush()
}

fn listed(stat: &BlobStat) -> Listed {
    Listed {
        id: stat.id.to_string(),
        bytes: stat.len,
        pinned: stat.pinned,
        created: stat.created.map(moment),
    }
}

fn blob_line(stat: &BlobStat, long: bool) -> String {
    if !long {
        return stat.id.to_string();
    }
    let pinned = if stat.pinned { "pinned" } else { "-" };
    let created = stat.created.map_or_else(|| "-".into(), moment);
    format!("{}  {:>14}  {pinned:<6}  {created}", stat.id, stat.len)
}

fn named(entry: &Entry) -> Named {
    let ids = match &entry.value {
        Value::Blob(id) => vec![id.to_string()],
        Value::Blobs(ids) => ids.iter().map(ToString::to_string).collect(),
        Value::Bytes(_) => Vec::new(),
    };
    Named {
        name: Name::new(&entry.key),
        ids,
        inline_bytes: entry.bytes().map(|bytes| bytes.len() as u64),
        created: moment(entry.created),
        expires: entry.expires.map(moment),
        tags: entry.tags.clone(),
    }
}

fn name_line(entry: &Entry, long: bool) -> String {
    let name = printable(&entry.key);
    if !long {
        return name;
    }
    let value = match &entry.value {
        Value::Blob(id) => id.to_string(),
        Value::Blobs(ids) => format!("{} blobs", ids.len()),
        Value::Bytes(bytes) => format!("{} bytes inline", bytes.len()),
    };
    format!("{value:<37}  {}  {name}", moment(entry.created))
}
