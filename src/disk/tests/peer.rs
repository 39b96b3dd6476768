//! Other processes to test with.
//!
//! A peer is this test binary once more, running [`peer_process`] only, in a role. It talks in lines.
#![forbid(unsafe_code)]

use super::*;
use super::{fork, lock, map, real, refuse};
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const ROLE: &str = "DRYSTONE_DISK_ROLE";
const PLACE: &str = "DRYSTONE_DISK_PLACE";

pub struct Peer {
    process: Child,
    to: ChildStdin,
    from: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    pub fn start(role: &str, place: &Path) -> Self {
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
    pub fn hear(&mut self) -> String {
        for line in &mut self.from {
            if let Some((_, said)) = line.unwrap().split_once("@ ") {
                return said.to_owned();
            }
        }
        panic!("the peer is gone without a word");
    }

    pub fn expect(&mut self, said: &str) {
        assert_eq!(self.hear(), said);
    }

    pub fn tell(&mut self, line: &str) {
        writeln!(self.to, "{line}").unwrap();
    }

    pub fn kill(&mut self) {
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

pub fn say(line: &str) {
    println!("@ {line}");
}

pub fn listen() -> String {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    line.trim().to_owned()
}

#[test]
#[ignore = "the entry of peers"]
fn peer_process() {
    let place = PathBuf::from(std::env::var_os(PLACE).unwrap());
    match std::env::var(ROLE).unwrap().as_str() {
        "lock" => lock::hold(&place),
        "temporary" => lock::hold_temporary(&place),
        "sleep" => map::sleep(&place),
        "fork" => fork::parent(&place),
        "fork without descriptors" => fork::parent_without_descriptors(&place),
        "descriptors" => real::count_descriptors(&place),
        "nobody" => refuse::as_nobody(&place),
        role => panic!("no such role: {role}"),
    }
}
