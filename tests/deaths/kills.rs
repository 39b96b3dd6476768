//! Processes killed at random under all kinds of load; an oracle's log is kept outside of the store.
//!
//! Each process writes down what it is about to do, and that it was done, in one write each, in a log of
//! its own that outlives it. What it alone does to its own blobs and refs must be as the log says; what all
//! do at once must be as some of them left it.
#![forbid(unsafe_code)]

use crate::content::{Content, REFS, content};
use crate::figures::{option, seed};
use crate::peer::{Peer, say};
use crate::support::{Dice, KIB, Scratch, another_boot};
use drystone::{CompactOptions, Durability, GetOptions, PutOptions, SetOptions, Store, Verify};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Processes at a time.
const PROCESSES: usize = 6;
/// Kills, if nothing else is asked for.
const KILLS: u64 = 300;
/// So long nobody may stand still. (On a busy machine a process may get no time for a good part of that.)
const STANDSTILL: Duration = Duration::from_secs(5);
/// Contents that all put, and nobody removes.
const COMMON: u64 = 40;
/// Kills after which everything is looked at.
const LOOK_EVERY: u64 = 100;

fn log_path(place: &Path, who: u64) -> PathBuf {
    place.with_file_name(format!("log-{who}"))
}

/// What is known of one process's things: of each, the last value that was acknowledged, and one that was
/// begun after that.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    done: Option<u64>,
    begun: Option<Option<u64>>,
}

struct Log(File);

impl Log {
    /// A thing (`b` a blob, `r` a ref), and the value that it is about to get; 0 for none.
    fn begin(&mut self, thing: &str, value: u64) {
        self.line(&format!("begin {thing} {value}"));
    }

    fn done(&mut self, thing: &str, value: u64) {
        self.line(&format!("done {thing} {value}"));
    }

    /// A kill may leave a part of it, which then does not end as a whole one does.
    fn line(&mut self, line: &str) {
        self.0.write_all(format!("\n{line}{WHOLE}").as_bytes()).unwrap();
    }
}

/// What a whole line of the log ends with.
const WHOLE: &str = " .";

fn read_log(place: &Path, who: u64) -> BTreeMap<String, Known> {
    let mut known = BTreeMap::<String, Known>::new();
    let text = std::fs::read_to_string(log_path(place, who)).unwrap_or_default();
    for line in text.lines().filter_map(|line| line.strip_suffix(WHOLE)) {
        let fields: Vec<&str> = line.split(' ').collect();
        let [what, thing, value] = fields[..] else { panic!("no note: {line:?}") };
        let value: u64 = value.parse().unwrap();
        let value = (value != 0).then_some(value);
        let entry = known.entry(thing.to_owned()).or_default();
        *entry = match what {
            "begin" => Known { begun: Some(value), ..*entry },
            _ => Known { done: value, begun: None },
        };
    }
    known
}

/// A length that follows from the number.
fn content_of(number: u64) -> Content {
    let len = match number % 23 {
        0 => 70 * KIB + (number % 400_000) as usize,
        _ => 16 + (number * 37 % 3000) as usize,
    };
    content(len, number)
}

/// The role: all kinds of changes until it is killed.
pub fn load(place: &Path, who: u64) {
    let start = Instant::now();
    let store = Store::options().threads(2).open(place).unwrap();
    say(start.elapsed().as_micros());
    let file = File::options().create(true).append(true).open(log_path(place, who)).unwrap();
    let mut worker = Worker { store, log: Log(file), dice: Dice::new(who), who, own: Vec::new() };
    for round in 1.. {
        worker.step(who << 24 | round);
    }
}

struct Worker {
    store: Store,
    log: Log,
    dice: Dice,
    who: u64,
    own: Vec<u64>,
}

impl Worker {
    fn step(&mut self, number: u64) {
        match self.dice.below(16) {
            0..4 => self.put(number),
            4 => self.draft(number),
            5 | 6 => self.bind(number),
            7 => self.unbind(),
            8 | 9 => self.remove(),
            10 => self.put_common(),
            11 => self.look(),
            12 => self.put_many(number),
            13 => self.share(number),
            14 if self.dice.below(8) == 0 => self.store.sync().unwrap(),
            _ => self.maintain(),
        }
    }

    fn durability(&mut self) -> Durability {
        if self.dice.below(20) == 0 { Durability::Synced } else { Durability::Buffered }
    }

    fn put(&mut self, number: u64) {
        let (bytes, thing) = (content_of(number).bytes(), format!("b{number}"));
        let options = PutOptions::new().durability(self.durability());
        self.log.begin(&thing, 1);
        self.store.put_with(&bytes, &options).unwrap();
        self.log.done(&thing, 1);
        self.own.push(number);
    }

