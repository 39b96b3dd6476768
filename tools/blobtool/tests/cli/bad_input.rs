//! What is wrong is said clearly, and costs nothing.

use crate::tool::Tool;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};

#[test]
fn a_store_through_a_symbolic_link_is_the_store() {
    let tool = Tool::new();
    tool.file("f", "content");
    let id = tool.ok(["put", "f"]);
    symlink("store", tool.at("link")).unwrap();
    assert_eq!(tool.ok(["--store", "link", "get", &id]), "content");
}

#[test]
fn a_file_of_the_store_that_is_a_link_is_refused() {
    let tool = Tool::new();
    let real = tool.store().join("STORE");
    fs::rename(&real, tool.at("elsewhere")).unwrap();
    symlink(tool.at("elsewhere"), &real).unwrap();
    let said = tool.run(["ls"]);
    assert!(said.code != Some(0) && said.err.starts_with("blobtool: "), "{}", said.err);
}

#[test]
fn a_store_that_others_may_write_is_refused() {
    let tool = Tool::new();
    fs::set_permissions(tool.store(), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(tool.fails(1, ["ls"]).contains("chmod"));
}

#[test]
fn the_store_of_another_user_is_refused() {
    let tool = Tool::new();
    if chown(tool.store(), Some(12_345), None).is_err() {
        eprintln!("SKIPPED: only root can give a store away");
        return;
    }
    assert!(tool.fails(1, ["ls"]).contains("another user"));
    assert!(tool.fails(1, ["put", "-"]).contains("another user"));
}

#[test]
fn another_algorithm_than_the_stores_is_refused() {
    let tool = Tool::new();
    let said = tool.fails(1, ["init", "--hash", "blake3"]);
    assert!(said.contains("xxh3") && said.contains("blake3"), "{said}");
    tool.ok(["init", "--hash", "xxh3"]);
    assert!(tool.fails(1, ["init", "--segment-size", "2M"]).contains("segment"));
}

#[test]
fn a_name_in_the_place_of_an_id_is_told_how_to_be_given() {
    let tool = Tool::new();
    tool.file("f", "content");
    tool.ok(["put", "f", "--name", "runs/7"]);
    for verb in ["get", "stat", "rm"] {
        let said = tool.run([verb, "runs/7"]);
        assert_eq!(said.code, Some(2), "{}", said.err);
        assert!(
            said.err.contains("not the id of a blob") && said.err.contains("--name"),
            "{}",
            said.err
        );
    }
}

#[test]
fn a_segment_size_that_cannot_be_is_refused() {
    let tool = Tool::bare();
    for size in ["3M", "4K", "2G"] {
        tool.fails(1, ["init", "--segment-size", size]);
    }
    tool.ok(["init", "--segment-size", "256K"]);
}

#[test]
fn a_store_read_only_can_be_read_and_says_that_it_is_not_written() {
    let tool = Tool::new();
    tool.file("f", "content");
    let id = tool.ok(["put", "f"]);
    if tool.shell("unshare -m mount -t tmpfs none /mnt").code != Some(0) {
        eprintln!("SKIPPED: needs a user who may mount in a namespace of his own");
        return;
    }
    let ran = tool.shell(&format!(
        "unshare -m bash -c 'mount --bind . /mnt && mount -o remount,ro,bind /mnt &&
            export DRYSTONE_STORE=/mnt/store; \"$T\" get {id}; \"$T\" put f; echo $?'"
    ));
    assert_eq!(String::from_utf8_lossy(&ran.out), "content1\n", "{}", ran.err);
    assert!(ran.err.starts_with("blobtool: "), "{}", ran.err);
}

#[test]
fn few_descriptors_are_enough() {
    let tool = Tool::new();
    for name in 0..40 {
        tool.file(format!("d/{name}"), vec![name; 300_000]);
    }
    let ran = tool.shell("ulimit -n 24; \"$T\" put -r d | wc -l; \"$T\" ls | wc -l");
    assert_eq!((ran.out.as_slice(), ran.err.as_str()), (&b"40\n40\n"[..], ""));
}
