//! Directories and files.
#![forbid(unsafe_code)]

use super::peer::{Peer, listen, say};
use super::*;
use crate::units::MIB;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

#[test]
fn a_file_that_was_not_linked_leaves_nothing() {
    everywhere(|scratch, disk| {
        let file = disk.create("").unwrap();
        file.write_at(b"gone", 0).unwrap();
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
        drop(file);
        assert!(disk.list("").unwrap().is_empty());
    });
}

#[test]
fn a_linked_file_is_there_with_its_bytes_and_mode() {
    everywhere(|scratch, disk| {
        assert!(disk.make_dir("segments").unwrap());
        assert!(!disk.make_dir("segments").unwrap());
        make(disk, "segments/1.seg", b"hello");
        let found = std::fs::metadata(scratch.at("segments/1.seg")).unwrap();
        assert_eq!((found.len(), found.mode() & 0o7777), (5, 0o600));
        let found = std::fs::metadata(scratch.at("segments")).unwrap();
        assert_eq!(found.mode() & 0o7777, 0o700);
        assert_eq!(disk.list("segments").unwrap(), ["1.seg"]);
        let mut bytes = [0; 8];
        let file = reopen(disk, "segments/1.seg", Access::Read);
        assert_eq!(file.read_at(&mut bytes, 1).unwrap(), 4);
        assert_eq!(&bytes[..4], b"ello");
        assert_eq!(file.read_at(&mut bytes, 5).unwrap(), 0);
    });
}

#[test]
fn of_two_links_to_one_name_the_second_finds_it_taken() {
    everywhere(|_, disk| {
        let (first, second) = (disk.create("").unwrap(), disk.create("").unwrap());
        first.write_at(b"1", 0).unwrap();
        second.write_at(b"2", 0).unwrap();
        assert!(disk.link(&*first, "STORE").unwrap());
        assert!(!disk.link(&*second, "STORE").unwrap());
        let mut byte = [0];
        reopen(disk, "STORE", Access::Read).read_at(&mut byte, 0).unwrap();
        assert_eq!(&byte, b"1");
        assert!(disk.link(&*second, "other").unwrap(), "a file may be linked after it lost");
    });
}

#[test]
fn of_many_racing_links_one_wins() {
    everywhere(|_, disk| {
        let wins: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        let file = disk.create("").unwrap();
                        usize::from(disk.link(&*file, "one").unwrap())
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(wins, 1);
    });
}

#[test]
fn renaming_a_file_never_replaces() {
    everywhere(|_, disk| {
        make(disk, "a", b"a");
        make(disk, "b", b"b");
        assert!(!disk.rename("a", "b").unwrap());
        assert_eq!(reopen(disk, "b", Access::Read).len().unwrap(), 1);
        assert!(disk.rename("a", "c").unwrap());
        assert!(disk.open("a", Access::Read).unwrap().is_none());
        refused(disk.rename("a", "d"), ErrorKind::Io);
        disk.make_dir("d").unwrap();
        assert!(!disk.rename("b", "d").unwrap());
    });
}

#[test]
fn renaming_a_directory_replaces_an_empty_one_at_most() {
    everywhere(|_, disk| {
        for dir in ["run", "run/new", "run/full", "run/empty"] {
            disk.make_dir(dir).unwrap();
        }
        make(disk, "run/new/control", b"new");
        make(disk, "run/full/control", b"full");
        make(disk, "run/file", b"file");
        assert!(!disk.rename("run/new", "run/full").unwrap());
        assert!(!disk.rename("run/new", "run/file").unwrap());
        assert!(disk.rename("run/new", "run/empty").unwrap());
        assert_eq!(disk.list("run/empty").unwrap(), ["control"]);
        assert!(!disk.list("run").unwrap().contains(&"new".to_owned()));
    });
}

