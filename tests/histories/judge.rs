//! Takes recorded tapes apart by what they are about, and has each part checked.
#![forbid(unsafe_code)]

use crate::entries::{Class, Entry, Kind, Subject, origin};
use crate::frontier::{Timed, explain};
use crate::presence::{self, Presence};
use crate::register::{Expect, Operation, Register, UNSET};
use crate::stage::Recorded;
use crate::write_once::{Interval, Life, check};
use std::collections::HashMap;

/// What is known of histories that were explained.
#[derive(Debug, Default)]
pub struct Findings {
    pub operations: u64,
    pub kills: u64,
    pub growths: u64,
    pub compactions: u64,
    /// The most configurations at a time.
    pub widest: usize,
}

impl Findings {
    pub fn add(&mut self, other: &Self) {
        self.operations += other.operations;
        self.growths += other.growths;
        self.compactions += other.compactions;
        self.widest = self.widest.max(other.widest);
    }
}

/// The operations on one subject, by their beginnings; with each its place on the tapes.
type Part = Vec<(usize, usize, Entry)>;

/// Whether one store could have told everybody what they were told; what is known of it.
pub fn judge(recorded: &Recorded) -> Result<Findings, String> {
    let tapes = &recorded.tapes;
    let mut parts: HashMap<Subject, Part> = HashMap::new();
    let mut findings = Findings { growths: recorded.growths, ..Findings::default() };
    let is_compaction = |entry: &Entry| entry.kind == Kind::Compact;
    let collects = tapes.iter().flatten().any(is_compaction);
    for (tape, entries) in tapes.iter().enumerate() {
        findings.operations += entries.len() as u64;
        let is_rebooted = tape + 1 == tapes.len();
        for (at, entry) in entries.iter().enumerate() {
            if is_rebooted && collects && may_be_back(entry) {
                continue;
            }
            parts.entry(entry.subject).or_default().push((tape, at, *entry));
        }
    }
    parts.values_mut().for_each(|part| part.sort_unstable_by_key(|(.., entry)| entry.begin));
    let store = parts.remove(&Subject::new(Class::Store, 0)).unwrap_or_default();
    findings.compactions = store.iter().map(|(.., entry)| entry.result).sum();
    let mut lives = Lives::default();
    for (subject, part) in &parts {
        let judged = match subject.class {
            Class::Inline | Class::Named => judge_ref(part, tapes, &mut lives),
            Class::Removed | Class::Unpinned => judge_presence(part, collects),
            Class::Once => lives.see(subject.number, part),
            Class::Store => Ok(1),
        };
        let widest = judged.map_err(|why| format!("{subject:?}: {why}"))?;
        findings.widest = findings.widest.max(widest);
    }
    lives.check(collects)?;
    Ok(findings)
}

/// What was collected and whose segment was still there may be found again after a reboot, which builds
/// the index anew, until the next collection.
fn may_be_back(entry: &Entry) -> bool {
    let is_collected = matches!(entry.subject.class, Class::Once | Class::Unpinned);
    is_collected && entry.kind == Kind::Get && entry.result == 1
}

fn timed<O>(entry: &Entry, operation: O) -> Timed<O> {
    let Entry { begin, end, is_acknowledged, .. } = *entry;
    Timed { operation, begin, end, is_certain: is_acknowledged }
}

fn judge_presence(part: &Part, collects: bool) -> Result<usize, String> {
    let operation = |entry: &Entry| {
        // What was killed has had its effect or not; a look has none.
        let was_there = entry.result == 1 || !entry.is_acknowledged;
        Some(match entry.kind {
            Kind::Put => presence::Operation::Put,
            Kind::Get if entry.is_acknowledged => presence::Operation::Got(was_there),
            Kind::Remove => presence::Operation::Removed(was_there),
            Kind::Unpin => presence::Operation::Unpinned(was_there),
            _ => return None,
        })
    };
    let operations: Vec<_> =
        part.iter().filter_map(|(.., entry)| Some(timed(entry, operation(entry)?))).collect();
    explain(&Presence { collects }, presence::NEW, &operations).map_err(|failed| failed.why)
}

fn judge_ref(part: &Part, tapes: &[Vec<Entry>], lives: &mut Lives) -> Result<usize, String> {
    let versions = versions(part, tapes)?;
    let operation = |tape: usize, at: usize, entry: &Entry| {
        let expect = match entry.kind {
            Kind::Add => Expect::Absent,
            Kind::CompareAndSet if entry.argument == 0 => Expect::Absent,
            Kind::CompareAndSet => Expect::Version(entry.argument),
            _ => Expect::Any,
        };
        let version = versions.get(&(tape, at)).copied();
        match (entry.kind, entry.is_acknowledged) {
            // A blob that was to be named was not there: that is said to the blob.
            (Kind::Set, true) if entry.result == 0 => None,
            (Kind::Set | Kind::Add | Kind::CompareAndSet, true) if entry.result == 0 => {
                Some(Operation::Declined(expect))
            }
            (Kind::Set | Kind::Add | Kind::CompareAndSet, _) => {
                Some(Operation::Set(expect, version))
            }
            (Kind::RemoveRef, is_acknowledged) => {
                Some(Operation::Removed(entry.result == 1 || !is_acknowledged))
            }
            (Kind::GetRef, true) => {
                Some(Operation::Got((entry.result != 0).then_some(entry.result)))
            }
            _ => None,
        }
    };
    let timed = |(tape, at, entry): &(usize, usize, Entry)| {
        Some(timed(entry, operation(*tape, *at, entry)?))
    };
    let operations: Vec<Timed<Operation>> = part.iter().filter_map(timed).collect();
    lives.hold_by_ref(part, &versions);
    explain(&Register, UNSET, &operations).map_err(|failed| failed.why)
}

