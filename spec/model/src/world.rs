//! One state of the model: words, segments, what the medium holds of them, the participants, and what
//! has been promised to whom.
//!
//! Everything is small and hashed as a whole. What the caches of the machine hold and what the medium
//! holds stand side by side: `published` and `on_medium` of a record, `footer` of a segment.

use crate::rules::Rule;
use crate::script::{Op, Scenario};
use std::cell::RefCell;

/// Two blobs (0 and 1) and two refs (2 and 3).
pub const KEYS: usize = 4;
/// No segment, no blob, no version.
pub const NONE: u8 = u8::MAX;

pub type Key = u8;

pub fn is_ref(key: Key) -> bool {
    key >= 2
}

pub fn name_of(key: Key) -> &'static str {
    ["a", "b", "r", "s"][key as usize]
}

/// Where a record stands: its segment and its place there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Loc(pub u8, pub u8);

impl std::fmt::Display for Loc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum State {
    #[default]
    None,
    Live,
    Tomb,
    Dead,
}

/// A word of the index. `generation` tells apart the zero words of two tables; elsewhere it is 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Word {
    pub state: State,
    pub is_condemned: bool,
    pub loc: Loc,
    pub generation: u8,
}

impl Word {
    pub fn names(self) -> bool {
        matches!(self.state, State::Live | State::Tomb)
    }

    pub fn is_live(self) -> bool {
        self.state == State::Live
    }

    pub fn is_same_record(self, other: Self) -> bool {
        self.state == other.state && self.loc == other.loc
    }

    pub fn acquitted(self) -> Self {
        Self { is_condemned: false, ..self }
    }
}

impl std::fmt::Display for Word {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let flag = if self.is_condemned { " condemned" } else { "" };
        match self.state {
            State::None => f.write_str("nothing"),
            State::Dead => f.write_str("dead"),
            _ => write!(f, "{:?} {}{flag}", self.state, self.loc),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Record {
    pub key: Key,
    pub is_tomb: bool,
    pub number: u8,
    /// The blob that a ref names, and the number of its record that it relies on.
    pub blob: Key,
    pub held: u8,
    /// The state byte, in the page cache.
    pub is_published: bool,
    /// Whether the record, and its byte as set, have reached the medium for sure.
    pub on_medium: bool,
    pub published_on_medium: bool,
    /// For the checks only: the version of the key that it stands for (a copy or a burial stands for
    /// another one), the number of the blob's record that its setter really met, whether the index has
    /// named it, whether a recovery has passed it over.
    pub version: u8,
    pub met: u8,
    pub was_named: bool,
    pub is_void: bool,
}

impl Record {
    pub fn new(key: Key, number: u8) -> Self {
        Self {
            key,
            is_tomb: false,
            number,
            blob: NONE,
            held: 0,
            is_published: false,
            on_medium: false,
            published_on_medium: false,
            version: number,
            met: 0,
            was_named: false,
            is_void: false,
        }
    }

    pub fn naming(self, blob: Key, held: u8) -> Self {
        Self { blob, held, met: held, ..self }
    }

    pub fn tomb(self) -> Self {
        Self { is_tomb: true, ..self }
    }

    /// A record with the same contents, elsewhere.
    pub fn copied(self, number: u8) -> Self {
        Self {
            number,
            is_published: false,
            on_medium: false,
            published_on_medium: false,
            was_named: false,
            ..self
        }
    }

    pub fn state(&self) -> State {
        if self.is_tomb { State::Tomb } else { State::Live }
    }
}

impl std::fmt::Display for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = if self.is_tomb { "tombstone of " } else { "" };
        write!(f, "{what}{} #{}", name_of(self.key), self.number)?;
        if self.blob != NONE {
            write!(f, " (names {} #{})", name_of(self.blob), self.held)?;
        }
        Ok(())
    }
}

