//! Between processes: locks, forks, futexes, descriptors.
//!
//! A peer is this test binary once more, running [`peer_process`] only, in a role. It talks in lines.
#![forbid(unsafe_code)]

use super::*;
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const ROLE: &str = "DRYSTONE_DISK_ROLE";
const PLACE: &str = "DRYSTONE_DISK_PLACE";

struct Peer {
    process: Child,
    to: ChildStdin,
    from: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    fn start(role: &str, place: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "disk::tests::peer::peer_process", "--ignored", "--nocapture"])
            .arg("--test-threads=1")
            .env(ROLE, role)
            .env(PLACE, place)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, from) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        Self { process, to, from: BufReader::new(from).lines() }
    }

    /// The next thing that it says; what the test harness prints is passed over.
    fn hear(&mut self) -> String {
        for line in &mut self.from {
            if let Some((_, said)) = line.unwrap().split_once("@ ") {
                return said.to_owned();
            }
        }
        panic!("the peer is gone without a word");
    }

    fn expect(&mut self, said: &str) {
        assert_eq!(self.hear(), said);
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.to, "{line}").unwrap();
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn say(line: &str) {
    println!("@ {line}");
}

fn listen() -> String {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    line.trim().to_owned()
}

#[test]
#[ignore = "the entry of peers"]
fn peer_process() {
    let place = PathBuf::from(std::env::var_os(PLACE).unwrap());
    let disk = RealDisk::open(&place, &writable()).unwrap();
    match std::env::var(ROLE).unwrap().as_str() {
        "lock" => hold_lock(&*disk),
        role => panic!("no such role: {role}"),
    }
}

fn hold_lock(disk: &dyn Disk) {
    let file = reopen(disk, "locks", Access::Write);
    say(&file.try_lock(10, 5, LockKind::Exclusive).unwrap().to_string());
    while listen() == "unlock" {
        file.unlock(10, 5).unwrap();
        say("unlocked");
    }
}

#[test]
fn a_lock_excludes_other_processes_until_it_is_given_back_or_its_holder_dies() {
    everywhere(|scratch, disk| {
        make(disk, "locks", b"");
        let file = reopen(disk, "locks", Access::Write);
        let mut peer = Peer::start("lock", scratch.path());
        peer.expect("true");
        let free = |start, len| file.try_lock(start, len, LockKind::Exclusive).unwrap();
        assert!(!free(10, 5) && !free(14, 1) && !free(0, 11));
        assert!(!file.try_lock(12, 1, LockKind::Shared).unwrap());
        assert!(free(0, 10) && free(15, 1));
        peer.tell("unlock");
        peer.expect("unlocked");
        assert!(free(10, 5));
        let mut second = Peer::start("lock", scratch.path());
        second.expect("false");
        second.kill();
        file.unlock(10, 5).unwrap();
        let mut third = Peer::start("lock", scratch.path());
        third.expect("true");
        assert!(!free(10, 5));
        third.kill();
        assert!(free(10, 5), "the lock of the dead is free");
    });
}

#[test]
fn files_that_are_opened_apart_exclude_each_other_in_one_process() {
    everywhere(|_, disk| {
        make(disk, "locks", b"");
        let (a, b) = (reopen(disk, "locks", Access::Write), reopen(disk, "locks", Access::Write));
        let read = reopen(disk, "locks", Access::Read);
        assert!(a.try_lock(0, 1, LockKind::Exclusive).unwrap());
        assert!(a.try_lock(0, 1, LockKind::Exclusive).unwrap(), "a file does not exclude itself");
        assert!(!b.try_lock(0, 1, LockKind::Shared).unwrap());
        assert!(a.try_lock(0, 1, LockKind::Shared).unwrap(), "turned into a shared lock");
        assert!(b.try_lock(0, 1, LockKind::Shared).unwrap());
        assert!(read.try_lock(0, 1, LockKind::Shared).unwrap());
        assert!(!a.try_lock(0, 1, LockKind::Exclusive).unwrap());
        drop((b, read));
        assert!(a.try_lock(0, 1, LockKind::Exclusive).unwrap());
        for (start, len) in [(0, 0), (u64::MAX, 1), (1 << 63, 1)] {
            refused(a.try_lock(start, len, LockKind::Shared), ErrorKind::InvalidInput);
        }
    });
}
