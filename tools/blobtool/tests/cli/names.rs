//! Names: any bytes, bound instead of a pin, and for whole directories.

use crate::tool::Tool;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

#[test]
fn a_named_blob_is_found_by_name_and_not_pinned() {
    let tool = Tool::new();
    tool.file("f", "one");
    let id = tool.ok(["put", "--name", "a/b", "f"]);
    assert_eq!(tool.ok(["get", "--name", "a/b"]), "one");
    assert_eq!(tool.ok(["ls", "--names"]), "a/b");
    let stat = &tool.json(["stat", "--name", "a/b"])[0];
    assert_eq!((stat["id"].as_str(), stat["pinned"].as_bool()), (Some(&*id), Some(false)));
    assert_eq!(stat["named_by"][0]["name"], "a/b");
}

#[test]
fn a_name_moves_to_the_newest_blob() {
    let tool = Tool::new();
    for content in ["one", "two"] {
        tool.file("f", content);
        tool.ok(["put", "--name", "k", "f"]);
        assert_eq!(tool.ok(["get", "--name", "k"]), content);
    }
    assert_eq!(tool.ok(["ls", "--names"]), "k");
}

#[test]
fn standard_input_can_be_named() {
    let tool = Tool::new();
    let big = vec![7; 6_000_000];
    for (name, bytes) in [("small", &b"x"[..]), ("big", &big)] {
        assert_eq!(tool.run_on(["put", "--name", name, "-"], bytes).code, Some(0));
        assert!(tool.bytes(["get", "--name", name]) == bytes);
    }
}

#[test]
fn one_name_for_two_files_is_a_mistake() {
    let tool = Tool::new();
    tool.file("a", "a");
    tool.file("b", "b");
    assert!(tool.fails(2, ["put", "--name", "k", "a", "b"]).contains("one by one"));
    tool.fails(2, ["put", "--name", "", "a"]);
    assert_eq!(tool.ok(["ls"]), "");
}

#[test]
fn a_directory_is_put_by_its_files_and_their_paths_below_it() {
    let tool = Tool::new();
    tool.file("d/b", "b");
    tool.file("d/sub/a", "a");
    tool.file("d/.hidden", "h");
    symlink("b", tool.at("d/link")).unwrap();
    let ran = tool.run(["put", "-r", "d"]);
    assert_eq!(ran.code, Some(0));
    assert!(ran.err.contains("link") && ran.err.contains("passed over"), "{}", ran.err);
    assert_eq!(tool.ok(["ls", "--names"]), ".hidden\nb\nsub/a");
    assert_eq!(tool.ok(["get", "--name", "sub/a"]), "a");
    let text = String::from_utf8(ran.out).unwrap();
    let id = tool.json(["stat", "--name", "b"])[0]["id"].as_str().unwrap().to_string();
    assert!(text.contains(&format!("{id}  b")), "{text}");
}

#[test]
fn a_prefix_goes_in_front_of_the_names_of_a_directory() {
    let tool = Tool::new();
    tool.file("d/sub/a", "a");
    tool.file("alone", "x");
    tool.ok(["put", "-r", "--name", "run/7", "d/", "alone"]);
    assert_eq!(tool.ok(["ls", "--names"]), "run/7/alone\nrun/7/sub/a");
}

#[test]
fn a_directory_without_r_is_told() {
    let tool = Tool::new();
    tool.file("d/a", "a");
    assert!(tool.fails(1, ["put", "d"]).contains("-r"));
}

#[test]
fn file_names_and_names_may_be_any_bytes() {
    let tool = Tool::new();
    let odd = OsStr::from_bytes(b"odd\xff\nname");
    tool.file(odd, "odd");
    let put = OsStr::new("put");
    let id = tool.ok([put, odd]);
    assert_eq!(tool.ok(["get", &id]), "odd");
    tool.ok([put, OsStr::new("--name"), odd, odd]);
    assert_eq!(tool.bytes([OsStr::new("get"), OsStr::new("--name"), odd]), b"odd");
    assert_eq!(tool.ok(["ls", "--names"]), "odd\\xff\\nname", "one line, nothing raw");
    let named = &tool.json(["ls", "--names"])[0];
    assert_eq!(named["name_hex"], "6f6464ff0a6e616d65");
    tool.file(OsStr::from_bytes(b"d/\xfe"), "dir");
    tool.ok(["put", "-r", "d"]);
    let name = OsStr::from_bytes(b"\xfe");
    assert_eq!(tool.bytes([OsStr::new("get"), OsStr::new("--name"), name]), b"dir");
    tool.ok([OsStr::new("get"), OsStr::new("--name"), odd, OsStr::new("-o"), name]);
    assert_eq!(std::fs::read(tool.at(name)).unwrap(), b"odd");
}

#[test]
fn names_are_listed_in_order() {
    let tool = Tool::new();
    tool.file("f", "x");
    for name in ["m", "z", "a/2", "a/10", "é"] {
        tool.ok(["put", "--name", name, "f"]);
    }
    assert_eq!(tool.ok(["ls", "--names"]), "a/10\na/2\nm\nz\né");
    assert_eq!(tool.ok(["ls", "--names", "-l"]).lines().count(), 5);
}

#[test]
fn a_name_of_64_kib_is_the_longest() {
    let tool = Tool::new();
    tool.file("f", "x");
    let longest = "k".repeat(64 << 10);
    tool.ok(["put", "--name", &longest, "f"]);
    assert_eq!(tool.ok(["get", "--name", &longest]), "x");
    let longer = longest + "k";
    assert!(tool.fails(1, ["put", "--name", &longer, "f"]).contains("65537"));
    tool.fails(4, ["get", "--name", &longer]);
}
