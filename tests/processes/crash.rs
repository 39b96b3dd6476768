//! Writers killed at random instants: nothing acknowledged is lost, nobody else notices.
#![forbid(unsafe_code)]

use crate::log::{self, Log, Note, Notes};
use crate::peer::{Peer, say};
use crate::support::{Dice, KIB, Scratch, bytes};
use drystone::{BlobId, Durability, GetOptions, PutOptions, Store, Verify, Version};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

/// So long nobody may stand still because another one died. (On a busy machine a process may get no
/// time for a good part of that.)
const STANDSTILL: Duration = Duration::from_secs(2);
/// So long an open may take beside the living and the dead.
const OPEN: Duration = Duration::from_secs(1);

/// The role: all kinds of changes until it is killed, each noted when it is acknowledged.
pub fn write(place: &Path, seed: u64) {
    let start = Instant::now();
    let store = Store::open(place).unwrap();
    say(start.elapsed().as_micros());
    let (mut dice, mut log) = (Dice::new(seed), Log::open(place));
    let mut own = Vec::new();
    for round in 0.. {
        let content = seed << 32 | round;
        let len = match dice.below(20) {
            0 => 64 * KIB + dice.below(400_000) as usize,
            1 => 0,
            _ => dice.below(2000) as usize,
        };
        match dice.below(10) {
            0..5 => {
                store.put_with(&bytes(len.max(16), content), &durability(&mut dice)).unwrap();
                log.note(Note::Put { seed: content, len: len.max(16) });
                own.push((content, len.max(16)));
            }
            5 => bind(&store, &mut log, seed, content, len.max(16)),
            6 => {
                let mut draft = store.reserve(80_000).unwrap();
                draft.copy_from_slice(&bytes(80_000, content));
                draft.commit().unwrap();
                log.note(Note::Put { seed: content, len: 80_000 });
            }
            7 => remove_one(&store, &mut log, &mut own),
            8 => {
                count_once(&store);
                log.note(Note::Counted);
            }
            _ => put_many(&store, &mut log, content),
        }
    }
}

fn durability(dice: &mut Dice) -> PutOptions {
    let synced = [Durability::Synced, Durability::Buffered][(dice.below(20) > 0) as usize];
    PutOptions::new().durability(synced)
}

/// A ref of this writer alone, to bytes of which the first say which they are.
fn bind(store: &Store, log: &mut Log, key: u64, value: u64, len: usize) {
    let mut bytes = bytes(len, value);
    bytes[..8].copy_from_slice(&value.to_le_bytes());
    store.refs("bound").set(key.to_string(), bytes).unwrap();
    log.note(Note::Bound { key, value });
}

fn remove_one(store: &Store, log: &mut Log, own: &mut Vec<(u64, usize)>) {
    let Some((seed, len)) = own.pop() else { return };
    let id = store.put(&bytes(len, seed)).unwrap();
    log.note(Note::Removing { seed });
    assert!(store.remove(&id).unwrap(), "what was put was there");
    log.note(Note::Removed { seed });
}

fn put_many(store: &Store, log: &mut Log, seed: u64) {
    let seeds: Vec<u64> = (0..8).map(|i| (i + 1) << 24 | seed).collect();
    let values: Vec<Vec<u8>> = seeds.iter().map(|&seed| bytes(100, seed)).collect();
    store.put_many(&values).unwrap();
    seeds.iter().for_each(|&seed| log.note(Note::Put { seed, len: 100 }));
}

/// Adds one to a number that all count on.
pub fn count_once(store: &Store) {
    let refs = store.refs("counted");
    loop {
        let entry = refs.get("n").unwrap();
        let before = entry.as_ref().and_then(|entry| entry.bytes()).unwrap_or(&[0; 8]);
        let after = u64::from_le_bytes(before.try_into().unwrap()) + 1;
        let expected = entry.as_ref().map(|entry| entry.version);
        if refs.compare_and_set("n", expected, after.to_le_bytes().to_vec()).unwrap().is_some() {
            return;
        }
    }
}

pub fn counted(store: &Store) -> u64 {
    let entry = store.refs("counted").get("n").unwrap();
    entry.map_or(0, |entry| u64::from_le_bytes(entry.bytes().unwrap().try_into().unwrap()))
}

