//! What a campaign has done, for the line that it prints, and how far it is to go.
#![forbid(unsafe_code)]

use std::time::Duration;

/// Sums and worst cases.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Cases in which something happened to the victim.
    pub hits: u64,
    /// Cases in all.
    pub cases: u64,
    /// The longest that a living one took for its round.
    pub pause: Duration,
    /// The longest open beside the dead.
    pub open: Duration,
}

impl Figures {
    pub fn add(&mut self, other: &Self) {
        self.hits += other.hits;
        self.cases += other.cases;
        self.pause = self.pause.max(other.pause);
        self.open = self.open.max(other.open);
    }
}

/// A number from the environment.
pub fn option(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text:?}")))
}

/// Whether everything is asked for, however long it takes.
pub fn is_all() -> bool {
    std::env::var("DRYSTONE_DEATHS").is_ok_and(|all| all == "all")
}

/// The seed that was asked for, or a new one; it is printed.
pub fn seed(what: &str) -> u64 {
    let fresh = || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        now.subsec_nanos() as u64 ^ (std::process::id() as u64) << 32
    };
    let seed = option("DRYSTONE_SEED").unwrap_or_else(fresh);
    println!("{what}: DRYSTONE_SEED={seed}");
    seed
}
