//! A small store that is damaged, opened in every way, and put back, many times a second.

use super::furnished::{Furnished, Hit};
use super::rig::{bytes, campaign, figure, options, say};
use drystone::{Error, HashAlgorithm, Options, Store};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// Behind the last case of all.
const NO_MORE: u64 = u64::MAX >> 16;

/// What is done to a store, and what that may cost.
pub trait Blow {
    /// Does it.
    fn strike(&self, made: &Furnished);
    /// What it is, for who replays it.
    fn describe(&self, made: &Furnished) -> String;
    /// Whether it only concerns what lives as long as the boot.
    fn is_of_run(&self, _made: &Furnished) -> bool {
        false
    }
    /// Whether the store may fail to open for this reason.
    fn may_shut(&self, _made: &Furnished, _error: &Error) -> bool {
        false
    }
    /// Reads everything in the run of the boot in which it was damaged, or after a reboot.
    fn check(&self, made: &Furnished, store: &Store, is_rebooted: bool, when: &str);
}

/// A store, and the ways to open it.
struct Stage {
    made: Furnished,
    same_boot: Options,
    read_only: Options,
    rebooted: Options,
}

impl Stage {
    fn new(algorithm: HashAlgorithm) -> Self {
        let options = || options().threads(1);
        Self {
            made: Furnished::small(algorithm),
            same_boot: options(),
            read_only: options().read_only(true).boot_id("reader"),
            rebooted: options().boot_id("next"),
        }
    }

    /// Damages the store, opens it in the run of this boot and after a reboot, read-only or for writing,
    /// reads all, and puts it back. A thorough try is both read-only and for writing, and writes a little.
    fn try_one(&self, blow: &impl Blow, number: u64, next: &AtomicU64, is_thorough: bool) {
        let when = format!("case {number}: {}", blow.describe(&self.made));
        let _scene = Scene { number, when: &when, next };
        blow.strike(&self.made);
        let open = |how: &Options, way: &str, is_rebooted: bool| {
            let when = format!("{when}, {way}");
            let store = match how.clone().open(self.made.path()) {
                Ok(store) => store,
                Err(error) if blow.may_shut(&self.made, &error) => return,
                Err(error) => panic!("{when}: {error}"),
            };
            blow.check(&self.made, &store, is_rebooted, &when);
            if is_thorough && is_rebooted {
                write_a_little(&store, &when);
            }
            let _ = store.sync();
        };
        open(&self.same_boot, "the same boot", false);
        let is_even = number.is_multiple_of(2);
        if (is_even || is_thorough) && !blow.is_of_run(&self.made) {
            open(&self.read_only, "read-only", true);
        }
        if !is_even || is_thorough {
            open(&self.rebooted, "after a reboot", true);
        }
        self.made.restore();
    }
}

/// What is left can be written to, or says why not.
fn write_a_little(store: &Store, when: &str) {
    let body = bytes(777, 4711);
    if let Ok(id) = store.put(&body) {
        let got = store.get(&id).unwrap_or_else(|error| panic!("{when}: a get: {error}"));
        assert!(got.is_some_and(|blob| *blob == body[..]), "{when}: what was put is not there");
    }
    let refs = store.refs("new");
    let _ = refs.set("key", "value").and_then(|_| refs.remove("key"));
}

/// Says what was being done when something panics, and keeps the others from going on.
struct Scene<'a> {
    number: u64,
    when: &'a str,
    next: &'a AtomicU64,
}

impl Drop for Scene<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { number, when, next } = self;
            next.store(NO_MORE, Relaxed);
            say(&format!("failed at {when}; DRYSTONE_HOSTILE_CASE={number} replays it"));
        }
    }
}

