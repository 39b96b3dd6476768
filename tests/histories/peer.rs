//! The working processes: this test binary once more.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command};

const PLACE: &str = "DRYSTONE_HISTORY_PLACE";
const TAPE: &str = "DRYSTONE_HISTORY_TAPE";
const SEED: &str = "DRYSTONE_HISTORY_SEED";
const ROOM: &str = "DRYSTONE_HISTORY_ROOM";

/// Starts a process that works on the store in `place` and notes on the tape of this number, which has
/// room for so many operations.
pub fn start(place: &Path, tape: u64, seed: u64, room: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "peer::peer_process", "--ignored", "--nocapture", "--test-threads=1"])
        .env(PLACE, place)
        .env(TAPE, tape.to_string())
        .env(SEED, seed.to_string())
        .env(ROOM, room.to_string())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
#[ignore = "the entry of the other processes"]
fn peer_process() {
    let Some(place) = std::env::var_os(PLACE).map(PathBuf::from) else { return };
    let number = |name: &str| std::env::var(name).unwrap().parse::<u64>().unwrap();
    crate::worker::work(&place, number(TAPE), number(SEED), number(ROOM) as usize);
}
