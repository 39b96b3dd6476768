//! `fsck`: what it prints, how it ends, and that it mends only when it is told to.

use crate::tool::{Tool, noise};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// A store with a damaged blob of a name, and others; its id and its segment's file.
fn damaged() -> (Tool, String, PathBuf) {
    let tool = Tool::new();
    tool.file("f", noise(100_000, 1));
    tool.file("g", noise(5000, 2));
    let id = tool.ok(["put", "f", "--name", "a name"]);
    let id = id.split_whitespace().next().expect("an id").to_owned();
    tool.ok(["put", "g"]);
    let stat = &tool.json(["stat", &id])[0];
    let place = |name: &str| stat[name].as_u64().expect("a number");
    let file = tool.store().join(format!("segments/{:08x}.seg", place("segment")));
    flip(&file, place("offset") + 64 + 50_000);
    (tool, id, file)
}

fn flip(file: &PathBuf, at: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(file).expect("a segment");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("a byte");
    file.write_all_at(&[byte[0] ^ 1], at).expect("a byte");
}

#[test]
fn a_clean_store_is_0_and_says_so() {
    let tool = Tool::new();
    tool.file("f", noise(3_000_000, 1));
    tool.ok(["put", "f"]);
    for args in [&["fsck"][..], &["fsck", "--deep"], &["fsck", "--repair", "--yes"]] {
        assert!(tool.ok(args).ends_with(": clean"), "{args:?}");
    }
    let document = &tool.json(["fsck", "--deep"])[0];
    assert_eq!((&document["clean"], &document["damage"]), (&true.into(), &0.into()));
    assert_eq!(document["hashed_bytes"], 3_000_000);
    let mut keys: Vec<_> = document.as_object().expect("an object").keys().collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "bytes",
            "clean",
            "damage",
            "dangling",
            "deep",
            "dry_run",
            "findings",
            "hashed_bytes",
            "index_checked",
            "keys",
            "losses",
            "notices",
            "records",
            "repair",
            "segments",
            "version",
        ]
    );
}

#[test]
fn damage_is_5_and_told_with_place_names_and_advice() {
    let (tool, id, file) = damaged();
    tool.ok(["fsck"]);
    let ran = tool.run(["fsck", "--deep"]);
    let text = String::from_utf8_lossy(&ran.out).into_owned();
    let name = file.file_name().expect("a name").to_str().expect("UTF-8").to_owned();
    for part in [name.as_str(), &id, "names/a name", "offset ", "expected", "found", "--repair"] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    assert!(ran.failed(5).contains("1 piece of damage"));
    let ran = tool.run(["fsck", "--deep", "--json"]);
    assert_eq!(ran.code, Some(5));
    let document = &crate::tool::documents(&String::from_utf8_lossy(&ran.out))[0];
    let found = &document["findings"][0];
    assert_eq!((&found["severity"], &found["kind"]), (&"damage".into(), &"digest".into()));
    assert_eq!((&found["id"], &found["names"][0]["name"]), (&id.into(), &"a name".into()));
    assert!(found["offset"].is_u64() && found["segment"].is_u64() && found["advice"].is_string());
}

#[test]
fn a_repair_is_6_and_the_next_check_0() {
    let (tool, id, file) = damaged();
    let said = tool.run(["fsck", "--repair"]).failed(2);
    assert!(said.contains("--yes") && said.contains("--dry-run"), "{said}");
    let ran = tool.run(["fsck", "--repair", "--dry-run"]);
    assert!(String::from_utf8_lossy(&ran.out).contains("nothing was changed"));
    ran.failed(5);
    assert!(file.exists(), "it was only told");
    let ran = tool.run(["fsck", "--repair", "--yes"]);
    let text = String::from_utf8_lossy(&ran.out).into_owned();
    assert!(text.contains("moved to quarantine/") && text.contains("lost 1 records"), "{text}");
    ran.failed(6);
    assert!(!file.exists());
    assert!(tool.ok(["fsck", "--deep"]).contains(": clean"));
    tool.fails(4, ["get", &id]);
    assert_eq!(tool.ok(["ls"]).lines().count(), 1, "the other one is there");
    tool.ok(["put", "f"]);
    assert!(tool.bytes(["get", "--verify", &id]) == noise(100_000, 1));
}

#[test]
fn a_repair_beside_a_user_is_11() {
    let (tool, _, file) = damaged();
    let store = drystone::Store::open(tool.store()).expect("a user");
    let said = tool.fails(11, ["fsck", "--repair", "--yes"]);
    assert!(said.contains("in use"), "{said}");
    assert!(file.exists());
    drop(store);
    tool.run(["fsck", "--repair", "--yes"]).failed(6);
}

#[test]
fn putting_a_damaged_blob_again_mends_it() {
    let (tool, id, _) = damaged();
    tool.fails(5, ["get", "--verify", &id]);
    tool.ok(["put", "f"]);
    assert!(tool.bytes(["get", "--verify", &id]) == noise(100_000, 1));
}

#[test]
fn what_is_no_store_is_10_and_options_that_make_no_sense_are_2() {
    let tool = Tool::bare();
    tool.fails(10, ["fsck"]);
    fs::create_dir(tool.store()).expect("a directory");
    tool.fails(10, ["fsck", "--deep"]);
    assert_eq!(tool.run(["fsck", "--yes"]).code, Some(2));
    assert_eq!(tool.run(["fsck", "--dry-run"]).code, Some(2));
}

#[test]
fn what_is_lost_without_an_index_is_5_with_its_name_and_mended_6() {
    let tool = Tool::new();
    tool.file("f", noise(9000, 1));
    let id = tool.ok(["put", "--name", "k", "f"]);
    // Nothing was synced: a power loss would leave the same.
    let stat = &tool.json(["stat", &id])[0];
    let segment = stat["segment"].as_u64().expect("a number");
    let file = tool.store().join(format!("segments/{segment:08x}.seg"));
    flip(&file, stat["offset"].as_u64().expect("a number") + 5000);
    fs::remove_dir_all(tool.store().join("run")).expect("a run");
    let ran = tool.run(["fsck", "--deep", "--json"]);
    let document = &crate::tool::documents(&String::from_utf8_lossy(&ran.out))[0];
    assert_eq!((&document["clean"], &document["damage"]), (&false.into(), &0.into()));
    let found = document["findings"].as_array().expect("findings").iter();
    let lost: Vec<_> = found.filter(|finding| finding["severity"] == "loss").collect();
    let names = |finding: &&serde_json::Value| finding["names"].to_string().contains("\"k\"");
    assert!(!lost.is_empty() && lost.iter().all(names), "{document}");
    assert!(ran.failed(5).contains("losses found"));
    tool.fails(6, ["fsck", "--repair", "--yes"]);
    assert!(tool.ok(["fsck", "--deep"]).contains(": clean"));
}
