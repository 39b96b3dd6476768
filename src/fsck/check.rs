//! The order of a check.
#![forbid(unsafe_code)]

use super::finding::{Cure, Finding, FindingKind, LEFT_OUT};
use super::inspect::{Meter, Seen, inspect_all};
use super::join::join;
use super::judge::Judge;
use super::layout::misplaced;
use super::names::Records;
use super::options::FsckOptions;
use super::repair::repair;
use super::report::FsckReport;
use super::site::{Site, open_disk, read_superblock};
use super::strays::strays;
use crate::disk::Access;
use crate::error::Result;
use crate::format::control::{POISON_SLOTS, POISON_WORD};
use crate::recover::{Item, sort};
use crate::run::Run;
use crate::segment::segment_path;
use crate::sync::epoch::pin;
use std::collections::BTreeMap;
use std::path::Path;

/// Times that the run may be put aside while the segments are held against it.
const ATTEMPTS_MAX: u32 = 3;

/// Checks a store, and mends it where the options ask for that.
///
/// A check only reads, takes no lock, and may run while others use the store.
///
/// # Errors
/// `NotAStore`, `UnsupportedVersion`, `Permission`, `Busy` (a repair while somebody uses the store),
/// `NoSpace` (a repair that does not fit: nothing is lost), or another error of the operating system.
/// Damage is no error: the report tells of it.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("s");
/// use drystone::{FsckOptions, Store, fsck};
///
/// let store = Store::create(&path)?;
/// store.put(b"slate")?;
/// let report = fsck(&path, &FsckOptions::new().deep(true))?;
/// assert!(report.is_clean(), "{:?}", report.findings);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn fsck(path: impl AsRef<Path>, options: &FsckOptions) -> Result<FsckReport> {
    let path = path.as_ref();
    let checked = if options.repair { repair(path, options) } else { check_only(path, options) };
    checked.map_err(|error| error.path(path))
}

fn check_only(path: &Path, options: &FsckOptions) -> Result<FsckReport> {
    let disk = open_disk(path, options, false)?;
    let mut findings = Vec::new();
    misplaced(&*disk, &mut findings)?;
    let checked = match read_superblock(&disk, &mut findings)? {
        Some(superblock) => check(&Site::new(disk, superblock, options)?, findings)?,
        None => Checked { findings, ..Checked::default() },
    };
    Ok(checked.report(options))
}

/// What a check gave.
#[derive(Default)]
pub struct Checked {
    /// The figures.
    pub report: FsckReport,
    /// All that was found.
    pub findings: Vec<Finding>,
    /// The published records that are whole.
    pub sorted: Vec<Vec<Item>>,
}

impl Checked {
    /// As it is told.
    pub fn report(self, options: &FsckOptions) -> FsckReport {
        let mut report = self.report;
        report.settle(self.findings, options.findings_max);
        report
    }
}

/// Checks everything but the layout and the superblock, of which `findings` tell.
pub fn check(site: &Site<'_>, findings: Vec<Finding>) -> Result<Checked> {
    for _ in 1..ATTEMPTS_MAX {
        let (checked, is_of_this_run) = check_run(site, findings.clone())?;
        if is_of_this_run {
            return Ok(checked);
        }
    }
    check_run(site, findings).map(|(checked, _)| checked)
}

