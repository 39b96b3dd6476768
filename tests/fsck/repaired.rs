//! A repair saves all that is whole, takes out the rest, and leaves a clean store; beside a user it is
//! refused, and has changed nothing.

use super::furnished::{Furnished, Hit};
use super::rig::{
    bytes, campaign, in_memory, options, patch, random, refused, resize, say, seed, segment_files,
};
use super::tried::{check, check_clean, deep, repair, told};
use drystone::{ErrorKind, FindingKind, FsckReport, HashAlgorithm, Store, fsck};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// So long the random part takes by default.
const TIME: Duration = Duration::from_secs(6);

#[test]
fn a_clean_store_is_left_as_it_is() {
    let made = Furnished::new(HashAlgorithm::Xxh3);
    let report = check(&made.path(), &repair());
    assert!(report.is_clean() && report.repair.is_none() && report.is_deep);
    for file in &made.files {
        let now = fs::read(made.path().join(&file.path)).expect("a file");
        assert!(now == file.bytes, "{} has changed", file.path);
    }
}

#[test]
fn beside_a_user_a_repair_is_refused() {
    let made = Furnished::new(HashAlgorithm::Xxh3);
    let store = options().open(made.path()).expect("a store");
    refused(fsck(made.path(), &repair()), ErrorKind::Busy, &["in use", "end the processes"]);
    assert!(check(&made.path(), &deep()).is_clean(), "a check is not");
    drop(store);
    assert!(check(&made.path(), &repair()).is_clean());
}

/// Repairs what was damaged by `blow`, and checks that no more is lost than that.
#[track_caller]
fn mend(made: &Furnished, hit: Hit<'_>, when: &str) -> Option<FsckReport> {
    let report = check(&made.path(), &repair());
    let Some(done) = &report.repair else {
        assert!(report.is_clean(), "{when}: nothing was done\n{}", told(&report));
        return None;
    };
    assert_eq!(done.remaining, 0, "{when}: {done:?}\n{}", told(&report));
    check_clean(&made.path(), &deep(), when);
    for boot in [None, Some("another")] {
        let how = boot.map_or_else(options, |boot| options().boot_id(boot));
        let store = how.open(made.path()).unwrap_or_else(|error| panic!("{when}: {error}"));
        made.check(&store, hit, when);
        let body = bytes(777, 9);
        let id = store.put(&body).unwrap_or_else(|error| panic!("{when}: a put: {error}"));
        assert!(*store.get(&id).expect("a get").expect("it was put") == body[..], "{when}");
    }
    let how = deep().boot_id("another");
    check_clean(&made.path(), &how, when);
    Some(report)
}

