//! The processes: started, listened to, killed, started again.

use super::events::{Assignment, Event, Role};
use crate::exit::Outcome;
use crate::unfinished::Unfinished;
use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::Sender;
use std::thread;

/// Something that a process said, or that it is gone.
pub struct Message {
    /// Who.
    pub role: Role,
    /// In which life: 0, and 1 after it was killed.
    pub life: u32,
    /// What; `None` is the end of what it says.
    pub event: Option<Event>,
}

/// A running process.
pub struct Worker {
    child: Child,
    /// In which life it is.
    pub life: u32,
    _unfinished: Unfinished,
}

impl Worker {
    /// Starts a process with its assignment; what it says goes to `messages`.
    pub fn start(
        assignment: &Assignment,
        life: u32,
        messages: Sender<Message>,
    ) -> io::Result<Self> {
        // The same program, even if its file has been replaced meanwhile.
        let mut command = Command::new("/proc/self/exe");
        command.arg("demo-worker").stdin(Stdio::piped()).stdout(Stdio::piped());
        let (unfinished, mut child) = Unfinished::process(|| command.spawn())?;
        if let Some(stdin) = child.stdin.take() {
            serde_json::to_writer(stdin, assignment)?;
        }
        let role = assignment.role;
        if let Some(stdout) = child.stdout.take() {
            thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    // A killed process may leave half a line.
                    let event = serde_json::from_str(&line).ok();
                    if event.is_some() {
                        drop(messages.send(Message { role, life, event }));
                    }
                }
                drop(messages.send(Message { role, life, event: None }));
            });
        }
        Ok(Self { child, life, _unfinished: unfinished })
    }

    /// `kill -9`.
    pub fn kill(&mut self) -> Outcome {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// How it ended.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may be gone already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
