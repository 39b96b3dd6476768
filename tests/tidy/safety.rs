//! Rules about `unsafe`: where it may stand, and that each use argues why it is sound.

use super::rules::parent_of;
use super::source::{Source, Violation};

/// The files of the core that may contain `unsafe`; all others say `#![forbid(unsafe_code)]`.
const ALLOWED: &[&str] = &[
    "src/sync/epoch.rs",
    "src/sync/racy.rs",
    "src/disk/map.rs",
    "src/disk/lock.rs",
    "src/disk/fork.rs",
    "src/disk/sys.rs",
    "src/disk/tests/",
    "src/blob",
    "src/draft",
    // These two offer `unsafe` functions to the user.
    "src/store/options.rs",
    "src/store/store.rs",
    // A put of racing bytes, a fork, system calls that a power cut undoes, and a power cut.
    "tests/conformance/racy.rs",
    "tests/processes/fork.rs",
    "tests/deaths/victim.rs",
    "tests/protocol/medium.rs",
    "tests/power/mount.rs",
    // Memory that outlives the process that notes in it.
    "tests/histories/tape.rs",
];
/// Crates whose business is a foreign interface.
const ALLOWED_CRATES: [&str; 2] = ["bindings/", "benches/"];
/// A SAFETY comment with fewer words is a label, not an argument.
const ARGUMENT_WORDS_MIN: usize = 6;

/// Every file of the core forbids unsafe code (or the module that holds it does, which is the same),
/// but for the allowed ones and the modules that hold them; every crate of the tools and every test
/// forbids it at its root.
pub fn confinement(sources: &[Source]) -> Vec<Violation> {
    let forbids = |source: &Source| source.code.contains("#![forbid(unsafe_code)]");
    let inherits = |source: &Source| {
        let mut open = parent_of(&source.path);
        while let Some((parents, _)) = open {
            let Some(parent) = sources.iter().find(|s| parents.contains(&s.path)) else { break };
            if forbids(parent) {
                return true;
            }
            open = parent_of(&parent.path);
        }
        false
    };
    let open = sources.iter().filter(|source| !forbids(source) && !inherits(source));
    open.filter_map(confined).collect()
}

fn confined(source: &Source) -> Option<Violation> {
    let path = source.path.as_str();
    let folder = path.strip_suffix("mod.rs").or(path.strip_suffix("main.rs"));
    let stem = folder.or(path.strip_suffix(".rs")).unwrap_or(path);
    let stem = if path == "src/lib.rs" { "src/" } else { stem };
    if ALLOWED_CRATES.iter().any(|dir| path.starts_with(dir))
        || ALLOWED.iter().any(|allowed| path.starts_with(allowed))
    {
        return None;
    }
    let uses = source.words("unsafe").next();
    let holds_allowed = ALLOWED.iter().any(|allowed| allowed.starts_with(stem));
    let (_, in_tests) = path.rsplit_once("tests/").unwrap_or(("", "/"));
    let is_root = ["src/main.rs", "src/lib.rs"].iter().any(|root| path.ends_with(root))
        || !in_tests.contains('/')
        || in_tests.ends_with("/main.rs");
    let must_say = path.starts_with("src/") && !holds_allowed
        || path.starts_with("tools/") && is_root
        || path.starts_with("tests/") && is_root && !holds_allowed;
    match uses {
        Some(at) => Some(source.violation(at, "`unsafe` is not allowed in this file")),
        None => must_say.then(|| source.violation(0, "say `#![forbid(unsafe_code)]`")),
    }
}

/// Every `unsafe` block and impl has a comment that argues why it is sound, and every `unsafe fn` says
/// in `# Safety` what its caller must keep.
pub fn arguments(source: &Source) -> Vec<Violation> {
    source.words("unsafe").filter_map(|at| lacks_argument(source, at)).collect()
}

fn lacks_argument(source: &Source, at: usize) -> Option<Violation> {
    let next = source.code[at + "unsafe".len()..].trim_start();
    let above = comment_above(source, at);
    if next.starts_with('{') || next.starts_with("impl") {
        let Some((_, argument)) = above.split_once("SAFETY:") else {
            return Some(source.violation(at, "say in a `SAFETY:` comment why this is sound"));
        };
        let few = argument.split_whitespace().count() < ARGUMENT_WORDS_MIN;
        return few.then(|| source.violation(at, "the SAFETY comment is a label: argue"));
    }
    let is_function = next.starts_with("fn") || next.starts_with("extern");
    let named = next
        .split_once("fn")
        .is_some_and(|(_, rest)| rest.trim_start().starts_with(|c: char| c.is_alphabetic()));
    (is_function && named && !above.contains("# Safety") && !above.contains("SAFETY:"))
        .then(|| source.violation(at, "say under `# Safety` what the caller must keep"))
}

