//! Every code of the table that can be reached is reached.

use crate::tool::{Tool, noise};
use drystone::disk::{Access, Disk, LockKind, OpenOptions, RealDisk};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use xxhash_rust::xxh3::xxh3_64;

/// Whether tests may make mounts of their own here; says so loudly if not.
fn can_mount(tool: &Tool) -> bool {
    let can = tool.shell("unshare -m mount -t tmpfs none /mnt").code == Some(0);
    if !can {
        eprintln!("SKIPPED: needs a user who may mount in a namespace of his own");
    }
    can
}

#[test]
fn usage_is_2() {
    let tool = Tool::new();
    let long = ["get", "--nosuch"];
    for args in [&["nosuch"][..], &[], &["put"], &["get", "xyz"], &["rm"], &["stat"], &long] {
        assert_eq!(tool.run(args).code, Some(2), "{args:?}");
    }
    assert_eq!(tool.run(["init", "--hash", "md5"]).code, Some(2));
    assert_eq!(tool.run(["init", "--segment-size", "much"]).code, Some(2));
    let ran = tool.shell("unset DRYSTONE_STORE; \"$T\" ls");
    assert!(ran.failed(2).contains("DRYSTONE_STORE"));
}

#[test]
fn the_option_wins_over_the_environment() {
    let tool = Tool::new();
    tool.fails(10, ["--store", "elsewhere", "ls"]);
    tool.ok(["init", "elsewhere"]);
    tool.ok(["--store", "elsewhere", "ls"]);
}

#[test]
fn damage_is_5() {
    let tool = Tool::new();
    let bytes = noise(100_000, 1);
    let id = tool.ok(["put".as_ref(), tool.file("f", &bytes).as_os_str()]);
    flip_payload(&tool, &bytes);
    let said = tool.fails(5, ["get", "--verify", &id]);
    assert!(said.contains("segment") && said.contains("put again"), "{said}");
}

#[test]
fn of_a_range_only_the_chunks_that_it_touches_are_verified() {
    let tool = Tool::new();
    let bytes = noise(15_000_000, 2);
    let id = tool.ok(["put".as_ref(), tool.file("f", &bytes).as_os_str()]);
    flip_payload(&tool, &bytes);
    let far = tool.bytes(["get", "--verify", &id, "--range", "3M-13M"]);
    assert!(far == bytes[3 << 20..13 << 20]);
    tool.fails(5, ["get", "--verify", &id, "--range", "2097151-5M"]);
}

/// The segment that a blob stands in.
fn segment_of(tool: &Tool, id: &str) -> PathBuf {
    let stat = &tool.json(["stat", id])[0];
    let segment = stat["segment"].as_u64().expect("a number");
    tool.store().join(format!("segments/{segment:08x}.seg"))
}

#[test]
fn a_missing_or_cut_segment_is_5_and_the_others_are_there() {
    let tool = Tool::bare();
    tool.ok(["init", "--segment-size", "256K"]);
    let put = |name: &str, seed| {
        tool.ok(["put".as_ref(), tool.file(name, noise(300_000, seed)).as_os_str()])
    };
    let [missing, cut, whole] = [put("a", 1), put("b", 2), put("c", 3)];
    let files = [&missing, &cut].map(|id| segment_of(&tool, id));
    fs::remove_file(&files[0]).unwrap();
    fs::write(&files[1], b"").unwrap();
    let said = tool.fails(5, ["get", &missing]);
    assert!(said.contains("is missing") && said.contains(".seg"), "{said}");
    let said = tool.fails(5, ["get", &cut]);
    assert!(said.contains("shorter than the records in it"), "{said}");
    assert!(tool.bytes(["get", &whole]) == noise(300_000, 3));
    tool.file("d", "more");
    let id = tool.ok(["put", "d"]);
    assert_eq!(tool.ok(["get", &id]), "more");
}

#[test]
fn a_store_that_somebody_holds_exclusively_is_11() {
    let tool = Tool::new();
    let options = OpenOptions { writable: true, ..OpenOptions::default() };
    let disk = RealDisk::open(&tool.store(), &options).unwrap();
    let locks = disk.open("locks", Access::Write).unwrap().expect("the file of the locks");
    assert!(locks.try_lock(0, 1, LockKind::Exclusive).unwrap());
    tool.file("f", "content");
    let said = tool.fails(11, ["put", "f"]);
    assert!(said.contains("exclusively") && said.contains("then open again"), "{said}");
    locks.unlock(0, 1).unwrap();
    tool.ok(["put", "f"]);
    assert_eq!(tool.ok(["ls"]).lines().count(), 1);
}

#[test]
fn another_version_at_the_same_time_is_12() {
    let tool = Tool::new();
    tool.file("f", "content");
    let id = tool.ok(["put", "f"]);
    let other = drystone::Store::open(tool.store()).unwrap();
    let run = fs::read_dir(tool.store().join("run")).unwrap().next().expect("a run").unwrap();
    let control = fs::OpenOptions::new().write(true).open(run.path().join("control")).unwrap();
    // Word 1, the version of the shared-memory protocol (spec/FORMAT.md, section 7).
    control.write_all_at(&9u64.to_le_bytes(), 8).unwrap();
    let said = tool.fails(12, ["put", "f"]);
    assert!(said.contains("protocol 1") && said.contains("protocol 9"), "{said}");
    drop(other);
    assert_eq!(tool.ok(["get", &id]), "content", "nobody uses that run any more");
}

