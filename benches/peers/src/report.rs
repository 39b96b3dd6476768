//! The table: one line a figure.

use crate::samples::Samples;
use std::fmt::Write;

/// A unit in which samples are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Its name.
    pub name: &'static str,
    /// Digits behind the point.
    pub digits: usize,
}

/// Nanoseconds.
pub const NS: Unit = Unit { name: "ns", digits: 1 };
/// Microseconds.
pub const US: Unit = Unit { name: "us", digits: 2 };
/// Milliseconds.
pub const MS: Unit = Unit { name: "ms", digits: 2 };
/// 10^9 bytes a second.
pub const GBS: Unit = Unit { name: "GB/s", digits: 2 };
/// 2^20 bytes.
pub const MIB: Unit = Unit { name: "MiB", digits: 1 };
/// A plain number.
pub const ONE: Unit = Unit { name: "", digits: 2 };
/// Millions a second.
pub const MILLIONS: Unit = Unit { name: "M/s", digits: 2 };

/// `median [min .. max] unit`.
pub fn show(samples: &Samples, unit: Unit) -> String {
    let (digits, name) = (unit.digits, unit.name);
    let [median, min, max] = [samples.median(), samples.min(), samples.max()];
    format!("{median:.digits$} [{min:.digits$} .. {max:.digits$}] {name}").trim_end().to_owned()
}

/// One figure.
#[derive(Clone, Debug, Default)]
pub struct Line {
    what: String,
    target: String,
    measured: String,
    peer: String,
    ratio: String,
    verdict: Option<bool>,
}

impl Line {
    /// A figure of this name.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), ..Self::default() }
    }

    /// What the store gave.
    pub fn measured(mut self, samples: &Samples, unit: Unit) -> Self {
        self.measured = show(samples, unit);
        self
    }

    /// What the store gave, in words.
    pub fn measured_text(mut self, text: impl Into<String>) -> Self {
        self.measured = text.into();
        self
    }

    /// What something else gave in the same rounds.
    pub fn peer(mut self, name: &str, samples: &Samples, unit: Unit) -> Self {
        self.peer = format!("{name}: {}", show(samples, unit));
        self
    }

    /// What something else gave, in words.
    pub fn peer_text(mut self, text: impl Into<String>) -> Self {
        self.peer = text.into();
        self
    }

    /// A ratio, round by round.
    pub fn ratio(mut self, samples: &Samples) -> Self {
        self.ratio = show(samples, ONE);
        self
    }

    /// The target, and whether it is met.
    pub fn target(mut self, text: impl Into<String>, met: bool) -> Self {
        self.target = text.into();
        self.verdict = Some(met);
        self
    }
}

/// The head of the table.
pub const HEAD: &str = "| figure | target | Drystone | peer | ratio | |\n|---|---|---|---|---|---|";

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let verdict = match self.verdict {
            None => "",
            Some(true) => "met",
            Some(false) => "**missed**",
        };
        let Self { what, target, measured, peer, ratio, .. } = self;
        write!(f, "| {what} | {target} | {measured} | {peer} | {ratio} | {verdict} |")
    }
}

/// The figures of one file system.
#[derive(Debug)]
pub struct Section {
    file_system: String,
    lines: Vec<Line>,
}

impl Section {
    /// None yet.
    pub fn new(file_system: &str) -> Self {
        Self { file_system: file_system.to_owned(), lines: Vec::new() }
    }

    /// Adds one.
    pub fn push(&mut self, line: Line) {
        self.lines.push(line);
    }
}

const ABOUT: &str = "Written by `cargo xtask bench`. Sides that are compared are measured in turn in \
    one run; a figure is `median [least .. greatest]` of the rounds, a ratio that of the ratios round by \
    round. Other engines and system calls work on the same file system.";

/// What stands on the page beside the figures of this program: those of the Python package.
pub fn kept(page: &str) -> &str {
    page.find("\n## Python\n").map_or("", |at| &page[at..])
}

/// The whole report.
pub fn document(machine: &str, sections: &[Section]) -> String {
    let mut text = format!("# Figures\n\n{ABOUT}\n\n{machine}\n");
    for section in sections {
        let _ = write!(text, "\n## {}\n\n{HEAD}\n", section.file_system);
        for line in &section.lines {
            let _ = writeln!(text, "{line}");
        }
    }
    text
}
