//! The victims: a process that does nothing but fork them, so that a death costs no start of a program.
//!
//! `unsafe` stands here because fork is called here.

use crate::case::{Case, Way};
use crate::content::Doer;
use crate::peer::{listen, say};
use crate::scripts::{Begin, Script, scripts};
use drystone::{FsckOptions, Store};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, alarm, fork, pipe};
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::path::Path;
use std::sync::OnceLock;

/// The role: takes cases, one by one, and tells how each ended.
pub fn serve() {
    prctl::set_child_subreaper(true).unwrap();
    let scripts = scripts();
    say("ready");
    loop {
        let line = listen();
        if line.is_empty() {
            return;
        }
        let (case, place) = Case::from_line(&line);
        let (gate, opener) = pipe().unwrap();
        let (gate, opener) = (PipeReader::from(gate), PipeWriter::from(opener));
        // SAFETY: this process has one thread, so the child finds every lock free; it ends without
        // running destructors of this one.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                drop(opener);
                run(&scripts[case.script], &case, &place, gate);
            }
            ForkResult::Parent { child } => {
                drop(gate);
                watch(child, case.way, opener);
            }
        }
    }
}

/// What the parent of a victim sees of it.
fn watch(child: Pid, way: Way, mut opener: PipeWriter) {
    if way == Way::Trace && listen() == "go" {
        // It may have been killed when it was asked to wait.
        let _ = opener.write_all(b"g");
    }
    loop {
        match waitpid(child, Some(WaitPidFlag::WUNTRACED)).unwrap() {
            WaitStatus::Stopped(..) => {
                say("stopped");
                assert_eq!(listen(), "continue");
                kill(child, Signal::SIGCONT).unwrap();
            }
            WaitStatus::Signaled(_, signal, _) => {
                say(format!("end {signal}"));
                break;
            }
            WaitStatus::Exited(_, code) => {
                say(format!("end exit {code}"));
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    if way == Way::Fork {
        // The child of the victim, if there is one, is now this one's.
        let orphan = listen();
        if let Ok(orphan) = orphan.parse() {
            opener.write_all(b"g").unwrap();
            assert_eq!(listen(), "end it");
            kill(Pid::from_raw(orphan), Signal::SIGKILL).unwrap();
            waitpid(Pid::from_raw(orphan), None).unwrap();
        }
        say("over");
    }
}

/// What the end of the countdown, and the thread that forks, must know.
struct Scene {
    way: Way,
    to_forker: PipeWriter,
    store: OnceLock<Store>,
}

static SCENE: OnceLock<Scene> = OnceLock::new();

/// The victim.
fn run(script: &Script, case: &Case, place: &Path, gate: PipeReader) -> ! {
    // Whoever hangs is killed, by a signal that is not the one that is expected.
    alarm::set(60);
    let work = || play(script, case, place, gate);
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    std::process::exit(if done.is_ok() { 0 } else { 1 });
}

fn play(script: &Script, case: &Case, place: &Path, mut gate: PipeReader) {
    let open = || {
        let making = script.begin == Begin::Making;
        let options = Store::options().create(making).segment_bytes(crate::living::SEGMENT_BYTES);
        // strace 6.1 hangs now and then when the traced is killed while it makes a thread.
        let threads = if case.way == Way::Trace { 1 } else { 2 };
        let options = options.durability(script.durability).threads(threads);
        let store = options.open(place).unwrap();
        if let Some(scene) = SCENE.get().filter(|scene| scene.way == Way::Fork) {
            let _ = scene.store.set(store.clone());
        }
        store
    };
    let opened = (script.begin == Begin::Opened).then(open);
    if let Some(store) = &opened {
        let mut doer = Doer::new(store);
        script.prepared.iter().for_each(|op| doer.act(op).unwrap());
    }
    if case.way == Way::Trace {
        say(format!("traced {}", std::process::id()));
        gate.read_exact(&mut [0]).unwrap();
    } else {
        set_the_scene(case, gate, opened.as_ref());
    }
    if script.begin == Begin::Repairing {
        let repair = FsckOptions::new().repair(true).threads(1);
        let report = drystone::fsck(place, &repair).unwrap();
        assert_eq!(report.repair.map(|repair| repair.remaining), Some(0));
        stop_counting();
        return;
    }
    let store = opened.unwrap_or_else(open);
    let mut doer = Doer::new(&store);
    for op in &script.ops {
        doer.act(op).unwrap();
        say("ack");
    }
    doer.look_at_views();
    drop(doer);
    drop(store);
    stop_counting();
}

fn set_the_scene(case: &Case, gate: PipeReader, opened: Option<&Store>) {
    let (from_victim, to_forker) = pipe().unwrap();
    let scene = Scene { way: case.way, to_forker: to_forker.into(), store: OnceLock::new() };
    if let (Way::Fork, Some(store)) = (case.way, opened) {
        let _ = scene.store.set(store.clone());
    }
    assert!(SCENE.set(scene).is_ok(), "one scene for each victim");
    if case.way == Way::Fork {
        std::thread::spawn(move || fork_when_told(from_victim.into(), gate));
    }
    count_down(case);
}

#[cfg(bug)]
fn count_down(case: &Case) {
    drystone::count_down(case.n, case.looks, end);
}

#[cfg(bug)]
use drystone::stop_counting;

/// Without the steps nothing is counted.
#[cfg(not(bug))]
fn count_down(_: &Case) {
    let _ = end as fn();
}

#[cfg(not(bug))]
fn stop_counting() {}

/// What happens at the end of the countdown, in whatever thread that is.
fn end() {
    let Some(scene) = SCENE.get() else { return };
    let me = Pid::this();
    match scene.way {
        Way::None | Way::Trace => {}
        Way::Kill => kill(me, Signal::SIGKILL).unwrap(),
        Way::Stop => kill(me, Signal::SIGSTOP).unwrap(),
        Way::Fork => {
            (&scene.to_forker).write_all(b"f").unwrap();
            loop {
                std::thread::park();
            }
        }
    }
}

/// A thread that forks while the others are in the middle of something; the child outlives the parent.
fn fork_when_told(mut from_victim: PipeReader, mut gate: PipeReader) {
    if from_victim.read_exact(&mut [0]).is_err() {
        return;
    }
    // SAFETY: the child does more than POSIX promises after a fork with threads; that is what is
    // tested. glibc keeps the allocator usable in it, and it ends without running destructors.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { .. } => kill(Pid::this(), Signal::SIGKILL).unwrap(),
        ForkResult::Child => {
            alarm::set(60);
            say(format!("forked {}", std::process::id()));
            gate.read_exact(&mut [0]).unwrap();
            let went_on = std::panic::catch_unwind(go_on);
            say(if went_on.is_ok() { "went on" } else { "fell" });
            loop {
                std::thread::sleep(std::time::Duration::from_secs(1));
            }
        }
    }
}

/// What the child of a dead parent does with the parent's store.
fn go_on() {
    // The parent may have died before it had it open.
    let Some(store) = SCENE.get().and_then(|scene| scene.store.get()) else { return };
    let content = crate::living::OF_ORPHANS;
    let id = store.put(&content.bytes()).unwrap();
    assert!(*store.get(&id).unwrap().unwrap() == *content.bytes());
    store.sync().unwrap();
}