    fn draft(&mut self, number: u64) {
        let (bytes, thing) = (content_of(number).bytes(), format!("b{number}"));
        let mut draft = self.store.reserve(bytes.len() as u64).unwrap();
        draft.copy_from_slice(&bytes);
        self.log.begin(&thing, 1);
        draft.commit().map_err(|failed| failed.error).unwrap();
        self.log.done(&thing, 1);
        self.own.push(number);
    }

    fn put_many(&mut self, number: u64) {
        let numbers: Vec<u64> = (1..8).map(|i| i << 50 | number).collect();
        numbers.iter().for_each(|number| self.log.begin(&format!("b{number}"), 1));
        let values: Vec<_> = numbers.iter().map(|number| content_of(*number).bytes()).collect();
        self.store.put_many(&values).unwrap();
        numbers.iter().for_each(|number| self.log.done(&format!("b{number}"), 1));
    }

    fn remove(&mut self) {
        if self.own.is_empty() {
            return;
        }
        let at = self.dice.below(self.own.len() as u64) as usize;
        let (number, store) = (self.own.swap_remove(at), &self.store);
        let (id, thing) = (content_of(number).id(), format!("b{number}"));
        assert!(store.contains(&id).unwrap(), "{number} was put by this one, and is gone");
        let view = store.get(&id).unwrap().unwrap();
        self.log.begin(&thing, 0);
        assert!(store.remove(&id).unwrap(), "{number} was there");
        self.log.done(&thing, 0);
        assert!(*view == *content_of(number).bytes(), "a view has changed");
    }

    /// A ref of its own, to one of its own values: in the ref, or a blob.
    fn bind(&mut self, number: u64) {
        let thing = format!("r{}-{}", self.who, self.dice.below(12));
        let refs = self.store.refs(REFS);
        let durability = self.durability();
        self.log.begin(&thing, number);
        let value = content_of(number).bytes();
        refs.set_with(&thing, value, &SetOptions::new().durability(durability)).unwrap();
        self.log.done(&thing, number);
    }

    fn unbind(&mut self) {
        let thing = format!("r{}-{}", self.who, self.dice.below(12));
        self.log.begin(&thing, 0);
        self.store.refs(REFS).remove(&thing).unwrap();
        self.log.done(&thing, 0);
    }

    /// Everybody counts on one number.
    fn share(&mut self, number: u64) {
        let refs = self.store.refs("shared");
        let thing = format!("s{number}");
        self.log.begin(&thing, 1);
        loop {
            let entry = refs.get("n").unwrap();
            let before = entry.as_ref().and_then(|entry| entry.bytes()).unwrap_or(&[0; 8]);
            let after = u64::from_le_bytes(before.try_into().unwrap()) + 1;
            let expected = entry.as_ref().map(|entry| entry.version);
            if refs.compare_and_set("n", expected, &after.to_le_bytes()).unwrap().is_some() {
                break;
            }
        }
        self.log.done(&thing, 1);
    }

    fn put_common(&mut self) {
        let number = 1 + self.dice.below(COMMON);
        self.store.put(&content_of(number).bytes()).unwrap();
        self.log.done(&format!("c{number}"), 1);
    }

    fn look(&mut self) {
        let whole = GetOptions::new().verify(Verify::Whole);
        if let Some(number) = self.own.last() {
            let blob = self.store.get_with(&content_of(*number).id(), &whole).unwrap().unwrap();
            assert!(*blob == *content_of(*number).bytes());
        }
        self.store.refs(REFS).iter().take(20).for_each(|entry| drop(entry.unwrap()));
    }

    /// Some of them, now and then: who comes second says so.
    fn maintain(&mut self) {
        if !self.who.is_multiple_of(3) || self.dice.below(4) != 0 {
            return self.look();
        }
        let options = CompactOptions::new().all(self.dice.below(2) == 0);
        self.store.compact(&options.budget_time(Duration::from_millis(300))).unwrap();
    }
}

