//! Files that are nobody's: in the store's directory, among the segments, and of other runs.
#![forbid(unsafe_code)]

use super::finding::{Finding, FindingKind};
use super::layout::names_in;
use super::quarantine::QUARANTINE_DIR;
use super::site::{STORE_PATH, Site};
use crate::disk::Access;
use crate::error::Result;
use crate::run::{LOCKS_PATH, PAGE, RUN_DIR, Run};
use crate::segment::{SEGMENTS_DIR, segment_number};

/// Files of this name in the directory of the segments are space that is held back.
const SPARE: &str = "spare";

fn stray(path: String, message: &str) -> Finding {
    let finding = Finding::notice(FindingKind::Stray, message).path(path);
    finding.advice("remove it, if nobody needs it")
}

/// What stands in the store and is nobody's.
pub fn strays(site: &Site<'_>, run: Option<&Run>) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let disk = site.disk();
    for name in disk.list("")? {
        let own = [STORE_PATH, LOCKS_PATH, SEGMENTS_DIR, RUN_DIR, QUARANTINE_DIR];
        if !own.contains(&name.as_str()) {
            findings.push(stray(name, "a file that is not the store's"));
        }
    }
    if run.is_some() && disk.open(LOCKS_PATH, Access::Read).is_ok_and(|file| file.is_none()) {
        let message = "the file `locks` is missing, by which users know of each other";
        let finding = Finding::notice(FindingKind::Layout, message).path(LOCKS_PATH);
        findings.push(finding.advice(
            "end the processes that use the store before another one opens it: that makes the file \
             anew, and is not kept apart from those that were there before",
        ));
    }
    for name in names_in(&**disk, SEGMENTS_DIR)? {
        if segment_number(&name).is_none() && !name.starts_with(SPARE) {
            let path = format!("{SEGMENTS_DIR}/{name}");
            findings.push(stray(path, "a file that is no segment"));
        }
    }
    for name in names_in(&**disk, RUN_DIR)? {
        let path = format!("{RUN_DIR}/{name}");
        if name == site.tag {
            findings.extend(stray_tables(site, run, &path)?);
        } else if name.starts_with("new-") {
            findings.push(stray(path, "a run that is being built, or was left half-built"));
        } else if name.starts_with("old-") {
            findings.push(stray(path, "a run that was put aside"));
        } else {
            findings.push(stray(path, "a run of another boot or place"));
        }
    }
    let kept = names_in(&**disk, QUARANTINE_DIR)?;
    if !kept.is_empty() {
        let message = "files that a repair took out";
        let finding = stray(QUARANTINE_DIR.into(), message).found(format!("{} files", kept.len()));
        findings.push(finding.advice("remove them when nothing in them is needed any more"));
    }
    Ok(findings)
}

/// Generations of the run's index that its root does not name any more, or not yet.
fn stray_tables(site: &Site<'_>, run: Option<&Run>, dir: &str) -> Result<Vec<Finding>> {
    let Some(run) = run else { return Ok(Vec::new()) };
    let list = || site.disk().list(dir);
    let is_named = |name: &str| {
        let root = run.control.root();
        let of = |generation: u32| format!("{generation:08x}.idx");
        // The next one is made before the root says so.
        let next = root.generation().wrapping_add(1);
        name == "control"
            || name.starts_with(PAGE)
            || name == of(root.generation())
            || name == of(next)
    };
    let strays: Vec<String> = list()?.into_iter().filter(|name| !is_named(name)).collect();
    if strays.is_empty() {
        return Ok(Vec::new());
    }
    // The root may have moved on between the two looks.
    let still = list()?;
    let strays = strays.into_iter().filter(|name| still.contains(name) && !is_named(name));
    let message = "a table of the index that is not in use";
    Ok(strays.map(|name| stray(format!("{dir}/{name}"), message)).collect())
}
