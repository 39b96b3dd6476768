//! A store directory on a real file system.
//!
//! - I1 Every path is walked part by part from the directory's descriptor; no symbolic link below it
//!   is followed, and no part leads out of it.
//! - I2 Every directory and file on the way is checked for owner and mode (`guard`), on the
//!   descriptor that is then used.
//! - I3 What has a name is complete: a file is linked after it is written, and never over another.
//!
//! Death: a file that was not linked is gone.
#![forbid(unsafe_code)]

use super::file::{RealFile, flags_for};
use super::guard::{self, Trust};
use super::temporary::{PREFIX, Temporary};
use super::{Access, Disk, File, Identity, Map, Space, fork, retry, sys};
use crate::error::{Error, ErrorKind, Result};
use crate::sync::machine::{AtomicU8, Ordering};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, open, openat, renameat, renameat2};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, mkdirat};
use nix::sys::statfs::fstatfs;
use nix::sys::statvfs::fstatvfs;
use nix::unistd::{UnlinkatFlags, fsync, geteuid, linkat, unlinkat};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a store directory is opened.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// To be written.
    pub writable: bool,
    /// Made if it is not there, with its parents.
    pub create: bool,
    /// Whether other users may own it or write to it (spec/SOUNDNESS.md, S5).
    pub trust_other_users: bool,
    /// Instead of the machine's boot id.
    pub boot_id: Option<String>,
}

/// Whether files without a name can be made here; found out at the first one.
const UNKNOWN: u8 = 0;
const NAMELESS: u8 = 1;
const NAMED: u8 = 2;

const ONLY_FILES: &str = "remove it: the store makes only files and directories";

/// A store directory on a real file system.
#[derive(Debug)]
pub struct RealDisk {
    root: OwnedFd,
    path: PathBuf,
    writable: bool,
    trust: Trust,
    magic: u32,
    boot_id: Option<String>,
    creation: AtomicU8,
}

/// The directory that the last part of a path stands in.
enum Folder<'a> {
    Root(BorrowedFd<'a>),
    Below(OwnedFd),
}

impl AsFd for Folder<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Root(fd) => *fd,
            Self::Below(fd) => fd.as_fd(),
        }
    }
}