#[test]
fn what_is_not_there_is_told_apart_from_what_fails() {
    everywhere(|_, disk| {
        assert!(disk.open("none", Access::Read).unwrap().is_none());
        assert!(disk.open("none/none", Access::Write).unwrap().is_none());
        assert!(!disk.unlink("none").unwrap());
        assert!(!disk.unlink("none/none").unwrap());
        assert!(!disk.remove_dir("none").unwrap());
        assert!(disk.list("none").unwrap().is_empty());
        let error = refused(disk.make_dir("none/none"), ErrorKind::Io);
        assert!(error.to_string().contains("none/none"), "{error}");
        refused(disk.create("none"), ErrorKind::Io);
        disk.make_dir("full").unwrap();
        make(disk, "full/file", b"");
        refused(disk.remove_dir("full"), ErrorKind::Io);
        assert!(disk.unlink("full/file").unwrap());
        assert!(disk.remove_dir("full").unwrap());
    });
}

#[test]
fn no_path_leads_out_of_the_store() {
    everywhere(|_, disk| {
        for path in ["..", "../x", "a/../b", "/etc/passwd", "", "a//b", "a/", ".", "a\0b"] {
            refused(disk.open(path, Access::Read), ErrorKind::InvalidInput);
            refused(disk.unlink(path), ErrorKind::InvalidInput);
            refused(disk.make_dir(path), ErrorKind::InvalidInput);
        }
        refused(disk.list(".."), ErrorKind::InvalidInput);
    });
}

#[test]
fn symbolic_links_are_not_followed() {
    everywhere(|scratch, disk| {
        disk.make_dir("real").unwrap();
        make(disk, "real/file", b"x");
        symlink("file", scratch.at("real/link")).unwrap();
        symlink("real", scratch.at("dir")).unwrap();
        refused(disk.open("real/link", Access::Read), ErrorKind::Damaged);
        refused(disk.open("real/link", Access::Write), ErrorKind::Damaged);
        refused(disk.open("dir/file", Access::Read), ErrorKind::Damaged);
        refused(disk.list("dir"), ErrorKind::Damaged);
        refused(disk.create("dir"), ErrorKind::Damaged);
        refused(disk.sync_dir("dir"), ErrorKind::Damaged);
        assert!(disk.unlink("real/link").unwrap(), "the link goes, not what it names");
        assert_eq!(reopen(disk, "real/file", Access::Read).len().unwrap(), 1);
    });
}

