//! Which file systems and which owners a store can trust.
//!
//! Only judgements here: the system calls that feed them stand in `real`.
#![forbid(unsafe_code)]

use crate::error::{Error, ErrorKind, Result};
use nix::sys::stat::FileStat;
use std::path::Path;

/// What a file system is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A store can be written on it.
    Local,
    /// It has to be tried out first.
    Probe,
    /// Its files are shared between machines, or served by another program.
    Remote,
    /// It lacks something that a store needs.
    Lacks(&'static str),
}

/// A file system as `statfs` tells it.
struct Kind {
    magic: u32,
    name: &'static str,
    verdict: Verdict,
}

const fn kind(magic: u32, name: &'static str, verdict: Verdict) -> Kind {
    Kind { magic, name, verdict }
}

/// `f_type` of tmpfs.
pub const TMPFS: u32 = 0x0102_1994;
/// `f_type` of ramfs.
pub const RAMFS: u32 = 0x8584_58F6;

const LINKS: Verdict = Verdict::Lacks("it has no hard links");

/// From statfs(2), linux/magic.h and the sources of those that live outside of the kernel.
const KINDS: &[Kind] = &[
    kind(0x0000_EF53, "ext4", Verdict::Local),
    kind(0x5846_5342, "xfs", Verdict::Local),
    kind(0x9123_683E, "btrfs", Verdict::Local),
    kind(TMPFS, "tmpfs", Verdict::Local),
    kind(RAMFS, "ramfs", Verdict::Local),
    kind(0xF2F5_2010, "f2fs", Verdict::Local),
    kind(0x2FC1_2FC1, "zfs", Verdict::Local),
    kind(0xCA45_1A4E, "bcachefs", Verdict::Local),
    kind(0x3153_464A, "jfs", Verdict::Local),
    kind(0x5265_4973, "reiserfs", Verdict::Local),
    kind(0x0000_3434, "nilfs2", Verdict::Local),
    kind(0x794C_7630, "overlayfs", Verdict::Probe),
    kind(0x6175_6673, "aufs", Verdict::Probe),
    kind(0x0000_F15F, "ecryptfs", Verdict::Probe),
    kind(0x7366_746E, "ntfs3", Verdict::Probe),
    kind(0xA501_FCF5, "vxfs", Verdict::Probe),
    kind(0x0000_6969, "NFS", Verdict::Remote),
    kind(0x0000_517B, "SMB", Verdict::Remote),
    kind(0xFE53_4D42, "SMB2", Verdict::Remote),
    kind(0xFF53_4D42, "CIFS", Verdict::Remote),
    kind(0x0BD0_0BD0, "Lustre", Verdict::Remote),
    kind(0x4750_4653, "GPFS", Verdict::Remote),
    kind(0x1983_0326, "BeeGFS", Verdict::Remote),
    kind(0x00C3_6400, "CephFS", Verdict::Remote),
    kind(0x6573_5546, "FUSE", Verdict::Remote),
    kind(0x0102_1997, "9p", Verdict::Remote),
    kind(0x5346_414F, "AFS", Verdict::Remote),
    kind(0x6B41_4653, "AFS", Verdict::Remote),
    kind(0x7375_7245, "Coda", Verdict::Remote),
    kind(0x0000_564C, "NCP", Verdict::Remote),
    kind(0x7461_636F, "OCFS2", Verdict::Remote),
    kind(0x0116_1970, "GFS2", Verdict::Remote),
    kind(0x2003_0528, "OrangeFS", Verdict::Remote),
    kind(0xAAD7_AAEA, "PanFS", Verdict::Remote),
    kind(0xBEEF_DEAD, "StorNext", Verdict::Remote),
    kind(0x0131_11A8, "IBRIX", Verdict::Remote),
    kind(0x6163_6673, "ACFS", Verdict::Remote),
    kind(0x7C7C_6673, "Parallels shared folders", Verdict::Remote),
    kind(0xBACB_ACBC, "VMware shared folders", Verdict::Remote),
    kind(0x786F_4256, "VirtualBox shared folders", Verdict::Remote),
    kind(0x0000_4D44, "vfat", LINKS),
    kind(0x2011_BAB0, "exfat", LINKS),
    kind(0x9584_58F6, "hugetlbfs", Verdict::Lacks("its files cannot be written with write(2)")),
];

fn find(magic: u32) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.magic == magic)
}

/// What is known of a file system by its `f_type`. One that is not listed is tried out.
pub fn verdict(magic: u32) -> Verdict {
    find(magic).map_or(Verdict::Probe, |kind| kind.verdict)
}

/// What people call the file system with this `f_type`.
pub fn file_system_name(magic: u32) -> &'static str {
    find(magic).map_or("unknown", |kind| kind.name)
}

/// Whether files keep to memory, so that space asked for ahead is memory taken.
pub fn is_memory(magic: u32) -> bool {
    magic == TMPFS || magic == RAMFS
}

/// Whether a store may be written on this file system: `true` if it first has to be tried out.
pub fn admit(magic: u32, path: &Path) -> Result<bool> {
    match verdict(magic) {
        Verdict::Local => Ok(false),
        Verdict::Probe => Ok(true),
        Verdict::Remote => Err(refusal(
            magic,
            path,
            "shared mappings and file locks are not coherent between all who see its files",
        )),
        Verdict::Lacks(why) => Err(refusal(magic, path, why)),
    }
}

/// The error for a file system that a store is not written on.
pub fn refusal(magic: u32, path: &Path, why: &str) -> Error {
    let name = file_system_name(magic);
    Error::new(
        ErrorKind::FileSystemRefused,
        format!("a store cannot be written on this file system: {why}"),
    )
    .path(path)
    .expected("a local file system (ext4, xfs, btrfs, tmpfs)")
    .found(format!("{name} (type {magic:#010x})"))
    .advice("put the store on a disk of this machine or in /dev/shm, or open it read-only")
}

/// Whom the files of a store may belong to.
#[derive(Clone, Copy, Debug)]
pub struct Trust {
    /// The effective user of this process.
    pub user: u32,
    /// Whether other users are trusted as this one is.
    pub others: bool,
}

impl Trust {
    /// Refuses what somebody else owns or may write: that user could change or cut off bytes under
    /// a view (spec/SOUNDNESS.md, S5).
    pub fn check(self, stat: &FileStat, path: &Path) -> Result<()> {
        if self.others {
            return Ok(());
        }
        let owner = stat.st_uid;
        if owner != self.user && owner != 0 {
            return Err(Error::new(ErrorKind::Permission, "belongs to another user")
                .path(path)
                .expected(format!("user {} or root as the owner", self.user))
                .found(format!("user {owner}"))
                .advice(
                    "open it as its owner; or, if that user is trusted, use `trust_other_users`",
                ));
        }
        let mode = stat.st_mode & 0o7777;
        if mode & 0o022 != 0 {
            return Err(Error::new(ErrorKind::Permission, "others than its owner may write to it")
                .path(path)
                .expected("a mode without write permission for group and others")
                .found(format!("mode {mode:04o}"))
                .advice(
                    "take the permission away (chmod -R go-w); or, if these users are trusted, \
                     use `trust_other_users`",
                ));
        }
        Ok(())
    }
}
