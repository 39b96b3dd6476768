//! Where a case is played: a victim, and two others who have the same store open and go on.
//!
//! After the victim's death, in this order: it has left no lock; the two go on within a second; a newcomer
//! opens; what was acknowledged is there, and nothing is that nobody put; then one of the two repeats what
//! the victim left undone, or syncs; and after a new boot all that was promised is there again.
#![forbid(unsafe_code)]

use crate::case::{Case, Finish, Way};
use crate::content::{Content, Op, REFS};
use crate::figures::Figures;
use crate::living::{OF_ORPHANS, round};
use crate::locks::{check_locks, held_locks};
use crate::oracle::{How, Oracle};
use crate::peer::Peer;
use crate::scripts::{Begin, HURT, Script, scripts};
use crate::support::{Scratch, another_boot};
use drystone::{BlobId, FsckOptions, Store, Version};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

/// So long a round of the living may take. Whoever takes longer is looked at again: on a busy machine
/// that may be for want of a turn.
const PATIENCE: Duration = Duration::from_secs(1);
/// So long an open may take beside one who stands still while it builds the run (`store/open.rs`).
const RECOVERY: Duration = Duration::from_secs(15);
/// So long a tracer may take for one victim.
const TRACER: Duration = Duration::from_secs(10);
/// So often.
const LOOKS_MAX: u32 = 4;

/// See the head of this file.
pub struct Stage {
    scripts: Vec<Script>,
    victims: Peer,
    living: [Peer; 2],
    scratch: Scratch,
    played: u64,
}

/// How a victim ended.
#[derive(Debug, Default)]
struct Ending {
    acknowledged: usize,
    /// Its child, which lives on.
    orphan: Option<String>,
    is_stopped: bool,
    tracer_was_ended: bool,
    /// Its last word about itself.
    end: String,
}

/// What came of a case.
#[derive(Debug)]
pub struct Played {
    pub figures: Figures,
    /// Whether nothing happened to the victim.
    pub survived: bool,
}

type Fallible<T> = Result<T, String>;

fn expect(answer: String) -> Fallible<()> {
    if answer == "done" { Ok(()) } else { Err(format!("a living one: {answer}")) }
}

impl Stage {
    pub fn new() -> Self {
        let scratch = Scratch::in_memory();
        let start = |role: &str, seed| {
            let mut peer = Peer::start(role, scratch.dir(), seed);
            assert_eq!(peer.hear(), "ready");
            peer
        };
        let victims = start("victims", 0);
        let living = [start("live", 0), start("live", 1)];
        Self { scripts: scripts(), victims, living, scratch, played: 0 }
    }

    /// How the victim of a case meets the store.
    pub fn begin(&self, case: &Case) -> Begin {
        self.scripts[case.script].begin
    }

    /// Plays a case. An error is what went wrong, with how to play it again.
    pub fn play(&mut self, case: &Case, tracer: Option<&dyn Tracer>) -> Fallible<Played> {
        let mut looks = 0;
        loop {
            let played = self.play_once(case, tracer);
            let played = played.map_err(|why| case.failed(&self.scripts, &why))?;
            looks += 1;
            let Figures { pause, open, .. } = played.figures;
            let waits_for_recovery = case.way == Way::Stop && self.begin(case) != Begin::Opened;
            let open_max = if waits_for_recovery { RECOVERY } else { PATIENCE };
            if pause < PATIENCE && open < open_max {
                return Ok(played);
            }
            if looks == LOOKS_MAX {
                let why = format!("others took {pause:?}, a newcomer {open:?}, each time");
                return Err(case.failed(&self.scripts, &why));
            }
        }
    }

    fn play_once(&mut self, case: &Case, tracer: Option<&dyn Tracer>) -> Fallible<Played> {
        self.played += 1;
        let place = self.scratch.dir().join(format!("store-{}", self.played));
        let result = self.play_at(case, &place, tracer);
        if std::env::var_os("DRYSTONE_KEEP").is_none() {
            let _ = std::fs::remove_dir_all(&place);
        }
        result
    }

