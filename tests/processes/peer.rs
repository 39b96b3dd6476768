//! Other processes: this test binary once more, in a role. They talk in lines.
#![forbid(unsafe_code)]

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const ROLE: &str = "DRYSTONE_PEER_ROLE";
const PLACE: &str = "DRYSTONE_PEER_PLACE";
const SEED: &str = "DRYSTONE_PEER_SEED";

/// Another process, killed when it is dropped.
pub struct Peer {
    process: Child,
    to: ChildStdin,
    from: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    /// Starts a process in a role at the store in `place`.
    pub fn start(role: &str, place: &Path, seed: u64) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "peer::peer_process", "--ignored", "--nocapture"])
            .arg("--test-threads=1")
            .env(ROLE, role)
            .env(PLACE, place)
            .env(SEED, seed.to_string())
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

    /// The number that it says next.
    pub fn hear_number(&mut self) -> u64 {
        let said = self.hear();
        said.parse().unwrap_or_else(|_| panic!("no number: {said:?}"))
    }

    /// What it had said before it died.
    pub fn last_words(&mut self) -> Option<String> {
        let said = |line: String| line.split_once("@ ").map(|(_, said)| said.to_owned());
        self.from.by_ref().filter_map(|line| said(line.unwrap())).last()
    }

    pub fn tell(&mut self, line: &str) {
        writeln!(self.to, "{line}").unwrap();
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process.id() as i32), signal).unwrap();
    }

    /// Kills it, and sees that it had not ended by itself.
    pub fn kill(&mut self) {
        use std::os::unix::process::ExitStatusExt;
        self.process.kill().unwrap();
        let status = self.process.wait().unwrap();
        assert_eq!(status.signal(), Some(Signal::SIGKILL as i32), "{status}");
    }

    /// Waits until it has ended well.
    pub fn end(mut self) {
        let status = self.process.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Says something to the process that started this one.
pub fn say(what: impl std::fmt::Display) {
    println!("@ {what}");
}

/// What the process that started this one says next; nothing when it is gone.
pub fn listen() -> String {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    line.trim().to_owned()
}

#[test]
#[ignore = "the entry of the other processes"]
fn peer_process() {
    let Some(place) = std::env::var_os(PLACE).map(PathBuf::from) else { return };
    let seed = std::env::var(SEED).unwrap().parse().unwrap();
    match std::env::var(ROLE).unwrap().as_str() {
        "write" => crate::crash::write(&place, seed),
        "count" => crate::several::count(&place, seed),
        "grow" => crate::growth::grow(&place, seed),
        "once" => crate::short_lived::once(&place, seed),
        "open" => crate::open::open(&place, seed),
        "hold" => crate::open::hold(&place),
        "wait" => crate::waiting::wait(&place),
        "set" => crate::waiting::set(&place),
        "read" => crate::memory::read(&place),
        "fork" => crate::fork::fork_and_go_on(&place, seed),
        "fork busy" => crate::fork::fork_while_busy(&place, seed),
        "leave a child" => crate::fork::leave_a_child(&place),
        role => panic!("no such role: {role}"),
    }
}
