//! The search: every state that a scenario can get into, breadth first, each checked once.

use crate::power;
use crate::rules::Rule;
use crate::script::Scenario;
use crate::step::{is_enabled, kill, step};
use crate::world::{At, Context, KEYS, NONE, World, is_ref, name_of};
use std::cell::RefCell;
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::time::{Duration, Instant};
use xxhash_rust::xxh3::xxh3_128;

/// What a search went through, and what it found.
pub struct Found {
    pub states: u64,
    pub transitions: u64,
    /// States of the medium whose recovery was checked.
    pub images: u64,
    /// Whether all states were reached.
    pub is_complete: bool,
    /// The rule that was broken, and how.
    pub broken: Option<Broken>,
    pub time: Duration,
}

/// A violation and the shortest way to it.
pub struct Broken {
    pub what: String,
    pub trace: Vec<String>,
}

/// Gathers what is hashed.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Hasher for Bytes {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(&self) -> u64 {
        unreachable!("the digest is taken of all bytes")
    }
}

/// A digest is its own hash.
#[derive(Default)]
struct Itself(u64);

impl Hasher for Itself {
    fn write(&mut self, bytes: &[u8]) {
        let first = bytes.iter().take(8).enumerate();
        self.0 = first.fold(0, |hash, (at, byte)| hash | u64::from(*byte) << (8 * at));
    }

    fn write_u128(&mut self, digest: u128) {
        self.0 = digest as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

type Digests = HashSet<u128, BuildHasherDefault<Itself>>;

fn digest(value: &impl Hash, bytes: &mut Bytes) -> u128 {
    bytes.0.clear();
    value.hash(bytes);
    xxh3_128(&bytes.0)
}

/// What happens next.
#[derive(Clone, Copy)]
enum Event {
    Step(u8),
    Kill(u8),
    PowerLoss(u16),
}

struct Node {
    parent: u32,
    event: Event,
}

struct Search<'a> {
    ctx: Context<'a>,
    start: World,
    nodes: Vec<Node>,
    visited: Digests,
    mediums: Digests,
    bytes: Bytes,
    found: Found,
}

/// Searches a scenario with a rule removed, or with none, through at most `states_max` states.
pub fn search(scenario: &Scenario, removed: Option<Rule>, states_max: u64) -> Found {
    let begin = Instant::now();
    let ctx = Context { scenario, removed, trace: None };
    let found = Found {
        states: 0,
        transitions: 0,
        images: 0,
        is_complete: true,
        broken: None,
        time: Duration::ZERO,
    };
    let mut search = Search {
        start: World::new(scenario),
        ctx,
        nodes: Vec::new(),
        visited: HashSet::default(),
        mediums: HashSet::default(),
        bytes: Bytes::default(),
        found,
    };
    search.run(states_max);
    search.found.time = begin.elapsed();
    search.found
}

impl Search<'_> {
    fn run(&mut self, states_max: u64) {
        let mut level = vec![(u32::MAX, self.start.clone())];
        while !level.is_empty() && self.found.broken.is_none() {
            let mut next = Vec::new();
            for (node, world) in &level {
                self.expand(*node, world, &mut next);
                if self.found.broken.is_some() {
                    return;
                }
                if self.found.states >= states_max {
                    self.found.is_complete = false;
                    return;
                }
            }
            level = next;
        }
    }

    fn expand(&mut self, node: u32, world: &World, next: &mut Vec<(u32, World)>) {
        for (event, mut after, outcome) in successors(&self.ctx, world) {
            self.found.transitions += 1;
            let digest = digest(&after, &mut self.bytes);
            if outcome.is_ok() && !self.visited.insert(digest) {
                continue;
            }
            let number = self.nodes.len() as u32;
            self.nodes.push(Node { parent: node, event });
            self.found.states += 1;
            let checked = outcome.and_then(|()| check(&after)).and_then(|()| self.cut(&after));
            if let Err(what) = checked {
                let trace = self.replay(number);
                self.found.broken = Some(Broken { what, trace });
                return;
            }
            after.processes.iter_mut().for_each(|process| process.regs.gathered.shrink_to_fit());
            next.push((number, after));
        }
    }

    /// Checks the recoveries from a power loss, unless that has been done for this medium.
    fn cut(&mut self, world: &World) -> Result<(), String> {
        if !self.ctx.scenario.power {
            return Ok(());
        }
        let medium = (&world.segments, &world.promises);
        if self.mediums.insert(digest(&medium, &mut self.bytes)) {
            self.found.images += power::check_all(&self.ctx, world)?;
        }
        Ok(())
    }

