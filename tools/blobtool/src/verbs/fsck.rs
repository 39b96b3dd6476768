//! `blobtool fsck`: checks the store, and mends it.
//!
//! A check takes no lock and may run beside users. `--repair` asks on a terminal; elsewhere it wants
//! `--yes`, or `--dry-run` to see what it would do.

use crate::cli::{Cli, Fsck};
use crate::exit::{DAMAGED, Failure, Outcome, REPAIRED};
use crate::output::{Name, Output, printable};
use crate::progress::bar;
use crate::quantity::{grouped, human_bytes};
use crate::verbs::rm::ask;
use drystone::{Finding, FsckOptions, FsckRepair, FsckReport, Severity, fsck};
use indicatif::ProgressBar;
use serde::Serialize;
use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

#[derive(Serialize)]
struct Report<'a> {
    clean: bool,
    deep: bool,
    index_checked: bool,
    dry_run: bool,
    segments: u64,
    bytes: u64,
    records: u64,
    keys: u64,
    hashed_bytes: u64,
    dangling: u64,
    damage: u64,
    losses: u64,
    notices: u64,
    findings: Vec<Found<'a>>,
    repair: Option<Repair<'a>>,
}

#[derive(Serialize)]
struct Found<'a> {
    severity: &'static str,
    kind: &'static str,
    message: &'a str,
    path: Option<&'a str>,
    segment: Option<u32>,
    offset: Option<u64>,
    expected: Option<&'a str>,
    found: Option<&'a str>,
    id: Option<String>,
    names: Vec<Named>,
    advice: &'a str,
}

#[derive(Serialize)]
struct Named {
    namespace: String,
    #[serde(flatten)]
    name: Name,
}

#[derive(Serialize)]
struct Repair<'a> {
    saved_records: u64,
    saved_bytes: u64,
    lost_records: u64,
    lost_refs: u64,
    headless_segments: u64,
    quarantined: &'a [String],
    remaining: u64,
}

/// Runs the verb.
pub fn run(cli: &Cli, args: &Fsck) -> Outcome {
    let path = cli.store_path()?;
    let mends = args.repair && !args.dry_run;
    if mends && !args.yes {
        let question = "mend what is damaged, and move damaged files to the directory `quarantine`";
        ask(question, "nothing was changed")?;
    }
    let shown = Arc::new(OnceLock::<Option<ProgressBar>>::new());
    let watched = shown.clone();
    let options = FsckOptions::new().deep(args.deep || args.repair).repair(mends);
    let options = options.progress(move |at| {
        let bar = watched.get_or_init(|| bar(at.total, "checking"));
        bar.iter().for_each(|bar| bar.set_position(at.done));
    });
    let start = Instant::now();
    let report = fsck(path, &options);
    if let Some(Some(bar)) = shown.get() {
        bar.finish_and_clear();
    }
    let report = report?;
    if io::stderr().is_terminal() {
        eprintln!("{}", rate(&report, start.elapsed().as_secs_f64()));
    }
    Output::new(cli.json).line_now(|| text(&report, args), &document(&report, args))?;
    outcome(&report)
}

fn rate(report: &FsckReport, seconds: f64) -> String {
    let bytes = if report.is_deep { report.hashed_bytes } else { report.bytes };
    let rate = human_bytes((bytes as f64 / seconds.max(1e-6)) as u64);
    format!("checked {} in {seconds:.2} s, {rate}/s", human_bytes(bytes))
}

/// What is wrong, in words: damage, and what is lost.
fn wrongs(report: &FsckReport) -> String {
    let damage = match report.damage {
        0 => None,
        1 => Some("1 piece of damage".to_owned()),
        count => Some(format!("{} pieces of damage", grouped(count))),
    };
    let losses = match report.losses {
        0 => None,
        1 => Some("1 loss".to_owned()),
        count => Some(format!("{} losses", grouped(count))),
    };
    damage.into_iter().chain(losses).collect::<Vec<_>>().join(" and ")
}

fn outcome(report: &FsckReport) -> Outcome {
    match &report.repair {
        Some(repair) if repair.remaining > 0 => {
            let message = format!("{} found; {} left", wrongs(report), grouped(repair.remaining));
            Err(Failure::new(DAMAGED, message))
        }
        Some(_) => Err(Failure::new(REPAIRED, format!("{} mended", wrongs(report)))),
        None if report.is_clean() => Ok(()),
        None => {
            let advice = "run `blobtool fsck --repair`, or see what to do about each";
            Err(Failure::new(DAMAGED, format!("{} found; {advice}", wrongs(report))))
        }
    }
}