#[test]
fn a_limit_on_descriptors_is_1_and_names_it() {
    let tool = Tool::new();
    tool.file("f", "content");
    let id = tool.ok(["put", "f"]);
    let ran = tool.shell(&format!("ulimit -n 5; \"$T\" get {id}"));
    assert!(ran.failed(1).contains("ulimit -n"));
    assert_eq!(tool.ok(["get", &id]), "content");
}

/// Changes one byte of a blob in its segment.
fn flip_payload(tool: &Tool, bytes: &[u8]) {
    for entry in fs::read_dir(tool.store().join("segments")).unwrap() {
        let path = entry.unwrap().path();
        let mut segment = fs::read(&path).unwrap();
        let head = &bytes[..64];
        if let Some(at) = segment.windows(64).position(|window| window == head) {
            segment[at + 50_000] ^= 1;
            fs::write(&path, segment).unwrap();
            return;
        }
    }
    panic!("the blob is in no segment");
}

#[test]
fn a_damaged_superblock_is_5_and_one_whole_copy_is_enough() {
    let tool = Tool::new();
    let path = tool.store().join("STORE");
    let whole = fs::read(&path).unwrap();
    let mut damaged = whole.clone();
    damaged[20] ^= 1;
    fs::write(&path, &damaged).unwrap();
    tool.ok(["ls"]);
    damaged[4096 + 20] ^= 1;
    fs::write(&path, &damaged).unwrap();
    assert!(tool.fails(5, ["ls"]).contains("superblock"));
}

#[test]
fn no_store_is_10() {
    let tool = Tool::bare();
    tool.fails(10, ["ls"]);
    fs::create_dir(tool.store()).unwrap();
    tool.fails(10, ["ls"]);
    tool.file("store/STORE", vec![0; 8192]);
    tool.fails(10, ["put", "x"]);
    let file = Tool::bare();
    file.file("store", "a file");
    assert!(matches!(file.run(["ls"]).code, Some(1 | 10)));
}

#[test]
fn another_version_is_12() {
    let tool = Tool::new();
    let path = tool.store().join("STORE");
    let mut bytes = fs::read(&path).unwrap();
    for copy in [0, 4096] {
        bytes[copy + 8] = 2;
        let checksum = xxh3_64(&bytes[copy..copy + 56]);
        bytes[copy + 56..copy + 64].copy_from_slice(&checksum.to_le_bytes());
    }
    fs::write(&path, bytes).unwrap();
    let said = tool.fails(12, ["ls"]);
    assert!(said.contains("version 1") && said.contains("version 2"), "{said}");
}

#[test]
fn a_file_system_that_is_refused_is_13() {
    let tool = Tool::bare();
    if !can_mount(&tool) {
        return;
    }
    let ran = tool.shell("unshare -m bash -c 'mount -t hugetlbfs none /mnt && \"$T\" init /mnt/s'");
    assert!(ran.failed(13).contains("ext4"), "it names what would do");
}

#[test]
fn no_space_is_14_and_costs_nothing() {
    let tool = Tool::bare();
    tool.file("big", noise(40 << 20, 1));
    tool.file("small", "small");
    if !can_mount(&tool) {
        return;
    }
    let ran = tool.shell(
        "unshare -m bash -c 'export DRYSTONE_STORE=/mnt/s
            mount -t tmpfs -o size=16m none /mnt && \"$T\" init >&2 && \"$T\" put small >&2
            \"$T\" put big; echo $?; \"$T\" put --name k big; echo $?
            \"$T\" ls | wc -l; echo more | \"$T\" put - >&2; echo $?; \"$T\" ls | wc -l'",
    );
    let lines = String::from_utf8(ran.out).unwrap();
    assert_eq!(lines, "14\n14\n1\n0\n2\n", "{}", ran.err);
    assert!(ran.err.contains("blobtool: big: "), "{}", ran.err);
}

#[test]
fn what_is_on_a_full_disk_can_be_read_after_a_reboot() {
    let tool = Tool::bare();
    tool.file("small", "small");
    if !can_mount(&tool) {
        return;
    }
    // Without its run, as after a reboot; and a writer is told what is the matter.
    let ran = tool.shell(
        "unshare -m bash -c 'export DRYSTONE_STORE=/mnt/s
            mount -t tmpfs -o size=4m none /mnt && \"$T\" init >&2
            id=$(\"$T\" put small); rm -r /mnt/s/run/*; cat /dev/zero > /mnt/fill
            \"$T\" ls | wc -l; \"$T\" get $id; echo; \"$T\" put small; echo $?'",
    );
    assert_eq!(String::from_utf8(ran.out).unwrap(), "1\nsmall\n14\n", "{}", ran.err);
}

#[test]
fn a_limit_on_file_sizes_is_14_and_no_death() {
    let tool = Tool::new();
    tool.file("big", noise(8 << 20, 1));
    let ran = tool.shell("ulimit -f 4096; \"$T\" put big");
    assert!(ran.failed(14).contains("ulimit -f"));
    assert_eq!(tool.ok(["ls"]), "");
}

#[test]
fn an_output_without_space_is_14() {
    let tool = Tool::new();
    tool.file("f", noise(1000, 1));
    let id = tool.ok(["put", "f"]);
    let ran = tool.shell(&format!("\"$T\" get {id} > /dev/full"));
    ran.failed(14);
    tool.fails(14, ["get", &id, "-o", "/dev/full"]);
}
