//! Other processes: this program again in a role, spoken to by lines.

use anyhow::{Context, Result, bail, ensure};
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

/// First argument of a process that plays a role.
pub const ROLE_FLAG: &str = "--role";

/// A process in a role; killed when it is dropped.
pub struct Child {
    process: std::process::Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Child {
    /// Starts this program in a role.
    pub fn start(role: &str, args: &[&OsStr]) -> Result<Self> {
        Self::spawn(Command::new(std::env::current_exe()?).arg(ROLE_FLAG).arg(role).args(args))
    }

    /// The same under `strace -f -c`, which writes its table of calls to a file.
    pub fn start_traced(table: &Path, role: &str, args: &[&OsStr]) -> Result<Self> {
        let mut command = Command::new("strace");
        command.args(["-f", "-q", "-c", "-o"]).arg(table);
        Self::spawn(command.arg(std::env::current_exe()?).arg(ROLE_FLAG).arg(role).args(args))
    }

    fn spawn(command: &mut Command) -> Result<Self> {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {command:?}"))?;
        let stdin = process.stdin.take().context("a pipe to the child")?;
        let stdout = process.stdout.take().context("a pipe from the child")?;
        Ok(Self { process, stdin, stdout: BufReader::new(stdout) })
    }

    /// Says a line.
    pub fn tell(&mut self, line: &str) -> Result<()> {
        Ok(writeln!(self.stdin, "{line}")?)
    }

    /// Waits for the next line.
    pub fn hear(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.stdout.read_line(&mut line)? == 0 {
            bail!("a child ended early: {}", self.process.wait()?);
        }
        Ok(line.trim_end().to_owned())
    }

    /// Waits for a line that is a number.
    pub fn hear_number(&mut self) -> Result<f64> {
        let line = self.hear()?;
        line.parse().with_context(|| format!("a number from a child, not {line:?}"))
    }

    /// Waits for its end.
    pub fn finish(mut self) -> Result<()> {
        let status = self.process.wait()?;
        ensure!(status.success(), "a child failed: {status}");
        Ok(())
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Both fail only for a process that has been waited for.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Tells the parent a line.
pub fn say(line: impl std::fmt::Display) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}")?;
    Ok(stdout.flush()?)
}

/// Waits until the parent has said a line, and tells which.
pub fn wait_for_parent() -> Result<String> {
    let mut line = String::new();
    ensure!(std::io::stdin().read_line(&mut line)? > 0, "the parent is gone");
    Ok(line.trim_end().to_owned())
}

/// The arguments of a role.
pub struct Args(std::vec::IntoIter<OsString>);

impl Args {
    /// These.
    pub fn new(args: Vec<OsString>) -> Self {
        Self(args.into_iter())
    }

    /// The next one.
    pub fn next(&mut self) -> Result<OsString> {
        self.0.next().context("an argument of the role is missing")
    }

    /// The next one, a number.
    pub fn number(&mut self) -> Result<u64> {
        let arg = self.next()?;
        arg.to_str().and_then(|text| text.parse().ok()).context("a number as argument of the role")
    }
}

/// Calls by name, from a table of `strace -c`.
pub fn traced_calls(table: &Path) -> Result<Vec<(String, u64)>> {
    let text = std::fs::read_to_string(table)?;
    let rows = text.lines().filter_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        // % time, seconds, usecs/call, calls, [errors], syscall
        let calls = fields.get(3)?.parse().ok()?;
        let name = fields.last().filter(|name| **name != "total")?;
        Some(((*name).to_owned(), calls))
    });
    Ok(rows.collect())
}
