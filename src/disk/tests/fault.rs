//! That the disk that fails does so when it should, and only then.
#![forbid(unsafe_code)]

use super::*;

fn faulty() -> (Scratch, Arc<FaultDisk>) {
    let scratch = Scratch::on_disk();
    let disk = FaultDisk::new(scratch.open());
    (scratch, disk)
}

#[test]
fn without_a_fault_everything_works_through_it() {
    let (_scratch, disk) = faulty();
    disk.make_dir("d").unwrap();
    let file = make(&*disk, "d/file", b"hello");
    assert!(disk.rename("d/file", "d/other").unwrap());
    assert_eq!(reopen(&*disk, "d/other", Access::Read).len().unwrap(), 5);
    assert_eq!(file.map(5, Access::Read).unwrap().len(), 5);
    assert_eq!((disk.hits(), disk.calls(Some(Call::Write)), disk.calls(None)), (0, 1, 8));
    assert_eq!(disk.take_calls()[..2], [Call::MakeDir, Call::Create]);
    assert_eq!(disk.calls(None), 0);
}

#[test]
fn faults_stack_and_links_find_the_file_below() {
    let (_scratch, inner) = faulty();
    let outer = FaultDisk::new(inner.clone());
    make(&*outer, "file", b"x");
    assert_eq!(inner.calls(Some(Call::Link)), 1);
    let foreign = inner.create("").unwrap();
    refused(outer.link(&*foreign, "other"), ErrorKind::InvalidInput);
}

#[test]
fn the_nth_call_fails_once() {
    let (_scratch, disk) = faulty();
    let file = disk.create("").unwrap();
    disk.inject(Fault::new(FaultKind::Io).on(Call::Write).nth(3));
    file.write_at(b"1", 0).unwrap();
    assert_eq!(file.len().unwrap(), 1);
    file.write_at(b"2", 1).unwrap();
    let error = refused(file.write_at(b"3", 2), ErrorKind::Io);
    assert_eq!((error.raw_os_error(), disk.hits()), (Some(5), 1));
    file.write_at(b"4", 2).unwrap();
    assert_eq!((file.len().unwrap(), disk.hits()), (3, 1));
}

#[test]
fn a_lasting_fault_lasts_until_it_is_healed() {
    let (_scratch, disk) = faulty();
    disk.inject(Fault::new(FaultKind::NoSpace).nth(2).forever());
    let file = disk.create("").unwrap();
    for _ in 0..3 {
        refused(file.write_at(b"x", 0), ErrorKind::NoSpace);
        refused(disk.make_dir("d"), ErrorKind::NoSpace);
    }
    assert_eq!(disk.hits(), 6);
    disk.heal();
    file.write_at(b"x", 0).unwrap();
    assert!(disk.make_dir("d").unwrap(), "what failed was not done");
}

#[test]
fn a_short_write_leaves_the_first_half() {
    let (_scratch, disk) = faulty();
    let file = disk.create("").unwrap();
    disk.inject(Fault::new(FaultKind::ShortWrite).on(Call::Write));
    refused(file.write_at(b"abcdef", 2), ErrorKind::NoSpace);
    let mut bytes = [9; 8];
    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), 5);
    assert_eq!(&bytes[..5], b"\0\0abc");
}

/// A call of every kind, each on its own.
fn call(disk: &dyn Disk, file: &dyn File, call: Call) -> Result<()> {
    match call {
        Call::Open => disk.open("file", Access::Read).map(drop),
        Call::Create => disk.create("").map(drop),
        Call::Link => disk.link(file, "linked").map(drop),
        Call::Unlink => disk.unlink("none").map(drop),
        Call::Rename => disk.rename("moved", "moved").map(drop),
        Call::MakeDir => disk.make_dir("d").map(drop),
        Call::RemoveDir => disk.remove_dir("none").map(drop),
        Call::List => disk.list("").map(drop),
        Call::SyncDir => disk.sync_dir(""),
        Call::Space => disk.space().map(drop),
        Call::Identity => disk.identity().map(drop),
        Call::Len => file.len().map(drop),
        Call::Read => file.read_at(&mut [0], 0).map(drop),
        Call::Write => file.write_at(b"x", 0),
        Call::Reserve => file.reserve(0, 1, Reserve::Ahead),
        Call::SetLen => file.set_len(1),
        Call::Sync => file.sync_data(),
        Call::SetMode => file.set_mode(0o600),
        Call::Map => file.map(0, Access::Read).map(drop),
        Call::Lock => file.try_lock(0, 1, LockKind::Shared).map(drop),
        Call::Unlock => file.unlock(0, 1),
    }
}

#[test]
fn every_call_fails_by_its_own_name_with_every_error() {
    const CALLS: [Call; 21] = [
        Call::Open,
        Call::Create,
        Call::Link,
        Call::Unlink,
        Call::Rename,
        Call::MakeDir,
        Call::RemoveDir,
        Call::List,
        Call::SyncDir,
        Call::Space,
        Call::Identity,
        Call::Len,
        Call::Read,
        Call::Write,
        Call::Reserve,
        Call::SetLen,
        Call::Sync,
        Call::SetMode,
        Call::Lock,
        Call::Unlock,
        Call::Map,
    ];
    let (_scratch, disk) = faulty();
    let file = disk.create("").unwrap();
    make(&*disk, "moved", b"");
    for kind in CALLS {
        for (fault, expected) in [
            (FaultKind::Io, ErrorKind::Io),
            (FaultKind::NoSpace, ErrorKind::NoSpace),
            (FaultKind::ShortWrite, ErrorKind::NoSpace),
            (FaultKind::TooManyFiles, ErrorKind::Limit),
            (FaultKind::NoMemory, ErrorKind::Limit),
        ] {
            disk.inject(Fault::new(fault).on(kind));
            let others = CALLS.iter().filter(|other| **other != kind);
            for other in others {
                call(&*disk, &*file, *other).unwrap();
            }
            let error = refused(call(&*disk, &*file, kind), expected);
            assert!(error.to_string().contains(&format!("{kind:?}")), "{error}");
            call(&*disk, &*file, kind).unwrap();
        }
    }
}
