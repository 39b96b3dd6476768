//! `--json`: every verb prints documents with exactly these fields.

use crate::tool::{Tool, documents};
use serde_json::Value;

fn keys(document: &Value) -> Vec<&str> {
    let object = document.as_object().expect("an object");
    let mut keys: Vec<_> = object.keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn documents_have_their_fields() {
    let tool = Tool::bare();
    let init = tool.json(["init", "--hash", "blake3", "--segment-size", "1M"]);
    assert_eq!(keys(&init[0]), ["hash", "name", "uuid", "version"]);
    assert_eq!(init[0]["hash"], "blake3");
    tool.file("f", "content");
    let put = tool.json(["put", "f", "f"]);
    assert_eq!((put.len(), keys(&put[0])), (2, vec!["bytes", "file", "id", "name", "version"]));
    assert_eq!((&put[0]["name"], &put[0]["file"]["name"]), (&Value::Null, &Value::from("f")));
    let id = put[0]["id"].as_str().unwrap().to_string();
    assert_eq!(tool.json(["put", "--name", "k", "f"])[0]["name"]["name"], "k");
    let get = tool.json(["get", &id, "-o", "out", "--range", "1-3"]);
    assert_eq!(keys(&get[0]), ["bytes", "file", "id", "range", "version"]);
    assert_eq!(get[0]["range"], serde_json::json!([1, 3]));
    let ls = tool.json(["ls"]);
    assert_eq!((ls.len(), keys(&ls[0])), (1, vec!["bytes", "created", "id", "pinned", "version"]));
    let names = tool.json(["ls", "--names"]);
    let of_names = ["created", "expires", "ids", "inline_bytes", "name", "tags", "version"];
    assert_eq!(keys(&names[0]), of_names);
    assert_eq!(names[0]["ids"][0], id);
    let stat = tool.json(["stat", &id]);
    let of_stat = [
        "bytes", "chunks", "created", "id", "named_by", "offset", "pinned", "segment", "sequence",
        "version",
    ];
    assert_eq!(keys(&stat[0]), of_stat);
    let rm = tool.json(["rm", "--yes", &id]);
    assert_eq!(keys(&rm[0]), ["action", "bytes", "dry_run", "id", "named_by", "version"]);
    assert_eq!(
        (&rm[0]["action"], &rm[0]["named_by"][0]["name"]),
        (&"unpinned".into(), &"k".into())
    );
    let unname = tool.json(["rm", "--yes", "--name", "k"]);
    assert_eq!(keys(&unname[0]), ["action", "dry_run", "ids", "name", "version"]);
}

#[test]
fn info_tells_what_the_store_holds() {
    let tool = Tool::new();
    tool.file("f", "content");
    tool.ok(["put", "f"]);
    tool.ok(["put", "--name", "k", "f"]);
    let document = &tool.json(["info"])[0];
    assert_eq!(
        keys(document),
        [
            "blobs",
            "damaged_records",
            "damaged_segments",
            "file_system",
            "free_bytes",
            "hash",
            "held_back_bytes",
            "index_buckets",
            "index_bytes",
            "index_generation",
            "limit",
            "live_bytes",
            "lost_records",
            "lost_refs",
            "path",
            "pins",
            "refs",
            "segment_bytes",
            "segments",
            "sequence",
            "tombstones",
            "uuid",
            "version",
        ]
    );
    let count = |name: &str| document[name].as_u64();
    assert_eq!((count("blobs"), count("pins"), count("refs")), (Some(1), Some(1), Some(1)));
    assert_eq!(document["hash"], "xxh3");
    let text = tool.ok(["info"]);
    assert!(text.contains("xxh3") && text.contains("blobs"), "{text}");
}

#[test]
fn what_is_generated_covers_every_verb() {
    let tool = Tool::bare();
    for shell in ["bash", "zsh", "fish"] {
        let script = tool.ok(["completions", shell]);
        assert!(script.contains("blobtool") && script.contains("stat"), "{shell}");
    }
    assert_eq!(tool.run(["completions", "nosuchshell"]).code, Some(2));
    assert!(tool.json(["completions", "bash"])[0]["text"].as_str().unwrap().contains("blobtool"));
    let page = tool.ok(["man"]);
    assert!(page.contains(".TH blobtool") && page.contains("out of space"), "{page}");
    tool.ok(["man", "--dir", "pages"]);
    for verb in
        ["init", "put", "get", "ls", "rm", "stat", "info", "fsck", "demo", "completions", "man"]
    {
        let page = std::fs::read_to_string(tool.at(format!("pages/blobtool-{verb}.1")));
        assert!(page.unwrap().contains(".TH"), "{verb}");
    }
    assert!(!tool.at("pages/blobtool-demo-worker.1").exists(), "hidden stays hidden");
    assert!(tool.ok(["--help"]).contains("out of space"), "the help has the exit codes");
}

#[test]
fn get_to_standard_output_has_no_room_for_a_document() {
    let tool = Tool::new();
    assert!(tool.fails(2, ["get", "--json", "--name", "k"]).contains("-o"));
}

#[test]
fn lines_are_flushed_as_the_blobs_are_stored() {
    let tool = Tool::new();
    let ran = tool.shell("(echo one; sleep 0.4; echo two >&2) | \"$T\" put - --json");
    assert_eq!(documents(&String::from_utf8(ran.out).unwrap()).len(), 1);
}
