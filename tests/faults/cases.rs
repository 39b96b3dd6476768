//! The operations that are swept.

use super::rig::{self, KIB, MIB, Name};
use super::world::{Shape, World};
use drystone::{CommitError, CompactOptions, Draft, ErrorKind, Result, Value};
use std::collections::HashSet;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};

/// An operation: what it needs, and how it is done. It may be done again, also after it has failed.
pub struct Case {
    /// What it is.
    pub name: &'static str,
    /// The world that it is done in.
    pub before: fn(Shape) -> World,
    /// Does it.
    pub run: fn(&mut World) -> Result<()>,
    /// Whether its calls come in one order: threads that go on side by side make others each time.
    pub is_steady: bool,
}

const fn case(name: &'static str, run: fn(&mut World) -> Result<()>) -> Case {
    case_of(name, World::furnished, run)
}

const fn case_of(
    name: &'static str,
    before: fn(Shape) -> World,
    run: fn(&mut World) -> Result<()>,
) -> Case {
    Case { name, before, run, is_steady: true }
}

/// All of them.
pub const CASES: &[Case] = &[
    case_of("create and open", World::empty, World::open),
    case_of("open", closed, World::open),
    case_of("open after a reboot", rebooted, World::open),
    case_of("read in a new process", reopened, read_everything),
    case_of("first put of a process", reopened, put_small),
    case("put small", put_small),
    case("put 60 KiB", |world| world.put(&rig::bytes(60 * KIB, 21))),
    case("put 100 KiB", |world| world.put(&rig::bytes(100 * KIB, 22))),
    case("put 5 MiB", |world| world.put(&rig::bytes(5 * MIB, 23))),
    case("put what is there, small", |world| world.put(&rig::bytes(100, 2))),
    case("put what is there, large", |world| world.put(&rig::bytes(300 * KIB, 5))),
    case_of("put what is there, first of a process", reopened, put_known),
    case("put many", put_many),
    case("put a reader of 5 MiB", |world| put_reader(world, 5 * MIB + 7)),
    case("put a reader of 9 bytes", |world| put_reader(world, 9)),
    case("put a file", put_file),
    case("commit a small draft", |world| commit(world, 1000)),
    case("commit a large draft", |world| commit(world, 200 * KIB)),
    case("commit a draft of what is there", commit_known),
    case("commit a draft as a ref", |world| commit_as(world, b"draft")),
    case("commit a draft as a long ref", |world| commit_as(world, &[b'k'; 5000])),
    case("set a ref to bytes", |world| world.set("n", b"new", Value::Bytes(vec![7; 40]))),
    case("set a ref again", |world| world.set("n", b"bytes", Value::Bytes(b"second".to_vec()))),
    case("set a ref to many bytes", set_many_bytes),
    case("set a ref to blobs", set_blobs),
    case("add a ref", add),
    case("exchange a ref", compare_and_set),
    case("remove a ref", remove_ref),
    case("unpin", unpin),
    case("remove a blob", remove_blob),
    case("sync", |world| world.store().sync()),
    case_of("sync what is new", unsynced, |world| world.store().sync()),
    case_of("fill segments", nearly_full, roll_over),
    case_of("grow the index", nearly_grown, grow),
];

/// What is done now and then, of which a sweep takes longer.
pub const UPKEEP: &[Case] = &[
    case_of("compact", with_garbage, compact),
    Case {
        is_steady: false,
        ..case_of("compact in two lanes", with_much_garbage, compact_in_lanes)
    },
    case_of("repair", headless, World::repair),
];

fn closed(shape: Shape) -> World {
    let mut world = World::furnished(shape);
    world.close();
    world
}

fn rebooted(shape: Shape) -> World {
    let mut world = World::furnished(shape);
    world.reboot();
    world
}

fn reopened(shape: Shape) -> World {
    let mut world = closed(shape);
    world.open().expect("a store");
    world
}