/// What all logs say, compared with the store.
fn check(store: &Store, place: &Path, workers: u64, kills: u64) -> (u64, u64) {
    let whole = GetOptions::new().verify(Verify::Whole);
    let (mut acknowledged, mut counted, mut counting) = (0, 0, 0);
    for who in 1..=workers {
        for (thing, known) in read_log(place, who) {
            acknowledged += 1;
            let (kind, rest) = thing.split_at(1);
            let either = |value: Option<u64>| known.done == value || known.begun == Some(value);
            if kind == "s" {
                counted += known.done.unwrap_or(0);
                counting += u64::from(known.begun.is_some());
            } else if kind == "r" {
                let entry = store.refs(REFS).get(&thing).unwrap();
                let found = entry.map(|entry| bytes_of(store, &entry));
                let is_one = |value: Option<u64>| {
                    either(value) && found == value.map(|value| content_of(value).bytes())
                };
                let wanted = [known.done, known.begun.flatten(), None];
                assert!(wanted.into_iter().any(is_one), "{thing} is neither of {known:?}");
            } else {
                let content = content_of(rest.parse().unwrap());
                let blob = store.get_with(&content.id(), &whole).unwrap();
                assert!(either(blob.as_ref().map(|_| 1)), "{thing}: {known:?}, {}", blob.is_some());
                assert!(blob.is_none_or(|blob| *blob == *content.bytes()), "{thing}: other bytes");
            }
        }
    }
    let entry = store.refs("shared").get("n").unwrap();
    let count = entry.map_or(0, |e| u64::from_le_bytes(e.bytes().unwrap().try_into().unwrap()));
    assert!((counted..=counted + counting).contains(&count), "{count} of {counted}..+{counting}");
    assert!(counting <= kills + PROCESSES as u64);
    (acknowledged, count)
}

fn bytes_of(store: &Store, entry: &drystone::Entry) -> Vec<u8> {
    match entry.blob() {
        Some(id) => store.get(id).unwrap().expect("a ref's blob is there").to_vec(),
        None => entry.bytes().unwrap().to_vec(),
    }
}

/// How long all logs are together: a sign of life.
fn log_bytes(place: &Path, workers: u64) -> u64 {
    (1..=workers).filter_map(|who| log_path(place, who).metadata().ok()).map(|m| m.len()).sum()
}

struct Campaign {
    place: PathBuf,
    dice: Dice,
    workers: u64,
    crew: Vec<Peer>,
    slowest_open: Duration,
    longest_pause: Duration,
}

impl Campaign {
    fn start_one(&mut self) -> Peer {
        self.workers += 1;
        let mut peer = Peer::start("load", &self.place, self.workers);
        self.slowest_open =
            self.slowest_open.max(Duration::from_micros(peer.hear().parse().unwrap()));
        peer
    }

    fn kill_one(&mut self) {
        std::thread::sleep(Duration::from_micros(self.dice.below(100_000)));
        let victim = self.dice.below(self.crew.len() as u64) as usize;
        self.crew[victim].kill();
        let (start, seen) = (Instant::now(), log_bytes(&self.place, self.workers));
        while log_bytes(&self.place, self.workers) == seen {
            assert!(start.elapsed() < STANDSTILL, "nobody has done anything for {STANDSTILL:?}");
            std::thread::sleep(Duration::from_micros(200));
        }
        self.longest_pause = self.longest_pause.max(start.elapsed());
        self.crew[victim] = self.start_one();
    }

    /// All are killed, what there is is looked at, and all begin anew; now and then after a new boot.
    fn look(&mut self, kills: u64) -> (u64, u64) {
        self.crew.iter_mut().for_each(Peer::kill);
        self.crew.clear();
        let found = check(&Store::open(&self.place).unwrap(), &self.place, self.workers, kills);
        let booted = Store::options().boot_id(another_boot()).open(&self.place).unwrap();
        assert_eq!(check(&booted, &self.place, self.workers, kills), found);
        found
    }
}

#[test]
#[cfg_attr(not(bug), ignore = "for a minute; `cargo xtask test deaths` runs it")]
fn processes_killed_at_random_lose_nothing_and_stop_nobody() {
    let (start, seed) = (Instant::now(), seed("kills at random"));
    let hours = option("DRYSTONE_KILL_HOURS").map(|hours| Duration::from_secs(3600 * hours));
    let kills_max =
        option("DRYSTONE_KILLS").unwrap_or(if hours.is_some() { u64::MAX } else { KILLS });
    let scratch = Scratch::in_memory();
    let place = scratch.path();
    drop(scratch.open(Store::options().create(true).segment_bytes(1 << 20)));
    let mut campaign = Campaign {
        place,
        dice: Dice::new(seed),
        workers: 0,
        crew: Vec::new(),
        slowest_open: Duration::ZERO,
        longest_pause: Duration::ZERO,
    };
    let (mut kills, mut found) = (0, (0, 0));
    while kills < kills_max && hours.is_none_or(|hours| start.elapsed() < hours) {
        while campaign.crew.len() < PROCESSES {
            let one = campaign.start_one();
            campaign.crew.push(one);
        }
        campaign.kill_one();
        kills += 1;
        if kills % LOOK_EVERY == 0 {
            found = campaign.look(kills);
            kills += PROCESSES as u64;
        }
    }
    let Campaign { slowest_open, longest_pause, .. } = campaign;
    println!(
        "figure: kills at random: {kills} in {:.0} s; {} blobs and refs acknowledged or begun, {} \
         counted; the longest pause {longest_pause:?}, the slowest open {slowest_open:?}",
        start.elapsed().as_secs_f64(),
        found.0,
        found.1
    );
}
