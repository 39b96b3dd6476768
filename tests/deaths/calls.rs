//! A process dies at each of its system calls: strace kills it at the n-th of each name.
#![forbid(unsafe_code)]

use crate::case::{Case, Finish, Way};
use crate::figures::{Figures, is_all};
use crate::peer::Peer;
use crate::scripts::{Group, scripts};
use crate::stage::{Stage, Tracer};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Stages at a time.
const LANES: usize = 2;

/// strace, told to kill, or only to write down what is called.
pub struct Strace {
    arguments: Vec<String>,
}

impl Strace {
    pub fn killing(call: &str, n: u64) -> Self {
        let inject = format!("inject={call}:signal=SIGKILL:when={n}");
        let (trace, quiet) = (format!("trace={call}"), "/dev/null".into());
        Self { arguments: vec!["-e".into(), trace, "-e".into(), inject, "-o".into(), quiet] }
    }

    fn writing_down(file: &Path) -> Self {
        Self { arguments: vec!["-o".into(), file.display().to_string()] }
    }
}

/// A tracer at work: it ends with the traced. Should it not, it is ended.
struct Following(Child);

impl Drop for Following {
    fn drop(&mut self) {
        for _ in 0..500 {
            if let Ok(Some(_)) = self.0.try_wait() {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Tracer for Strace {
    fn attach(&self, process: &str) -> Result<Box<dyn Send>, String> {
        let mut strace = Command::new("strace")
            .args(["-f", "-p", process])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("no strace: {error}"))?;
        let says = BufReader::new(strace.stderr.take().expect("it is piped"));
        let mut said = String::new();
        for line in says.lines().map_while(Result::ok) {
            if line.contains("attached") {
                return Ok(Box::new(Following(strace)));
            }
            said.push_str(&line);
        }
        let _ = strace.wait();
        Err(format!("strace cannot attach: {said}"))
    }
}

/// What a script calls, and how often each thread at most.
fn calls_of(stage: &mut Stage, script: usize) -> Result<BTreeMap<String, u64>, String> {
    let file = std::env::temp_dir().join(format!("drystone-calls-{}-{script}", std::process::id()));
    let tracer = Strace::writing_down(&file);
    let played = stage.play(&Case::step(script, Way::Trace, 0, Finish::Sync), Some(&tracer));
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let _ = std::fs::remove_file(&file);
    played?;
    let mut by_thread = BTreeMap::<(String, String), u64>::new();
    for line in text.lines() {
        // `PID name(arguments`, or of a call that another one came between `PID <... name resumed>`.
        let mut words = line.split_whitespace();
        let (Some(thread), Some(call)) = (words.next(), words.next()) else { continue };
        if let Some((name, _)) = call.split_once('(').filter(|(name, _)| !name.is_empty()) {
            *by_thread.entry((name.to_owned(), thread.to_owned())).or_default() += 1;
        }
    }
    let mut calls = BTreeMap::new();
    for ((name, _), count) in by_thread {
        let most = calls.entry(name).or_insert(0);
        *most = count.max(*most);
    }
    Ok(calls)
}

/// Plays a script with a death at each call of one name, until it is not called so often.
fn enumerate(
    stage: &mut Stage,
    script: usize,
    call: &str,
    figures: &mut Figures,
) -> Result<u64, String> {
    let mut deaths = 0;
    for n in 1.. {
        let finish = if n % 2 == 0 { Finish::Repeat } else { Finish::Sync };
        let case = Case { call: call.into(), ..Case::step(script, Way::Trace, n, finish) };
        let played = stage.play(&case, Some(&Strace::killing(call, n)))?;
        figures.add(&played.figures);
        if played.survived {
            break;
        }
        deaths += 1;
    }
    Ok(deaths)
}

/// Those whose death shows: they change files or memory that others see, or take or give back what
/// others wait for. The others look, sleep or are the allocator's.
fn matters(call: &str) -> bool {
    const CHANGING: [&str; 19] = [
        "close",
        "dup3",
        "exit_group",
        "fallocate",
        "fchmod",
        "fcntl",
        "fdatasync",
        "fsync",
        "ftruncate",
        "linkat",
        "mkdirat",
        "mmap",
        "msync",
        "munmap",
        "openat",
        "pwrite64",
        "renameat",
        "renameat2",
        "unlinkat",
    ];
    is_all() || CHANGING.contains(&call)
}

fn can_trace() -> Result<(), String> {
    let mut peer = Peer::start("victims", &std::env::temp_dir(), 0);
    peer.hear();
    let calls = std::env::temp_dir().join(format!("drystone-calls-{}", std::process::id()));
    let tried = Strace::writing_down(&calls).attach(&peer.process_id().to_string());
    drop(peer);
    let _ = std::fs::remove_file(&calls);
    tried.map(drop)
}

#[test]
#[cfg_attr(not(bug), ignore = "for minutes; `cargo xtask test deaths` runs it")]
fn a_process_that_dies_at_any_system_call_takes_nothing_along_and_stops_nobody() {
    if let Err(why) = can_trace() {
        println!("SKIPPED: death at every system call: {why}");
        return;
    }
    let (start, scripts) = (Instant::now(), scripts());
    let work = Mutex::new(Vec::new());
    let failures = Mutex::new(Vec::new());
    let next = AtomicUsize::new(0);
    let sum = Mutex::new((Figures::default(), 0));
    let lane = |stage: &mut Stage| -> Result<(), String> {
        loop {
            let script = next.fetch_add(1, Ordering::Relaxed);
            if script >= scripts.len() {
                break;
            }
            if scripts[script].group == Group::Repair && !is_all() {
                continue;
            }
            let calls = calls_of(stage, script)?;
            let matter = calls.into_keys().filter(|call| matters(call));
            work.lock().unwrap().extend(matter.map(|call| (script, call)));
        }
        while failures.lock().unwrap().is_empty() {
            let Some((script, call)) = work.lock().unwrap().pop() else { break };
            let mut figures = Figures::default();
            let deaths = enumerate(stage, script, &call, &mut figures)?;
            let mut sum = sum.lock().unwrap();
            sum.0.add(&figures);
            sum.1 += deaths;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                let done = lane(&mut Stage::new());
                failures.lock().unwrap().extend(done.err());
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let (figures, deaths) = sum.into_inner().unwrap();
    assert!(deaths > 100, "{deaths} deaths are too few");
    println!(
        "figure: deaths at system calls: {deaths}, {}, in {:.0} s; the longest round of two others {:?}, \
         the longest open {:?}",
        if is_all() { "every call of every script" } else { "every call that changes something" },
        start.elapsed().as_secs_f64(),
        figures.pause,
        figures.open
    );
}
