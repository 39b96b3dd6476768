//! `rm` takes away a pin, a name, or the blob; and tells what that means.

use crate::tool::Tool;

/// A store with one blob, pinned and named `k`; its id.
fn pinned_and_named() -> (Tool, String) {
    let tool = Tool::new();
    tool.file("f", "content");
    let id = tool.ok(["put", "f"]);
    assert_eq!(tool.ok(["put", "--name", "k", "f"]), id);
    (tool, id)
}

#[test]
fn rm_unpins_and_tells_who_names_it_still() {
    let (tool, id) = pinned_and_named();
    let said = tool.ok(["rm", "--yes", &id]);
    assert_eq!(said, format!("unpinned {id}: still named by names/k"));
    assert_eq!(tool.ok(["get", &id]), "content");
    let said = tool.ok(["rm", "--yes", &id]);
    assert_eq!(said, format!("not pinned {id}: still named by names/k"));
    assert_eq!(tool.ok(["rm", "--yes", "--name", "k"]), "unnamed k");
    tool.fails(4, ["get", "--name", "k"]);
}

#[test]
fn the_last_pin_tells_that_nothing_names_it() {
    let tool = Tool::new();
    tool.file("f", "content");
    let id = tool.ok(["put", "f"]);
    assert!(tool.ok(["rm", "--yes", &id]).contains("nothing names it any more, so its 7 B"));
}

#[test]
fn force_removes_at_once_and_names_read_as_absent() {
    let (tool, id) = pinned_and_named();
    let said = tool.ok(["rm", "--force", "--yes", &id]);
    assert!(
        said.starts_with(&format!("removed {id}: ")) && said.ends_with("absent: names/k"),
        "{said}"
    );
    tool.fails(4, ["get", &id]);
    tool.fails(4, ["get", "--name", "k"]);
    assert_eq!((tool.ok(["ls"]), tool.ok(["ls", "--names"])), (String::new(), String::new()));
}

#[test]
fn force_with_a_name_removes_both() {
    let (tool, id) = pinned_and_named();
    let said = tool.ok(["rm", "--force", "--yes", "--name", "k"]);
    assert_eq!(said.lines().next(), Some("unnamed k"));
    tool.fails(4, ["get", &id]);
}

#[test]
fn a_dry_run_changes_nothing() {
    let (tool, id) = pinned_and_named();
    for args in [&["rm", "--dry-run", &id][..], &["rm", "--dry-run", "--force", &id]] {
        assert!(tool.ok(args).starts_with("would be "));
    }
    assert_eq!(tool.ok(["rm", "--dry-run", "--name", "k"]), "would be unnamed k");
    assert_eq!(tool.ok(["get", "--name", "k"]), "content");
    assert_eq!(tool.json(["stat", &id])[0]["pinned"], true);
}

#[test]
fn without_a_terminal_it_wants_a_yes() {
    let (tool, id) = pinned_and_named();
    assert!(tool.fails(2, ["rm", &id]).contains("--yes"));
    assert_eq!(tool.run_on(["rm", &id], b"y\n").code, Some(2), "a pipe is nobody");
    assert_eq!(tool.json(["stat", &id])[0]["pinned"], true);
}

#[test]
fn on_a_terminal_it_asks() {
    let (tool, id) = pinned_and_named();
    if tool.shell("command -v script").code != Some(0) {
        eprintln!("SKIPPED: there is no script(1) to make a terminal");
        return;
    }
    let on_terminal = |answer: &str| {
        tool.shell(&format!("echo {answer} | script -qec '\"$T\" rm {id}' /dev/null"))
    };
    assert_eq!(on_terminal("n").code, Some(1));
    assert_eq!(tool.json(["stat", &id])[0]["pinned"], true);
    assert_eq!(on_terminal("y").code, Some(0));
    assert_eq!(tool.json(["stat", &id])[0]["pinned"], false);
}

#[test]
fn what_is_missing_is_told_and_the_others_go() {
    let (tool, id) = pinned_and_named();
    let absent = "xxh3:00000000000000000000000000000001";
    let ran = tool.run(["rm", "--yes", absent, &id]);
    assert!(String::from_utf8_lossy(&ran.out).starts_with("unpinned"));
    assert!(ran.failed(4).contains(absent));
    tool.fails(4, ["rm", "--yes", "--name", "absent"]);
}