/// The comments that belong to the statement at this byte: those on its line, and those on the lines
/// above it back to the end of the statement before.
fn comment_above(source: &Source, at: usize) -> String {
    let line = source.line_of(at) - 1;
    let code: Vec<&str> = source.code.lines().collect();
    let comments: Vec<&str> = source.comments.lines().collect();
    let ends = |text: &str| text.ends_with([';', '{', '}', ',']) && !text.starts_with("#[");
    let mut begin = line;
    while begin > 0 && !ends(code[begin - 1].trim()) {
        begin -= 1;
    }
    let words = comments[begin..=line].iter().flat_map(|text| text.split_whitespace());
    let is_marker = |word: &&str| !matches!(*word, "//" | "///" | "//!");
    words.filter(is_marker).collect::<Vec<_>>().join(" ")
}

mod tests {
    use super::*;

    fn problems(path: &str, text: &str) -> Vec<String> {
        let source = Source::new(path, text);
        let both = confinement(std::slice::from_ref(&source)).into_iter().chain(arguments(&source));
        both.map(|violation| violation.problem).collect()
    }

    const ARGUED: &str = "// SAFETY: the length was checked against the mapping above.\n";

    #[test]
    fn unsafe_outside_of_its_home_is_seen() {
        let code = format!("{ARGUED}unsafe {{ a() }}");
        assert_eq!(problems("src/put.rs", &code), ["`unsafe` is not allowed in this file"]);
        assert_eq!(problems("src/put.rs", ""), ["say `#![forbid(unsafe_code)]`"]);
        assert_eq!(problems("tools/a/src/main.rs", ""), ["say `#![forbid(unsafe_code)]`"]);
        for root in ["tests/a.rs", "tests/a/main.rs", "tools/a/tests/b/main.rs"] {
            assert_eq!(problems(root, ""), ["say `#![forbid(unsafe_code)]`"], "{root}");
        }
        for (path, text) in [
            ("src/put.rs", "#![forbid(unsafe_code)]"),
            ("src/disk/map.rs", code.as_str()),
            ("src/disk/mod.rs", "mod map;"),
            ("src/lib.rs", "mod sync;"),
            ("tools/a/src/b.rs", ""),
            ("tools/a/tests/b/c.rs", ""),
            ("tests/a/b.rs", ""),
            ("bindings/c/src/lib.rs", code.as_str()),
        ] {
            assert!(problems(path, text).is_empty(), "{path}");
        }
    }

    #[test]
    fn a_module_forbids_for_the_files_that_it_holds() {
        let files = [
            Source::new("src/put/mod.rs", "#![forbid(unsafe_code)]\nmod a;"),
            Source::new("src/put/a.rs", ""),
            Source::new("src/get/a.rs", ""),
        ];
        let places: Vec<_> = confinement(&files).into_iter().map(|v| v.place.0).collect();
        assert_eq!(places, ["src/get/a.rs"]);
    }

    #[test]
    fn unsafe_without_an_argument_is_seen() {
        let none = ["say in a `SAFETY:` comment why this is sound"];
        assert_eq!(problems("src/sync/racy.rs", "unsafe { a() }"), none);
        assert_eq!(problems("src/sync/racy.rs", &format!("{ARGUED}b();\nunsafe {{ a() }}")), none);
        assert_eq!(problems("src/sync/racy.rs", "unsafe impl Send for A {}"), none);
        let label = ["the SAFETY comment is a label: argue"];
        assert_eq!(
            problems("src/sync/racy.rs", "// SAFETY: checked above.\nunsafe { a() }"),
            label
        );
        let caller = ["say under `# Safety` what the caller must keep"];
        assert_eq!(problems("src/sync/racy.rs", "/// Reads.\npub unsafe fn a() {}"), caller);
        for text in [
            format!("{ARGUED}let x =\n    unsafe {{ a() }};"),
            "/// # Safety\n/// `a` is valid.\npub unsafe fn a() {}".into(),
            "type A = unsafe extern \"C\" fn(u8);".into(),
            "// unsafe { a() }\nlet s = \"unsafe { }\";".into(),
        ] {
            assert!(problems("src/sync/racy.rs", &text).is_empty(), "{text}");
        }
    }
}