fn unsynced(shape: Shape) -> World {
    let mut world = World::furnished(Shape { durability: drystone::Durability::Buffered, ..shape });
    for seed in 0..5 {
        world.put(&rig::bytes(2000, 200 + seed)).expect("a put");
    }
    world
}

/// The segment has room for less than the operation needs.
fn nearly_full(shape: Shape) -> World {
    let mut world = World::furnished(shape);
    for seed in 0..4 {
        world.put(&rig::bytes(50 * KIB, 300 + seed)).expect("a put");
    }
    world
}

fn roll_over(world: &mut World) -> Result<()> {
    for seed in 0..6 {
        world.put(&rig::bytes(60 * KIB, 400 + seed))?;
    }
    Ok(())
}

fn put_many_small(world: &mut World, seeds: std::ops::Range<u64>) -> Result<()> {
    let values: Vec<Vec<u8>> = seeds.map(|seed| rig::bytes(20, 10_000 + seed)).collect();
    put_values(world, &values)
}

/// The index is about to grow.
fn nearly_grown(shape: Shape) -> World {
    let mut world = World::furnished(shape);
    put_many_small(&mut world, 0..18).expect("many puts");
    world
}

fn grow(world: &mut World) -> Result<()> {
    put_many_small(world, 18..40)?;
    // Where the growth failed one of the next puts begins it.
    assert!(world.store().stats()?.index_generation > 0 || world.disk.hits() > 0);
    Ok(())
}

/// Half of some segments is garbage, in a process that has them open, and one that has them sealed.
fn with_garbage(shape: Shape) -> World {
    with_garbage_among(12, shape)
}

/// The same of small segments, of which each lane gets several.
pub fn with_much_garbage(shape: Shape) -> World {
    with_garbage_among(28, shape.small_segments())
}

fn with_garbage_among(blobs: u64, shape: Shape) -> World {
    let mut world = World::furnished(shape);
    let bodies =
        |seed: u64| rig::bytes(if seed % 4 == 0 { 70 * KIB } else { 40 * KIB }, 600 + seed);
    (0..blobs).for_each(|seed| world.put(&bodies(seed)).expect("a put"));
    for seed in (0..blobs).step_by(2) {
        let id = rig::id_of(shape.hash, &bodies(seed));
        world.store().remove(&id).expect("a removal");
        world.ledger.removed(&id);
    }
    world.close();
    world.open().expect("a store");
    world.see_all();
    world
}

/// What is live of it takes less than this, with a segment that is still written to.
const COMPACTED_MAX: u64 = 900 << 10;

fn compact(world: &mut World) -> Result<()> {
    let report = world.store().compact(&CompactOptions::new().all(true))?;
    if world.disk.hits() == 0 {
        assert!(report.complete && report.bytes_after < COMPACTED_MAX, "{report:?}");
    }
    Ok(())
}

fn compact_in_lanes(world: &mut World) -> Result<()> {
    let lanes = Arc::new(Mutex::new(HashSet::new()));
    let told = Arc::clone(&lanes);
    let options = CompactOptions::new().all(true).two_lanes_from(1).on_progress(move |progress| {
        assert!(progress.done_bytes <= progress.total_bytes, "{progress:?}");
        told.lock().expect("nobody has panicked").insert(std::thread::current().id());
    });
    let report = world.store().compact(&options)?;
    if world.disk.hits() == 0 && report.rewritten_segments > 2 {
        assert!(report.complete, "{report:?}");
        assert_eq!(lanes.lock().expect("nobody has panicked").len(), 2, "{report:?}");
    }
    Ok(())
}

/// A segment has lost its head, and nothing else.
fn headless(shape: Shape) -> World {
    let world = closed(shape.small_segments());
    let first = world.path().join("segments/00000000.seg");
    std::fs::OpenOptions::new()
        .write(true)
        .open(&first)
        .and_then(|file| file.write_all_at(&[0x33; 8], 8))
        .unwrap_or_else(|error| panic!("{}: {error}", first.display()));
    world
}

