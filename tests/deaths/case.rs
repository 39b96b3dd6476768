//! One case: which script, what happens to its victim and when, and what is done about it. As a line,
//! so that a failure can be replayed.
#![forbid(unsafe_code)]

use crate::scripts::Script;
use std::fmt;
use std::path::{Path, PathBuf};

/// What happens to the victim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Nothing; its steps are counted.
    None,
    /// It is killed.
    Kill,
    /// It stands still while the others go on, and then goes on.
    Stop,
    /// Another thread forks; then it is killed, and the child lives on.
    Fork,
    /// A tracer kills it at the n-th call of one name.
    Trace,
}

/// What the living do in the end, before the machine comes up again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// One does, synced, what the victim has left undone.
    Repeat,
    /// One calls `sync`.
    Sync,
}

/// See the head of this file.
#[derive(Clone, Debug)]
pub struct Case {
    pub script: usize,
    pub way: Way,
    pub n: u64,
    /// Whether steps that only look are counted.
    pub looks: bool,
    /// Whether the living are at work while it happens, and not only then.
    pub busy: bool,
    /// The system call, where a tracer kills.
    pub call: String,
    pub finish: Finish,
}

const WAYS: [(Way, &str); 5] = [
    (Way::None, "none"),
    (Way::Kill, "kill"),
    (Way::Stop, "stop"),
    (Way::Fork, "fork"),
    (Way::Trace, "trace"),
];

impl Case {
    /// A case that counts steps.
    pub fn step(script: usize, way: Way, n: u64, finish: Finish) -> Self {
        Self { script, way, n, looks: false, busy: false, call: "-".into(), finish }
    }

    /// Says it to the victims' parent.
    pub fn to_line(&self, place: &Path) -> String {
        format!("{self}/{}", place.display())
    }

    pub fn from_line(line: &str) -> (Self, PathBuf) {
        let mut fields = line.splitn(7, '/');
        let mut next = || fields.next().expect("seven fields");
        let script = next().parse().expect("a script");
        let way = named(next());
        let (n, how, call) = (next().parse().expect("n"), next(), next().to_owned());
        let (looks, busy) = (how.starts_with("looks"), how.ends_with("busy"));
        let finish = if next() == "repeat" { Finish::Repeat } else { Finish::Sync };
        (Self { script, way, n, looks, busy, call, finish }, PathBuf::from(next()))
    }

    /// The one that `DRYSTONE_DEATHS_CASE` asks for.
    pub fn asked_for() -> Option<Self> {
        let line = std::env::var("DRYSTONE_DEATHS_CASE").ok()?;
        Some(Self::from_line(&format!("{line}/")).0)
    }

    /// With how to do it again.
    pub fn failed(&self, scripts: &[Script], why: &str) -> String {
        let name = scripts[self.script].name;
        format!("{name:?}: {why} (again: DRYSTONE_DEATHS_CASE={self})")
    }
}

fn named(word: &str) -> Way {
    WAYS.iter().find(|(_, name)| *name == word).expect("a way").0
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = WAYS.iter().find(|(way, _)| *way == self.way).expect("all are there").1;
        let looks = if self.looks { "looks" } else { "changes" };
        let finish = if self.finish == Finish::Repeat { "repeat" } else { "sync" };
        let busy = if self.busy { "-busy" } else { "" };
        write!(f, "{}/{way}/{}/{looks}{busy}/{}/{finish}", self.script, self.n, self.call)
    }
}

#[test]
fn a_case_is_a_line_and_a_line_a_case() {
    let mut case = Case::step(3, Way::Fork, 17, Finish::Sync);
    (case.looks, case.busy, case.call) = (true, true, "pwrite64".into());
    let (again, place) = Case::from_line(&case.to_line(Path::new("/a/b")));
    assert_eq!((again.to_string(), place), (case.to_string(), "/a/b".into()));
}
