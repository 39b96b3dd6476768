//! The demonstration runs, small, in every form; and leaves nothing behind.

use crate::tool::{Tool, noise};
use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

fn entries(tool: &Tool) -> usize {
    fs::read_dir(tool.at("place")).unwrap().count()
}

#[test]
fn the_wave_is_computed_killed_continued_and_checked() {
    let tool = Tool::bare();
    let report = &tool.json(["demo", "--size", "32M", "--dir", "place"])[0];
    assert_eq!((report["writers"].as_u64(), report["readers"].as_u64()), (Some(4), Some(2)));
    let bytes = report["bytes"].as_u64().unwrap();
    assert!((16 << 20..=34 << 20).contains(&bytes), "{bytes}");
    assert_eq!(report["blobs_verified"], report["blobs"]);
    assert!(report["energy_drift"].as_f64().unwrap() < 1e-10);
    let kills = report["kills"].as_array().unwrap();
    assert_eq!(kills.len(), 2);
    assert!(kills.iter().all(|kill| kill["back_after_ms"].as_f64().is_some()), "{kills:?}");
    let own = report["reader_own_bytes_max"].as_u64().unwrap();
    assert!(own < 16 << 20, "readers do not copy: {own}");
    assert_eq!(entries(&tool), 0, "it cleans up");
}

#[test]
fn it_tells_a_person_and_keeps_the_store_on_demand() {
    let tool = Tool::bare();
    let text = tool.ok(["demo", "--size", "16M", "--dir", "place", "--keep", "--writers", "2"]);
    for word in ["kill -9", "GB/s", "memory", "checked", "blobtool info", "@"] {
        assert!(text.contains(word), "{word} in {text}");
    }
    let line = text.lines().find(|line| line.contains("DRYSTONE_STORE=")).unwrap();
    let store = line.split_once('=').unwrap().1;
    let names = tool.ok(["--store", store, "ls", "--names"]);
    assert!(names.starts_with("demo/step/0000/slab/0"), "{names}");
    let last = names.lines().next_back().unwrap();
    let array = tool.bytes(["--store", store, "get", "--name", last]);
    assert!(array.starts_with(b"\x93NUMPY"), "NumPy can load it");
}

#[test]
fn it_takes_files_of_the_users() {
    let tool = Tool::bare();
    let mut args = vec!["demo".to_string(), "--json".into(), "--dir".into(), "place".into()];
    args.push("--input".into());
    for (name, len) in [("a", 0), ("b", 1), ("c", 5_000_000), ("d", 77_777), ("e", 3_000_000)] {
        tool.file(name, noise(len, len as u64));
        args.push(name.into());
    }
    let report = &crate::tool::documents(&tool.ok(&args))[0];
    assert_eq!((report["blobs"].as_u64(), report["bytes"].as_u64()), (Some(5), Some(8_077_778)));
    assert_eq!(entries(&tool), 0);
}

#[test]
fn it_says_before_it_starts_what_cannot_work() {
    let tool = Tool::bare();
    assert!(tool.fails(14, ["demo", "--size", "900T", "--dir", "place"]).contains("--size"));
    assert!(tool.fails(1, ["demo", "--input", "absent"]).contains("absent"));
    assert!(tool.fails(1, ["demo", "--input", "."]).contains("not a file"));
    assert_eq!(tool.run(["demo", "--input", "a", "--size", "1G"]).code, Some(2));
    assert_eq!(tool.run(["demo", "--writers", "0"]).code, Some(2));
}

#[test]
fn an_interrupt_ends_its_processes_and_cleans_up() {
    let tool = Tool::bare();
    let child = tool.command(["demo", "--size", "2G", "--dir", "place"]).spawn().unwrap();
    let segments = || {
        let demo = fs::read_dir(tool.at("place")).ok()?.next()?.ok()?.path();
        Some(fs::read_dir(demo.join("store/segments")).ok()?.count())
    };
    let begin = Instant::now();
    while segments().unwrap_or(0) < 10 {
        assert!(begin.elapsed() < Duration::from_secs(60), "it does not begin");
        thread::sleep(Duration::from_millis(10));
    }
    let workers = workers_of(child.id());
    assert!(workers.len() >= 5, "{workers:?}");
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(130));
    assert_eq!(entries(&tool), 0);
    let is_alive = |id: &u32| {
        fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
    };
    let begin = Instant::now();
    while workers.iter().any(is_alive) {
        assert!(begin.elapsed() < Duration::from_secs(10), "a process is left");
        thread::sleep(Duration::from_millis(10));
    }
}

/// The children of a process.
fn workers_of(parent: u32) -> Vec<u32> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let children = fs::read_to_string(path).unwrap_or_default();
    children.split_whitespace().filter_map(|id| id.parse().ok()).collect()
}
