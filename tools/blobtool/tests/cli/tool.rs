//! The program under test, with a directory of its own for each test.

use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// A directory with a store in it (once `init` was called), and the program.
pub struct Tool {
    dir: TempDir,
}

/// What a run of the program left.
pub struct Ran {
    /// The exit code; none if it was killed.
    pub code: Option<i32>,
    /// Standard output.
    pub out: Vec<u8>,
    /// Standard error.
    pub err: String,
}

impl Tool {
    /// An empty directory.
    pub fn bare() -> Self {
        Self { dir: tempfile::tempdir().expect("a directory for the test") }
    }

    /// A directory with an empty store.
    pub fn new() -> Self {
        let tool = Self::bare();
        tool.ok(["init"]);
        tool
    }

    /// A path in the directory.
    pub fn at(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The store's directory.
    pub fn store(&self) -> PathBuf {
        self.at("store")
    }

    /// Writes a file.
    pub fn file(&self, name: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.at(name);
        fs::create_dir_all(path.parent().expect("a path in the directory")).expect("directories");
        fs::write(&path, bytes).expect("a file");
        path
    }

    /// The program, about to run in the directory.
    pub fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_blobtool"));
        command.current_dir(self.dir.path()).env("DRYSTONE_STORE", self.store());
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the program to its end.
    pub fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Ran {
        Ran::of(self.command(args).output().expect("blobtool runs"))
    }

    /// Runs the program with something on its standard input.
    pub fn run_on<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>, input: &[u8]) -> Ran {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().expect("blobtool runs");
        feed(&mut child, input);
        Ran::of(child.wait_with_output().expect("blobtool ends"))
    }

    /// Runs the program, which must succeed and say nothing on standard error; standard output.
    pub fn bytes<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Vec<u8> {
        let ran = self.run(args);
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
        ran.out
    }

    /// As [`Tool::bytes`]; standard output as trimmed text.
    pub fn ok<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> String {
        String::from_utf8(self.bytes(args)).expect("UTF-8").trim_end().to_string()
    }

    /// Runs the program with `--json`, which must succeed; its documents.
    pub fn json<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Vec<Value> {
        let args = args.into_iter().map(|arg| arg.as_ref().to_os_string());
        documents(&self.ok(args.chain(["--json".into()])))
    }

    /// Runs the program, which must fail with this code and one sentence; the sentence.
    pub fn fails<A: AsRef<OsStr>>(&self, code: i32, args: impl IntoIterator<Item = A>) -> String {
        self.run(args).failed(code)
    }

    /// Runs a shell script in which `$T` is the program and the working directory is the test's.
    pub fn shell(&self, script: &str) -> Ran {
        let mut command = Command::new("bash");
        command.args(["-c", script]).current_dir(self.dir.path());
        command.env("T", env!("CARGO_BIN_EXE_blobtool")).env("DRYSTONE_STORE", self.store());
        Ran::of(command.output().expect("bash runs"))
    }
}

impl Ran {
    /// From the output of a process.
    pub fn of(output: Output) -> Self {
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        Self { code: output.status.code(), out: output.stdout, err }
    }

    /// It must have failed with this code and one sentence; the sentence.
    pub fn failed(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}", self.err);
        assert!(self.err.starts_with("blobtool: "), "{}", self.err);
        assert_eq!(self.err.trim_end().lines().count(), 1, "{}", self.err);
        self.err
    }
}

/// Writes a child's input, as far as it wants it, and ends it.
fn feed(child: &mut Child, input: &[u8]) {
    let mut stdin = child.stdin.take().expect("a pipe");
    match stdin.write_all(input) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        written => written.expect("a pipe that takes it"),
    }
}

/// The documents in lines of JSON; each must carry the version.
pub fn documents(text: &str) -> Vec<Value> {
    let parse = |line: &str| {
        let document: Value = serde_json::from_str(line).expect("a JSON document on each line");
        assert_eq!(document["version"], 1, "{line}");
        document
    };
    text.lines().map(parse).collect()
}

/// Bytes that compress and repeat badly; the same for the same arguments.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2) + 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}