    fn play_at(
        &mut self,
        case: &Case,
        place: &Path,
        tracer: Option<&dyn Tracer>,
    ) -> Fallible<Played> {
        let mut oracle = self.set_up(case, place)?;
        let locks_before = held_locks(place);
        if case.busy {
            self.living.iter_mut().for_each(|peer| peer.tell("round"));
        }
        self.victims.tell(&case.to_line(place));
        let mut ending = self.hear_ending(case.way, tracer)?;
        if case.busy {
            self.living
                .iter_mut()
                .try_for_each(|peer| peer.try_hear().map(drop).ok_or("a living one is gone"))?;
        }
        let from = ending.acknowledged;
        self.note_ops(case, 0..from, How::Done, &mut oracle);
        self.note_ops(case, from..from + 1, How::Begun, &mut oracle);
        if !ending.is_stopped && !case.busy {
            check_locks(&locks_before, &held_locks(place))?;
        }
        let mut figures = self.others_go_on(case, place, &mut oracle)?;
        self.finish(case, from, place, ending.is_stopped, &mut oracle)?;
        if ending.is_stopped {
            self.victims.tell("continue");
            ending = Ending { is_stopped: true, ..self.hear_ending(case.way, None)? };
            self.note_ops(case, from..usize::MAX, How::Done, &mut oracle);
        }
        self.let_orphan_go_on(case, &ending, &mut oracle)?;
        let may_be_killed = !matches!(case.way, Way::None | Way::Stop);
        if ending.end != "exit 0" && !(may_be_killed && ending.end == "SIGKILL") {
            return Err(format!("the victim ended by {}", ending.end));
        }
        self.boot_again(place, oracle)?;
        let survived = ending.end == "exit 0" && !ending.is_stopped;
        if survived && ending.tracer_was_ended {
            // That tells nothing: once more.
            figures.pause = Duration::MAX;
        }
        figures.hits = (!survived).into();
        Ok(Played { figures, survived })
    }

    fn note_ops(&self, case: &Case, range: Range<usize>, how: How, oracle: &mut Oracle) {
        let ops = self.scripts[case.script].ops.iter();
        ops.skip(range.start).take(range.len()).for_each(|op| oracle.note(op, how));
    }

    /// The store as it is before the victim comes.
    fn set_up(&mut self, case: &Case, place: &Path) -> Fallible<Oracle> {
        let script = &self.scripts[case.script];
        let mut oracle = Oracle::default();
        if script.begin != Begin::Making {
            expect(self.living[0].ask(&format!("make {}", place.display())))?;
            expect(self.living[0].ask(&format!("before {}", case.script)))?;
            expect(self.living[1].ask(&format!("open {}", place.display())))?;
        }
        script.before.iter().chain(&script.prepared).for_each(|op| oracle.note(op, How::Done));
        match script.begin {
            Begin::Recovering => {
                self.close()?;
                std::fs::remove_dir_all(place.join("run")).map_err(|error| error.to_string())?;
            }
            Begin::Repairing => {
                self.close()?;
                damage(place, HURT)?;
                oracle.hurt(HURT);
            }
            _ => {}
        }
        Ok(oracle)
    }

    fn close(&mut self) -> Fallible<()> {
        self.living.iter_mut().try_for_each(|peer| expect(peer.ask("close")))
    }

    /// Until the victim is gone, or stands still.
    fn hear_ending(&mut self, way: Way, tracer: Option<&dyn Tracer>) -> Fallible<Ending> {
        let mut ending = Ending::default();
        // Dropped at the end: a tracer is waited for.
        let mut tracing: Option<Box<dyn Send>> = None;
        loop {
            let mut said = tracing.as_ref().and_then(|_| self.victims.hear_within(TRACER));
            if said.is_none() {
                // strace 6.1 hangs now and then when the traced is killed while it makes a thread.
                ending.tracer_was_ended |= tracing.take().is_some();
                said = self.victims.try_hear();
            }
            let said = said.ok_or("the victims' parent is gone")?;
            let (word, rest) = said.split_once(' ').unwrap_or((&said, ""));
            match word {
                "ack" => ending.acknowledged += 1,
                // Said by the child, when it has given up what it inherited.
                "forked" => ending.orphan = Some(rest.to_owned()),
                "traced" => {
                    let tracer = tracer.ok_or("a victim to be traced, and no tracer")?;
                    tracing = Some(tracer.attach(rest)?);
                    self.victims.tell("go");
                }
                "stopped" => ending.is_stopped = true,
                "end" => ending.end = rest.to_owned(),
                _ => return Err(format!("the victim said {said:?}")),
            }
            let is_killed_forker = way == Way::Fork && ending.end == "SIGKILL";
            let is_incomplete =
                ending.end.is_empty() || is_killed_forker && ending.orphan.is_none();
            if !is_incomplete || ending.is_stopped {
                return Ok(ending);
            }
        }
    }

    /// The living do a round at the same time, and somebody new opens and finds what there must be.
    fn others_go_on(
        &mut self,
        case: &Case,
        place: &Path,
        oracle: &mut Oracle,
    ) -> Fallible<Figures> {
        let mut figures = Figures { cases: 1, ..Figures::default() };
        if self.scripts[case.script].begin != Begin::Opened {
            // Those who had it open already open it again, too: nobody is in their way.
            let word = format!("make {}", place.display());
            self.living.iter_mut().try_for_each(|peer| expect(peer.ask(&word)))?;
        }
        self.living.iter_mut().for_each(|peer| peer.tell("round"));
        for (who, peer) in self.living.iter_mut().enumerate() {
            let said = peer.try_hear().ok_or("a living one is gone")?;
            let took = Duration::from_micros(said.parse().map_err(|_| said)?);
            figures.pause = figures.pause.max(took);
            round(who as u64).iter().for_each(|op| oracle.note(op, How::Done));
        }
        let start = Instant::now();
        let store = Store::open(place).map_err(|error| format!("a newcomer: {error}"))?;
        figures.open = start.elapsed();
        oracle.check(&store)?;
        if self.begin(case) != Begin::Repairing {
            check_all(place, None)?;
        }
        Ok(figures)
    }