fn put_small(world: &mut World) -> Result<()> {
    world.put(&rig::bytes(3000, 20))
}

fn put_known(world: &mut World) -> Result<()> {
    world.put(&rig::bytes(5 * KIB, 3))
}

fn put_values(world: &mut World, values: &[Vec<u8>]) -> Result<()> {
    let ids: Vec<_> = values.iter().map(|value| world.ledger.may_put(value)).collect();
    assert_eq!(world.store().put_many(values)?, ids);
    for value in values {
        world.ledger.put(value);
    }
    Ok(())
}

fn put_many(world: &mut World) -> Result<()> {
    let mut values: Vec<Vec<u8>> = (0..40).map(|i| rig::bytes(i * 37, 500 + i as u64)).collect();
    values.push(rig::bytes(100, 2));
    values.push(rig::bytes(150 * KIB, 560));
    values.push(values[7].clone());
    put_values(world, &values)
}

fn put_reader(world: &mut World, len: usize) -> Result<()> {
    let bytes = rig::bytes(len, 24);
    let id = world.ledger.may_put(&bytes);
    assert_eq!(world.store().put_reader(&bytes[..])?, id);
    world.ledger.put(&bytes);
    Ok(())
}

fn put_file(world: &mut World) -> Result<()> {
    let (path, bytes) = (world.beside("file"), rig::bytes(90 * KIB, 25));
    std::fs::write(&path, &bytes).expect("a file");
    let id = world.ledger.may_put(&bytes);
    assert_eq!(world.store().put_file(&path)?, id);
    world.ledger.put(&bytes);
    Ok(())
}

fn draft_of(world: &World, bytes: &[u8]) -> Result<Draft> {
    let mut draft = world.store().reserve(bytes.len() as u64)?;
    draft.copy_from_slice(bytes);
    Ok(draft)
}

/// The draft comes back whole, and what its owner does with it then touches nothing in the store.
fn scribble(failed: CommitError, bytes: &[u8]) -> drystone::Error {
    let CommitError { mut draft, error } = failed;
    assert!(*draft == *bytes, "a draft comes back changed: {error}");
    draft.fill(0xEE);
    error
}

fn commit_bytes(world: &mut World, bytes: &[u8]) -> Result<()> {
    let id = world.ledger.may_put(bytes);
    let draft = draft_of(world, bytes)?;
    let committed = draft.commit().map_err(|failed| scribble(failed, bytes))?;
    assert_eq!(committed, id);
    world.ledger.put(bytes);
    Ok(())
}

fn commit(world: &mut World, len: usize) -> Result<()> {
    commit_bytes(world, &rig::bytes(len, 26))
}

fn commit_known(world: &mut World) -> Result<()> {
    commit_bytes(world, &rig::bytes(300 * KIB, 5))
}

fn commit_as(world: &mut World, key: &[u8]) -> Result<()> {
    let bytes = rig::bytes(120 * KIB, 27);
    let id = world.ledger.may_put(&bytes);
    let name: Name = ("drafts".into(), key.to_vec());
    world.ledger.may_set(&name, Some(Value::Blob(id)));
    let draft = draft_of(world, &bytes)?;
    let refs = world.store().refs("drafts");
    let committed = draft.commit_as(&refs, key).map_err(|failed| scribble(failed, &bytes))?;
    assert_eq!(committed, id);
    world.ledger.must_hold(&bytes);
    world.ledger.set(&name, Some(Value::Blob(id)));
    Ok(())
}

fn set_many_bytes(world: &mut World) -> Result<()> {
    let bytes = rig::bytes(9 * KIB, 28);
    let id = world.ledger.may_put(&bytes);
    let name: Name = ("n".into(), b"many".to_vec());
    world.ledger.may_set(&name, Some(Value::Blob(id)));
    world.store().refs("n").set("many", bytes.clone())?;
    world.ledger.must_hold(&bytes);
    world.ledger.set(&name, Some(Value::Blob(id)));
    Ok(())
}

