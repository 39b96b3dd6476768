//! `blobtool rm`: takes away what keeps a blob, or the blob itself.
//!
//! `rm ID` removes the pin and tells which names keep the blob all the same; `rm --name` removes a
//! name; `--force` removes the blobs at once, and the names of them then read as absent. On a terminal
//! it asks; elsewhere it wants `--yes`.

use crate::cli::{Cli, NAMES, Rm, key_of};
use crate::exit::{Failure, NOT_FOUND, Outcome, USAGE};
use crate::output::{Name, Output, printable};
use crate::quantity::human_bytes;
use crate::verbs::get::{named, no_blob};
use drystone::{BlobId, Store};
use serde::Serialize;
use std::io::{self, BufRead, IsTerminal, Write};

#[derive(Serialize)]
struct Gone {
    id: String,
    bytes: u64,
    /// `unpinned`, `not pinned` or `removed`.
    action: &'static str,
    dry_run: bool,
    /// What keeps the blob, or, if it was removed, what now reads as absent.
    named_by: Vec<NamedBy>,
}

#[derive(Serialize)]
struct NamedBy {
    namespace: String,
    #[serde(flatten)]
    name: Name,
}

#[derive(Serialize)]
struct Unnamed {
    #[serde(flatten)]
    name: Name,
    action: &'static str,
    dry_run: bool,
    ids: Vec<String>,
}

/// Runs the verb.
pub fn run(cli: &Cli, args: &Rm) -> Outcome {
    let store = cli.open()?;
    let key = args.name.as_deref().map(key_of).transpose()?;
    let ids = match key {
        Some(key) => named(&store, key)?.blobs().to_vec(),
        None => args.ids.clone(),
    };
    if !args.dry_run && !args.yes {
        ask(&question(args, key, ids.len()), "nothing was removed")?;
    }
    let mut output = Output::new(cli.json);
    if let Some(key) = key {
        unname(&store, args, key, &ids, &mut output)?;
        if !args.force {
            return output.flush();
        }
    }
    let mut missing = None;
    for id in &ids {
        if !remove(&store, args, id, &mut output)? {
            let failure = no_blob(id);
            failure.say();
            missing = Some(Failure::said(failure.code()));
        }
    }
    output.flush()?;
    missing.map_or(Ok(()), Err)
}

fn question(args: &Rm, key: Option<&[u8]>, count: usize) -> String {
    let blobs = if count == 1 { "1 blob".into() } else { format!("{count} blobs") };
    match (key, args.force) {
        (Some(key), false) => format!("remove the name {}", printable(key)),
        (Some(key), true) => format!("remove the name {} and {blobs} at once", printable(key)),
        (None, false) => format!("unpin {blobs}"),
        (None, true) => format!("remove {blobs} at once, whoever names them"),
    }
}

/// Asks on a terminal, and demands an answer beforehand elsewhere.
pub fn ask(question: &str, declined: &str) -> Outcome {
    if !io::stdin().is_terminal() {
        let advice = "say --yes, or --dry-run to see what would happen";
        return Err(Failure::new(USAGE, format!("there is nobody to ask: {question}? {advice}")));
    }
    eprint!("blobtool: {question}? [y/N] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::new(1, declined)),
    }
}

fn unname(store: &Store, args: &Rm, key: &[u8], ids: &[BlobId], output: &mut Output) -> Outcome {
    if !args.dry_run && !store.refs(NAMES).remove(key)? {
        return Err(Failure::new(NOT_FOUND, format!("there is no name {}", printable(key))));
    }
    let ids = ids.iter().map(ToString::to_string).collect();
    let gone = Unnamed { name: Name::new(key), action: "unnamed", dry_run: args.dry_run, ids };
    output.line(|| format!("{}unnamed {}", would(args), printable(key)), &gone)
}

fn would(args: &Rm) -> &'static str {
    if args.dry_run { "would be " } else { "" }
}

/// Removes the blob or its pin; `false` if there is no such blob.
fn remove(store: &Store, args: &Rm, id: &BlobId, output: &mut Output) -> Outcome<bool> {
    let Some(stat) = store.stat(id)? else { return Ok(false) };
    let names = store.named_by(id)?;
    let act = !args.dry_run;
    let action = match args.force {
        true if act && !store.remove(id)? => return Ok(false),
        true => "removed",
        false => {
            let was_pinned = if act { store.unpin(id)? } else { stat.pinned };
            if was_pinned { "unpinned" } else { "not pinned" }
        }
    };
    let keeps = |(namespace, key): (String, Vec<u8>)| NamedBy { namespace, name: Name::new(&key) };
    let effect = effect(args.force, stat.len, &names);
    let gone = Gone {
        id: id.to_string(),
        bytes: stat.len,
        action,
        dry_run: args.dry_run,
        named_by: names.into_iter().map(keeps).collect(),
    };
    output.line(|| format!("{}{action} {id}: {effect}", would(args)), &gone)?;
    Ok(true)
}

/// What it means for the bytes.
fn effect(force: bool, bytes: u64, names: &[(String, Vec<u8>)]) -> String {
    let list: Vec<String> =
        names.iter().map(|(namespace, key)| format!("{namespace}/{}", printable(key))).collect();
    let (list, bytes) = (list.join(", "), human_bytes(bytes));
    match (force, names.is_empty()) {
        (false, true) => format!("nothing names it any more, so its {bytes} can be collected"),
        (false, false) => format!("still named by {list}"),
        (true, true) => format!("its {bytes} can be collected"),
        (true, false) => format!("its {bytes} can be collected; these now read as absent: {list}"),
    }
}
