//! Where things are: the workspace, its build output, the tools.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The workspace and where it builds.
pub struct Place {
    root: PathBuf,
    target: PathBuf,
}

impl Place {
    /// The workspace that this program was built from.
    pub fn find() -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = here.ancestors().nth(2).unwrap_or(here).to_path_buf();
        let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
        Self { target: root.join(target), root }
    }

    /// The root of the workspace.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A directory of its own below the build output.
    pub fn target(&self, name: &str) -> PathBuf {
        self.target.join(name)
    }

    /// A command that runs in the root.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        command
    }

    /// The cargo that runs us.
    pub fn cargo(&self) -> Command {
        self.command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
    }

    /// Cargo building with more compiler flags, into a directory of its own so that neither build
    /// throws away the other's work.
    pub fn cargo_with_flags(&self, target: &str, flags: &str) -> Command {
        let mut all = env::var_os("RUSTFLAGS").unwrap_or_default();
        if !all.is_empty() && !flags.is_empty() {
            all.push(" ");
        }
        all.push(OsString::from(flags));
        let mut cargo = self.cargo();
        cargo.env("RUSTFLAGS", all).env("CARGO_TARGET_DIR", self.target(target));
        cargo
    }
}
