//! A check beside processes and threads that put, remove, set, grow, seal, collect and compact finds
//! nothing.

use super::rig::{bytes, campaign, in_memory, options, random, say, seed};
use super::tried::{check, deep, told};
use drystone::{CompactOptions, ErrorKind, FsckOptions};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Checks that must pass by default, and how long they may take.
const CHECKS: u64 = 100;
const TIME: Duration = Duration::from_secs(20);
const WORKER: &str = "beside::a_worker_beside_checks";

/// Puts, names and removes until it is told to stop.
fn churn(path: &Path, mut state: u64, is_over: &dyn Fn() -> bool) -> u64 {
    let store = options().open(path).expect("a store");
    let refs = store.refs("churn");
    let (mut ids, mut done) = (Vec::new(), 0u64);
    while !is_over() {
        let sizes = [50, 900, 30_000, 90_000, 400_000];
        let len = sizes[random(&mut state, 5) as usize] + random(&mut state, 50);
        let id = store.put(&bytes(len as usize, state)).expect("a put");
        ids.push(id);
        let name = format!("name {}", random(&mut state, 50));
        let other = ids[random(&mut state, ids.len() as u64) as usize];
        match random(&mut state, 6) {
            0 => drop(refs.set(&name, id).map_err(|e| assert!(e.kind() == ErrorKind::NotFound))),
            1 => assert!(refs.set(&name, vec![7; 40]).is_ok()),
            2 => assert!(refs.remove(&name).is_ok()),
            3 => assert!(store.remove(&other).is_ok()),
            4 => assert!(store.unpin(&other).is_ok()),
            _ => {
                let many: Vec<Vec<u8>> =
                    (0..40).map(|at| bytes(60 + at, state ^ at as u64)).collect();
                assert_eq!(store.put_many(&many).expect("puts").len(), 40);
            }
        }
        done += 1;
        // The store must not grow faster than it is checked.
        std::thread::sleep(Duration::from_millis(2));
        if done.is_multiple_of(200) {
            store.sync().expect("a sync");
        }
        if done.is_multiple_of(70) {
            let all = CompactOptions::new().all(done.is_multiple_of(140));
            let compacted = store.compact(&all);
            // Somebody else may be at it.
            assert!(compacted.is_ok() || compacted.is_err_and(|e| e.kind() == ErrorKind::Busy));
        }
    }
    done
}

fn worker(path: &Path, seed: u64) -> Child {
    let program = std::env::current_exe().expect("this program");
    let mut child = Command::new(program);
    child.args([WORKER, "--exact", "--nocapture"]);
    child.env("DRYSTONE_BESIDE", path).env("DRYSTONE_SEED", seed.to_string());
    child.stdout(std::process::Stdio::null()).spawn().expect("a worker")
}

#[test]
fn a_worker_beside_checks() {
    let Some(path) = std::env::var_os("DRYSTONE_BESIDE") else { return };
    let stop = Path::new(&path).with_file_name("stop");
    churn(Path::new(&path), seed(), &|| stop.exists());
}

#[test]
fn checks_beside_users_find_nothing() {
    let dir = in_memory();
    let path = dir.path().join("store");
    drop(options().create(true).segment_bytes(1 << 20).open(&path).expect("a store"));
    let is_over = AtomicBool::new(false);
    let (mut checks, mut done) = (0, 0);
    let start = Instant::now();
    let most = (CHECKS * campaign(), TIME * campaign() as u32);
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| churn(&path, seed() ^ 1, &|| is_over.load(Relaxed)));
        let mut child = worker(&path, seed() ^ 2);
        let mut verdict = Ok(());
        while verdict.is_ok() && checks < most.0 && start.elapsed() < most.1 {
            // Some of the workers die in the middle of what they do.
            if checks % 20 == 19 {
                child.kill().expect("a kill");
                child.wait().expect("its end");
                child = worker(&path, seed() ^ checks);
            }
            let how = if checks % 2 == 0 { deep() } else { FsckOptions::new().threads(2) };
            let report = check(&path, &how);
            checks += 1;
            if !report.is_clean() {
                verdict = Err(format!("seed {}, check {checks}: {}", seed(), told(&report)));
            }
        }
        is_over.store(true, Relaxed);
        std::fs::write(path.with_file_name("stop"), b"").expect("a file");
        child.wait().expect("its end");
        done = thread.join().expect("a thread");
        verdict.unwrap();
    });
    let report = check(&path, &deep());
    assert!(report.is_clean(), "{}", told(&report));
    say(&format!(
        "figure: {checks} checks beside users, none found anything, in {:.1?}; {done} operations of one of them, {} records",
        start.elapsed(),
        report.records
    ));
}
