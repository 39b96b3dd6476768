//! The rounds, on file systems of several sizes.
#![forbid(unsafe_code)]

use crate::mounts::Mount;
use crate::peer::Peer;
use crate::rig::{self, KIB, random, say};
use drystone::{CompactOptions, Store};
use std::time::Instant;

const PROCESSES: u64 = 4;
/// Open segments at a time.
const OPEN_MAX: u64 = 2 * PROCESSES;
/// Rounds on all file systems: DRYSTONE_SPACE_ROUNDS, or so many.
const ROUNDS: u64 = 200;
/// File systems in MiB, and which part of the rounds is played on each.
const SIZES: [(u64, u64); 4] = [(8, 60), (16, 25), (32, 10), (64, 5)];

fn number(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// What was done.
#[derive(Default)]
struct Sums {
    rounds: u64,
    filled: u64,
    filled_bytes: u64,
    removed: u64,
    compactions: u64,
}

struct Scene {
    store: Store,
    peers: Vec<Peer>,
    dice: u64,
    sums: Sums,
    mount: Mount,
}

impl Scene {
    fn new(mount: Mount, seed: u64) -> Self {
        let place = &mount.path().join("store");
        let options = rig::options().create(true).segment_bytes(256 * KIB as u64);
        let store = options.open(place).expect("a store");
        crate::filler::let_go_now_and_then(&store);
        let peers = (1..=PROCESSES).map(|number| Peer::start(place, number, seed ^ number << 32));
        let (peers, sums) = (peers.collect(), Sums::default());
        Self { store, peers, dice: seed, sums, mount }
    }

    /// All do something at the same time; the sums of what they say.
    fn all(&mut self, line: &str) -> Vec<u64> {
        self.peers.iter_mut().for_each(|peer| peer.tell(line));
        let said: Vec<Vec<u64>> = self.peers.iter_mut().map(Peer::hear).collect();
        (0..said[0].len()).map(|at| said.iter().map(|numbers| numbers[at]).sum()).collect()
    }

    fn fill(&mut self, how: &str) -> u64 {
        let said = self.all(&format!("fill {how}"));
        self.sums.filled += said[0];
        self.sums.filled_bytes += said[1];
        said[1]
    }

    fn remove(&mut self, percent: u64) -> u64 {
        let said = self.all(&format!("remove {percent}"));
        self.sums.removed += said[0];
        self.sums.compactions += said[2];
        let space = || crate::filler::space(&self.store);
        assert_eq!(said[3], 0, "no compaction makes room: {}", space());
        said[1]
    }

    fn compact(&mut self) {
        let said = self.all("compact");
        assert!(said[0] > 0, "nobody has compacted");
        self.sums.compactions += said[0];
        // Whoever came first may have left something that others held.
        let report = self.store.compact(&CompactOptions::new().all(true)).expect("a compaction");
        assert!(!report.busy, "{report:?}");
        assert!(!report.out_of_space, "{report:?}");
    }

    /// Everything acknowledged is there, and nothing else.
    fn check(&mut self) {
        let said = self.all("check");
        let stats = self.store.stats().expect("the figures");
        assert_eq!((stats.pins, stats.refs), (said[0], said[1]), "{stats:?}");
        // Of a put that found no space for its pin, the pending pin keeps the blob until its segment is
        // sealed: one at most in each that is open.
        let unnamed = stats.blobs - stats.pins;
        assert!(unnamed <= OPEN_MAX, "{stats:?}");
        assert_eq!(stats.damaged_records, 0, "{stats:?}");
    }

    /// Fills, removes, compacts; what was removed can be filled again.
    fn round(&mut self) {
        let how = ["mixed", "small"][usize::from(random(&mut self.dice, 4) == 0)];
        self.fill(how);
        if random(&mut self.dice, 4) == 0 {
            // With nothing to give up.
            self.all("compact");
        }
        let percent = 20 + random(&mut self.dice, 70);
        let removed = self.remove(percent);
        self.compact();
        self.check();
        let refilled = self.fill("mixed");
        // Each process has an open segment, which the others cannot use.
        let slack = PROCESSES * 256 * KIB as u64;
        let came_back = refilled + slack >= removed / 2;
        assert!(came_back, "of {removed} bytes only {refilled} came back");
        let percent = 30 + random(&mut self.dice, 70);
        self.remove(percent);
        self.sums.rounds += 1;
    }

    /// What small values have filled can be emptied, and everything is as at first.
    fn empty(&mut self) {
        self.fill("small");
        self.remove(100);
        self.compact();
        self.check();
        let stats = self.store.stats().expect("the figures");
        assert!(stats.blobs <= OPEN_MAX && (stats.refs, stats.pins) == (0, 0), "{stats:?}");
        // An open segment for each process that appends, and for the one that compacts.
        let most = (PROCESSES + 2) * 320 * KIB as u64;
        assert!(stats.segment_bytes <= most, "{stats:?}");
    }

    fn end(self) -> Sums {
        let place = self.mount.path().join("store");
        self.peers.into_iter().for_each(Peer::end);
        drop(self.store);
        let report = drystone::fsck(place, &drystone::FsckOptions::new()).expect("a check");
        assert!(report.is_clean(), "{report:?}");
        self.sums
    }
}

fn play(mib: u64, rounds: u64, seed: u64) -> Option<Sums> {
    let mount = Mount::tmpfs(mib)?;
    let mut scene = Scene::new(mount, seed);
    for _ in 0..rounds {
        scene.round();
    }
    scene.empty();
    Some(scene.end())
}

/// Nobody frees anything but what is in the store.
#[test]
fn a_full_disk_can_be_emptied_compacted_and_filled_again() {
    let (start, seed) = (Instant::now(), rig::seed());
    let rounds = number("DRYSTONE_SPACE_ROUNDS", ROUNDS);
    let mut sums = Sums::default();
    for (mib, part) in SIZES {
        println!("{mib} MiB: DRYSTONE_SEED={seed}");
        let Some(played) = play(mib, (rounds * part).div_ceil(100), seed ^ mib) else {
            return;
        };
        sums.rounds += played.rounds;
        sums.filled += played.filled;
        sums.filled_bytes += played.filled_bytes;
        sums.removed += played.removed;
        sums.compactions += played.compactions;
    }
    let Sums { rounds, filled, filled_bytes, removed, compactions } = sums;
    let (mib, seconds) = (filled_bytes >> 20, start.elapsed().as_secs_f64());
    say(&format!(
        "figure: full disks: {rounds} rounds of {PROCESSES} processes, {filled} puts of {mib} MiB, \
         {removed} removals, {compactions} compactions, seed {seed}, \
         {seconds:.1} s"
    ));
}
