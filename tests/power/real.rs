//! The power of a real file system goes while processes work on it, again and again.
#![forbid(unsafe_code)]

use crate::mount::{Disk, now, write_back};
use crate::oracle::Oracle;
use crate::support::{Dice, number};
use crate::worker;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Cuts in CI, if so many fit.
const CUTS: u64 = 1000;
/// How long CI cuts.
const TIME: Duration = Duration::from_secs(100);
/// Fewer mean that something is wrong with the test.
const CUTS_MIN: u64 = 20;
/// File systems at a time: most of a cut is waiting.
const DISKS: u64 = 4;
/// Cuts that a store goes through before another one is begun.
const CUTS_OF_ONE: u32 = 10;
/// What ext4 is mounted with. (With `data=journal` the kernel may wait for ever for a journal that was
/// stopped.)
const MODES: [&str; 4] = ["", "", "data=writeback", "nodelalloc"];
/// A process that does not end for so long after it was killed is held by the kernel.
const DEATH_MAX: Duration = Duration::from_secs(30);

/// What all have reached.
#[derive(Default)]
struct Reached {
    cuts: AtomicU64,
    operations: AtomicU64,
    in_recovery: AtomicU64,
}

/// A file system with a store, and what may be found in it.
struct Trial<'a> {
    disk: Disk,
    kind: &'static str,
    dice: Dice,
    store: PathBuf,
    oracle: Oracle,
    cuts: u32,
    /// What has been done to the store.
    stories: Vec<String>,
    reached: &'a Reached,
}

impl Trial<'_> {
    fn cut(&mut self) -> Result<(), String> {
        if self.cuts % CUTS_OF_ONE == 0 {
            let _ = std::fs::remove_dir_all(&self.store);
            self.store = self.disk.path().join(format!("store-{}", self.cuts));
            self.oracle = Oracle::default();
            self.stories.clear();
        }
        self.cuts += 1;
        let (log, seed) = (self.disk.beside("log"), self.dice.next());
        let _ = std::fs::remove_file(&log);
        let boot = format!("boot {}", self.cuts);
        let worker = worker::start(&self.store, &log, &boot, seed);
        self.wait(&log);
        self.force_some();
        let moment = now();
        let cut = self.disk.cut();
        end(worker)?;
        cut?;
        self.disk.unmount();
        let mode = if self.kind == "ext4" { MODES[self.dice.below(4) as usize] } else { "" };
        self.disk.mount(mode).map_err(|errno| format!("it does not mount again: {errno}"))?;
        let log = std::fs::read_to_string(&log).unwrap_or_default();
        let oracle = std::mem::take(&mut self.oracle);
        self.stories.push(worker::story(&log, seed));
        let (oracle, operations) = worker::judge(oracle, &log, seed, moment)
            .map_err(|error| format!("{error}\n{}", self.stories.join("then\n")))?;
        self.oracle = oracle;
        self.reached.cuts.fetch_add(1, Ordering::Relaxed);
        self.reached.operations.fetch_add(operations as u64 / 2, Ordering::Relaxed);
        self.reached.in_recovery.fetch_add(u64::from(!log.starts_with('S')), Ordering::Relaxed);
        Ok(())
    }

    /// Lets the worker come to any place: into its recovery, or so far into its work.
    fn wait(&mut self, log: &Path) {
        let wanted = [0, 1, 40, 400, 2000, 6000][self.dice.below(6) as usize];
        let begin = Instant::now();
        let len = || std::fs::metadata(log).map_or(0, |log| log.len());
        // The log is there when the worker is.
        while (std::fs::metadata(log).is_err() || len() < wanted)
            && begin.elapsed() < Duration::from_millis(400)
        {
            std::thread::sleep(Duration::from_micros(200));
        }
        std::thread::sleep(Duration::from_micros(self.dice.below(3000)));
    }

    /// Some files reach the medium before the others.
    fn force_some(&mut self) {
        let names = std::fs::read_dir(self.store.join("segments")).into_iter().flatten();
        let mut files: Vec<PathBuf> = names.flatten().map(|name| name.path()).collect();
        files.sort();
        for file in files {
            match self.dice.below(6) {
                0 => write_back(&file),
                1 => drop(std::fs::File::open(&file).and_then(|file| file.sync_data())),
                _ => {}
            }
        }
        if self.dice.below(12) == 0 {
            drop(std::fs::File::open(self.disk.path()).and_then(|dir| dir.sync_all()));
        }
    }
}

/// Kills a process and sees it end.
fn end(mut process: std::process::Child) -> Result<(), String> {
    let (begin, _) = (Instant::now(), process.kill());
    while process.try_wait().map_err(|error| error.to_string())?.is_none() {
        if begin.elapsed() > DEATH_MAX {
            return Err("the kernel does not let a killed process go".to_owned());
        }
        std::thread::sleep(Duration::from_micros(300));
    }
    Ok(())
}

/// Cuts the power of one file system after the other; `None`, said aloud, where there is none.
fn campaign(kind: &'static str) -> Option<()> {
    let (begin, reached, failures) = (Instant::now(), Reached::default(), Mutex::new(Vec::new()));
    let asked = number("DRYSTONE_CUTS");
    let first = number("DRYSTONE_SEED").unwrap_or(1);
    let is_over = || {
        let cuts = reached.cuts.load(Ordering::Relaxed);
        let is_late = asked.is_none() && begin.elapsed() > TIME;
        cuts >= asked.unwrap_or(CUTS) || is_late || !failures.lock().expect("them").is_empty()
    };
    let mut disks = Vec::new();
    for _ in 0..DISKS {
        match Disk::new(kind) {
            Ok(disk) => disks.push(disk),
            Err(why) => {
                println!("SKIPPED: no {kind} whose power can be cut: {why}");
                return None;
            }
        }
    }
    std::thread::scope(|scope| {
        for (at, disk) in (0..).zip(disks) {
            let (is_over, reached, failures) = (&is_over, &reached, &failures);
            scope.spawn(move || {
                let (dice, store) = (Dice::new(first + at), disk.path().join("none"));
                let oracle = Oracle::default();
                let stories = Vec::new();
                let mut trial =
                    Trial { disk, kind, dice, store, oracle, cuts: 0, stories, reached };
                while !is_over() {
                    if let Err(error) = trial.cut() {
                        let failure = format!("cut {} of disk {at}: {error}", trial.cuts);
                        failures.lock().expect("failures").push(failure);
                    }
                }
            });
        }
    });
    let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
    let (cuts, failures) = (count(&reached.cuts), failures.into_inner().expect("failures"));
    println!(
        "figure: power: {cuts} cuts of {kind} while {} operations were done, {} of them before the recovery \
         was over, seed {first}, {:.1} s",
        count(&reached.operations),
        count(&reached.in_recovery),
        begin.elapsed().as_secs_f64(),
    );
    assert!(failures.is_empty(), "DRYSTONE_SEED={first}: {}", failures.join("\n"));
    assert!(cuts >= CUTS_MIN.min(asked.unwrap_or(CUTS_MIN)), "only {cuts} cuts");
    Some(())
}

#[test]
fn nothing_durable_is_lost_when_the_power_of_ext4_goes() {
    campaign("ext4");
}

#[test]
fn nothing_durable_is_lost_when_the_power_of_others_goes() {
    let wanted = std::env::var("DRYSTONE_POWER_ON").unwrap_or_default();
    for kind in ["xfs", "btrfs"] {
        if wanted.split(',').any(|name| name == kind) {
            campaign(kind);
        }
    }
}