/// As [`check`]; and whether the run that the segments were held against is still the store's.
fn check_run(site: &Site<'_>, mut findings: Vec<Finding>) -> Result<(Checked, bool)> {
    let run = site.attach(Access::Read, &mut findings)?;
    let numbers = site.numbers()?;
    let meter = Meter::new(bytes_of(site, &numbers)?);
    let pool = site.pool()?;
    let mut report = FsckReport {
        is_deep: site.options.is_deep(),
        has_run: run.is_some(),
        ..FsckReport::default()
    };
    let sorted = pool.install(|| {
        let mut seen = inspect_all(site, &numbers, &meter)?;
        confirm(site, &mut seen)?;
        count(&seen, &mut report);
        let sorted = sort(std::mem::take(&mut seen.items));
        findings.append(&mut seen.findings);
        match &run {
            Some(run) => check_index(site, run, &mut seen, &sorted, &mut report, &mut findings)?,
            None => without_index(site, &mut seen, &sorted, &mut findings)?,
        }
        findings.extend(strays(site, run.as_ref())?);
        let records = Records { site, sorted: &sorted, reliances: &seen.reliances };
        records.attribute(&mut findings)?;
        Ok::<_, crate::error::Error>(sorted)
    })?;
    let is_still = run.map_or(Ok(true), |run| site.is_still(&run))?;
    site.options.tell(u64::MAX, report.bytes);
    Ok((Checked { report, findings, sorted }, is_still))
}

