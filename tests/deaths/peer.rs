//! Other processes: this test binary once more, in a role. They talk in lines.
#![forbid(unsafe_code)]

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Who says nothing for so long is taken for gone.
const SILENCE: Duration = Duration::from_secs(40);

const ROLE: &str = "DRYSTONE_DEATHS_ROLE";
const PLACE: &str = "DRYSTONE_DEATHS_PLACE";
const SEED: &str = "DRYSTONE_DEATHS_SEED";

/// Another process, killed when it is dropped.
pub struct Peer {
    process: Child,
    to: ChildStdin,
    from: Receiver<String>,
}

impl Peer {
    /// Starts a process in a role at the store in `place`.
    pub fn start(role: &str, place: &Path, seed: u64) -> Self {
        Self::start_under(&[], role, place, seed)
    }

    /// Starts it through another program, which is to execute its last arguments.
    pub fn start_under(program: &[&str], role: &str, place: &Path, seed: u64) -> Self {
        let me = std::env::current_exe().unwrap();
        let mut command = match program {
            [] => Command::new(&me),
            [program, arguments @ ..] => {
                let mut command = Command::new(program);
                command.args(arguments).arg(&me);
                command
            }
        };
        let mut process = command
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
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            // What the test harness prints is passed over.
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                let said = line.split_once("@ ").map(|(_, said)| said.to_owned());
                if said.is_some_and(|said| sender.send(said).is_err()) {
                    return;
                }
            }
        });
        Self { process, to, from: receiver }
    }

    /// The next thing that it says, if it is still there.
    pub fn try_hear(&mut self) -> Option<String> {
        self.hear_within(SILENCE)
    }

    /// The next thing that it says within a time.
    pub fn hear_within(&mut self, time: Duration) -> Option<String> {
        self.from.recv_timeout(time).ok()
    }

    /// The next thing that it says.
    pub fn hear(&mut self) -> String {
        self.try_hear().expect("the peer is gone without a word")
    }

    pub fn tell(&mut self, line: &str) {
        // Who is gone is missed when it is to answer.
        let _ = writeln!(self.to, "{line}");
    }

    /// Tells it something, and hears what it says to it.
    pub fn ask(&mut self, line: &str) -> String {
        self.tell(line);
        self.try_hear().unwrap_or_else(|| format!("gone, when told to {line}"))
    }

    pub fn process_id(&self) -> u32 {
        self.process.id()
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

    pub fn forget_what_was_said(&mut self) {
        self.from.try_iter().for_each(drop);
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Says something to the process that started this one, in one write and past all buffers.
pub fn say(what: impl std::fmt::Display) {
    let line = format!("@ {what}\n");
    nix::unistd::write(std::io::stdout(), line.as_bytes()).unwrap();
}

/// What the process that started this one says next; nothing when it is gone.
pub fn listen() -> String {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    line.trim_end_matches('\n').to_owned()
}

#[test]
#[ignore = "the entry of the other processes"]
fn peer_process() {
    let Some(place) = std::env::var_os(PLACE).map(PathBuf::from) else { return };
    let seed = std::env::var(SEED).unwrap().parse().unwrap();
    match std::env::var(ROLE).unwrap().as_str() {
        "victims" => crate::victim::serve(),
        "live" => crate::living::live(seed),
        "load" => crate::kills::load(&place, seed),
        "stopped" => crate::stopped::work(&place, seed),
        "opens" => crate::leaks::open_and_close(&place, seed),
        "contained" => crate::containers::contained(&place, seed),
        #[cfg(bug)]
        "clock" => crate::clock::live(&place, seed),
        role => panic!("no such role: {role}"),
    }
}
