//! `put` prints an id per line, stores exactly the bytes, and goes on behind what cannot be read.

use crate::tool::{Tool, noise};

#[test]
fn what_is_put_comes_back_whatever_its_size() {
    let tool = Tool::new();
    for (seed, len) in [0, 1, 63, 4096, 65_537, (2 << 20) + 1, 9_000_001].into_iter().enumerate() {
        let bytes = noise(len, seed as u64);
        let id = tool.ok(["put".as_ref(), tool.file("f", &bytes).as_os_str()]);
        assert!(tool.bytes(["get", &id]) == bytes, "{len} bytes");
        assert_eq!(tool.json(["stat", &id])[0]["bytes"], len as u64);
    }
}

#[test]
fn the_id_is_the_digest_of_the_bytes() {
    let tool = Tool::new();
    tool.file("f", "hello\n");
    let digest = xxhash_rust::xxh3::xxh3_128(b"hello\n");
    assert_eq!(tool.ok(["put", "f"]), format!("xxh3:{digest:032x}"));
}

#[test]
fn each_file_has_a_line_in_the_order_given() {
    let tool = Tool::new();
    for name in ["a", "b", "c"] {
        tool.file(name, name);
    }
    let ids = tool.ok(["put", "c", "a", "b", "a"]);
    let contents: Vec<_> = ids.lines().map(|id| tool.ok(["get", id])).collect();
    assert_eq!(contents, ["c", "a", "b", "a"]);
}

#[test]
fn standard_input_is_put_whatever_its_length() {
    let tool = Tool::new();
    for len in [0, 5, 5_000_000] {
        let bytes = noise(len, 7);
        let ran = tool.run_on(["put", "-"], &bytes);
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
        let id = String::from_utf8(ran.out).unwrap();
        assert!(tool.bytes(["get", id.trim()]) == bytes, "{len} bytes");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_told_and_the_others_are_stored() {
    let tool = Tool::new();
    tool.file("a", "a");
    tool.file("b", "b");
    let ran = tool.run(["put", "a", "absent", "b"]);
    let text = String::from_utf8(ran.out.clone()).unwrap();
    assert_eq!(text.lines().count(), 2);
    assert!(ran.failed(1).contains("absent"));
    assert_eq!(tool.ok(["ls"]).lines().count(), 2);
}

#[test]
fn a_pipe_and_a_link_are_read_through() {
    let tool = Tool::new();
    tool.file("real", "content");
    let ran = tool.shell("mkfifo p; ln -s real l; (echo -n content > p &); \"$T\" put l p");
    let text = String::from_utf8(ran.out).unwrap();
    let ids: Vec<_> = text.lines().collect();
    assert_eq!((ids.len(), ids[0]), (2, ids[1]), "{}", ran.err);
}

#[test]
fn synced_puts_are_put() {
    let tool = Tool::new();
    tool.file("a", noise(100_000, 1));
    let id = tool.ok(["put", "--sync", "a"]);
    let named = tool.ok(["put", "--sync", "--name", "n", "a"]);
    assert_eq!(id, named);
}
