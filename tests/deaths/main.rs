//! Death, halts and forks at every step and every system call, kills at random, and oddities. The
//! suite `deaths` of `cargo xtask test` runs them, in a build with `cfg(bug)`.

mod calls;
mod case;
#[cfg(bug)]
mod clock;
mod containers;
mod content;
mod figures;
mod kills;
mod leaks;
mod living;
mod locks;
mod oracle;
mod peer;
mod replay;
mod scripts;
mod stage;
#[cfg(bug)]
mod steps;
mod stopped;
#[path = "../support/mod.rs"]
mod support;
mod victim;