impl RealDisk {
    /// Opens a directory as a store's; [`ErrorKind::NotFound`] if there is none and it is not to be
    /// made. A symbolic link to the directory itself is followed: the caller named it.
    pub fn open(path: &Path, options: &OpenOptions) -> Result<Arc<Self>> {
        fork::watch()?;
        if options.create && options.writable {
            make_dirs(path)?;
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let root = retry(|| open(path, flags, Mode::empty())).map_err(|errno| match errno {
            Errno::ENOENT => Error::new(ErrorKind::NotFound, "no such directory").path(path),
            Errno::ENOTDIR => Error::new(ErrorKind::NotAStore, "not a store: not a directory")
                .path(path)
                .advice("give the path of a store's directory"),
            _ => Error::io("cannot open the store directory", errno.into()).path(path),
        })?;
        let statfs = fstatfs(&root)
            .map_err(|errno| Error::io("cannot stat the file system", errno.into()).path(path))?;
        let disk = Self {
            root,
            path: path.to_path_buf(),
            writable: options.writable,
            trust: Trust { user: geteuid().as_raw(), others: options.trust_other_users },
            magic: statfs.filesystem_type().0 as u32,
            boot_id: options.boot_id.clone(),
            creation: AtomicU8::new(UNKNOWN),
        };
        disk.check_owner(disk.root.as_fd(), "")?;
        if options.writable && guard::admit(disk.magic, path)? {
            disk.probe()?;
        }
        Ok(Arc::new(disk))
    }

    /// Where it stands.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Tries out what a store needs of a file system that is not known to have it.
    pub(super) fn probe(&self) -> Result<()> {
        let works = |disk: &Self| -> Result<bool> {
            let file = disk.create("")?;
            file.write_at(&[1; 64], 0)?;
            let real = real_file(&*file)?;
            let other = real.open_again(Access::Write)?;
            let other = other.map(|fd| RealFile::new(fd, PathBuf::new(), false));
            let Some(other) = other else { return Ok(true) };
            let (a, b) = (file.map(64, Access::Write)?, other.map(64, Access::Read)?);
            probe_maps(&*file, &other, &a, &b)
        };
        match works(self) {
            Ok(true) => Ok(()),
            Ok(false) => Err("what is written to a file does not show in its mappings".to_owned()),
            // A full store must open, or nobody could make room in it.
            Err(error) if error.kind() == ErrorKind::NoSpace => Ok(()),
            Err(error) if error.kind() != ErrorKind::Io => return Err(error),
            Err(error) => Err(format!("it was tried out: {error}")),
        }
        .map_err(|why| guard::refusal(self.magic, &self.path, &why))
    }

    /// As on a file system that knows no files without a name.
    #[cfg(test)]
    pub(super) fn do_without_nameless(&self) {
        self.creation.store(NAMED, Ordering::Relaxed);
    }

    fn fail(&self, doing: &str, path: &str, errno: Errno) -> Error {
        let place = self.path.join(path);
        match errno {
            Errno::ELOOP => Error::new(ErrorKind::Damaged, "a symbolic link stands in the store")
                .path(place)
                .advice("remove it: the store makes none"),
            Errno::ENOTDIR => Error::new(ErrorKind::Damaged, "not a directory").path(place).advice(
                "move away what stands there: the store makes its directories itself, and no \
                     symbolic links",
            ),
            // A directory, or a socket.
            Errno::EISDIR | Errno::ENXIO => {
                Error::new(ErrorKind::Damaged, "not a regular file").path(place).advice(ONLY_FILES)
            }
            _ => Error::io(format!("cannot {doing}"), errno.into()).path(place),
        }
    }

    fn check_owner(&self, fd: BorrowedFd<'_>, path: &str) -> Result<FileStat> {
        let stat = fstat(fd).map_err(|errno| self.fail("stat", path, errno))?;
        self.trust.check(&stat, &self.path.join(path))?;
        Ok(stat)
    }

    fn check_writable(&self) -> Result<()> {
        if self.writable {
            return Ok(());
        }
        Err(Error::new(ErrorKind::ReadOnly, "the store is opened read-only").path(&self.path))
    }

    /// A directory below the store; `None` if there is none.
    fn folder(&self, dir: &str) -> Result<Option<Folder<'_>>> {
        let mut folder = Folder::Root(self.root.as_fd());
        if dir.is_empty() {
            return Ok(Some(folder));
        }
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        dir.split('/').try_for_each(|part| self.check_part(part, dir))?;
        for part in dir.split('/') {
            match retry(|| openat(folder.as_fd(), part, flags, Mode::empty())) {
                Ok(fd) => folder = Folder::Below(fd),
                Err(Errno::ENOENT) => return Ok(None),
                Err(errno) => return Err(self.fail("open a directory", dir, errno)),
            }
            self.check_owner(folder.as_fd(), dir)?;
        }
        Ok(Some(folder))
    }