#[test]
fn what_is_no_regular_file_is_refused_without_waiting() {
    everywhere(|scratch, disk| {
        nix::unistd::mkfifo(&scratch.at("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        refused(disk.open("pipe", Access::Read), ErrorKind::Damaged);
        disk.make_dir("dir").unwrap();
        refused(disk.open("dir", Access::Read), ErrorKind::Damaged);
    });
}

#[test]
fn reserving_makes_the_file_longer_and_keeps_its_bytes() {
    everywhere(|_, disk| {
        for how in [Reserve::Ahead, Reserve::Backed] {
            let file = disk.create("").unwrap();
            file.write_at(b"kept", 0).unwrap();
            file.reserve(0, 3 * MIB + 5, how).unwrap();
            assert_eq!(file.len().unwrap(), 3 * MIB + 5);
            file.reserve(0, MIB, how).unwrap();
            file.reserve(MIB, 10, how).unwrap();
            assert_eq!(file.len().unwrap(), 3 * MIB + 5, "reserving never shortens");
            let mut bytes = [1; 8];
            file.read_at(&mut bytes, 0).unwrap();
            assert_eq!(&bytes, b"kept\0\0\0\0");
        }
    });
}

#[test]
fn reserving_ahead_takes_no_memory_and_backed_takes_it_all() {
    let on = |scratch: Scratch, how| {
        let disk = scratch.open();
        let file = make(&*disk, "file", b"");
        file.reserve(0, 10 * MIB, how).unwrap();
        std::fs::metadata(scratch.at("file")).unwrap().blocks() * 512
    };
    let in_memory = || Scratch::new(Path::new("/dev/shm"));
    assert_eq!(on(in_memory(), Reserve::Ahead), 0);
    assert!(on(in_memory(), Reserve::Backed) >= 10 * MIB);
    if !["tmpfs", "ramfs"].contains(&Scratch::on_disk().open().file_system()) {
        assert!(on(Scratch::on_disk(), Reserve::Ahead) >= 10 * MIB);
    }
}

#[test]
fn more_memory_than_there_is_is_refused_before_it_is_taken() {
    let scratch = Scratch::new(Path::new("/dev/shm"));
    let disk = scratch.open();
    let file = make(&*disk, "file", b"x");
    let too_much = disk.space().unwrap().free + 64 * MIB;
    refused(file.reserve(0, too_much, Reserve::Backed), ErrorKind::NoSpace);
    assert_eq!(std::fs::metadata(scratch.at("file")).unwrap().blocks() * 512, 4096);
    file.reserve(0, too_much, Reserve::Ahead).unwrap();
}

#[test]
fn a_file_keeps_the_mode_and_the_length_that_it_is_given() {
    everywhere(|scratch, disk| {
        let file = make(disk, "file", b"0123456789");
        file.set_mode(0o400).unwrap();
        file.set_len(4).unwrap();
        file.sync_data().unwrap();
        disk.sync_dir("").unwrap();
        let found = std::fs::metadata(scratch.at("file")).unwrap();
        assert_eq!((found.len(), found.permissions().mode() & 0o7777), (4, 0o400));
        refused(file.set_len(u64::MAX), ErrorKind::InvalidInput);
        refused(file.write_at(b"x", u64::MAX), ErrorKind::InvalidInput);
    });
}

#[test]
fn the_whole_of_a_large_write_comes_back() {
    everywhere(|_, disk| {
        let bytes: Vec<u8> = (0..5 * MIB as u32).map(|at| (at % 251) as u8).collect();
        let file = make(disk, "file", &bytes);
        let mut found = vec![0; bytes.len() + 1];
        assert_eq!(file.read_at(&mut found, 0).unwrap(), bytes.len());
        assert!(found[..bytes.len()] == bytes);
    });
}

#[test]
fn a_run_is_tied_to_boot_directory_and_mount() {
    everywhere(|scratch, disk| {
        let identity = disk.identity().unwrap();
        let found = std::fs::metadata(scratch.path()).unwrap();
        assert_eq!((identity.device, identity.inode), (found.dev(), found.ino()));
        assert_eq!(identity.boot.len(), 36, "{}", identity.boot);
        assert_ne!(identity.mount, 0);
        let options = OpenOptions { boot_id: Some("other".into()), ..writable() };
        let other = RealDisk::open(scratch.path(), &options).unwrap().identity().unwrap();
        assert_eq!(other, Identity { boot: "other".into(), ..identity });
        let space = disk.space().unwrap();
        assert!(space.free > 0 && space.free <= space.total);
    });
    let (a, b) = (Scratch::on_disk(), Scratch::new(Path::new("/dev/shm")));
    let mount = |scratch: &Scratch| scratch.open().identity().unwrap().mount;
    assert_ne!(mount(&a), mount(&b));
}

#[test]
fn a_store_directory_is_made_with_its_parents() {
    let scratch = Scratch::on_disk();
    let path = scratch.at("a/b");
    refused(RealDisk::open(&path, &writable()), ErrorKind::NotFound);
    RealDisk::open(&path, &OpenOptions { create: true, ..writable() }).unwrap();
    let found = std::fs::metadata(&path).unwrap();
    assert_eq!(found.mode() & 0o7777, 0o700);
    std::fs::write(scratch.at("file"), b"").unwrap();
    refused(RealDisk::open(&scratch.at("file"), &writable()), ErrorKind::NotAStore);
}

#[test]
fn a_read_only_disk_changes_nothing() {
    everywhere(|scratch, disk| {
        let made = make(disk, "file", b"x");
        let disk = RealDisk::open(scratch.path(), &OpenOptions::default()).unwrap();
        assert_eq!(reopen(&*disk, "file", Access::Read).len().unwrap(), 1);
        refused(disk.open("file", Access::Write), ErrorKind::ReadOnly);
        refused(disk.create(""), ErrorKind::ReadOnly);
        refused(disk.link(&*made, "b"), ErrorKind::ReadOnly);
        refused(disk.unlink("file"), ErrorKind::ReadOnly);
        refused(disk.rename("file", "b"), ErrorKind::ReadOnly);
        refused(disk.make_dir("dir"), ErrorKind::ReadOnly);
        refused(disk.remove_dir("dir"), ErrorKind::ReadOnly);
    });
}

/// The descriptors of this process: number, flags, and what they name.
fn descriptors() -> Vec<(String, u32, PathBuf)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd").unwrap() {
        let entry = entry.unwrap();
        let number = entry.file_name().into_string().unwrap();
        let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}"));
        let (Ok(text), Ok(target)) = (text, std::fs::read_link(entry.path())) else { continue };
        let flags = text.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
        found.push((number, u32::from_str_radix(flags.trim(), 8).unwrap(), target));
    }
    found
}

