//! `blobtool compact`: gives up what nothing names, and gets its space back, beside users.

use crate::cli::{Cli, Compact};
use crate::exit::{BUSY, Failure, NO_SPACE, Outcome};
use crate::output::Output;
use crate::progress::bar;
use crate::quantity::{grouped, human_bytes};
use drystone::{CompactOptions, CompactReport};
use indicatif::ProgressBar;
use serde::Serialize;
use std::sync::{Arc, OnceLock};

#[derive(Serialize)]
struct Report {
    dry_run: bool,
    busy: bool,
    complete: bool,
    out_of_space: bool,
    collected_blobs: u64,
    collected_bytes: u64,
    expired_refs: u64,
    dropped_tombstones: u64,
    live_blobs: u64,
    live_refs: u64,
    rewritten_segments: u64,
    removed_segments: u64,
    damaged_segments: u64,
    copied_records: u64,
    copied_bytes: u64,
    bytes_before: u64,
    bytes_after: u64,
    held_back_bytes: u64,
    seconds: f64,
}

/// Of one that was not begun: nothing was counted.
#[derive(Serialize)]
struct Busy {
    dry_run: bool,
    busy: bool,
}

/// Runs the verb.
pub fn run(cli: &Cli, args: &Compact) -> Outcome {
    let store = cli.open()?;
    let shown = Arc::new(OnceLock::<Option<ProgressBar>>::new());
    let watched = shown.clone();
    let report = store.compact(&options(args).on_progress(move |at| {
        let bar = watched.get_or_init(|| bar(at.total_bytes, "compacting"));
        bar.iter().for_each(|bar| bar.set_position(at.done_bytes));
    }));
    if let Some(Some(bar)) = shown.get() {
        bar.finish_and_clear();
    }
    let report = report?;
    if report.busy {
        let said = "another process is compacting this store; nothing was done here \
                    (if it is stopped, it keeps others from it until it goes on or is killed)";
        if cli.json {
            let document = Busy { dry_run: report.dry_run, busy: true };
            Output::new(true).line_now(String::new, &document)?;
        }
        return Err(Failure::new(BUSY, said));
    }
    Output::new(cli.json).line_now(|| text(&report), &document(&report))?;
    outcome(&report)
}

fn options(args: &Compact) -> CompactOptions {
    let mut options = CompactOptions::new().all(args.all).dry_run(args.dry_run);
    if let Some(share) = args.min_garbage {
        options = options.min_garbage(share);
    }
    if let Some(rate) = args.rate {
        options = options.rate(rate.0);
    }
    options
}

fn outcome(report: &CompactReport) -> Outcome {
    if report.damaged_segments > 0 {
        let count = grouped(report.damaged_segments);
        eprintln!("blobtool: {count} damaged segments were left alone: run `blobtool fsck`");
    }
    if report.out_of_space {
        let advice = "free some space on the file system, or remove more, and compact again";
        return Err(Failure::new(NO_SPACE, format!("there was no space for all copies: {advice}")));
    }
    Ok(())
}

fn document(report: &CompactReport) -> Report {
    Report {
        dry_run: report.dry_run,
        busy: report.busy,
        complete: report.complete,
        out_of_space: report.out_of_space,
        collected_blobs: report.collected_blobs,
        collected_bytes: report.collected_bytes,
        expired_refs: report.expired_refs,
        dropped_tombstones: report.dropped_tombstones,
        live_blobs: report.live_blobs,
        live_refs: report.live_refs,
        rewritten_segments: report.rewritten_segments,
        removed_segments: report.removed_segments,
        damaged_segments: report.damaged_segments,
        copied_records: report.copied_records,
        copied_bytes: report.copied_bytes,
        bytes_before: report.bytes_before,
        bytes_after: report.bytes_after,
        held_back_bytes: report.held_back_bytes,
        seconds: report.time.as_secs_f64(),
    }
}

fn text(report: &CompactReport) -> String {
    let would = if report.dry_run { "would be " } else { "" };
    let freed = report.bytes_before.saturating_sub(report.bytes_after);
    let mut lines = vec![
        format!(
            "{} blobs that nothing names {would}given up, {} expired names {would}removed",
            grouped(report.collected_blobs),
            grouped(report.expired_refs)
        ),
        format!(
            "{} {would}freed: {} before, {} after",
            human_bytes(freed),
            human_bytes(report.bytes_before),
            human_bytes(report.bytes_after)
        ),
    ];
    if report.held_back_bytes > 0 {
        let held = human_bytes(report.held_back_bytes);
        lines.push(format!(
            "{held} more are held back, for compactions and removals on a full disk"
        ));
    }
    if report.dry_run {
        let segments = grouped(report.rewritten_segments);
        lines.push(format!("{segments} segments would be written anew or removed"));
    } else {
        lines.push(format!(
            "{} segments removed, {} copied, in {:.2} s",
            grouped(report.removed_segments),
            human_bytes(report.copied_bytes),
            report.time.as_secs_f64()
        ));
    }
    lines.join("\n")
}