    /// Splits a path into the directory that it stands in, `None` if there is none, and its name.
    fn place<'a>(&self, path: &'a str) -> Result<(Option<Folder<'_>>, &'a str)> {
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        self.check_part(name, path)?;
        Ok((self.folder(dir)?, name))
    }

    /// As [`RealDisk::place`], for what cannot do without the directory.
    fn place_to_change<'a>(&self, path: &'a str) -> Result<(Folder<'_>, &'a str)> {
        self.check_writable()?;
        let (folder, name) = self.place(path)?;
        let folder =
            folder.ok_or_else(|| self.fail("find the directory of", path, Errno::ENOENT))?;
        Ok((folder, name))
    }

    fn check_part(&self, part: &str, path: &str) -> Result<()> {
        if matches!(part, "" | "." | "..") || part.contains(['/', '\0']) {
            return Err(Error::new(ErrorKind::InvalidInput, "not a path below the store")
                .path(self.path.join(path)));
        }
        Ok(())
    }

    /// Makes a file in `folder`, if possible without a name.
    fn create_in(&self, folder: BorrowedFd<'_>) -> nix::Result<(OwnedFd, Option<Temporary>)> {
        if self.creation.load(Ordering::Relaxed) != NAMED {
            let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC;
            match retry(|| openat(folder, ".", flags, Mode::S_IRUSR | Mode::S_IWUSR)) {
                Ok(fd) => {
                    self.creation.store(NAMELESS, Ordering::Relaxed);
                    return Ok((fd, None));
                }
                // EISDIR: a kernel that does not know the flag sees a directory opened to be
                // written. Once it has worked here, an error is an error.
                Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::EINVAL)
                    if self.creation.load(Ordering::Relaxed) == UNKNOWN => {}
                Err(errno) => return Err(errno),
            }
            self.creation.store(NAMED, Ordering::Relaxed);
        }
        Temporary::new(folder).map(|(fd, temporary)| (fd, Some(temporary)))
    }

    /// Removes a name; `false` if there was none.
    fn remove(&self, path: &str, what: UnlinkatFlags) -> Result<bool> {
        self.check_writable()?;
        let (Some(folder), name) = self.place(path)? else {
            return Ok(false);
        };
        step!(change);
        match retry(|| unlinkat(&folder, name, what)) {
            Ok(()) => Ok(true),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(self.fail("remove", path, errno)),
        }
    }
}

/// Makes a directory and its parents, all mode 0700; fine if they are there.
fn make_dirs(path: &Path) -> Result<()> {
    match std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path) {
        // Opening it tells what it is.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        made => {
            made.map_err(|error| Error::io("cannot make the store directory", error).path(path))
        }
    }
}

fn real_file(file: &dyn File) -> Result<&RealFile> {
    file.as_any().downcast_ref().ok_or_else(|| {
        Error::new(ErrorKind::InvalidInput, "only a file that this disk has made can be linked")
    })
}

/// Whether two descriptions and two mappings of one file show the same bytes.
pub(super) fn probe_maps(file: &dyn File, other: &dyn File, a: &Map, b: &Map) -> Result<bool> {
    use crate::sync::Words;
    let mut bytes = [0; 64];
    file.write_at(&[2; 64], 0)?;
    let seen_mapped = a.read_block(0) == Some([2; 64]) && b.read_block(0) == Some([2; 64]);
    a.store(0, u64::from_ne_bytes([3; 8]));
    other.read_at(&mut bytes, 0)?;
    Ok(seen_mapped && bytes[..8] == [3; 8] && b.load(0) == u64::from_ne_bytes([3; 8]))
}

