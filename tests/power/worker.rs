//! The process that works on a file system until its power goes: it tells what it finds, then what it
//! is about to do and what it was told, to a log that is not lost.
#![forbid(unsafe_code)]

use crate::act::{Action, look, perform};
use crate::mount::now;
use crate::oracle::{Ending, Key, Oracle, Seen, State};
use crate::support::{Dice, KIB};
use crate::world::any_durability;
use drystone::{Durability, ErrorKind, Store};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const STORE: &str = "DRYSTONE_POWER_STORE";
const LOG: &str = "DRYSTONE_POWER_LOG";
const BOOT: &str = "DRYSTONE_POWER_BOOT";
const SEED: &str = "DRYSTONE_POWER_SEED";
/// Contents with numbers below this are put.
const BLOBS: u8 = 12;

/// Starts a worker.
pub fn start(store: &Path, log: &Path, boot: &str, seed: u64) -> Child {
    Command::new(std::env::current_exe().expect("a path"))
        .args(["--exact", "worker::worker_process", "--ignored", "--test-threads=1"])
        .env(STORE, store)
        .env(LOG, log)
        .env(BOOT, boot)
        .env(SEED, seed.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a process")
}

/// What a thread does, by its seed alone.
struct Plan(Dice);

impl Plan {
    fn new(seed: u64, thread: u64) -> Self {
        Self(Dice::new(seed ^ thread << 56))
    }

    fn next(&mut self) -> (Action, Durability) {
        let action = match Action::any(&mut self.0, BLOBS) {
            Action::Compact(true) if self.0.below(2) == 0 => Action::CompactInLanes,
            action => action,
        };
        (action, any_durability(&mut self.0))
    }
}

fn threads(seed: u64) -> u64 {
    1 + seed % 2
}

/// What the store of a worker is opened with.
fn opened_with(seed: u64) -> Durability {
    any_durability(&mut Dice::new(!seed))
}

#[test]
#[ignore = "a process of its own"]
fn worker_process() {
    let variable = |name: &str| std::env::var(name).expect("a variable");
    let Ok(seed) = std::env::var(SEED) else { return };
    let seed: u64 = seed.parse().expect("a number");
    let log = OpenOptions::new().append(true).create(true).open(variable(LOG)).expect("a log");
    let options = Store::options().create(true).segment_bytes(256 * KIB as u64);
    let options = options.boot_id(variable(BOOT)).durability(opened_with(seed));
    let path = PathBuf::from(variable(STORE));
    let opened = options.threads(2).open(&path).map_err(|error| error.to_string());
    let looked = opened.and_then(|store| look(&store).map(|seen| (store, seen)));
    let store = match looked {
        Ok((store, seen)) => {
            say(&log, &format!("S{}", text_of(&seen)));
            store
        }
        // Where nothing can be made, the power has gone.
        Err(_) if File::create(path.with_extension("probe")).is_err() => return,
        Err(error) => return say(&log, &format!("E {error}")),
    };
    std::thread::scope(|scope| {
        for thread in 0..threads(seed) {
            let (store, log) = (&store, &log);
            scope.spawn(move || work(store, log, (seed, thread)));
        }
    });
}

/// One write, so that nothing of the other thread comes in between.
fn say(mut log: &File, line: &str) {
    log.write_all(format!("{line}\n").as_bytes()).expect("the log is not on that file system");
}

fn work(store: &Store, log: &File, (seed, thread): (u64, u64)) {
    let mut plan = Plan::new(seed, thread);
    loop {
        let (action, durability) = plan.next();
        say(log, &format!("B {thread} {}", now()));
        let ending = match perform(store, &action, durability) {
            Ok(true) => "A",
            Ok(false) => "V",
            Err(error) if error.kind() == ErrorKind::NotFound => "V",
            Err(error) => return say(log, &format!("F {error}")),
        };
        say(log, &format!("{ending} {thread} {}", now()));
    }
}

fn text_of(seen: &Seen) -> String {
    let number = |key: &Key| match key {
        Key::Blob(at) => format!(" b{at}"),
        Key::Pin(at) => format!(" p{at}"),
        Key::Name(at) => format!(" n{at}"),
    };
    let state = |state: &State| match state {
        State::Absent => "-".to_owned(),
        State::There => "+".to_owned(),
        State::Inline(byte) => format!("i{byte}"),
        State::One(blob) => format!("o{blob}"),
        State::Many(blobs) => blobs.iter().map(|blob| format!("m{blob}")).collect(),
    };
    seen.states.iter().map(|(key, is)| format!("{}={}", number(key), state(is))).collect()
}

fn seen_of(text: &str) -> Option<Seen> {
    let number = |text: &str| text.get(1..)?.parse::<u8>().ok();
    let mut seen = Seen::default();
    for word in text.split_whitespace() {
        let (key, state) = word.split_once('=')?;
        let key = match key.chars().next()? {
            'b' => Key::Blob(number(key)?),
            'p' => Key::Pin(number(key)?),
            _ => Key::Name(number(key)?),
        };
        let state = match state.chars().next()? {
            '-' => State::Absent,
            '+' => State::There,
            'i' => State::Inline(number(state)?),
            'o' => State::One(number(state)?),
            _ => State::Many(state[1..].split('m').map(str::parse).collect::<Result<_, _>>().ok()?),
        };
        seen.states.insert(key, state);
    }
    Some(seen)
}

/// Reads a worker's log, holds what it found against what it may find, and returns what may be found
/// after the power went, at the moment `cut`; and how many operations it has begun.
///
/// What it was told after that moment is worth nothing: an fsync that is under way when the file system
/// is stopped may return as if it had succeeded, since the transaction that it waits for is gone.
///
/// # Errors
/// What is wrong.
pub fn judge(
    mut oracle: Oracle,
    log: &str,
    seed: u64,
    cut: u64,
) -> Result<(Oracle, usize), String> {
    let mut plans: Vec<Plan> = (0..threads(seed)).map(|thread| Plan::new(seed, thread)).collect();
    let mut under_way: Vec<Option<Begun>> = plans.iter().map(|_| None).collect();
    let (opened_with, mut moments) = (opened_with(seed), Vec::new());
    for line in log.lines() {
        let (tag, rest) = line.split_at(line.len().min(1));
        match tag {
            "S" => oracle.see(&seen_of(rest).ok_or("a log that cannot be read")?)?,
            "E" => return Err(rest.to_owned()),
            "B" | "A" | "V" => {
                let mut numbers = rest.split_whitespace().map(str::parse::<u64>);
                let (Some(Ok(thread)), Some(Ok(time))) = (numbers.next(), numbers.next()) else {
                    break;
                };
                if tag == "B" || time < cut {
                    moments.push((time, tag, thread as usize));
                }
            }
            _ => {}
        }
    }
    moments.sort_by_key(|(time, ..)| *time);
    let count = moments.len();
    for (op, (_, tag, thread)) in moments.into_iter().enumerate() {
        if tag == "B" {
            let (action, durability) = plans[thread].next();
            let durability = if action.takes_durability() { durability } else { opened_with };
            under_way[thread] = Some(Begun::new(&mut oracle, &action, durability, op));
        } else if let Some(begun) = under_way[thread].take() {
            let ending = if tag == "A" { Ending::Acknowledged } else { Ending::Void };
            begun.end(&mut oracle, ending, op);
        }
    }
    Ok((oracle.after(count + 1), count))
}

/// What a log says, for who looks for what went wrong.
pub fn story(log: &str, seed: u64) -> String {
    let mut plans: Vec<Plan> = (0..threads(seed)).map(|thread| Plan::new(seed, thread)).collect();
    let mut story = format!("opened with {:?}\n", opened_with(seed));
    for line in log.lines() {
        let thread = line.strip_prefix("B ").and_then(|rest| rest.split(' ').next()?.parse().ok());
        let planned = thread.and_then(|thread: usize| plans.get_mut(thread)).map(Plan::next);
        let planned = planned.map_or_else(String::new, |planned| format!("{planned:?}"));
        story.push_str(&format!("{line} {planned}\n"));
    }
    story
}

/// An operation under way.
enum Begun {
    Sync((u64, usize)),
    Other(Vec<usize>),
}

impl Begun {
    fn new(oracle: &mut Oracle, action: &Action, durability: Durability, op: usize) -> Self {
        if matches!(action, Action::Sync) {
            return Self::Sync(oracle.begin_sync(op));
        }
        if matches!(action, Action::Compact(_) | Action::CompactInLanes) {
            oracle.begin_compaction(op);
        }
        let is_synced = durability == Durability::Synced;
        Self::Other(oracle.begin(&action.effects(), is_synced, op))
    }

    fn end(self, oracle: &mut Oracle, ending: Ending, op: usize) {
        match self {
            Self::Sync(begun) => oracle.end_sync(begun, op),
            Self::Other(events) => oracle.end(&events, ending, op),
        }
    }
}