    /// What happened on the way to a state.
    fn replay(&self, node: u32) -> Vec<String> {
        let mut events = Vec::new();
        let mut at = node;
        while at != u32::MAX {
            events.push(self.nodes[at as usize].event);
            at = self.nodes[at as usize].parent;
        }
        let ctx = Context {
            scenario: self.ctx.scenario,
            removed: self.ctx.removed,
            trace: Some(RefCell::default()),
        };
        let mut world = self.start.clone();
        let mut lines = Vec::new();
        for event in events.into_iter().rev() {
            let who = who(&ctx, &world, event);
            let (_, after, outcome) = happen(&ctx, &world, event);
            if outcome.is_ok() && check(&after).is_ok() && ctx.scenario.power {
                let before = ctx.trace.as_ref().map_or(0, |trace| trace.borrow().len());
                let is_fine = power::check_all(&ctx, &after).is_ok();
                if let Some(trace) = ctx.trace.as_ref().filter(|_| is_fine) {
                    trace.borrow_mut().truncate(before);
                }
                let said = ctx.trace.as_ref().map(|trace| trace.borrow().len());
                if let (Some(trace), Some(said), false) = (&ctx.trace, said, is_fine) {
                    // Only the recovery that goes wrong, which comes last.
                    let keep = said.saturating_sub(KEYS + 1).max(before);
                    trace.borrow_mut().drain(before..keep);
                }
            }
            let said = ctx.trace.as_ref().map(RefCell::take).unwrap_or_default();
            if !said.is_empty() {
                lines.push(format!("{who}: {}", said.join("; ")));
            }
            world = after;
        }
        lines
    }
}

fn who(ctx: &Context<'_>, world: &World, event: Event) -> String {
    match event {
        Event::Step(me) => format!("{me} {}", ctx.op(world, me as usize)),
        Event::Kill(me) => format!("{me} is killed"),
        Event::PowerLoss(_) => "the power goes, and comes back".into(),
    }
}

type Successor = (Event, World, Result<(), String>);

/// All that may happen next, and what comes of it. The participants of the prologue come one after
/// another.
fn successors(ctx: &Context<'_>, world: &World) -> Vec<Successor> {
    let count = world.processes.len();
    let is_first = |me: &usize| *me < ctx.scenario.prologue && world.power_losses == 0;
    if let Some(me) = (0..count).filter(is_first).find(|me| is_enabled(ctx, world, *me)) {
        return vec![happen(ctx, world, Event::Step(me as u8))];
    }
    let mut successors = Vec::new();
    for me in (0..count).filter(|me| is_enabled(ctx, world, *me)) {
        successors.push(happen(ctx, world, Event::Step(me as u8)));
        let process = &world.processes[me];
        let has_begun = process.at != At::Begin || process.segment != NONE;
        if world.kills < ctx.scenario.kills && has_begun {
            successors.push(happen(ctx, world, Event::Kill(me as u8)));
        }
    }
    let reboots = power::reboots(ctx, world).into_iter().enumerate();
    successors.extend(reboots.map(|(at, after)| (Event::PowerLoss(at as u16), after, Ok(()))));
    successors
}

fn happen(ctx: &Context<'_>, world: &World, event: Event) -> Successor {
    let mut after = world.clone();
    let outcome = match event {
        Event::Step(me) => step(ctx, &mut after, me as usize),
        Event::Kill(me) => {
            kill(&mut after, me as usize);
            Ok(())
        }
        Event::PowerLoss(image) => {
            ctx.note(|| power::describe_at(world, image as usize));
            after = power::reboots(ctx, world).swap_remove(image as usize);
            Ok(())
        }
    };
    (event, after, outcome)
}

/// What holds in every state.
fn check(world: &World) -> Result<(), String> {
    if !world.has_run {
        return Ok(());
    }
    for key in 0..KEYS as u8 {
        let word = world.lookup(key);
        if !word.names() {
            continue;
        }
        if world.is_gone(word.loc) {
            return Err(format!("{} names a record that was unlinked", name_of(key)));
        }
        let record = world.record(word.loc);
        if is_ref(key) && word.is_live() && record.blob != NONE {
            let blob = world.lookup(record.blob);
            if !blob.names() {
                let (key, blob) = (name_of(key), name_of(record.blob));
                return Err(format!("{key} names {blob}, which has been swept"));
            }
        }
    }
    Ok(())
}
