//! Two containers with process ids of their own share a store: what is known by a process id in one is
//! another process in the other.
#![forbid(unsafe_code)]

use crate::figures::seed;
use crate::peer::{Peer, listen, say};
use crate::support::{Dice, Scratch, bytes, read};
use drystone::{BlobId, Store};
use std::path::Path;
use std::process::{Command, Stdio};

const ROUNDS: u64 = 12;
const BLOBS: u64 = 20;

/// Gives a program a namespace of process ids; it is killed with this.
const UNSHARE: [&[&str]; 2] = [
    &["unshare", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"],
    &[
        "unshare",
        "--user",
        "--map-root-user",
        "--pid",
        "--fork",
        "--kill-child=KILL",
        "--mount-proc",
    ],
];

/// The role: opens as the boot that it is told, puts, names, and reads what it is told.
pub fn contained(place: &Path, seed: u64) {
    say(std::process::id());
    let boot = listen();
    let store = Store::options().boot_id(boot).open(place).unwrap();
    for number in 0..BLOBS {
        let id = store.put(&bytes(500, seed << 32 | number)).unwrap();
        store.refs("contained").set(format!("{seed}/{number}"), id).unwrap();
        store.reserve(70_000).unwrap().commit().unwrap();
    }
    store.sync().unwrap();
    say("done");
    loop {
        let line = listen();
        if line.is_empty() {
            return;
        }
        let id: BlobId = line.parse().unwrap();
        say(store.get(&id).unwrap().map_or(0, |blob| blob.len()));
    }
}

/// The way to a container that works here, if one does.
fn way_in() -> Option<&'static [&'static str]> {
    UNSHARE.into_iter().find(|way| {
        let mut command = Command::new(way[0]);
        let tried = command.args(&way[1..]).arg("true").stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    })
}

#[test]
#[cfg_attr(not(bug), ignore = "`cargo xtask test deaths` runs it")]
fn processes_of_two_containers_are_not_taken_for_each_other() {
    let Some(way) = way_in() else {
        println!("SKIPPED: containers: `unshare --pid` is not allowed here");
        return;
    };
    let mut dice = Dice::new(seed("containers"));
    let scratch = Scratch::in_memory();
    drop(scratch.open(Store::options().create(true).segment_bytes(1 << 18)));
    let (mut kills, mut pids) = (0, Vec::new());
    for round in 0..ROUNDS {
        let start =
            |side: u64| Peer::start_under(way, "contained", &scratch.path(), 2 * round + side);
        let mut sides = [start(0), start(1)];
        for side in &mut sides {
            pids.push(side.hear());
        }
        // Both build the run of this boot, under names in which their process id stands.
        sides.iter_mut().for_each(|side| side.tell(&format!("boot {round}")));
        if round % 3 == 2 {
            std::thread::sleep(std::time::Duration::from_micros(dice.below(4000)));
            sides[dice.below(2) as usize].kill();
            kills += 1;
            continue;
        }
        sides.iter_mut().for_each(|side| assert_eq!(side.hear(), "done"));
        for (own, other) in [(0, 1), (1, 0)] {
            for number in 0..BLOBS {
                let content = bytes(500, (2 * round + other) << 32 | number);
                let id = crate::content::id_of(&content);
                let said = sides[own].ask(&id.to_string());
                assert_eq!(said, "500", "round {round}: what the other container has put");
            }
        }
    }
    assert!(pids.iter().all(|pid| *pid == pids[0]), "the same process ids: {pids:?}");
    let store = scratch.rebooted();
    for round in (0..ROUNDS).filter(|round| round % 3 != 2) {
        for side in [2 * round, 2 * round + 1] {
            for number in 0..BLOBS {
                let entry = store.refs("contained").get(format!("{side}/{number}")).unwrap();
                let id = *entry.expect("it was set").blob().unwrap();
                assert!(read(&store, &id) == bytes(500, side << 32 | number));
            }
        }
    }
    println!(
        "figure: containers: {} processes with the id {} in namespaces of their own, {kills} killed",
        pids.len(),
        pids[0]
    );
}
