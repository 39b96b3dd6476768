//! Bytes at random places of every file are changed, cut off or added; then everything is read, in the
//! same run and after a recovery.

use super::furnished::{Furnished, Hit, Saved};
use super::rig::{bytes, campaign, figure, options, patch, random, resize, say, seed};
use drystone::{ErrorKind, HashAlgorithm, Options, Store};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// So long the random part takes by default.
const TIME: Duration = Duration::from_secs(8);
/// What takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
enum Damage {
    Flip(u64, u8),
    Overwrite(u64, Vec<u8>),
    Zero(u64, u64),
    Truncate(u64),
    Extend(Vec<u8>),
}

/// What was done to which file, and which bytes of it are not as they were.
struct Blow<'a> {
    file: &'a Saved,
    damage: Damage,
    hit: Range<u64>,
}

impl<'a> Blow<'a> {
    fn new(made: &'a Furnished, state: &mut u64) -> Self {
        let groups = ["STORE", "segments/", "segments/", "segments/", "run/", "run/", "locks"];
        let group = groups[random(state, groups.len() as u64) as usize];
        let files: Vec<&Saved> =
            made.files.iter().filter(|file| file.path.starts_with(group)).collect();
        let file = files[random(state, files.len() as u64) as usize];
        let len = file.bytes.len() as u64;
        let at = place(made, file, state);
        let most = [8, 64, 5000][random(state, 3) as usize];
        let count = 1 + random(state, most);
        let end = (at + count).min(len);
        let (damage, hit) = match random(state, 5) {
            0 | 1 if len == 0 => (Damage::Extend(vec![0xA5; 100]), 0..0),
            0 => (Damage::Flip(at, 1 << random(state, 8)), at..at + 1),
            1 => {
                let new = bytes((end - at) as usize, random(state, 1 << 30));
                (Damage::Overwrite(at, new), at..end)
            }
            2 => (Damage::Zero(at, end), at..end),
            3 => (Damage::Truncate(at), at..u64::MAX),
            _ => (Damage::Extend(bytes(count as usize, at)), len..u64::MAX),
        };
        Self { file, damage, hit }
    }

    fn strike(&self, made: &Furnished) {
        let path = made.path().join(&self.file.path);
        let len = self.file.bytes.len() as u64;
        match &self.damage {
            Damage::Flip(at, bit) => patch(&path, *at, &[self.file.bytes[*at as usize] ^ bit]),
            Damage::Overwrite(at, new) => patch(&path, *at, new),
            Damage::Zero(at, end) => patch(&path, *at, &vec![0; (end - at) as usize]),
            Damage::Truncate(at) => resize(&path, *at),
            Damage::Extend(new) => patch(&path, len, new),
        }
    }

    /// Whether the store may fail to open: nothing of its superblock is left.
    fn may_shut(&self) -> bool {
        let hits = |copy: Range<u64>| self.hit.start < copy.end && copy.start < self.hit.end;
        self.file.path == "STORE" && hits(0..64) && hits(4096..4160)
    }

    fn describe(&self) -> String {
        let what = match &self.damage {
            Damage::Overwrite(at, new) => format!("Overwrite({at}, {} bytes)", new.len()),
            Damage::Extend(new) => format!("Extend({} bytes)", new.len()),
            other => format!("{other:?}"),
        };
        format!("{} of {} bytes: {what}", self.file.path, self.file.bytes.len())
    }
}

/// A place in a file: anywhere, or where something stands that is looked at.
fn place(made: &Furnished, file: &Saved, state: &mut u64) -> u64 {
    let len = file.bytes.len() as u64;
    let records: Vec<u64> = made
        .records
        .iter()
        .filter(|record| record.file == file.path)
        .map(|record| record.range.start)
        .collect();
    let near = match random(state, 4) {
        0 => random(state, 600),
        1 => len.saturating_sub(1 + random(state, 300)),
        2 if !records.is_empty() => {
            records[random(state, records.len() as u64) as usize] + random(state, 100)
        }
        _ => random(state, len.max(1)),
    };
    near.min(len.saturating_sub(1))
}

/// Says what was being done when a check fails.
struct Scene(String);

impl Drop for Scene {
    fn drop(&mut self) {
        if std::thread::panicking() {
            say(&format!("failed at: {}", self.0));
        }
    }
}

fn open(made: &Furnished, how: Options, blow: &Blow<'_>, when: &str) -> Option<Store> {
    match how.open(made.path()) {
        Ok(store) => Some(store),
        Err(error) => {
            assert!(blow.may_shut(), "{when}: {error}");
            let says_so = [ErrorKind::Damaged, ErrorKind::NotAStore];
            assert!(says_so.contains(&error.kind()), "{when}: {error:?}");
            None
        }
    }
}

fn try_one(made: &Furnished, state: &mut u64, when: &str) {
    let blow = Blow::new(made, state);
    let scene = Scene(format!("{when}, {}", blow.describe()));
    made.restore();
    blow.strike(made);
    let in_file = Hit::Bytes(&blow.file.path, &blow.hit);
    let in_run = if blow.file.path.starts_with("run/") { Hit::Index } else { in_file };
    let read_only = random(state, 4) == 0;
    let Some(store) = open(made, options().read_only(read_only), &blow, &scene.0) else { return };
    made.check(&store, in_run, &format!("{}, the same boot", scene.0));
    drop(store);
    for boot in ["second", "third"] {
        let Some(store) = open(made, options().boot_id(boot), &blow, &scene.0) else { return };
        made.check(&store, in_file, &format!("{}, the {boot} boot", scene.0));
        let body = bytes(777, random(state, 1 << 30));
        let id = store.put(&body).unwrap_or_else(|error| panic!("{}: a put: {error}", scene.0));
        assert!(*store.get(&id).expect("a get").expect("it was put") == body[..], "{}", scene.0);
    }
}

/// Ends the process when one try takes too long: a hang fails, too.
fn watch(tried: &Arc<AtomicU64>) {
    let tried = Arc::downgrade(tried);
    std::thread::spawn(move || {
        let mut before = (u64::MAX, Instant::now());
        while let Some(now) = tried.upgrade().map(|tried| tried.load(Relaxed)) {
            if now != before.0 {
                before = (now, Instant::now());
            }
            if before.1.elapsed() > PATIENCE {
                say(&format!("try {now} hangs"));
                std::process::abort();
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    });
}

#[test]
fn damage_anywhere_costs_what_it_hit_and_no_more() {
    let (start, time) = (Instant::now(), TIME * campaign() as u32);
    let stores = [HashAlgorithm::Xxh3, HashAlgorithm::Blake3].map(Furnished::new);
    let tried = Arc::new(AtomicU64::new(0));
    watch(&tried);
    say(&format!("seed {}", seed()));
    while start.elapsed() < time {
        let number = tried.fetch_add(1, Relaxed);
        let mut state = seed().wrapping_add(number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let when = format!("seed {}, try {number}", seed());
        try_one(&stores[number as usize % 2], &mut state, &when);
    }
    figure(&format!("{} blows in {:.1?}", tried.load(Relaxed), start.elapsed()));
}