impl Disk for RealDisk {
    fn file_system(&self) -> &'static str {
        guard::file_system_name(self.magic)
    }
    fn open(&self, path: &str, access: Access) -> Result<Option<Arc<dyn File>>> {
        if access == Access::Write {
            self.check_writable()?;
        }
        let (Some(folder), name) = self.place(path)? else {
            return Ok(None);
        };
        // O_NONBLOCK: a pipe that somebody has put there must not block.
        let flags = flags_for(access)
            | OFlag::O_CLOEXEC
            | OFlag::O_NONBLOCK
            | OFlag::O_NOCTTY
            | if bug!("links-followed") { OFlag::empty() } else { OFlag::O_NOFOLLOW };
        step!(look);
        let fd = match retry(|| openat(&folder, name, flags, Mode::empty())) {
            Ok(fd) => fd,
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(self.fail("open", path, errno)),
        };
        let stat = self.check_owner(fd.as_fd(), path)?;
        if file_type(&stat) != SFlag::S_IFREG {
            return Err(Error::new(ErrorKind::Damaged, "not a regular file")
                .path(self.path.join(path))
                .advice(ONLY_FILES));
        }
        let path = self.path.join(path);
        Ok(Some(Arc::new(RealFile::new(fd, path, guard::is_memory(self.magic)))))
    }

    fn create(&self, dir: &str) -> Result<Arc<dyn File>> {
        self.check_writable()?;
        let folder =
            self.folder(dir)?.ok_or_else(|| self.fail("make a file in", dir, Errno::ENOENT))?;
        step!(change);
        let (fd, temporary) = self
            .create_in(folder.as_fd())
            .map_err(|errno| self.fail("make a file in", dir, errno))?;
        let (path, is_memory) = (self.path.join(dir), guard::is_memory(self.magic));
        Ok(Arc::new(RealFile::with_temporary(fd, path, is_memory, temporary)))
    }

    fn link(&self, file: &dyn File, path: &str) -> Result<bool> {
        let (folder, name) = self.place_to_change(path)?;
        let file = real_file(file)?;
        let fd = file.fd()?;
        let mut temporary = file.temporary().lock().unwrap_or_else(|held| held.into_inner());
        step!(change);
        let linked = match &*temporary {
            Some(old) => retry(|| linkat(old.dir(), old.name(), &folder, name, AtFlags::empty())),
            None => link_nameless(fd, folder.as_fd(), name),
        };
        match linked {
            Ok(()) if temporary.take().is_some() => Temporary::unguard(fd).map(|()| true),
            Ok(()) => Ok(true),
            Err(Errno::EEXIST) => Ok(false),
            Err(errno) => Err(self.fail("link", path, errno)),
        }
    }

    fn unlink(&self, path: &str) -> Result<bool> {
        self.remove(path, UnlinkatFlags::NoRemoveDir)
    }

    fn is_named(&self, file: &dyn File, path: &str) -> Result<bool> {
        let own = fstat(real_file(file)?.fd()?).map_err(|errno| self.fail("stat", path, errno))?;
        let (Some(folder), name) = self.place(path)? else {
            return Ok(false);
        };
        match retry(|| fstatat(&folder, name, AtFlags::AT_SYMLINK_NOFOLLOW)) {
            Ok(named) => Ok((named.st_dev, named.st_ino) == (own.st_dev, own.st_ino)),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(self.fail("stat", path, errno)),
        }
    }

    fn rename(&self, from: &str, to: &str) -> Result<bool> {
        let ((from_dir, from_name), (to_dir, to_name)) =
            (self.place_to_change(from)?, self.place_to_change(to)?);
        let stat = retry(|| fstatat(&from_dir, from_name, AtFlags::AT_SYMLINK_NOFOLLOW))
            .map_err(|errno| self.fail("rename", from, errno))?;
        step!(change);
        let renamed = if file_type(&stat) == SFlag::S_IFDIR {
            // A directory never replaces anything but an empty directory.
            retry(|| renameat(&from_dir, from_name, &to_dir, to_name))
        } else {
            rename_file(from_dir.as_fd(), from_name, to_dir.as_fd(), to_name)
        };
        match renamed {
            Ok(()) => Ok(true),
            Err(Errno::EEXIST | Errno::ENOTEMPTY | Errno::ENOTDIR) => Ok(false),
            Err(errno) => Err(self.fail("rename", from, errno)),
        }
    }

    fn make_dir(&self, path: &str) -> Result<bool> {
        let (folder, name) = self.place_to_change(path)?;
        step!(change);
        match retry(|| mkdirat(&folder, name, Mode::S_IRWXU)) {
            Ok(()) => Ok(true),
            Err(Errno::EEXIST) => Ok(false),
            Err(errno) => Err(self.fail("make a directory", path, errno)),
        }
    }

    fn remove_dir(&self, path: &str) -> Result<bool> {
        self.remove(path, UnlinkatFlags::RemoveDir)
    }

    fn list(&self, dir: &str) -> Result<Vec<String>> {
        let Some(folder) = self.folder(dir)? else {
            return Ok(Vec::new());
        };
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        step!(look);
        let mut entries = retry(|| Dir::openat(&folder, ".", flags, Mode::empty()))
            .map_err(|errno| self.fail("list", dir, errno))?;
        let mut names = Vec::new();
        for entry in entries.iter() {
            let entry = entry.map_err(|errno| self.fail("list", dir, errno))?;
            // A name that is not UTF-8 is none of ours.
            match entry.file_name().to_str() {
                Ok("." | "..") | Err(_) => {}
                Ok(name) if name.starts_with(PREFIX) => {}
                Ok(name) => names.push(name.to_owned()),
            }
        }
        Ok(names)
    }

    fn sync_dir(&self, dir: &str) -> Result<()> {
        let folder =
            self.folder(dir)?.ok_or_else(|| self.fail("make durable", dir, Errno::ENOENT))?;
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        step!(change);
        retry(|| openat(&folder, ".", flags, Mode::empty()))
            .and_then(|fd| retry(|| fsync(&fd)))
            .map_err(|errno| self.fail("make durable (fsync)", dir, errno))
    }

    fn space(&self) -> Result<Space> {
        let stat =
            fstatvfs(&self.root).map_err(|errno| self.fail("stat the file system", "", errno))?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.fragment_size());
        if stat.blocks() == 0 {
            // ramfs, and tmpfs without a limit, do not count.
            return Ok(Space { total: i64::MAX as u64, free: i64::MAX as u64 });
        }
        Ok(Space { total: bytes(stat.blocks()), free: bytes(stat.blocks_available()) })
    }

    fn identity(&self) -> Result<Identity> {
        let stat = fstat(&self.root).map_err(|errno| self.fail("stat", "", errno))?;
        let boot = match &self.boot_id {
            Some(boot) => boot.clone(),
            None => read_boot_id()?,
        };
        let mount = sys::mount_id(self.root.as_fd());
        Ok(Identity { boot, device: stat.st_dev, inode: stat.st_ino, mount })
    }
}