    /// Something that makes what the victim has done, or begun, last.
    fn finish(
        &mut self,
        case: &Case,
        from: usize,
        place: &Path,
        is_stopped: bool,
        oracle: &mut Oracle,
    ) -> Fallible<()> {
        if self.begin(case) == Begin::Repairing {
            self.close()?;
            expect(self.living[0].ask(&format!("repair {}", place.display())))?;
            return check_all(place, None);
        }
        match case.finish {
            Finish::Sync => expect(self.living[1].ask("sync")),
            Finish::Repeat if from < self.scripts[case.script].ops.len() => {
                if !is_stopped {
                    self.note_ops(case, from..usize::MAX, How::Done, oracle);
                }
                expect(self.living[0].ask(&format!("finish {} {from}", case.script)))
            }
            Finish::Repeat => Ok(()),
        }
    }

    fn let_orphan_go_on(
        &mut self,
        case: &Case,
        ending: &Ending,
        oracle: &mut Oracle,
    ) -> Fallible<()> {
        if case.way != Way::Fork {
            return Ok(());
        }
        match &ending.orphan {
            None => self.victims.tell("none"),
            Some(orphan) => {
                oracle.note(&Op::Put(OF_ORPHANS), How::Begun);
                let said = self.victims.ask(orphan);
                if said != "went on" {
                    return Err(format!("the child of a dead victim {said}"));
                }
                self.victims.tell("end it");
            }
        }
        let said = self.victims.hear();
        if said == "over" { Ok(()) } else { Err(said) }
    }

    /// A new boot, when all are gone: what was visible is there, and no more (but for garbage).
    fn boot_again(&mut self, place: &Path, mut oracle: Oracle) -> Fallible<()> {
        let store = Store::open(place).map_err(|error| error.to_string())?;
        oracle.check(&store)?;
        let before = everything(&store, &oracle)?;
        drop(store);
        self.close()?;
        let boot = another_boot();
        let again = Store::options().boot_id(&boot).open(place);
        let again = again.map_err(|error| format!("after a new boot: {error}"))?;
        oracle.boot();
        oracle.check(&again).map_err(|why| format!("after a new boot: {why}"))?;
        let mut after = everything(&again, &oracle)?;
        after.0.retain(|id, is_pinned| *is_pinned || before.0.contains_key(id));
        if after != before {
            return Err("after a new boot other things are visible".into());
        }
        check_all(place, Some(boot))
    }
}

/// Flips a byte in the middle of a blob.
fn damage(place: &Path, content: Content) -> Fallible<()> {
    let bytes = content.bytes();
    let entries = std::fs::read_dir(place.join("segments")).map_err(|error| error.to_string())?;
    for path in entries.map_while(Result::ok).map(|entry| entry.path()) {
        let mut file = std::fs::read(&path).map_err(|error| error.to_string())?;
        if let Some(at) = file.windows(32).position(|window| *window == bytes[..32]) {
            file[at + content.len / 2] ^= 1;
            return std::fs::write(&path, file).map_err(|error| error.to_string());
        }
    }
    Err(format!("{content:?} stands nowhere"))
}

/// Nothing is damaged, from end to end.
fn check_all(place: &Path, boot: Option<String>) -> Fallible<()> {
    let options = FsckOptions::new().deep(true).threads(1);
    let options = boot.into_iter().fold(options, FsckOptions::boot_id);
    let report = drystone::fsck(place, &options).map_err(|error| format!("fsck: {error}"))?;
    match report.damaged().next() {
        None => Ok(()),
        Some(damage) => Err(format!("fsck finds {} of {damage:?}", report.damage)),
    }
}

/// The blobs with their pins, and the refs with their versions.
type Everything = (BTreeMap<BlobId, bool>, BTreeSet<(Vec<u8>, Version)>);

fn everything(store: &Store, oracle: &Oracle) -> Fallible<Everything> {
    let blobs = store.blobs().map(|stat| stat.map(|stat| (stat.id, stat.pinned)));
    let blobs = blobs.filter(|blob| !blob.as_ref().is_ok_and(|(id, _)| oracle.is_hurt(id)));
    let refs = store.refs(REFS).iter().map(|entry| entry.map(|entry| (entry.key, entry.version)));
    let all =
        || Ok((blobs.collect::<drystone::Result<_>>()?, refs.collect::<drystone::Result<_>>()?));
    all().map_err(|error: drystone::Error| error.to_string())
}

/// Kills a process at a system call of its.
pub trait Tracer {
    /// Follows the process from here on, until what is returned is dropped.
    fn attach(&self, process: &str) -> Fallible<Box<dyn Send>>;
}
