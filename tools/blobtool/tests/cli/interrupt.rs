//! An interrupt ends the tool with 130; what was acknowledged is there, and nothing else is.

use crate::tool::{Tool, noise};
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

fn interrupt(child: &Child) {
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
}

#[test]
fn a_put_is_interrupted_and_what_it_printed_is_stored() {
    let tool = Tool::new();
    tool.file("first", "first");
    let mut child = tool.command(["put", "first", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&noise(30 << 20, 1)).unwrap();
    // The pipe took all of it, so all but its last pages is in a segment by now.
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("blobtool: interrupted"), "{said}");
    let id = String::from_utf8(output.stdout).unwrap();
    assert_eq!(tool.ok(["get", id.trim()]), "first");
    assert_eq!(tool.ok(["ls"]), id.trim());
    drop(stdin);
    let space = tool.json(["info"])[0]["segment_bytes"].as_u64().unwrap();
    assert!(space < 4 << 20, "the bytes of the broken put are gone: {space}");
}

#[test]
fn nobody_need_read_what_an_interrupted_tool_says() {
    let tool = Tool::new();
    let mut child = tool.command(["put", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&noise(3 << 20, 1)).unwrap();
    drop(child.stderr.take());
    interrupt(&child);
    let patience = std::time::Instant::now();
    while child.try_wait().unwrap().is_none() {
        if patience.elapsed() > Duration::from_secs(10) {
            child.kill().unwrap();
            panic!("it goes on");
        }
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(child.wait().unwrap().code(), Some(130));
    drop(stdin);
}

#[test]
fn a_get_that_nobody_reads_is_interrupted() {
    let tool = Tool::new();
    let id = tool.ok(["put".as_ref(), tool.file("f", noise(4 << 20, 1)).as_os_str()]);
    let mut child = tool.command(["get", &id]).spawn().unwrap();
    let mut first = [0; 1];
    child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn an_output_file_of_an_interrupted_get_does_not_stay() {
    let tool = Tool::new();
    // Slow enough to be met half-way on any machine: many rounds, each met somewhere else.
    let content = noise(64 << 20, 1);
    let id = tool.ok(["put".as_ref(), tool.file("f", content.clone()).as_os_str()]);
    let mut interrupted = 0;
    for delay in (0..40).step_by(4) {
        let mut child = tool.command(["get", &id, "-o", "out/file"]).spawn().unwrap();
        std::fs::create_dir_all(tool.at("out")).unwrap();
        thread::sleep(Duration::from_millis(delay));
        interrupt(&child);
        let code = child.wait().unwrap().code();
        interrupted += u32::from(code == Some(130));
        let left: Vec<_> = std::fs::read_dir(tool.at("out")).unwrap().collect();
        if !left.is_empty() {
            // The signal may come between the last byte and the end: then the file is whole.
            let file = std::fs::read(tool.at("out/file")).unwrap();
            assert!(file == content, "{code:?} left {} bytes: {left:?}", file.len());
            std::fs::remove_file(tool.at("out/file")).unwrap();
        }
    }
    eprintln!("{interrupted} of 10 were interrupted before they were done");
}