#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Segment {
    pub records: Vec<Record>,
    /// Participant that holds the appender's lock.
    pub owner: u8,
    /// The footer: which records it lists as published.
    pub footer: Option<u16>,
    pub footer_on_medium: bool,
    pub name_on_medium: bool,
    pub is_unlinked: bool,
    pub unlink_on_medium: bool,
}

impl Segment {
    pub fn is_open(&self) -> bool {
        self.footer.is_none() && !self.is_unlinked
    }

    pub fn is_sealed(&self) -> bool {
        self.footer.is_some() && !self.is_unlinked
    }

    pub fn lists_published(&self, at: usize) -> bool {
        self.footer.is_some_and(|footer| footer >> at & 1 == 1)
    }
}

/// What a participant remembers; cleared when an operation ends.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Registers {
    pub seen: Word,
    pub name_seen: Word,
    pub number: u8,
    pub held: u8,
    pub loc: Loc,
    /// The record relied on, and where to go from there.
    pub rely_key: Key,
    pub rely_word: Word,
    pub rely_blob: Word,
    pub ok: At,
    pub retry: At,
    /// Where to go after a sync, and what is to last then.
    pub after_sync: At,
    pub visible: [u8; KEYS],
    pub todo: u16,
    pub listed: u16,
    pub syncing: u16,
    pub after_seal: At,
    pub key: Key,
    pub victims: u16,
    pub segment: u8,
    pub at: u8,
    pub root: u8,
    /// What a recoverer has read: of each segment which records are published.
    pub gathered: Vec<(u8, u16)>,
}

/// Where a participant stands in its operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum At {
    #[default]
    Begin,
    Peek,
    AppendRef,
    Acquit,
    AcquitRelied,
    ExchangeRef,
    PublishRef,
    SyncOwn,
    LookName,
    AppendPair,
    ExchangeBlob,
    ExchangeName,
    PublishPair,
    PublishBlob,
    Pinned,
    Name,
    Done,
    AppendTomb,
    ExchangeTomb,
    PublishTomb,
    Rely,
    RelyBlob,
    RelyBlobSync,
    RelyBlobAgain,
    RelyByte,
    RelySync,
    RelyAgain,
    Settle,
    SettleBlob,
    SettleByte,
    List,
    SyncEach,
    SyncNames,
    Seal,
    SealByte,
    SealFooter,
    Orphans,
    Condemn,
    Inflight,
    InflightRead,
    InflightAcquit,
    Walk,
    WalkAcquit,
    Sweep,
    Victims,
    Copy,
    Relocate,
    ExpireAppend,
    ExpireExchange,
    ExpirePublish,
    ExpireLost,
    Probe,
    Unlink,
    UnlinkNames,
    Tombs,
    TombScan,
    TombDrop,
    Gather,
    Bury,
    BuryByte,
    BurySync,
    SealWalked,
    Rename,
    Enter,
    EnterExchange,
    EnterPublish,
    EnterSync,
    EnterNext,
    Move,
    Flip,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Process {
    pub op: u8,
    pub at: At,
    pub is_alive: bool,
    /// Whether it has seen to it that what the run passed over is buried.
    pub has_entered: bool,
    pub segment: u8,
    pub regs: Registers,
}

impl Process {
    pub fn new() -> Self {
        Self {
            op: 0,
            at: At::Begin,
            is_alive: true,
            has_entered: false,
            segment: NONE,
            regs: Registers::default(),
        }
    }
}

/// What has been promised of a key, and what has become of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Promise {
    /// The oldest version that may come out of a power loss.
    pub floor: u8,
    /// Newest version that was a removal, and the newest of all.
    pub last_tomb: u8,
    pub last: u8,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub segments: Vec<Segment>,
    /// The current table and the next one.
    pub tables: [[Word; KEYS]; 2],
    pub is_migrating: bool,
    pub generation: u8,
    pub counter: u8,
    pub processes: Vec<Process>,
    pub promises: [Promise; KEYS],
    /// Who holds the collector's lock.
    pub collector: u8,
    pub kills: u8,
    pub power_losses: u8,
    pub has_run: bool,
    /// The refs of which the run passed a version over, and what it counts instead.
    pub unburied: u8,
    pub instead: [Word; KEYS],
    /// Sealed segments that the threads of the one process know to last.
    pub lasting: u16,
}