#[test]
fn damage_anywhere_in_segments_costs_what_it_hit_and_is_mended() {
    let stores = [HashAlgorithm::Xxh3, HashAlgorithm::Blake3].map(Furnished::new);
    let (start, time) = (Instant::now(), TIME * campaign() as u32);
    let (mut tried, mut mended) = (0u64, 0u64);
    while start.elapsed() < time {
        let mut state = seed().wrapping_add(tried.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let made = &stores[tried as usize % 2];
        made.restore();
        let segments: Vec<_> =
            made.files.iter().filter(|f| f.path.starts_with("segments/")).collect();
        let file = segments[random(&mut state, segments.len() as u64) as usize];
        let len = file.bytes.len() as u64;
        let near = match random(&mut state, 3) {
            0 => random(&mut state, 600),
            1 => len.saturating_sub(1 + random(&mut state, 600)),
            _ => random(&mut state, len),
        };
        let at = near.min(len - 1);
        let end = (at + 1 + random(&mut state, 200)).min(len);
        let path = made.path().join(&file.path);
        let (what, hit) = match random(&mut state, 8) {
            0 => ("cut", at..u64::MAX),
            1 => ("removed", 0..u64::MAX),
            2 => ("zeroed", at..end),
            _ => ("overwritten", at..end),
        };
        let when = format!("seed {}, try {tried}: {} {what} {hit:?}", seed(), file.path);
        match what {
            "cut" => resize(&path, at),
            "removed" => fs::remove_file(&path).expect("a removal"),
            "zeroed" => patch(&path, at, &vec![0; (end - at) as usize]),
            _ => patch(&path, at, &bytes((end - at) as usize, tried)),
        }
        mended += u64::from(mend(made, Hit::Bytes(&file.path, &hit), &when).is_some());
        tried += 1;
    }
    assert!(tried == 0 || mended > 0);
    say(&format!("figure: {mended} repairs of {tried} stores damaged in {:.1?}", start.elapsed()));
}

#[test]
fn a_damaged_run_is_built_anew() {
    let made = Furnished::new(HashAlgorithm::Xxh3);
    let run: Vec<_> = made.files.iter().filter(|file| file.path.starts_with("run/")).collect();
    for file in run {
        for (at, new) in [(0, vec![9; 64]), (600, vec![1; 3000]), (192, vec![0; 8])] {
            made.restore();
            patch(&made.path().join(&file.path), at, &new);
            let when = format!("{} at {at}", file.path);
            if let Some(report) = mend(&made, Hit::Bytes("", &(0..0)), &when) {
                assert!(report.repair.is_some_and(|done| done.quarantined.is_empty()), "{when}");
            }
        }
    }
}

#[test]
fn both_copies_of_a_superblock_are_whole_afterwards() {
    let made = Furnished::new(HashAlgorithm::Xxh3);
    for copy in [0, 4096] {
        patch(&made.path().join("STORE"), copy + 3, b"??????");
        let report = check(&made.path(), &repair());
        assert_eq!(report.repair.expect("a repair").remaining, 0);
        check_clean(&made.path(), &deep(), "a copy was damaged");
    }
    let saved = made.files.iter().find(|file| file.path == "STORE").expect("a superblock");
    assert!(fs::read(made.path().join("STORE")).expect("it") == saved.bytes);
}

/// What a store is stands in every segment of it.
#[test]
fn a_superblock_of_which_nothing_is_left_is_made_again() {
    for algorithm in [HashAlgorithm::Xxh3, HashAlgorithm::Blake3] {
        let losses: [fn(&Path); 4] = [
            |file| fs::remove_file(file).expect("it"),
            |file| fs::write(file, b"").expect("it"),
            |file| fs::write(file, [0x5A; 8192]).expect("it"),
            |file| [25, 4096 + 25].into_iter().for_each(|at| patch(file, at, b"??????")),
        ];
        for (at, lose) in losses.iter().enumerate() {
            let made = Furnished::new(algorithm);
            lose(&made.path().join("STORE"));
            let when = format!("{algorithm}, loss {at}");
            let found = check(&made.path(), &deep());
            let damage = found.findings.iter().filter(|finding| finding.is_damage());
            let kinds: Vec<_> = damage.map(|finding| finding.kind).collect();
            assert_eq!(kinds, [FindingKind::Superblock], "{when}");
            let error = Store::create(made.path()).expect_err("it is no place for a new store");
            let advice = error.advice_text().expect("advice");
            assert!(advice.contains("fsck --repair"), "{when}: {advice}");
            let report = mend(&made, Hit::Bytes("", &(0..0)), &when).expect("a repair");
            assert!(report.repair.expect("a repair").quarantined.is_empty(), "{when}");
            let store = Store::open(made.path()).expect("a store");
            assert_eq!(store.hash_algorithm(), algorithm, "{when}");
        }
    }
}

#[test]
fn segments_under_each_others_names_come_back() {
    let made = Furnished::new(HashAlgorithm::Xxh3);
    let files = segment_files(&made.path());
    rename(&files[0], &files[0].with_file_name("00000077.seg"));
    mend(&made, Hit::Bytes("", &(0..0)), "one under another name").expect("a repair");
    assert!(files[0].exists());
    // Of two, each of which has the other's, and of three in a round.
    for round in [2, 3] {
        let made = Furnished::new(HashAlgorithm::Xxh3);
        let files = segment_files(&made.path());
        let aside = files[0].with_file_name("aside");
        rename(&files[0], &aside);
        (1..round).for_each(|at| rename(&files[at], &files[at - 1]));
        rename(&aside, &files[round - 1]);
        let report = mend(&made, Hit::Bytes("", &(0..0)), "exchanged").expect("a repair");
        assert_eq!(report.repair.expect("it").lost_refs, 0, "{round} exchanged");
    }
}

fn rename(from: &Path, to: &Path) {
    fs::rename(from, to).expect("a renaming");
}

#[test]
fn damaged_chunk_digests_cost_nothing() {
    let made = Furnished::new(HashAlgorithm::Xxh3);
    let large = made.records.iter().max_by_key(|record| record.range.end - record.range.start);
    let large = large.expect("a record");
    patch(&made.path().join(&large.file), large.range.end - 60, &[0xEE; 8]);
    let report = mend(&made, Hit::Bytes("", &(0..0)), "chunk digests").expect("a repair");
    assert_eq!(report.repair.expect("it").lost_records, 0);
}

#[test]
fn numbers_of_segments_taken_out_are_not_used_again() {
    let dir = in_memory();
    let path = dir.path().join("store");
    options().create(true).open(&path).expect("a store").put(b"a blob").expect("a put");
    let file = segment_files(&path).remove(0);
    patch(&file, 0, &[0x55; 64]);
    patch(&file, 300, &[0x55; 300]);
    let done = check(&path, &repair()).repair.expect("a repair");
    assert_eq!(done.quarantined, ["quarantine/00000000.seg"]);
    let store = options().boot_id("next").open(&path).expect("a store");
    let id = store.put(b"another blob").expect("a put");
    assert!(store.stat(&id).expect("a stat").expect("it").segment > 0);
}
