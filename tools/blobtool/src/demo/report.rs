//! The end of the performance: a table for a person, or one document.

use super::Measured;
use super::picture;
use super::plan::{Grid, Plan, Work};
use super::show::name;
use super::steps::cells;
use super::tally::{Kill, quantile};
use crate::cli::NAMES;
use crate::exit::Outcome;
use crate::output::Output;
use crate::quantity::{grouped, human_bytes};
use drystone::{Blob, Stats, Store};
use serde::Serialize;
use std::fmt::Write;
use std::time::Duration;

#[derive(Serialize)]
struct Report {
    store: String,
    kept: bool,
    file_system: String,
    writers: u32,
    readers: u32,
    blobs: u64,
    bytes: u64,
    seconds: f64,
    in_gb_per_s: f64,
    out_gb_per_s: f64,
    store_share: f64,
    store_ms_median: f64,
    get_ns_median: f64,
    alone_put_gb_per_s: f64,
    alone_read_gb_per_s: f64,
    alone_get_ns_median: f64,
    alone_get_ns_p99: f64,
    bytes_seen: u64,
    reader_own_bytes_max: u64,
    segment_bytes: u64,
    live_bytes: u64,
    index_bytes: u64,
    kills: Vec<Killed>,
    blobs_verified: u64,
    verify_gb_per_s: f64,
    energy_drift: Option<f64>,
}

#[derive(Serialize)]
struct Killed {
    who: String,
    step: u32,
    back_after_ms: Option<f64>,
    others_meanwhile: u32,
}

/// Prints the table, or the document.
pub fn print(json: bool, kept: bool, store: &Store, plan: &Plan, measured: &Measured) -> Outcome {
    let report = report(kept, plan, measured, &store.stats()?);
    let mut text = String::new();
    if !json {
        if let Work::Wave(grid) = &plan.work {
            draw(&mut text, store, grid)?;
        }
        table(&mut text, plan, &report);
        hints(&mut text, plan, &report);
    }
    Output::new(json).line_now(|| text, &report)
}

fn rate(bytes: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { bytes as f64 / 1e9 / time.as_secs_f64() }
}

fn report(kept: bool, plan: &Plan, measured: &Measured, stats: &Stats) -> Report {
    let Measured { tally, checked, alone } = measured;
    let killed = |kill: &Kill| Killed {
        who: name(kill.role),
        step: kill.step,
        back_after_ms: kill.back_after.map(|time| time.as_secs_f64() * 1e3),
        others_meanwhile: kill.others_meanwhile,
    };
    Report {
        store: plan.store.display().to_string(),
        kept,
        file_system: stats.file_system.clone(),
        writers: plan.writers,
        readers: plan.readers,
        blobs: plan.blobs(),
        bytes: checked.bytes,
        seconds: tally.wall.as_secs_f64(),
        in_gb_per_s: rate(checked.bytes, tally.wall),
        out_gb_per_s: rate(tally.seen_bytes, tally.wall),
        store_share: tally.store_time.as_secs_f64() / tally.write_time.as_secs_f64().max(1e-9),
        store_ms_median: quantile(&tally.store_calls, 0.5).as_secs_f64() * 1e3,
        get_ns_median: quantile(&tally.get_ns, 0.5),
        alone_put_gb_per_s: rate(alone.put.0, alone.put.1),
        alone_read_gb_per_s: rate(alone.read.0, alone.read.1),
        alone_get_ns_median: quantile(&alone.get_ns, 0.5),
        alone_get_ns_p99: quantile(&alone.get_ns, 0.99),
        bytes_seen: tally.seen_bytes,
        reader_own_bytes_max: tally.own_bytes_max,
        segment_bytes: stats.segment_bytes,
        live_bytes: stats.live_bytes,
        index_bytes: stats.index_bytes,
        kills: tally.kills.iter().map(killed).collect(),
        blobs_verified: checked.blobs,
        verify_gb_per_s: rate(checked.bytes, checked.time),
        energy_drift: checked.drift,
    }
}

/// The last step, straight from the store.
fn draw(text: &mut String, store: &Store, grid: &Grid) -> Outcome {
    let refs = store.refs(NAMES);
    let mut blobs: Vec<Blob> = Vec::new();
    for slab in 0..grid.slabs {
        let entry = refs.get(Grid::key(grid.steps - 1, slab))?;
        if let Some(id) = entry.as_ref().and_then(|entry| entry.blob()) {
            blobs.extend(store.get(id)?);
        }
    }
    let slabs = blobs.iter().map(cells).collect::<Outcome<Vec<_>>>()?;
    let planes: Vec<&[f64]> =
        slabs.iter().flat_map(|slab| slab.chunks_exact(grid.plane_cells())).collect();
    let caption = format!("The wave at step {}, a cut through the middle:", grid.steps - 1);
    push(text, &caption);
    for line in picture::draw(grid, |at| planes.get(at).copied()) {
        push(text, &format!("    |{line}|"));
    }
    push(text, "");
    Ok(())
}

