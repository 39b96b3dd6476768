//! `get` writes the bytes, or some of them, to where it is told.

use crate::tool::{Tool, noise};
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn ranges_are_half_open_and_clipped_at_the_end() {
    let tool = Tool::new();
    let bytes = noise(5000, 1);
    let id = tool.ok(["put".as_ref(), tool.file("f", &bytes).as_os_str()]);
    for (range, expected) in [
        ("0-5000", &bytes[..]),
        ("0-0", &[]),
        ("1K-2K", &bytes[1024..2048]),
        ("4999-", &bytes[4999..]),
        ("5000-", &[]),
        ("4000-1G", &bytes[4000..]),
    ] {
        assert_eq!(tool.bytes(["get", &id, "--range", range]), expected, "{range}");
    }
    assert!(tool.fails(1, ["get", &id, "--range", "5001-"]).contains("5000 bytes"));
    for range in ["", "7", "9-3", "a-b", "-5"] {
        assert_eq!(tool.run(["get", &id, &format!("--range={range}")]).code, Some(2), "{range}");
    }
}

#[test]
fn a_file_appears_complete_or_not_at_all() {
    let tool = Tool::new();
    let bytes = noise(10_000_000, 2);
    let id = tool.ok(["put".as_ref(), tool.file("f", &bytes).as_os_str()]);
    tool.file("out", "what was there before");
    assert_eq!(tool.ok(["get", &id, "-o", "out"]), "");
    assert!(fs::read(tool.at("out")).unwrap() == bytes);
    let mode = fs::metadata(tool.at("f")).unwrap().permissions().mode();
    assert_eq!(fs::metadata(tool.at("out")).unwrap().permissions().mode(), mode, "by the umask");
    tool.fails(4, ["get", "xxh3:00000000000000000000000000000001", "-o", "other"]);
    assert!(!tool.at("other").exists());
    assert!(tool.fails(1, ["get", &id, "-o", "no/such/dir"]).contains("no/such/dir"));
    let names = fs::read_dir(tool.at("")).unwrap().map(|e| e.unwrap().file_name());
    assert!(names.into_iter().all(|name| !name.to_string_lossy().starts_with(".blobtool")));
}

#[test]
fn a_file_that_is_replaced_keeps_its_mode() {
    let tool = Tool::new();
    tool.file("f", "content");
    let id = tool.ok(["put", "f"]);
    tool.file("private", "");
    fs::set_permissions(tool.at("private"), PermissionsExt::from_mode(0o600)).unwrap();
    tool.ok(["get", &id, "-o", "private"]);
    assert_eq!(fs::metadata(tool.at("private")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read(tool.at("private")).unwrap(), b"content");
}

#[test]
fn an_output_that_is_a_link_or_a_device_is_written_through() {
    let tool = Tool::new();
    tool.file("f", "content");
    let id = tool.ok(["put", "f"]);
    tool.file("real", "");
    let ran = tool.shell(&format!(
        "ln -s real l; \"$T\" get {id} -o l && \"$T\" get {id} -o /dev/stdout | cat"
    ));
    assert_eq!((ran.out.as_slice(), ran.err.as_str()), (&b"content"[..], ""));
    assert!(fs::symlink_metadata(tool.at("l")).unwrap().is_symlink());
    assert_eq!(fs::read(tool.at("real")).unwrap(), b"content");
}

#[test]
fn a_reader_that_has_enough_is_no_failure() {
    let tool = Tool::new();
    let id = tool.ok(["put".as_ref(), tool.file("f", noise(20_000_000, 3)).as_os_str()]);
    let ran = tool.shell(&format!("set -o pipefail; \"$T\" get {id} | head -c 10 | wc -c"));
    assert_eq!((ran.code, ran.err.as_str(), ran.out.as_slice()), (Some(0), "", &b"10\n"[..]));
}

#[test]
fn verified_bytes_are_the_bytes() {
    let tool = Tool::new();
    let bytes = noise(3_000_000, 4);
    let id = tool.ok(["put".as_ref(), tool.file("f", &bytes).as_os_str()]);
    assert!(tool.bytes(["get", &id, "--verify"]) == bytes);
}

#[test]
fn what_is_not_there_is_code_4() {
    let tool = Tool::new();
    let id = "xxh3:00000000000000000000000000000001";
    assert!(tool.fails(4, ["get", id]).contains(id));
    assert!(tool.fails(4, ["stat", id]).contains(id));
    assert!(tool.fails(4, ["get", "--name", "absent"]).contains("absent"));
    assert!(tool.fails(4, ["stat", "--name", "absent"]).contains("absent"));
}

#[test]
fn an_id_of_the_other_algorithm_is_not_there() {
    let tool = Tool::new();
    let id = format!("b3:{}", "0".repeat(64));
    assert!(matches!(tool.run(["get", &id]).code, Some(1 | 4)));
}
