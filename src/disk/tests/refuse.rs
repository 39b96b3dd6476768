//! What is refused: owners, modes, file systems.
#![forbid(unsafe_code)]

use super::super::guard::{Verdict, admit, refusal, verdict};
use super::*;
use nix::unistd::{Uid, chown};
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
