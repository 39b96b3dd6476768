//! LMDB, as its users would use it for the same.

use anyhow::Result;
use heed::types::Bytes;
use heed::{Database, Env, EnvFlags, EnvOpenOptions};
use std::path::Path;

/// An LMDB environment with one database of bytes to bytes.
pub struct Lmdb {
    /// The environment.
    pub env: Env,
    /// The database.
    pub db: Database<Bytes, Bytes>,
}

/// When a commit returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// When the kernel has it: it survives the death of processes.
    Buffered,
    /// When the disk has it.
    Synced,
}

impl Lmdb {
    /// A new environment.
    pub fn create(dir: &Path, commit: Commit) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let mut options = EnvOpenOptions::new();
        options.map_size(64 << 30).max_dbs(1);
        if commit == Commit::Buffered {
            // SAFETY: without syncs a crash of the machine may damage the file; it is thrown away.
            unsafe { options.flags(EnvFlags::NO_SYNC) };
        }
        // SAFETY: the directory is this process's own, and nobody else opens or changes the file.
        let env = unsafe { options.open(dir)? };
        let mut txn = env.write_txn()?;
        let db = env.create_database(&mut txn, None)?;
        txn.commit()?;
        Ok(Self { env, db })
    }

    /// Puts pairs in with one commit.
    pub fn put_all<'a>(&self, pairs: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Result<()> {
        let mut txn = self.env.write_txn()?;
        for (key, value) in pairs {
            self.db.put(&mut txn, key, value)?;
        }
        Ok(txn.commit()?)
    }
}