/// What a step is taken under.
pub struct Context<'a> {
    pub scenario: &'a Scenario,
    pub removed: Option<Rule>,
    /// Where a replay writes what happens.
    pub trace: Option<RefCell<Vec<String>>>,
}

impl Context<'_> {
    pub fn keeps(&self, rule: Rule) -> bool {
        self.removed != Some(rule)
    }

    pub fn note(&self, text: impl FnOnce() -> String) {
        if let Some(trace) = &self.trace {
            trace.borrow_mut().push(text());
        }
    }

    /// The operations of a participant, as of the number of power losses so far.
    pub fn ops(&self, world: &World, me: usize) -> &[Op] {
        &self.scenario.acts[world.power_losses as usize][me]
    }

    pub fn op(&self, world: &World, me: usize) -> Op {
        self.ops(world, me)[world.processes[me].op as usize]
    }
}

/// A rule of the protocol that a state breaks.
pub type Checked = Result<(), String>;

impl World {
    pub fn new(scenario: &Scenario) -> Self {
        Self {
            segments: Vec::new(),
            tables: Default::default(),
            is_migrating: false,
            generation: 0,
            counter: 1,
            processes: scenario.acts[0].iter().map(|_| Process::new()).collect(),
            promises: Default::default(),
            collector: NONE,
            kills: 0,
            power_losses: 0,
            has_run: true,
            unburied: 0,
            instead: Default::default(),
            lasting: 0,
        }
    }

    pub fn record(&self, loc: Loc) -> &Record {
        &self.segments[loc.0 as usize].records[loc.1 as usize]
    }

    pub fn record_mut(&mut self, loc: Loc) -> &mut Record {
        &mut self.segments[loc.0 as usize].records[loc.1 as usize]
    }

    pub fn is_gone(&self, loc: Loc) -> bool {
        self.segments[loc.0 as usize].is_unlinked
    }

    pub fn draw(&mut self, count: u8) -> u8 {
        let first = self.counter;
        self.counter += count;
        first
    }

    pub fn root(&self) -> u8 {
        self.generation << 1 | u8::from(self.is_migrating)
    }

    /// The word of a key as a lookup finds it.
    pub fn lookup(&self, key: Key) -> Word {
        let now = self.generation as usize & 1;
        let next = self.tables[1 - now][key as usize];
        let word = if self.is_migrating && next.state != State::None {
            next
        } else {
            self.tables[now][key as usize]
        };
        match word.state {
            State::None => Word { generation: self.generation, ..word },
            _ => word,
        }
    }

    /// Copies a key's word into the next table.
    pub fn move_key(&mut self, key: Key) {
        let now = self.generation as usize & 1;
        let word = self.tables[now][key as usize];
        let next = &mut self.tables[1 - now][key as usize];
        if next.state == State::None && word.names() {
            *next = word;
        }
    }

    /// A successful read-modify-write of a key's word.
    pub fn store(&mut self, key: Key, word: Word) {
        let now = self.generation as usize & 1;
        let table = if self.is_migrating { 1 - now } else { now };
        if self.is_migrating {
            self.move_key(key);
        }
        self.tables[table][key as usize] = Word { generation: 0, ..word };
    }

