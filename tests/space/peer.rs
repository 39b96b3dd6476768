//! The filling processes: this test binary once more. They are told what to do in lines, and answer in
//! lines of numbers.
#![forbid(unsafe_code)]

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const PLACE: &str = "DRYSTONE_SPACE_PLACE";
const NUMBER: &str = "DRYSTONE_SPACE_NUMBER";
const SEED: &str = "DRYSTONE_SPACE_SEED";

/// Another process, killed when it is dropped.
pub struct Peer {
    process: Child,
    to: ChildStdin,
    from: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    pub fn start(place: &Path, number: u64, seed: u64) -> Self {
        let mut process = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "peer::peer_process", "--ignored", "--nocapture"])
            .arg("--test-threads=1")
            .env(PLACE, place)
            .env(NUMBER, number.to_string())
            .env(SEED, seed.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let (to, from) = (process.stdin.take(), process.stdout.take());
        let from = BufReader::new(from.expect("its output")).lines();
        Self { process, to: to.expect("its input"), from }
    }

    pub fn tell(&mut self, line: &str) {
        writeln!(self.to, "{line}").expect("a process that listens");
    }

    /// The numbers that it says next.
    pub fn hear(&mut self) -> Vec<u64> {
        for line in &mut self.from {
            if let Some((_, said)) = line.expect("text").split_once("@ ") {
                return said.split(' ').map(|number| number.parse().expect("a number")).collect();
            }
        }
        panic!("a process is gone: {}", self.process.wait().expect("its status"));
    }

    /// Waits until it has ended well.
    pub fn end(mut self) {
        self.tell("end");
        let status = self.process.wait().expect("its status");
        assert!(status.success(), "{status}");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Says numbers to the process that started this one.
pub fn say(numbers: &[u64]) {
    let text: Vec<String> = numbers.iter().map(u64::to_string).collect();
    println!("@ {}", text.join(" "));
}

#[test]
#[ignore = "the entry of the other processes"]
fn peer_process() {
    let Some(place) = std::env::var_os(PLACE).map(PathBuf::from) else { return };
    let number = |name: &str| std::env::var(name).expect("set").parse::<u64>().expect("a number");
    let mut filler = crate::filler::Filler::new(&place, number(NUMBER), number(SEED));
    for line in std::io::stdin().lines() {
        let line = line.expect("text");
        let (word, argument) = line.split_once(' ').unwrap_or((&line, ""));
        match word {
            "fill" => say(&filler.fill(argument == "small")),
            "remove" => say(&filler.remove(argument.parse().expect("a percentage"))),
            "compact" => say(&filler.compact()),
            "check" => say(&filler.check()),
            "end" => return,
            word => panic!("no such word: {word}"),
        }
    }
}
