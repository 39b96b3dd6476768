//! Without an index of this boot a check goes by what the segments prove: what was durable and is not whole
//! is damaged, what counts and is not there is lost, and neither is called clean.

use super::rig::{KIB, bytes, in_memory, options, patch, resize, segment_file};
use super::tried::{check, check_clean, deep, repair, told};
use drystone::{BlobId, Durability, FindingKind, FsckReport, PutOptions, Severity, Store, Value};
use std::path::Path;

const SYNCED: fn() -> PutOptions = || PutOptions::new().durability(Durability::Synced);

fn severities(report: &FsckReport) -> (u64, u64) {
    (report.damage, report.losses)
}

/// Flips a bit in the middle of a blob.
fn flip(path: &Path, at: (u32, u64), len: usize) {
    let file = segment_file(path, at.0);
    let mut stands = [0];
    let offset = at.1 + 64 + len as u64 / 2;
    std::os::unix::fs::FileExt::read_exact_at(
        &std::fs::File::open(&file).expect("a segment"),
        &mut stands,
        offset,
    )
    .expect("a byte");
    patch(&file, offset, &[stands[0] ^ 1]);
}

/// Takes the right to write from a file.
fn set_mode(file: &Path) {
    let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o400);
    std::fs::set_permissions(file, mode).expect("a mode");
}

fn place(store: &Store, id: &BlobId) -> (u32, u64) {
    let stat = store.stat(id).expect("a stat").expect("it is there");
    (stat.segment, stat.offset)
}

#[test]
fn what_was_synced_is_damaged_where_it_changes_without_an_index() {
    // Of a small put the next one notes that it is durable, or the closing; of a large one itself.
    for len in [100, 10 * KIB, 300 * KIB, 3 << 20] {
        for others in [0, 1] {
            let dir = in_memory();
            let path = dir.path().join("store");
            let store = options().create(true).open(&path).expect("a store");
            let id = store.put_with(&bytes(len, 1), &SYNCED()).expect("a put");
            for at in 0..others {
                store.put_with(&bytes(50, 2 + at), &SYNCED()).expect("a put");
            }
            let at = place(&store, &id);
            drop(store);
            let when = format!("{len} bytes, {others} others");
            check_clean(&path, &deep().boot_id("next"), &when);
            flip(&path, at, len);
            let report = check(&path, &deep().boot_id("next"));
            assert_eq!(severities(&report), (1, 0), "{when}: {}", told(&report));
            let damage = report.damaged().next().expect("damage");
            assert_eq!((damage.kind, damage.blob), (FindingKind::Digest, Some(id)), "{when}");
            assert!(damage.names.iter().any(|name| name.0 == "pins"), "{when}: it is pinned");
        }
    }
}

#[test]
fn what_sync_covered_is_damaged_where_it_changes_without_an_index() {
    let dir = in_memory();
    let path = dir.path().join("store");
    let store = options().create(true).open(&path).expect("a store");
    let id = store.put(&bytes(5000, 1)).expect("a put");
    store.sync().expect("a sync");
    let at = place(&store, &id);
    drop(store);
    flip(&path, at, 5000);
    let report = check(&path, &deep().boot_id("next"));
    assert_eq!(severities(&report), (1, 0), "{}", told(&report));
}

#[test]
fn what_nothing_proves_durable_is_lost_and_not_clean() {
    let dir = in_memory();
    let path = dir.path().join("store");
    let store = options().create(true).open(&path).expect("a store");
    let named = store.put(&bytes(5000, 1)).expect("a put");
    store.refs("names").set("a name", named).expect("a ref");
    store.unpin(&named).expect("an unpinning");
    let whole = store.put(&bytes(5000, 2)).expect("a put");
    let garbage = store.put(&bytes(5000, 3)).expect("a put");
    store.unpin(&garbage).expect("an unpinning");
    let again = store.put(&bytes(5000, 4)).expect("a put");
    let first = place(&store, &again);
    store.remove(&again).expect("a removal");
    store.put(&bytes(5000, 4)).expect("a put");
    store.refs("names").set("a name of bytes", b"bytes".to_vec()).expect("a ref");
    let [named_at, garbage_at] = [&named, &garbage].map(|id| place(&store, id));
    drop(store);
    let next = || deep().boot_id("next");
    check_clean(&path, &next(), "whole");
    // What nobody names, and what was put again, may well have been torn.
    flip(&path, garbage_at, 5000);
    flip(&path, first, 5000);
    let report = check_clean(&path, &next(), "garbage");
    assert_eq!(report.notices, 3, "two, and the other run: {}", told(&report));
    flip(&path, named_at, 5000);
    let report = check(&path, &next());
    let losses: Vec<_> = report.findings.iter().filter(|f| f.severity == Severity::Loss).collect();
    assert_eq!(severities(&report), (0, 2), "the blob and its name: {}", told(&report));
    for loss in losses {
        let name = ("names".to_owned(), b"a name".to_vec());
        assert_eq!((loss.blob, &loss.names[..]), (Some(named), &[name][..]), "{}", told(&report));
        assert!(loss.advice.contains("put it again"), "{}", loss.advice);
    }
    // Where an index names them, all that it names is damaged.
    let report = check(&path, &deep());
    assert_eq!(severities(&report), (2, 0), "{}", told(&report));

    let report = check(&path, &repair().boot_id("next"));
    let done = report.repair.as_ref().expect("a repair");
    // The blob of the name, and the one that nobody names; the third had been put again.
    assert_eq!((done.remaining, done.lost_records, done.lost_refs), (0, 2, 1), "{done:?}");
    assert_eq!(done.quarantined.len(), 1, "what is lost is kept: {done:?}");
    check_clean(&path, &next(), "repaired");
    let store = options().boot_id("next").open(&path).expect("a store");
    assert!(store.get(&named).expect("a get").is_none());
    assert!(store.refs("names").get("a name").expect("a ref").is_none());
    assert_eq!(*store.get(&whole).expect("a get").expect("it is there"), bytes(5000, 2)[..]);
    let bytes_of = store.refs("names").get("a name of bytes").expect("a ref").expect("it is there");
    assert_eq!(bytes_of.value, Value::Bytes(b"bytes".to_vec()));
}