fn push(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

fn table(text: &mut String, plan: &Plan, report: &Report) {
    let mut row = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<9}{value}");
    };
    let (bytes, blobs) = (human_bytes(report.bytes), grouped(report.blobs));
    let (step, stored) = words(plan);
    row("what", what(plan));
    row(
        "run",
        format!("{bytes} in {blobs} {stored} on {}, {:.1} s", report.file_system, report.seconds),
    );
    let (rate, share) = (report.in_gb_per_s, report.store_share * 100.0);
    let median = report.store_ms_median;
    row(
        "in",
        format!(
            "{rate:.2} GB/s; {share:.0} % of a writer's time is the store's (median {median:.1} ms a {step})"
        ),
    );
    let (rate, seen, get) =
        (report.out_gb_per_s, human_bytes(report.bytes_seen), report.get_ns_median);
    row(
        "out",
        format!("{rate:.2} GB/s; {seen} seen where they lie, none copied; a get takes {get:.0} ns"),
    );
    let (put, read) = (report.alone_put_gb_per_s, report.alone_read_gb_per_s);
    let (get, p99) = (report.alone_get_ns_median, report.alone_get_ns_p99);
    row(
        "alone",
        format!(
            "put {put:.2} GB/s, read {read:.2} GB/s, get {get:.0} ns (99 of 100 within {p99:.0} ns)"
        ),
    );
    let own = human_bytes(report.reader_own_bytes_max);
    row("memory", format!("{own} of its own, at most, in a reader that sees {bytes}"));
    row("disk", disk(plan, report));
    for kill in &report.kills {
        row("kill -9", told(kill, step));
    }
    row("lost", format!("nothing: every {step} that was acknowledged is there"));
    row("checked", checked(report, stored));
}

/// What a step is, and what it stores.
fn words(plan: &Plan) -> (&'static str, &'static str) {
    match plan.work {
        Work::Wave(_) => ("step", "arrays"),
        Work::Files(_) => ("file", "files"),
    }
}

fn disk(plan: &Plan, report: &Report) -> String {
    let (files, index) = (human_bytes(report.segment_bytes), human_bytes(report.index_bytes));
    let why = match plan.work {
        Work::Wave(_) => " (the first two steps are equal, and stored once)",
        Work::Files(_) => "",
    };
    format!("{files}{why}, and an index of {index}")
}

fn told(kill: &Killed, unit: &str) -> String {
    let Killed { who, step, back_after_ms, others_meanwhile } = kill;
    let doing = if who.starts_with('w') { "filling" } else { "behind" };
    match back_after_ms {
        Some(ms) => format!(
            "{who}, {doing} {unit} {step}; another had done its next {unit} {ms:.0} ms later, and\n         \
             the others {others_meanwhile} {unit}s meanwhile"
        ),
        None => format!("{who}, {doing} {unit} {step}; nothing was left to do for another"),
    }
}

fn checked(report: &Report, stored: &str) -> String {
    let (blobs, rate) = (grouped(report.blobs_verified), report.verify_gb_per_s);
    let meaning = match report.energy_drift {
        Some(drift) => {
            format!(
                "the wave's energy stayed within {drift:.0e} of itself; the readers agree bit for bit"
            )
        }
        None => "every blob equals its file; the readers agree on each".into(),
    };
    format!("all {blobs} {stored} have their digest ({rate:.2} GB/s);\n         {meaning}")
}

fn what(plan: &Plan) -> String {
    let (writers, readers) = (plan.writers, plan.readers);
    let processes = format!("{writers} writing and {readers} reading processes");
    match &plan.work {
        Work::Wave(grid) => format!(
            "a wave in a layered medium, {0} x {0} x {0} float64, {1} steps of {2}, each\n         \
             computed in place from the two before it; {processes}",
            grid.edge,
            grid.steps,
            human_bytes(grid.step_bytes())
        ),
        Work::Files(files) => format!("{} of your files; {processes}", files.len()),
    }
}

fn hints(text: &mut String, plan: &Plan, report: &Report) {
    let key = match &plan.work {
        Work::Wave(grid) => Grid::key(grid.steps - 1, 0),
        Work::Files(_) => String::from_utf8_lossy(&plan.file_key(0)).into_owned(),
    };
    if !report.kept {
        text.push_str("\nThe store is removed again; with --keep it stays, to be looked at.");
        return;
    }
    let file = if matches!(plan.work, Work::Wave(_)) { "a.npy" } else { "a.file" };
    let _ = write!(
        text,
        "\nThe store is kept; look at it, and remove it when you are done:\n\n    \
         export DRYSTONE_STORE={}\n    \
         blobtool info\n    \
         blobtool ls --names -l | head\n    \
         blobtool get --name '{key}' -o {file}\n    \
         rm -r {}",
        report.store,
        plan.store.parent().unwrap_or(&plan.store).display()
    );
}