/// A peer that counts its descriptors before and after everything.
pub fn count_descriptors(place: &Path) {
    let before = descriptors().len();
    let disk = RealDisk::open(place, &writable()).unwrap();
    disk.make_dir("dir").unwrap();
    for path in ["dir/a", "b"] {
        let file = make(&*disk, path, &[0; 64]);
        file.try_lock(0, 1, LockKind::Exclusive).unwrap();
        let (_write, _read) = (file.map(64, Access::Write), file.map(64, Access::Read));
        let direct = reopen(&*disk, path, Access::Read);
        direct.map(64, Access::Read).unwrap();
        let ours = descriptors();
        let ours: Vec<_> = ours.iter().filter(|(_, _, target)| target.starts_with(place)).collect();
        assert_eq!(ours.len(), 3, "the directory and the two files: {ours:?}");
        let close_on_exec = nix::libc::O_CLOEXEC as u32;
        assert!(ours.iter().all(|(_, flags, _)| flags & close_on_exec != 0), "{ours:?}");
        disk.rename(path, "dir/c").unwrap();
        disk.sync_dir("dir").unwrap();
        disk.list("dir").unwrap();
        disk.unlink("dir/c").unwrap();
    }
    disk.do_without_nameless();
    let (a, b) = (disk.create("dir").unwrap(), disk.create("dir").unwrap());
    disk.link(&*a, "dir/named").unwrap();
    drop((a, b));
    std::os::unix::fs::symlink("b", place.join("dir/link")).unwrap();
    refused(disk.open("dir/link", Access::Read), ErrorKind::Damaged);
    refused(disk.open("dir", Access::Read), ErrorKind::Damaged);
    drop(disk);
    assert_eq!(descriptors().len(), before, "{:?}", descriptors());
    say("all closed");
    listen();
}

#[test]
fn every_descriptor_is_closed_again_and_none_is_left_to_programs_that_are_started() {
    everywhere(|scratch, _| Peer::start("descriptors", scratch.path()).expect("all closed"));
}

#[test]
fn a_file_system_is_tried_out_with_what_a_store_needs() {
    everywhere(|_, disk| {
        disk.probe().unwrap();
        assert!(disk.list("").unwrap().is_empty());
        let (a, b) = (make(disk, "a", &[0; 64]), make(disk, "b", &[0; 64]));
        let mapped = |file: &Arc<dyn File>| file.map(64, Access::Write).unwrap();
        let seen = super::super::real::probe_maps(&*a, &*b, &mapped(&a), &mapped(&b)).unwrap();
        assert!(!seen, "two files pass for one");
    });
}