fn bytes_of(site: &Site<'_>, numbers: &[u32]) -> Result<u64> {
    let mut bytes = 0;
    for &number in numbers {
        match site.files.open(number, Access::Read) {
            Ok(Some(file)) => bytes += file.len()?,
            Ok(None) => {}
            Err(error) if error.is_damage() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

fn count(seen: &Seen, report: &mut FsckReport) {
    report.segments = seen.segments;
    report.bytes = seen.bytes;
    report.records = seen.records;
    report.hashed_bytes = seen.hashed;
}

/// Looks again at the segments in which damage was found, and keeps what is found again.
fn confirm(site: &Site<'_>, seen: &mut Seen) -> Result<()> {
    let found = seen.findings.iter().filter(|finding| finding.is_damage());
    let doubts = seen.doubts.iter().map(|doubt| &doubt.finding);
    let mut numbers: Vec<u32> = found.chain(doubts).filter_map(cured_segment).collect();
    numbers.sort_unstable();
    numbers.dedup();
    if numbers.is_empty() {
        return Ok(());
    }
    let again = inspect_all(site, &numbers, &Meter::new(0))?;
    let is_again = |finding: &Finding| {
        let doubts = again.doubts.iter().map(|doubt| &doubt.finding);
        again.findings.iter().chain(doubts).any(|other| other.is_of_place(finding))
    };
    seen.findings.retain(|finding| !finding.is_damage() || is_again(finding));
    seen.doubts.retain(|doubt| is_again(&doubt.finding));
    Ok(())
}

/// The segment that is at fault.
fn cured_segment(finding: &Finding) -> Option<u32> {
    match finding.cure {
        Cure::Salvage(number) => Some(number),
        _ => None,
    }
}

fn check_index(
    site: &Site<'_>,
    run: &Run,
    seen: &mut Seen,
    sorted: &[Vec<Item>],
    report: &mut FsckReport,
    findings: &mut Vec<Finding>,
) -> Result<()> {
    let joined = match join(run, sorted) {
        Ok(joined) => joined,
        Err(error) if error.is_damage() => {
            findings.push(Finding::of_error(FindingKind::Run, &error, Cure::Rebuild));
            return without_index(site, seen, sorted, findings);
        }
        Err(error) => return Err(error),
    };
    report.keys = joined.keys;
    let guard = pin();
    let hurt: Vec<u32> = findings.iter().filter_map(cured_segment).collect();
    let sound = seen.sealed.iter().copied().filter(|number| !hurt.contains(number)).collect();
    let judge = Judge::new(site, run, sound, &guard);
    findings.extend(seen.torn.drain(..).map(Finding::left_out));
    for doubt in std::mem::take(&mut seen.doubts) {
        let is_named = judge.is_named(&doubt)?;
        findings.push(if is_named { doubt.finding } else { doubt.finding.excused() });
    }
    let mut judged = Vec::new();
    for suspect in &joined.suspects {
        judged.extend(judge.judge(suspect)?);
    }
    let records = Records { site, sorted, reliances: &seen.reliances };
    let (keys, removed) = records.dangling(&joined.unnamed)?;
    report.dangling = removed;
    for key in keys {
        let finding = judge.judge_ref(key)?;
        report.dangling += u64::from(finding.is_some());
        judged.extend(finding);
    }
    // What a segment told of a record need not be told of its word.
    let is_known = |judged: &Finding| {
        let is_there =
            |known: &Finding| known.segment == judged.segment && known.offset == judged.offset;
        judged.kind == FindingKind::Header && findings.iter().any(|f| f.is_damage() && is_there(f))
    };
    judged.retain(|finding| !is_known(finding));
    findings.append(&mut merged(judged));
    counters(site, run, seen, findings);
    Ok(())
}

/// Of a segment that is missing there is one finding, however many of its records are named.
fn merged(mut judged: Vec<Finding>) -> Vec<Finding> {
    let mut missing: BTreeMap<u32, (Finding, u64)> = BTreeMap::new();
    judged.retain_mut(|finding| {
        let number = finding.segment.filter(|_| finding.kind == FindingKind::Segment);
        let Some(number) = number else { return true };
        let keys = std::mem::take(&mut finding.keys);
        let (first, count) = missing.entry(number).or_insert_with(|| (finding.clone(), 0));
        first.offset = first.offset.min(finding.offset);
        first.keys.extend(keys);
        *count += 1;
        false
    });
    let told = |(finding, count): (Finding, u64)| {
        finding.found(format!("none, and {count} keys are named in it"))
    };
    judged.extend(missing.into_values().map(told));
    judged
}

/// Whoever opens the store next builds the run, and passes over what a power loss has left. Nothing tells
/// that from damage where nothing says what was durable; but what is lost by it is told.
fn without_index(
    site: &Site<'_>,
    seen: &mut Seen,
    sorted: &[Vec<Item>],
    findings: &mut Vec<Finding>,
) -> Result<()> {
    let doubts = std::mem::take(&mut seen.doubts);
    let records = Records { site, sorted, reliances: &seen.reliances };
    findings.append(&mut records.weighed(doubts)?);
    if bug!("torn-head-excused") {
        findings.extend(seen.torn.drain(..).map(Finding::left_out));
    }
    findings.extend(seen.torn.drain(..).map(Finding::lost));
    findings.extend(records.passed_over()?);
    Ok(())
}

/// Counters that are behind what they have counted. They are read last: they only grow.
fn counters(site: &Site<'_>, run: &Run, seen: &Seen, findings: &mut Vec<Finding>) {
    let control = &run.control;
    let behind = |what: &str, next: u64, found: u64| {
        let message = format!("the counter of {what} is behind what it has counted");
        let finding = Finding::damage(FindingKind::Counter, message, Cure::Rebuild);
        let finding = finding.path(format!("run/{}/control", site.tag));
        finding.expected(format!("more than {found}")).found(next)
    };
    let next = control.sequence();
    if next <= seen.sequence_max {
        findings.push(behind("sequence numbers", next, seen.sequence_max));
    }
    if let Some(highest) = seen.segment_max
        && control.next_segment() <= u64::from(highest)
    {
        findings.push(behind("segments", control.next_segment(), u64::from(highest)));
    }
    let words = control.words();
    for &value in words[POISON_WORD..POISON_WORD + POISON_SLOTS].iter().filter(|&&value| value != 0)
    {
        let number = u32::try_from(value - 1).unwrap_or(u32::MAX);
        let message = "the medium did not take this segment when it was to be made durable";
        let finding = Finding::notice(FindingKind::Counter, message).path(segment_path(number));
        findings.push(
            finding.advice("look after the medium; what was in the segment was appended elsewhere"),
        );
    }
    let lost = control.lost();
    if lost.records + lost.refs + lost.segments > 0 {
        let message = "the index was last built from less than there had been";
        let finding = Finding::notice(FindingKind::Counter, message);
        let found = format!(
            "{} records, {} refs and {} segments left out",
            lost.records, lost.refs, lost.segments
        );
        findings.push(finding.found(found).advice(LEFT_OUT));
    }
}