/// A number from the environment.
fn asked(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// How many cases lie from one thorough try to the next.
pub fn rarely() -> u64 {
    if campaign() > 1 { 1 } else { 31 }
}

/// Tries all cases that `cases` makes of a store, on all cores; every worker has a store of its own, laid
/// out like the others. One of `thorough` cases is a thorough try.
pub fn try_all<B: Blow>(
    what: &str,
    algorithm: HashAlgorithm,
    thorough: u64,
    cases: impl Fn(&Furnished) -> Vec<B> + Sync,
) {
    let (start, next, tried) = (Instant::now(), Arc::new(AtomicU64::new(0)), AtomicU64::new(0));
    let stride = asked("DRYSTONE_HOSTILE_STRIDE").unwrap_or(1);
    let only = asked("DRYSTONE_HOSTILE_CASE");
    watch(&next);
    let work = || {
        let stage = Stage::new(algorithm);
        let cases = cases(&stage.made);
        if let Some(number) = only {
            cases.get(number as usize).inspect(|case| stage.try_one(*case, number, &next, true));
            return cases.len();
        }
        loop {
            let number = next.fetch_add(1, Relaxed) * stride;
            let Some(case) = cases.get(number as usize) else { return cases.len() };
            stage.try_one(case, number, &next, number.is_multiple_of(thorough));
            tried.fetch_add(1, Relaxed);
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let all = std::thread::scope(|scope| {
        let count = if only.is_some() { 1 } else { cores };
        let workers: Vec<_> = (0..count).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().expect("every case holds")).max()
    });
    let (all, tried) = (all.unwrap_or(0), tried.load(Relaxed));
    assert!(all > 0, "there is nothing to try");
    figure(&format!(
        "{tried} of {all} {what} of a store of {algorithm} in {:.1?}",
        start.elapsed()
    ));
}

/// Ends the process when one case takes too long: a hang fails, too.
fn watch(next: &Arc<AtomicU64>) {
    let next = Arc::downgrade(next);
    std::thread::spawn(move || {
        let mut before = (u64::MAX, Instant::now());
        while let Some(now) = next.upgrade().map(|next| next.load(Relaxed)) {
            if now != before.0 {
                before = (now, Instant::now());
            }
            if before.1.elapsed() > PATIENCE {
                say(&format!("a case before number {now} hangs"));
                std::process::abort();
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    });
}

/// Damage to one file.
#[derive(Clone, Debug)]
pub struct ToFile {
    /// The file, by its number.
    pub file: usize,
    /// What is done to it.
    pub damage: Damage,
}

/// See [`ToFile`].
#[derive(Clone, Debug)]
pub enum Damage {
    /// These bits of a byte turn over.
    Flip(u64, u8),
    /// All from here on is cut off.
    Cut(u64),
    /// So many bytes stand behind the end.
    Grow(u64),
}

impl Blow for ToFile {
    fn strike(&self, made: &Furnished) {
        let file = &made.files[self.file];
        let path = made.path().join(&file.path);
        match self.damage {
            Damage::Flip(at, mask) => patch(&path, at, &[file.bytes[at as usize] ^ mask]),
            Damage::Cut(at) => super::rig::resize(&path, at),
            Damage::Grow(len) => patch(&path, file.bytes.len() as u64, &bytes(len as usize, len)),
        }
    }

    fn describe(&self, made: &Furnished) -> String {
        let file = &made.files[self.file];
        format!("{:?} in {} of {} bytes", self.damage, file.path, file.bytes.len())
    }

    fn is_of_run(&self, made: &Furnished) -> bool {
        made.files[self.file].path.starts_with("run/")
    }

    fn may_shut(&self, made: &Furnished, _: &Error) -> bool {
        matches!(self.damage, Damage::Cut(0..64)) && made.files[self.file].path == "STORE"
    }

    fn check(&self, made: &Furnished, store: &Store, is_rebooted: bool, when: &str) {
        let file = &made.files[self.file];
        let len = file.bytes.len() as u64;
        let range = match self.damage {
            Damage::Flip(at, _) => at..at + 1,
            Damage::Cut(at) => at..u64::MAX,
            Damage::Grow(_) => len..u64::MAX,
        };
        let in_file = Hit::Bytes(&file.path, &range);
        let hit = if self.is_of_run(made) && !is_rebooted { Hit::Index } else { in_file };
        made.check_views(store, hit, when);
    }
}

fn patch(path: &Path, at: u64, bytes: &[u8]) {
    super::rig::patch(path, at, bytes);
}