/// Waits until somebody has noted something; how long that took.
fn sign_of_life(place: &Path, seen: u64) -> Duration {
    let start = Instant::now();
    while log::len(place) == seen {
        assert!(start.elapsed() < STANDSTILL, "nobody has done anything for {STANDSTILL:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
    start.elapsed()
}

fn check(store: &Store, notes: &Notes, kills: u64) {
    let whole = GetOptions::new().verify(Verify::Whole);
    let ids = |seed: &u64, len: &usize| -> BlobId { id_of(store, &bytes(*len, *seed)) };
    for (seed, len) in &notes.put {
        let id = ids(seed, len);
        if !notes.removing.contains(seed) {
            let blob = store.get_with(&id, &whole).unwrap();
            let blob =
                blob.unwrap_or_else(|| panic!("acknowledged and lost: {seed:x}, {len} bytes"));
            assert!(*blob == *bytes(*len, *seed));
        } else if notes.removed.contains(seed) {
            assert!(!store.contains(&id).unwrap(), "removed and there: {seed:x}, {len} bytes");
        }
    }
    for (key, value) in &notes.bound {
        let entry = store.refs("bound").get(key.to_string()).unwrap().expect("it was bound");
        let bytes = match entry.blob() {
            Some(id) => store.get(id).unwrap().expect("it was named").to_vec(),
            None => entry.bytes().unwrap().to_vec(),
        };
        let found = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        // The writer may have died before it could note the last one.
        assert!(found >= *value, "an older value came back: {found} instead of {value}");
        assert!(bytes[8..] == crate::support::bytes(bytes.len(), found)[8..]);
    }
    let counted = counted(store);
    assert!((notes.counted..=notes.counted + kills).contains(&counted), "{counted}");
}

fn id_of(store: &Store, content: &[u8]) -> BlobId {
    let digest = twox_hash::XxHash3_128::oneshot(content).to_be_bytes();
    BlobId::from_digest(store.hash_algorithm(), &digest).unwrap()
}

/// The blobs with their pins, and the refs with their versions.
type Everything = (BTreeMap<BlobId, bool>, BTreeSet<(String, Vec<u8>, Version)>);

fn all(store: &Store) -> Everything {
    let blobs = store.blobs().map(|stat| stat.unwrap()).map(|stat| (stat.id, stat.pinned));
    let refs = ["bound", "counted"].into_iter().flat_map(|namespace| {
        let entries: Vec<_> = store.refs(namespace).iter().map(Result::unwrap).collect();
        entries.into_iter().map(|entry| (entry.namespace, entry.key, entry.version))
    });
    (blobs.collect(), refs.collect())
}

#[test]
fn nothing_acknowledged_is_lost_by_kills_and_nobody_waits() {
    const KILLS: u64 = 60;
    let scratch = Scratch::new();
    let place = scratch.path();
    let made = Store::options().create(true).segment_bytes(1 << 20);
    let observer = scratch.open(made);
    let mut dice = Dice::new(std::process::id().into());
    let start = |seed: u64| {
        let mut writer = Peer::start("write", &place, seed);
        let opened = Duration::from_micros(writer.hear_number());
        assert!(opened < OPEN, "an open took {opened:?}");
        (writer, opened)
    };
    let mut writers: Vec<Peer> = (1..4).map(|seed| start(seed).0).collect();
    let (mut slowest_open, mut longest_pause) = (Duration::ZERO, Duration::ZERO);
    for kill in 0..KILLS {
        std::thread::sleep(Duration::from_micros(dice.below(60_000)));
        let victim = dice.below(writers.len() as u64) as usize;
        writers[victim].kill();
        let seen = log::len(&place);
        longest_pause = longest_pause.max(sign_of_life(&place, seen));
        let (writer, opened) = start(10 + kill);
        slowest_open = slowest_open.max(opened);
        writers[victim] = writer;
    }
    writers.iter_mut().for_each(Peer::kill);
    let notes = Notes::read(&place);
    let kills = KILLS + writers.len() as u64;
    check(&observer, &notes, kills);
    observer.sync().unwrap();
    let before = all(&observer);
    drop(observer);
    check(&scratch.store(), &notes, kills);

    let rebooted = scratch.rebooted();
    check(&rebooted, &notes, kills);
    assert!(all(&rebooted) == before, "what was synced is what is there after a reboot");
    let acknowledged = notes.put.len() + notes.bound.len() + notes.removed.len();
    println!(
        "{kills} kills, {acknowledged} blobs and refs, {} counted; \
         slowest open {slowest_open:?}, longest pause {longest_pause:?}",
        notes.counted
    );
}