    /// Moves a key's word from exactly what was seen to a record.
    ///
    /// # Errors
    /// Where numbers do not grow along the key's history.
    pub fn exchange(
        &mut self,
        ctx: &Context<'_>,
        key: Key,
        seen: Word,
        loc: Loc,
    ) -> Result<bool, String> {
        let word = self.lookup(key);
        if word != seen {
            ctx.note(|| format!("finds {} at {word}: lost", name_of(key)));
            return Ok(false);
        }
        let record = *self.record(loc);
        self.store(key, Word { state: record.state(), loc, ..Word::default() });
        ctx.note(|| format!("moves {} to {record} at {loc}", name_of(key)));
        self.record_mut(loc).was_named = true;
        let promise = &mut self.promises[key as usize];
        if record.number <= promise.last {
            let text =
                format!("{} goes from #{} to #{}", name_of(key), promise.last, record.number);
            return Err(format!("numbers do not grow along a key's history: {text}"));
        }
        promise.last = record.number;
        if record.is_tomb {
            promise.last_tomb = record.number;
        }
        Ok(true)
    }

    /// Sets a record's state byte.
    pub fn publish(&mut self, ctx: &Context<'_>, loc: Loc) -> Checked {
        let record = self.record_mut(loc);
        record.is_published = true;
        if record.was_named {
            ctx.note(|| format!("sets the state byte at {loc}"));
            return Ok(());
        }
        Err(format!("published and never named: the record at {loc}"))
    }

    /// Appends records to a participant's segment, which is taken up or made first.
    pub fn append(&mut self, ctx: &Context<'_>, me: usize, records: &[Record]) -> Loc {
        let segment = self.appender(ctx, me);
        let first = Loc(segment, self.segments[segment as usize].records.len() as u8);
        for (at, record) in records.iter().enumerate() {
            ctx.note(|| format!("appends {record} at {}.{}", segment, first.1 as usize + at));
            self.segments[segment as usize].records.push(*record);
        }
        first
    }

    fn appender(&mut self, ctx: &Context<'_>, me: usize) -> u8 {
        let segment = self.processes[me].segment;
        if segment != NONE {
            return segment;
        }
        let is_free = |segment: &Segment| segment.owner == NONE && segment.is_open();
        let orphan = self.segments.iter().position(is_free);
        let segment = match orphan.filter(|_| ctx.scenario.takes_up) {
            Some(orphan) => orphan,
            None => self.make_segment(),
        };
        self.segments[segment].owner = me as u8;
        self.processes[me].segment = segment as u8;
        segment as u8
    }

    pub fn make_segment(&mut self) -> usize {
        self.segments.push(Segment { owner: NONE, ..Segment::default() });
        self.segments.len() - 1
    }

    /// fdatasync.
    pub fn sync_segment(&mut self, segment: u8) {
        let segment = &mut self.segments[segment as usize];
        segment.footer_on_medium = segment.footer.is_some();
        for record in &mut segment.records {
            record.on_medium = true;
            record.published_on_medium = record.is_published;
        }
    }

    /// fsync of the directory.
    pub fn sync_names(&mut self) {
        for segment in &mut self.segments {
            segment.name_on_medium = true;
            segment.unlink_on_medium = segment.is_unlinked;
        }
    }

    /// Makes a segment last for somebody who vouches for it.
    pub fn vouch(&mut self, ctx: &Context<'_>, segment: u8) {
        if ctx.scenario.is_one_process && self.lasting >> segment & 1 == 1 {
            return ctx.note(|| format!("knows that segment {segment} lasts"));
        }
        ctx.note(|| format!("syncs segment {segment}, and the names"));
        self.sync_segment(segment);
        if ctx.keeps(Rule::NamesSynced) {
            self.sync_names();
        }
        if ctx.scenario.is_one_process && self.segments[segment as usize].is_sealed() {
            self.lasting |= 1 << segment;
        }
    }

    /// Tells somebody that a version lasts.
    pub fn promise(&mut self, ctx: &Context<'_>, key: Key, version: u8) {
        ctx.note(|| format!("is told that version #{version} of {} lasts", name_of(key)));
        let promise = &mut self.promises[key as usize];
        promise.floor = promise.floor.max(version);
    }

    /// Lists segments: a bit for each for which this holds.
    pub fn list(&self, which: impl Fn(&Segment) -> bool) -> u16 {
        let bit = |(at, segment)| u16::from(which(segment)) << at;
        self.segments.iter().enumerate().map(bit).sum()
    }
}
