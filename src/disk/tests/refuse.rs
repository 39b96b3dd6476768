//! What is refused: owners, modes, file systems.
#![forbid(unsafe_code)]

use super::super::guard::{Verdict, admit, refusal, verdict};
use super::peer::{Peer, listen, say};
use super::*;
use nix::unistd::{Gid, Uid, chown, setgid, setgroups, setuid};
use std::fs::set_permissions;
use std::os::unix::fs::PermissionsExt;

fn mode(path: &Path, mode: u32) {
    set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

#[test]
fn a_directory_that_others_may_write_is_refused() {
    everywhere(|scratch, _| {
        for bits in [0o770, 0o720, 0o702, 0o777, 0o1777] {
            mode(scratch.path(), bits);
            for options in [OpenOptions::default(), writable()] {
                let error =
                    refused(RealDisk::open(scratch.path(), &options), ErrorKind::Permission);
                assert!(error.to_string().contains(&format!("{bits:04o}")), "{error}");
                let trusting = OpenOptions { trust_other_users: true, ..options };
                RealDisk::open(scratch.path(), &trusting).unwrap();
            }
        }
        for bits in [0o700, 0o755, 0o750] {
            mode(scratch.path(), bits);
            RealDisk::open(scratch.path(), &writable()).unwrap();
        }
    });
}

#[test]
fn a_file_or_directory_below_that_others_may_write_is_refused() {
    everywhere(|scratch, disk| {
        disk.make_dir("segments").unwrap();
        make(disk, "segments/1.seg", b"x");
        mode(&scratch.at("segments/1.seg"), 0o660);
        refused(disk.open("segments/1.seg", Access::Read), ErrorKind::Permission);
        mode(&scratch.at("segments/1.seg"), 0o644);
        reopen(disk, "segments/1.seg", Access::Read);
        mode(&scratch.at("segments"), 0o707);
        refused(disk.open("segments/1.seg", Access::Read), ErrorKind::Permission);
        refused(disk.list("segments"), ErrorKind::Permission);
        let options = OpenOptions { trust_other_users: true, ..writable() };
        let trusting = RealDisk::open(scratch.path(), &options).unwrap();
        reopen(&*trusting, "segments/1.seg", Access::Read);
    });
}

#[test]
fn what_belongs_to_another_user_is_refused() {
    if !Uid::effective().is_root() {
        return; // only root can give files away
    }
    everywhere(|scratch, disk| {
        make(disk, "STORE", b"x");
        let other = Some(Uid::from_raw(12_345));
        chown(&scratch.at("STORE"), other, None).unwrap();
        let error = refused(disk.open("STORE", Access::Read), ErrorKind::Permission);
        assert!(error.to_string().contains("found user 12345"), "{error}");
        chown(scratch.path(), other, None).unwrap();
        refused(RealDisk::open(scratch.path(), &writable()), ErrorKind::Permission);
        let options = OpenOptions { trust_other_users: true, ..writable() };
        let trusting = RealDisk::open(scratch.path(), &options).unwrap();
        reopen(&*trusting, "STORE", Access::Read);
    });
}

#[test]
fn network_and_user_space_file_systems_are_refused_by_name() {
    let table = [
        (0x6969, "NFS"),
        (0x517B, "SMB"),
        (0xFE53_4D42, "SMB2"),
        (0xFF53_4D42, "CIFS"),
        (0x0BD0_0BD0, "Lustre"),
        (0x4750_4653, "GPFS"),
        (0x1983_0326, "BeeGFS"),
        (0x00C3_6400, "CephFS"),
        (0x6573_5546, "FUSE"),
        (0x0102_1997, "9p"),
        (0x5346_414F, "AFS"),
        (0x7375_7245, "Coda"),
        (0x7461_636F, "OCFS2"),
        (0x0116_1970, "GFS2"),
    ];
    for (magic, name) in table {
        assert_eq!((verdict(magic), file_system_name(magic)), (Verdict::Remote, name));
        let error = refused(admit(magic, Path::new("/store")), ErrorKind::FileSystemRefused);
        let text = error.to_string();
        for part in ["/store", name, "not coherent", "/dev/shm", "read-only"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
    refused(admit(0x4D44, Path::new("/")), ErrorKind::FileSystemRefused);
}

#[test]
fn local_file_systems_are_taken_and_unknown_ones_tried_out() {
    for magic in [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0x2FC1_2FC1] {
        assert!(!admit(magic, Path::new("/")).unwrap());
    }
    for magic in [0x794C_7630, 0x1234_5678] {
        assert!(admit(magic, Path::new("/")).unwrap());
    }
    assert_eq!(file_system_name(0x1234_5678), "unknown");
    let error = refusal(0x1234_5678, Path::new("/x"), "it was tried out");
    assert!(error.to_string().contains("0x12345678"), "{error}");
    assert_eq!(Scratch::new(Path::new("/dev/shm")).open().file_system(), "tmpfs");
}

const NOBODY: u32 = 65_534;

/// A peer that is not root: in a store of its own, and in one of root's.
pub fn as_nobody(place: &Path) {
    setgroups(&[]).unwrap();
    setgid(Gid::from_raw(NOBODY)).unwrap();
    setuid(Uid::from_raw(NOBODY)).unwrap();
    let own = RealDisk::open(&place.join("own"), &writable()).unwrap();
    let file = make(&*own, "file", &[1; 64]);
    assert!(file.try_lock(0, 1, LockKind::Exclusive).unwrap());
    file.map(64, Access::Write).unwrap();
    file.set_mode(0o400).unwrap();
    file.map(64, Access::Read).unwrap();
    refused(file.map(64, Access::Write), ErrorKind::Permission);
    refused(own.open("file", Access::Write), ErrorKind::Permission);
    let root = RealDisk::open(&place.join("root"), &OpenOptions::default()).unwrap();
    reopen(&*root, "file", Access::Read).map(64, Access::Read).unwrap();
    match RealDisk::open(&place.join("root"), &writable()) {
        Ok(root) => {
            refused(root.open("file", Access::Write), ErrorKind::Permission);
            refused(root.create(""), ErrorKind::Permission);
            refused(root.unlink("file"), ErrorKind::Permission);
        }
        // Where the file system is tried out first.
        error => drop(refused(error, ErrorKind::Permission)),
    }
    refused(RealDisk::open(&place.join("secret"), &writable()), ErrorKind::Permission);
    refused(RealDisk::open(&place.join("daemon"), &writable()), ErrorKind::Permission);
    say("all refused");
    listen();
}

#[test]
fn a_user_reads_what_is_roots_and_writes_only_what_is_its_own() {
    if !Uid::effective().is_root() {
        return; // only root can become somebody else
    }
    everywhere(|scratch, disk| {
        mode(scratch.path(), 0o755);
        for (dir, bits, owner) in
            [("own", 0o700, NOBODY), ("root", 0o755, 0), ("secret", 0o700, 0), ("daemon", 0o755, 1)]
        {
            disk.make_dir(dir).unwrap();
            mode(&scratch.at(dir), bits);
            chown(&scratch.at(dir), Some(Uid::from_raw(owner)), None).unwrap();
        }
        make(disk, "root/file", &[1; 64]);
        mode(&scratch.at("root/file"), 0o644);
        Peer::start("nobody", scratch.path()).expect("all refused");
    });
}
