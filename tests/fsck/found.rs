//! Each kind of damage is found, and told at the right place with the names that it concerns.

use super::furnished::Furnished;
use super::rig::{
    MIB, bytes, in_memory, options, patch, resize, run_dir, segment_file, segment_files,
};
use super::tried::{check, deep, of_kind, told};
use drystone::{BlobId, Finding, FindingKind, FsckOptions, FsckReport, HashAlgorithm, Store};
use std::fs;
use std::path::{Path, PathBuf};

/// A store with a blob of some chunks that three names hold, among others.
struct Scene {
    dir: tempfile::TempDir,
    store: Option<Store>,
    id: BlobId,
    segment: u32,
    offset: u64,
}

impl Scene {
    fn new(len: usize) -> Self {
        let dir = in_memory();
        let path = dir.path().join("store");
        let store = options().create(true).open(&path).expect("a store");
        store.put(&bytes(100, 1)).expect("a put");
        let id = store.put(&bytes(len, 2)).expect("a put");
        store.put(&bytes(100, 3)).expect("a put");
        store.refs("names").set("single", id).expect("a ref");
        store.refs("names").set("list", vec![id, id]).expect("a ref");
        let stat = store.stat(&id).expect("a stat").expect("it is there");
        Self { dir, store: Some(store), id, segment: stat.segment, offset: stat.offset }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    fn file(&self) -> PathBuf {
        segment_file(&self.path(), self.segment)
    }

    fn flip(&self, at: u64) {
        flip(&self.file(), at);
    }

    #[track_caller]
    fn expect(&self, report: &FsckReport, kind: FindingKind, offset: u64) -> Finding {
        let found = of_kind(report, kind);
        let [finding] = found[..] else { panic!("one {kind:?}: {}", told(report)) };
        let place = (finding.segment, finding.offset);
        assert_eq!(place, (Some(self.segment), Some(offset)), "{}", told(report));
        assert_eq!(report.damage, 1, "{}", told(report));
        finding.clone()
    }
}

fn flip(file: &Path, at: u64) {
    let byte = fs::read(file).expect("a file")[at as usize];
    patch(file, at, &[byte ^ 4]);
}

/// The names of the scene's blob, in order.
fn names(id: &BlobId) -> Vec<(String, Vec<u8>)> {
    let name = |namespace: &str, key: &str| (namespace.to_owned(), key.as_bytes().to_vec());
    vec![name("names", "list"), name("names", "single"), name("pins", &id.to_string())]
}

#[test]
fn a_flipped_byte_of_a_blob_is_found_by_its_digest() {
    let scene = Scene::new(5000);
    scene.flip(scene.offset + 64 + 4000);
    assert!(check(&scene.path(), &FsckOptions::new()).is_clean(), "without looking at it");
    let report = check(&scene.path(), &deep());
    let finding = scene.expect(&report, FindingKind::Digest, scene.offset);
    assert_eq!(finding.expected, Some(scene.id.to_string()));
    assert!(finding.found.is_some_and(|found| found.starts_with("xxh3:")));
    let mut told = finding.names;
    told.sort();
    assert_eq!((finding.blob, told), (Some(scene.id), names(&scene.id)));
}

#[test]
fn in_a_large_blob_the_damaged_chunk_is_told() {
    let scene = Scene::new(7 * MIB);
    scene.flip(scene.offset + 64 + 5 * MIB as u64);
    let report = check(&scene.path(), &deep());
    scene.expect(&report, FindingKind::Digest, scene.offset + 64 + 4 * MIB as u64);
}

#[test]
fn damaged_chunk_digests_are_found_without_reading_the_blob() {
    let scene = Scene::new(5 * MIB);
    let at = scene.offset + 64 + 5 * MIB as u64;
    scene.flip(at + 20);
    for how in [FsckOptions::new(), deep()] {
        scene.expect(&check(&scene.path(), &how), FindingKind::Chunks, at);
    }
}

#[test]
fn a_damaged_header_is_found() {
    let scene = Scene::new(5000);
    scene.flip(scene.offset + 30);
    let finding = scene.expect(&check(&scene.path(), &deep()), FindingKind::Header, scene.offset);
    assert!(finding.message.contains("not there"), "{finding}");
}

#[test]
fn a_damaged_ref_or_pin_is_found() {
    let scene = Scene::new(5000);
    // The pin of the blob stands right before it: 64 bytes of header, 24 of body.
    scene.flip(scene.offset - 64 + 3);
    let at = scene.offset - 128;
    scene.expect(&check(&scene.path(), &FsckOptions::new()), FindingKind::Ref, at);
}

#[test]
fn a_missing_a_cut_and_a_foreign_segment_are_found() {
    let mut scene = Scene::new(5000);
    scene.store = None;
    let whole = fs::read(scene.file()).expect("a segment");
    resize(&scene.file(), scene.offset + 1000);
    let report = check(&scene.path(), &deep());
    let headers = of_kind(&report, FindingKind::Header);
    assert!(headers.iter().any(|f| f.offset == Some(scene.offset)), "{}", told(&report));
    fs::remove_file(scene.file()).expect("a removal");
    let report = check(&scene.path(), &deep());
    let [missing] = of_kind(&report, FindingKind::Segment)[..] else { panic!("{}", told(&report)) };
    let found = missing.found.as_deref().unwrap_or_default();
    assert!(found.starts_with("none, and ") && found.ends_with(" keys are named in it"), "{found}");
    assert!(report.damaged().all(|finding| finding.segment == Some(scene.segment)));
    let mut other = whole.clone();
    // Another segment's number, and a checksum that holds.
    other[32] += 9;
    let sum = xxhash_rust::xxh3::xxh3_64(&other[..56]).to_le_bytes();
    other[56..64].copy_from_slice(&sum);
    fs::write(scene.file(), &other).expect("a segment");
    let report = check(&scene.path(), &deep());
    let heads = of_kind(&report, FindingKind::Head);
    assert_eq!(heads.len(), 1, "{}", told(&report));
    assert!(heads[0].message.contains("another segment's number"));
    fs::remove_file(scene.file()).expect("a removal");
    fs::create_dir(scene.file()).expect("a directory");
    let report = check(&scene.path(), &deep());
    assert!(!of_kind(&report, FindingKind::Segment).is_empty(), "{}", told(&report));
    fs::remove_dir(scene.file()).expect("a removal");
    fs::write(scene.file(), whole).expect("a segment");
    let report = check(&scene.path(), &deep());
    assert!(report.is_clean(), "{}", told(&report));
}

/// A store whose first segment is sealed and synced, closed; and the bytes of that segment.
fn sealed() -> (Furnished, PathBuf, Vec<u8>) {
    let made = Furnished::new(HashAlgorithm::Xxh3);
    let store = options().open(made.path()).expect("a store");
    store.sync().expect("a sync");
    drop(store);
    for file in segment_files(&made.path()) {
        let bytes = fs::read(&file).expect("a segment");
        let len = bytes.len();
        if len > 128 && bytes[len - 128..].starts_with(b"DRYEND") {
            return (made, file, bytes);
        }
    }
    panic!("no segment is sealed and confirmed")
}

#[test]
fn a_damaged_head_footer_trailer_or_last_point_is_found() {
    let (made, file, whole) = sealed();
    let len = whole.len() as u64;
    let entries = u64::from_le_bytes(whole[whole.len() - 112..][..8].try_into().expect("8 bytes"));
    let cases = [
        (17, FindingKind::Head, 0),
        (entries + 70, FindingKind::Footer, entries),
        (len - 128 + 2, FindingKind::Footer, len - 128),
        (len - 128 + 33, FindingKind::Footer, len - 128),
        (len - 20, FindingKind::Footer, len - 128),
    ];
    for (at, kind, offset) in cases {
        flip(&file, at);
        let report = check(&made.path(), &FsckOptions::new());
        let found = of_kind(&report, kind);
        assert!(found.len() == 1 && found[0].offset == Some(offset), "{at}: {}", told(&report));
        flip(&file, at);
    }
    assert!(check(&made.path(), &deep()).is_clean());
}

#[test]
fn a_damaged_copy_of_the_superblock_is_found_and_two_are() {
    let scene = Scene::new(100);
    let file = scene.path().join("STORE");
    for copy in [0, 4096] {
        flip(&file, copy + 25);
        let report = check(&scene.path(), &FsckOptions::new());
        let found = of_kind(&report, FindingKind::Superblock);
        assert!(found.len() == 1 && found[0].offset == Some(copy), "{}", told(&report));
        flip(&file, copy + 25);
    }
    flip(&file, 25);
    flip(&file, 4096 + 25);
    let report = check(&scene.path(), &FsckOptions::new());
    assert_eq!(of_kind(&report, FindingKind::Superblock).len(), 1, "{}", told(&report));
}

/// Places in the index's file at which a live word stands, with the two halves of its key.
fn slots(index: &[u8]) -> Vec<(usize, usize)> {
    let word = |at: usize| u64::from_le_bytes(index[at..at + 8].try_into().expect("8 bytes"));
    let mut found = Vec::new();
    for bucket in (512..index.len()).step_by(128) {
        for slot in 0..5 {
            let (key, at) = (bucket + 8 + 8 * slot, bucket + 88 + 8 * slot);
            if word(at) >> 61 & 3 == 1 {
                found.push((key, at));
            }
        }
    }
    found
}

#[test]
fn every_bit_of_a_word_or_key_of_the_index_is_found_that_means_anything() {
    let mut scene = Scene::new(3000);
    scene.store = None;
    let file = run_dir(&scene.path()).join("00000000.idx");
    let whole = fs::read(&file).expect("an index");
    let mut tried = 0;
    for (key, word) in slots(&whole) {
        // Of the word all but FROZEN, VISITED, CONDEMNED and HOT, which say nothing about the record.
        let bits = (0..63).filter(|bit| ![60, 59, 57].contains(bit)).map(|bit| (word, bit));
        let halves = (0..64).step_by(7).flat_map(|bit| [(key, bit), (key + 40, bit)]);
        for (at, bit) in bits.chain(halves).filter(|(at, bit)| (at + bit) % 3 == 0) {
            patch(&file, (at + bit / 8) as u64, &[whole[at + bit / 8] ^ 1 << (bit % 8)]);
            let report = check(&scene.path(), &FsckOptions::new());
            assert!(!report.is_clean(), "bit {bit} of the word at {at}");
            patch(&file, (at + bit / 8) as u64, &whole[at + bit / 8..][..1]);
            tried += 1;
        }
    }
    assert!(tried > 200, "{tried} bits");
    assert!(check(&scene.path(), &deep()).is_clean());
}

#[test]
fn counters_that_are_behind_are_found() {
    let mut scene = Scene::new(3000);
    scene.store = None;
    let control = run_dir(&scene.path()).join("control");
    // The numbers of records, and of segments (spec/FORMAT.md, section 7).
    let whole = fs::read(&control).expect("a control page");
    for (word, value) in [(24, 3u64), (16, 0)] {
        patch(&control, 8 * word, &value.to_le_bytes());
        let report = check(&scene.path(), &FsckOptions::new());
        assert_eq!(of_kind(&report, FindingKind::Counter).len(), 1, "{}", told(&report));
        patch(&control, 8 * word, &whole[8 * word as usize..][..8]);
    }
    patch(&control, 3, &[0]);
    let report = check(&scene.path(), &FsckOptions::new());
    assert_eq!(of_kind(&report, FindingKind::Run).len(), 1, "{}", told(&report));
    assert!(!report.has_run);
}

#[test]
fn a_ref_whose_blob_the_index_has_lost_is_found_and_named() {
    let mut scene = Scene::new(3000);
    scene.store = None;
    let file = run_dir(&scene.path()).join("00000000.idx");
    let index = fs::read(&file).expect("an index");
    let half = &scene.id.digest()[..8];
    let key = u64::from_be_bytes(half.try_into().expect("8 bytes")).to_le_bytes();
    let slot = slots(&index).into_iter().find(|(at, _)| index[*at..].starts_with(&key));
    let (_, word) = slot.expect("its slot");
    // Dead, as after a collection: nobody may name it then.
    patch(&file, word as u64 + 7, &[index[word + 7] | 0x60]);
    let report = check(&scene.path(), &FsckOptions::new());
    let dangling = of_kind(&report, FindingKind::Dangling);
    let mut told: Vec<_> = dangling.iter().flat_map(|f| f.names.clone()).collect();
    told.sort();
    assert_eq!(told, names(&scene.id), "{}", super::tried::told(&report));
}

#[test]
fn of_a_segment_that_is_missing_or_cut_the_names_of_its_blobs_are_told() {
    let dir = in_memory();
    let path = dir.path().join("store");
    let store = options().create(true).segment_bytes(256 << 10).open(&path).expect("a store");
    // It fills a segment, and its names stand in another.
    let id = store.put(&bytes(300 << 10, 1)).expect("a put");
    let other = store.put(&bytes(300 << 10, 2)).expect("a put");
    store.refs("names").set("single", id).expect("a ref");
    store.refs("names").set("list", vec![other, id]).expect("a ref");
    store.refs("names").set("another", other).expect("a ref");
    store.refs("names").set("moved on", id).expect("a ref");
    store.refs("names").set("moved on", other).expect("a ref");
    let stat = store.stat(&id).expect("a stat").expect("it is there");
    drop(store);
    let file = segment_file(&path, stat.segment);
    let whole = fs::read(&file).expect("a segment");
    let damages: [(&str, &dyn Fn()); 4] = [
        ("missing", &|| fs::remove_file(&file).expect("a removal")),
        ("cut in its body", &|| resize(&file, stat.offset + 1000)),
        ("cut in front of it", &|| resize(&file, stat.offset)),
        ("of another's bytes", &|| patch(&file, stat.offset, &bytes(64, 9))),
    ];
    for (what, damage) in damages {
        damage();
        let report = check(&path, &deep());
        let mut names: Vec<_> = report.damaged().flat_map(|f| f.names.clone()).collect();
        names.retain(|(namespace, _)| namespace == "names");
        names.sort();
        names.dedup();
        let named = ["list", "single"].map(|name| ("names".to_owned(), name.as_bytes().to_vec()));
        assert_eq!(names, named, "{what}: {}", told(&report));
        let _ = fs::remove_file(&file);
        fs::write(&file, &whole).expect("a segment");
    }
    let report = check(&path, &deep());
    assert!(report.is_clean(), "{}", told(&report));
}