#[test]
fn a_missing_segment_with_what_a_name_needs_is_a_loss() {
    let dir = in_memory();
    let path = dir.path().join("store");
    let store = options().create(true).segment_bytes(256 << 10).open(&path).expect("a store");
    // It has a segment of its own.
    let id = store.put(&bytes(3 << 20, 1)).expect("a put");
    let (segment, _) = place(&store, &id);
    store.put(&bytes(99, 2)).expect("a put");
    store.refs("names").set("a name", id).expect("a ref");
    drop(store);
    std::fs::remove_file(segment_file(&path, segment)).expect("a segment");
    let report = check(&path, &deep().boot_id("next"));
    assert_eq!(report.damage, 0, "{}", told(&report));
    let names: Vec<_> = report.findings.iter().flat_map(|f| &f.names).collect();
    assert!(names.contains(&&("names".to_owned(), b"a name".to_vec())), "{}", told(&report));
    assert!(!report.is_clean());
}

#[test]
fn a_finished_segment_that_is_cut_is_damaged() {
    let dir = in_memory();
    let path = dir.path().join("store");
    let store = options().create(true).segment_bytes(256 << 10).open(&path).expect("a store");
    let ids: Vec<_> = (0..12).map(|at| store.put(&bytes(60 * KIB, at)).expect("a put")).collect();
    store.sync().expect("a sync");
    let (segment, _) = place(&store, &ids[0]);
    drop(store);
    let file = segment_file(&path, segment);
    let whole = std::fs::read(&file).expect("a segment");
    let next = || deep().boot_id("next");
    check_clean(&path, &next(), "whole");
    for len in [0, 64, 100, 70_000, whole.len() as u64 - 64, whole.len() as u64 - 200] {
        resize(&file, len);
        set_mode(&file);
        let report = check(&path, &next());
        let is_clean = len == whole.len() as u64 - 64;
        // Cut behind the trailer it only says less about what was durable.
        assert_eq!(report.damage == 0, is_clean, "cut to {len}: {}", told(&report));
        patch(&file, 0, &whole);
        set_mode(&file);
        check_clean(&path, &next(), "as it was");
    }
    resize(&file, 70_000);
    set_mode(&file);
    // Whoever takes the right to write from all files says nothing about this one.
    set_mode(&path.join("STORE"));
    let report = check(&path, &next());
    assert_eq!((report.damage, report.is_clean()), (0, false), "{}", told(&report));
}

#[test]
fn a_segment_of_zeros_is_a_loss_until_somebody_has_opened_the_store() {
    let dir = in_memory();
    let path = dir.path().join("store");
    let store = options().create(true).open(&path).expect("a store");
    let id = store.put(&bytes(5000, 1)).expect("a put");
    let (segment, _) = place(&store, &id);
    drop(store);
    let file = segment_file(&path, segment);
    let whole = std::fs::read(&file).expect("a segment");
    super::rig::patch(&file, 0, &vec![0; whole.len()]);
    // The index says better.
    let report = check(&path, &deep());
    assert!(report.damage > 0 && report.losses == 0, "{}", told(&report));
    let next = || deep().boot_id("next");
    let report = check(&path, &next());
    assert_eq!(severities(&report), (0, 1), "{}", told(&report));
    let loss = report.findings.iter().find(|f| f.severity == Severity::Loss).expect("a loss");
    assert_eq!((loss.kind, loss.found.as_deref()), (FindingKind::Head, Some("zeros")));

    // Whoever opens the store passes it over, and that stays told.
    drop(options().boot_id("next").open(&path).expect("a store"));
    let report = check_clean(&path, &next(), "opened");
    let advised = report.findings.iter().filter(|f| f.advice.contains("the medium is damaged"));
    assert_eq!(advised.count(), 2, "the segment, and the counter: {}", told(&report));

    // A repair that comes first keeps it.
    let report = check(&path, &repair().boot_id("third"));
    let done = report.repair.as_ref().expect("a repair");
    assert_eq!((done.remaining, done.headless_segments), (0, 1), "{done:?}");
    assert_eq!(done.quarantined.len(), 1, "{done:?}");
    check_clean(&path, &deep().boot_id("third"), "repaired");
}