fn file_type(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

/// Names a file without a name. Through /proc, as linkat(2) says; where that is not mounted by the
/// descriptor itself, which not every kernel allows everybody.
fn link_nameless(fd: BorrowedFd<'_>, folder: BorrowedFd<'_>, name: &str) -> nix::Result<()> {
    let through = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let flags = AtFlags::AT_SYMLINK_FOLLOW;
    match retry(|| linkat(nix::fcntl::AT_FDCWD, through.as_str(), folder, name, flags)) {
        Err(Errno::ENOENT | Errno::ENOTDIR) => {
            retry(|| linkat(fd, "", folder, name, AtFlags::AT_EMPTY_PATH))
        }
        other => other,
    }
}

/// Renames what is no directory, unless the target exists.
fn rename_file(
    from_dir: BorrowedFd<'_>,
    from: &str,
    to_dir: BorrowedFd<'_>,
    to: &str,
) -> nix::Result<()> {
    match retry(|| renameat2(from_dir, from, to_dir, to, RenameFlags::RENAME_NOREPLACE)) {
        // Not every file system knows the flag; a link never replaces anything.
        Err(Errno::EINVAL | Errno::ENOSYS) => {
            retry(|| linkat(from_dir, from, to_dir, to, AtFlags::empty()))?;
            retry(|| unlinkat(from_dir, from, UnlinkatFlags::NoRemoveDir))
        }
        other => other,
    }
}

/// The id that the kernel gives to every boot.
fn read_boot_id() -> Result<String> {
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    let text = std::fs::read_to_string(PATH).map_err(|error| {
        let is_missing = error.kind() == std::io::ErrorKind::NotFound;
        let error = Error::io("cannot read the boot id", error).path(PATH);
        if is_missing { error.advice("mount /proc") } else { error }
    })?;
    Ok(text.trim().to_owned())
}