fn document<'a>(report: &'a FsckReport, args: &Fsck) -> Report<'a> {
    Report {
        clean: report.is_clean(),
        deep: report.is_deep,
        index_checked: report.has_run,
        dry_run: args.dry_run,
        segments: report.segments,
        bytes: report.bytes,
        records: report.records,
        keys: report.keys,
        hashed_bytes: report.hashed_bytes,
        dangling: report.dangling,
        damage: report.damage,
        losses: report.losses,
        notices: report.notices,
        findings: report.findings.iter().map(found).collect(),
        repair: report.repair.as_ref().map(repair),
    }
}

fn found(finding: &Finding) -> Found<'_> {
    let named = |(namespace, key): &(String, Vec<u8>)| Named {
        namespace: namespace.clone(),
        name: Name::new(key),
    };
    Found {
        severity: severity(finding),
        kind: finding.kind.name(),
        message: &finding.message,
        path: finding.path.as_deref(),
        segment: finding.segment,
        offset: finding.offset,
        expected: finding.expected.as_deref(),
        found: finding.found.as_deref(),
        id: finding.blob.map(|id| id.to_string()),
        names: finding.names.iter().map(named).collect(),
        advice: finding.advice,
    }
}

fn repair(repair: &FsckRepair) -> Repair<'_> {
    Repair {
        saved_records: repair.saved_records,
        saved_bytes: repair.saved_bytes,
        lost_records: repair.lost_records,
        lost_refs: repair.lost_refs,
        headless_segments: repair.headless_segments,
        quarantined: &repair.quarantined,
        remaining: repair.remaining,
    }
}

fn severity(finding: &Finding) -> &'static str {
    match finding.severity {
        Severity::Damage => "damage",
        Severity::Loss => "loss",
        Severity::Notice => "notice",
    }
}

fn text(report: &FsckReport, args: &Fsck) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        describe(&mut text, finding);
    }
    let told = report.findings.len() as u64;
    let found = report.damage + report.losses + report.notices;
    let untold = found.saturating_sub(told);
    // Writing to a string cannot fail.
    let _ = match untold {
        0 => Ok(()),
        _ => writeln!(text, "... and {} more", grouped(untold)),
    };
    let _ = write!(
        text,
        "{} segments, {}, {} records",
        grouped(report.segments),
        human_bytes(report.bytes),
        grouped(report.records),
    );
    let _ = match report.has_run {
        true => write!(text, ", {} live keys", grouped(report.keys)),
        false => write!(text, "; no index of this boot was checked"),
    };
    if report.is_deep {
        let _ = write!(text, ", {} held against digests", human_bytes(report.hashed_bytes));
    }
    let verdict = if report.is_clean() { "clean".to_owned() } else { wrongs(report) };
    let _ = match report.notices {
        0 => write!(text, ": {verdict}"),
        1 => write!(text, ": {verdict}, 1 notice"),
        notices => write!(text, ": {verdict}, {} notices", grouped(notices)),
    };
    mended(&mut text, report.repair.as_ref(), args);
    text
}

fn mended(text: &mut String, repair: Option<&FsckRepair>, args: &Fsck) {
    let Some(repair) = repair else {
        if args.dry_run {
            text.push_str("\nnothing was changed");
        }
        return;
    };
    let saved = (grouped(repair.saved_records), human_bytes(repair.saved_bytes));
    let lost = (grouped(repair.lost_records), grouped(repair.lost_refs));
    let _ = write!(
        text,
        "\nsaved {} records ({}); lost {} records, {} names",
        saved.0, saved.1, lost.0, lost.1
    );
    let _ = match repair.headless_segments {
        0 => Ok(()),
        1 => write!(text, ", and what else a segment without a head held"),
        count => write!(text, ", and what else {} segments without heads held", grouped(count)),
    };
    for path in &repair.quarantined {
        let _ = write!(text, "\nmoved to {path}");
    }
}

fn describe(text: &mut String, finding: &Finding) {
    let _ = writeln!(text, "{} ({}): {}", severity(finding), finding.kind.name(), finding.message);
    let mut row = |name: &str, value: String| {
        let _ = writeln!(text, "    {name:<10}{value}");
    };
    match (&finding.path, finding.offset) {
        (Some(path), Some(offset)) => row("at", format!("{path}, offset {offset}")),
        (Some(path), None) => row("at", path.clone()),
        _ => {}
    }
    finding.expected.iter().for_each(|expected| row("expected", expected.clone()));
    finding.found.iter().for_each(|found| row("found", found.clone()));
    for (namespace, key) in &finding.names {
        row("named by", format!("{}/{}", printable(namespace.as_bytes()), printable(key)));
    }
    row("to do", finding.advice.into());
}