/// The version that each write has made: as it was told, or as its value was seen by others.
fn versions(part: &Part, tapes: &[Vec<Entry>]) -> Result<HashMap<(usize, usize), u64>, String> {
    let mut versions = HashMap::new();
    let is_write =
        |entry: &Entry| matches!(entry.kind, Kind::Set | Kind::Add | Kind::CompareAndSet);
    for (tape, at, entry) in part {
        if is_write(entry) && entry.result != 0 {
            versions.insert((*tape, *at), entry.result);
        }
    }
    for (.., read) in part.iter().filter(|(.., entry)| entry.kind == Kind::GetRef) {
        if read.result == 0 {
            continue;
        }
        let origin = origin(read.writer).filter(|(tape, at)| {
            let written = tapes.get(*tape).and_then(|entries| entries.get(*at));
            written.is_some_and(|entry| is_write(entry) && entry.subject == read.subject)
        });
        let Some(origin) = origin else {
            return Err(format!("a value that nobody has written to it: {read:?}"));
        };
        let writer = &tapes[origin.0][origin.1];
        let known = if writer.is_acknowledged { writer.result } else { read.result };
        let version = *versions.entry(origin).or_insert(known);
        if version != read.result {
            return Err(format!(
                "{read:?} has seen the value of {writer:?}, whose version is {version}"
            ));
        }
    }
    Ok(versions)
}

/// The blobs that are put once, by number.
#[derive(Default)]
struct Lives {
    by_number: HashMap<u64, Life>,
}

/// Of a blob of which no put has been seen yet.
const NEVER: Interval = (u64::MAX, u64::MAX);

impl Lives {
    fn of(&mut self, number: u64) -> &mut Life {
        let unknown = || Life { put: NEVER, holds: Vec::new(), looks: Vec::new() };
        self.by_number.entry(number).or_insert_with(unknown)
    }

    fn see(&mut self, number: u64, part: &Part) -> Result<usize, String> {
        let life = self.of(number);
        let unpinned = part.iter().find(|(.., entry)| entry.kind == Kind::Unpin);
        for (.., entry) in part {
            match entry.kind {
                Kind::Put if life.put != NEVER => return Err("put twice".to_owned()),
                Kind::Put => {
                    life.put = entry.interval();
                    let until = unpinned.map_or(u64::MAX, |(.., unpin)| unpin.begin);
                    if entry.is_acknowledged {
                        life.holds.push((entry.end, until));
                    }
                }
                Kind::Get if entry.is_acknowledged => {
                    life.looks.push((entry.interval(), entry.result == 1));
                }
                Kind::Unpin if entry.is_acknowledged && entry.result == 0 => {
                    return Err(format!("its pin is not there: {entry:?}"));
                }
                _ => {}
            }
        }
        Ok(1)
    }

    /// The blobs that the versions of a ref name, each from the end of its set to the beginning of the
    /// first that may have come after it; and whether they were there to be named.
    fn hold_by_ref(&mut self, part: &Part, versions: &HashMap<(usize, usize), u64>) {
        let is_named = |(.., entry): &&(usize, usize, Entry)| {
            entry.subject.class == Class::Named && entry.kind == Kind::Set
        };
        let mut newer: Vec<(u64, u64)> = Vec::new();
        let mut uncertain: Vec<Interval> = Vec::new();
        for (tape, at, entry) in part.iter().filter(|(.., entry)| entry.kind != Kind::GetRef) {
            match versions.get(&(*tape, *at)) {
                Some(version) => newer.push((*version, entry.begin)),
                None if entry.is_acknowledged && entry.result == 0 => {}
                None => uncertain.push(entry.interval()),
            }
        }
        newer.sort_unstable();
        // The least beginning from each on.
        for at in (1..newer.len()).rev() {
            newer[at - 1].1 = newer[at - 1].1.min(newer[at].1);
        }
        for (tape, at, entry) in part.iter().filter(is_named) {
            if !entry.is_acknowledged {
                continue;
            }
            let life = self.of(entry.argument);
            life.looks.push((entry.interval(), entry.result != 0));
            let Some(version) = versions.get(&(*tape, *at)) else { continue };
            let next = newer.partition_point(|(other, _)| other <= version);
            let next = newer.get(next).map_or(u64::MAX, |(_, begin)| *begin);
            let after = |(_, end): &&Interval| *end >= entry.begin;
            let removed = uncertain.iter().filter(after).map(|(begin, _)| *begin).min();
            life.holds.push((entry.end, next.min(removed.unwrap_or(u64::MAX))));
        }
    }

    fn check(mut self, collects: bool) -> Result<(), String> {
        for (number, life) in &mut self.by_number {
            if !collects {
                // Nobody removes one, and without a collector nothing else takes it.
                let found = life.looks.iter().filter(|(_, is_found)| *is_found);
                let first = found.map(|((_, end), _)| *end).min();
                life.holds.extend(first.map(|first| (first, u64::MAX)));
            }
            life.looks.sort_unstable();
            check(life).map_err(|why| format!("blob {number}: {why}"))?;
        }
        Ok(())
    }
}