fn set_blobs(world: &mut World) -> Result<()> {
    let ids = world.ledger.held();
    world.set("n", b"blobs", Value::Blobs(ids))
}

fn add(world: &mut World) -> Result<()> {
    let (name, value): (Name, _) = (("n".into(), b"added".to_vec()), Value::Bytes(vec![1; 9]));
    world.ledger.may_set(&name, Some(value.clone()));
    // `None` where it was done in spite of the error that it ended in before.
    let _ = world.store().refs("n").add("added", value.clone())?;
    world.ledger.set(&name, Some(value));
    Ok(())
}

fn compare_and_set(world: &mut World) -> Result<()> {
    let refs = world.store().refs("n");
    let (name, value): (Name, _) = (("n".into(), b"bytes".to_vec()), Value::Bytes(vec![2; 9]));
    let seen = refs.get("bytes")?.expect("it is bound").version;
    world.ledger.may_set(&name, Some(value.clone()));
    let set = refs.compare_and_set("bytes", Some(seen), value.clone())?;
    assert!(set.is_some_and(|version| version > seen), "nobody else has changed it");
    world.ledger.set(&name, Some(value));
    Ok(())
}

fn remove_ref(world: &mut World) -> Result<()> {
    let name: Name = ("n".into(), b"bytes".to_vec());
    world.ledger.may_set(&name, None);
    let _ = world.store().refs("n").remove("bytes")?;
    world.ledger.set(&name, None);
    Ok(())
}

fn unpin(world: &mut World) -> Result<()> {
    let id = rig::id_of(world.ledger.algorithm, &rig::bytes(70 * KIB, 4));
    world.ledger.may_unpin(&id);
    let _ = world.store().unpin(&id)?;
    assert!(!world.store().stat(&id)?.expect("it stays").pinned);
    Ok(())
}

fn remove_blob(world: &mut World) -> Result<()> {
    let id = rig::id_of(world.ledger.algorithm, &rig::bytes(5 * KIB, 3));
    world.ledger.may_remove(&id);
    world.ledger.may_unpin(&id);
    let _ = world.store().remove(&id)?;
    world.ledger.removed(&id);
    Ok(())
}

/// Reads by every way there is; a blob that must be there is never missing because of a fault.
fn read_everything(world: &mut World) -> Result<()> {
    let (store, ids) = (world.store(), world.ledger.held());
    for id in &ids {
        let expected = world.ledger.bytes_of(id);
        let blob = store.get(id)?;
        assert!(blob.is_some_and(|blob| *blob == *expected), "{id}");
        let mut buffer = vec![0; expected.len()];
        assert_eq!(store.read_into(id, 0, &mut buffer)?, Some(expected.len()));
        assert!(buffer == expected, "{id}");
        assert!(store.contains(id)?);
        assert_eq!(store.stat(id)?.map(|stat| stat.len), Some(expected.len() as u64));
    }
    assert!(store.get_many(&ids)?.iter().all(Option::is_some));
    let guard = store.read_guard();
    for id in &ids {
        assert_eq!(guard.get(id)?, Some(world.ledger.bytes_of(id)));
    }
    assert!(store.refs("n").get("blob")?.is_some());
    assert_eq!(store.blobs().collect::<Result<Vec<_>>>()?.len(), ids.len());
    assert_eq!(store.refs("n").iter().collect::<Result<Vec<_>>>()?.len(), 2);
    assert_eq!(store.stats()?.blobs, ids.len() as u64);
    Ok(())
}

#[test]
fn a_ref_to_a_blob_that_is_not_there_is_not_found() {
    let world = World::furnished(Shape::BUFFERED);
    let id = rig::id_of(world.ledger.algorithm, b"never put");
    rig::refused(world.store().refs("n").set("k", id), ErrorKind::NotFound, &[&id.to_string()]);
}
