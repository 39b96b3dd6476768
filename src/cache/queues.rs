//! Queues: values under keys that are counted up at the back and down at the front. Where a queue begins and ends
//! stands in a ref of its own, so that neither pushing nor pulling goes over the keys.
//!
//! - I1 What was pushed stands at a number from `first` to before `end`. Whoever pushes sets the value first, and then
//!   moves the ends from exactly what they were to what has its number in it: this is the moment of the push.
//!   If others have moved them meanwhile, it moves them once more, or takes its value back and tries another number.
//! - I2 A number leaves the ends only if it was seen empty after they were read, by one exchange from exactly those:
//!   so what was put there since, and is in the ends, stays in them.
//! - I3 A number whose value was deleted, evicted, or has expired is a hole: it is passed over, and left behind when
//!   several have come together. So each costs a constant time in the long run.
//! - I4 The ends carry the clearing that they were moved under: what was cleared is empty at once.
//!
//! Death: a value that was set and is not in the ends: nobody was told of it. Whoever pushes there next takes it
//! in as if it had been pushed, and so does whoever finds the queue empty.
#![forbid(unsafe_code)]

use super::cache::{Cache, Inner};
use super::item::{Item, NewValue};
use super::ledger::Cleared;
use super::options::ItemOptions;
use crate::entry::{MOVES_MAX, Version};
use crate::error::{Error, ErrorKind, Result};
use crate::format::refs::{RefBody, ref_key};
use crate::publish::Removal;

/// The number of what is pushed to an empty queue.
const START: u64 = 500_000_000_000_000;
/// Numbers are below it: 15 digits.
const NUMBERS: u64 = 1_000_000_000_000_000;
/// So many holes at an end are left behind at once.
const HOLES: u64 = 8;
/// Times that one push or pull is tried while others move the ends.
const ATTEMPTS_MAX: u32 = 1 << 16;

/// An end of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Where one pulls, as a rule.
    Front,
    /// Where one pushes, as a rule.
    Back,
}

/// A queue of a cache: its name, and the key under which the value of a number stands. The same name must always
/// come with the same keys.
pub struct Queue<'a> {
    name: &'a [u8],
    key: &'a (dyn Fn(u64) -> Vec<u8> + Sync),
}

impl<'a> Queue<'a> {
    /// A queue whose keys are made by a function of numbers from 1 to 10^15 - 1.
    pub fn new(name: &'a [u8], key: &'a (dyn Fn(u64) -> Vec<u8> + Sync)) -> Self {
        Self { name, key }
    }
}

/// Where a queue begins and ends.
#[derive(Clone, Copy)]
struct Ends {
    /// Of the ref that says so.
    version: Option<Version>,
    cleared: Cleared,
    first: u64,
    end: u64,
}

impl Ends {
    fn is_empty(&self) -> bool {
        self.first >= self.end
    }

    /// The number that comes `passed` after the one at a side.
    fn number(&self, side: Side, passed: u64) -> u64 {
        match side {
            Side::Front => self.first + passed,
            Side::Back => self.end - 1 - passed,
        }
    }

    /// Without so many numbers at a side.
    fn without(self, side: Side, passed: u64) -> Self {
        match side {
            Side::Front => Self { first: self.first + passed, ..self },
            Side::Back => Self { end: self.end - passed, ..self },
        }
    }

    /// With a number at a side, or where it is; `None` if it is neither.
    fn with(self, side: Side, number: u64) -> Option<Self> {
        let next = match side {
            Side::Front => number + 1 == self.first,
            Side::Back => number == self.end,
        };
        if self.is_empty() {
            return Some(Self { first: number, end: number + 1, ..self });
        }
        let is_in = (self.first..self.end).contains(&number);
        (next || is_in).then(|| self.around(number))
    }

    /// With a number, wherever it is.
    fn around(self, number: u64) -> Self {
        match self.is_empty() {
            true => Self { first: number, end: number + 1, ..self },
            false => Self { first: self.first.min(number), end: self.end.max(number + 1), ..self },
        }
    }

    fn encode(&self) -> Vec<u8> {
        [self.cleared.0, self.first, self.end].iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn decode(bytes: &[u8]) -> Option<(Cleared, u64, u64)> {
        let words: [u8; 24] = bytes.try_into().ok()?;
        let word = |at: usize| Some(u64::from_le_bytes(words.get(at..at + 8)?.try_into().ok()?));
        let (cleared, first, end) = (Cleared(word(0)?), word(8)?, word(16)?);
        (first > 0 && first < end && end <= NUMBERS).then_some((cleared, first, end))
    }
}

impl Cache {
    /// Puts a value at an end of a queue; its number, and the version of its key.
    ///
    /// ```
    /// # use drystone::cache::{Cache, ItemOptions, NewValue, Part, Queue, Side};
    /// # let dir = tempfile::tempdir()?;
    /// # let cache = Cache::open(dir.path().join("cache"))?;
    /// let key = |number: u64| format!("jobs-{number:015}").into_bytes();
    /// let (jobs, options) = (Queue::new(b"jobs", &key), ItemOptions::new());
    /// for job in ["first", "second"] {
    ///     let value = NewValue { head: &[], parts: &[Part::Bytes(job.as_bytes())] };
    ///     cache.push(&jobs, Side::Back, value, &options)?;
    /// }
    /// let (number, item) = cache.pull(&jobs, Side::Front)?.expect("two were pushed");
    /// assert_eq!((number, item.bytes()), (500_000_000_000_000, &b"first"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Cache::set`]; `InvalidInput` where the numbers have come to their end.
    pub fn push(
        &self,
        queue: &Queue<'_>,
        side: Side,
        value: NewValue<'_>,
        options: &ItemOptions,
    ) -> Result<(u64, Version)> {
        for _ in 0..ATTEMPTS_MAX {
            let seen = self.inner.ends(queue)?;
            let ends = self.inner.without_holes(queue, seen, side)?;
            let number = match (ends.is_empty(), side) {
                (true, _) => START,
                (false, Side::Front) => ends.first - 1,
                (false, Side::Back) => ends.end,
            };
            if number == 0 || number >= NUMBERS - 1 {
                return Err(Error::new(ErrorKind::InvalidInput, "the queue has no numbers left")
                    .expected(format!("numbers from 1 to {}", NUMBERS - 2))
                    .found(number)
                    .advice("empty the queue: then it begins anew"));
            }
            let with = ends.around(number);
            let set = self.compare_and_set((queue.key)(number), None, value, options)?;
            let Some(version) = set else {
                // Somebody is about to move the ends, or has died before.
                self.inner.move_ends(queue, &with)?;
                continue;
            };
            if self.inner.join(queue, side, number, version, with)? {
                return Ok((number, version));
            }
        }
        Err(busy())
    }

    /// Removes what is at an end of a queue; its number, and the value. `None` if the queue is empty. Of several that
    /// pull at a time each gets another.
    pub fn pull(&self, queue: &Queue<'_>, side: Side) -> Result<Option<(u64, Item)>> {
        self.inner.take(queue, side, true)
    }

    /// What is at an end of a queue; `None` if it is empty.
    pub fn peek(&self, queue: &Queue<'_>, side: Side) -> Result<Option<(u64, Item)>> {
        self.inner.take(queue, side, false)
    }

    /// Makes a value that stands under a key of a queue already a part of it.
    ///
    /// # Errors
    /// `InvalidInput` for a number that no queue has.
    pub fn adopt(&self, queue: &Queue<'_>, number: u64) -> Result<()> {
        if number == 0 || number >= NUMBERS - 1 {
            return Err(Error::new(ErrorKind::InvalidInput, "a queue has no such number")
                .expected(format!("a number from 1 to {}", NUMBERS - 2))
                .found(number));
        }
        for _ in 0..ATTEMPTS_MAX {
            let with = self.inner.ends(queue)?.around(number);
            if self.inner.move_ends(queue, &with)? {
                return Ok(());
            }
        }
        Err(busy())
    }
}

impl Inner {
    fn ends(&self, queue: &Queue<'_>) -> Result<Ends> {
        let entry = self.queues.get(queue.name)?;
        // Afterwards: the ends were moved under this clearing, or are of an earlier one.
        let cleared = self.cleared();
        let version = entry.as_ref().map(|entry| entry.version);
        let said = entry.as_ref().and_then(|entry| Ends::decode(entry.bytes()?));
        let (_, first, end) = said.filter(|it| it.0 == cleared).unwrap_or((cleared, START, START));
        Ok(Ends { version, cleared, first, end })
    }

    /// Moves the ends from what they were when these were read; `false` if others have (I1, I2).
    fn move_ends(&self, queue: &Queue<'_>, ends: &Ends) -> Result<bool> {
        if self.cleared() != ends.cleared {
            return Ok(false);
        }
        if ends.is_empty() {
            return self.forget_ends(queue, ends);
        }
        let moved = self.queues.compare_and_set(queue.name, ends.version, ends.encode())?;
        Ok(moved.is_some())
    }

    /// An empty queue needs no ref.
    fn forget_ends(&self, queue: &Queue<'_>, ends: &Ends) -> Result<bool> {
        let Some(version) = ends.version else { return Ok(true) };
        let (engine, namespace) = (self.engine(), self.queues.namespace());
        let guard = self.enter_writing()?;
        let at = ref_key(&engine.superblock.uuid, namespace, queue.name);
        let Some((seen, found)) = engine.find(at, &guard)? else { return Ok(false) };
        if found.header.sequence != version.number() {
            return Ok(false);
        }
        let (namespace, key) = (namespace.into(), queue.name.to_vec());
        let name = RefBody { namespace, key, ..RefBody::default() }.encode();
        let removal = Removal::of_ref(at, &name);
        let durability = engine.settings.durability;
        engine.with_removal_appender(&guard, removal.record_bytes(), durability, |appender| {
            engine.remove_version(appender, &guard, &removal, seen.word)
        })
    }

    /// The ends without the holes at a side.
    fn without_holes(&self, queue: &Queue<'_>, ends: Ends, side: Side) -> Result<Ends> {
        let mut passed = 0;
        while passed < ends.end - ends.first {
            if self.stands_at(&(queue.key)(ends.number(side, passed)))?.is_some() {
                break;
            }
            passed += 1;
        }
        Ok(ends.without(side, passed))
    }

    /// The version of what counts under a key.
    fn stands_at(&self, key: &[u8]) -> Result<Option<Version>> {
        let guard = self.enter();
        let Some(live) = self.find_to_replace(key, &guard)? else { return Ok(None) };
        let stands = self.counts(&live)? && self.is_whole(&live, &guard)?;
        Ok(stands.then(|| Version::from_number(live.sequence)))
    }

    /// Ends a push: `true` if its value is in the queue, or was pulled already; `false` if it was taken back.
    fn join(
        &self,
        queue: &Queue<'_>,
        side: Side,
        number: u64,
        version: Version,
        mut with: Ends,
    ) -> Result<bool> {
        let key = (queue.key)(number);
        for _ in 0..ATTEMPTS_MAX {
            match self.move_ends(queue, &with) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) => {
                    let _ = self.remove_exactly(&key, version);
                    return Err(error);
                }
            }
            if self.stands_at(&key)? != Some(version) {
                return Ok(true);
            }
            if bug!("queue-joined-by-others") && self.ends(queue)?.with(side, number).is_some() {
                return Ok(true);
            }
            match self.ends(queue)?.with(side, number) {
                Some(ends) => with = ends,
                None => return Ok(!self.remove_exactly(&key, version)?),
            }
        }
        Err(busy())
    }

    fn take(&self, queue: &Queue<'_>, side: Side, removes: bool) -> Result<Option<(u64, Item)>> {
        for _ in 0..ATTEMPTS_MAX {
            let ends = self.ends(queue)?;
            for passed in 0..ends.end - ends.first {
                let number = ends.number(side, passed);
                let Some(item) = self.take_at(&(queue.key)(number), removes)? else { continue };
                let holes = passed + u64::from(removes);
                if holes >= HOLES {
                    // Otherwise whoever comes next does it; what was taken is the caller's in any case.
                    let _ = self.move_ends(queue, &ends.without(side, holes));
                }
                return Ok(Some((number, item)));
            }
            if !ends.is_empty() {
                if self.move_ends(queue, &Ends { first: START, end: START, ..ends })? {
                    return Ok(None);
                }
            } else if self.stands_at(&(queue.key)(START))?.is_none() {
                return Ok(None);
            } else {
                self.move_ends(queue, &ends.around(START))?;
            }
        }
        Err(busy())
    }

    /// What counts under a key, which is removed if that is asked for.
    pub fn take_at(&self, key: &[u8], removes: bool) -> Result<Option<Item>> {
        for _ in 0..MOVES_MAX {
            let guard = self.enter_writing()?;
            let Some(live) = self.find_to_replace(key, &guard)? else { return Ok(None) };
            if !self.counts(&live)? {
                return Ok(None);
            }
            let Some(item) = self.item(&live, &guard)? else {
                if self.engine().has_come_to_rest(live.at, live.seen.word, &guard)? {
                    return Ok(None);
                }
                continue;
            };
            if !removes || self.remove_seen(&live, &guard)? {
                return Ok(Some(item));
            }
        }
        Err(busy())
    }
}

fn busy() -> Error {
    Error::new(ErrorKind::Busy, "others use the queue again and again").advice("try again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Part;

    fn ends(first: u64, end: u64) -> Ends {
        Ends { version: None, cleared: Cleared(7), first, end }
    }

    fn range(ends: Ends) -> (u64, u64) {
        (ends.first, ends.end)
    }

    fn cache(dir: &std::path::Path) -> Cache {
        let store = crate::Store::options().create(true).threads(1).open(dir.join("store"));
        Cache::on(&store.unwrap(), &crate::cache::CacheOptions::new()).unwrap()
    }

    fn key(number: u64) -> Vec<u8> {
        format!("q-{number:015}").into_bytes()
    }

    const QUEUE: Queue<'static> = Queue { name: b"q", key: &key };

    fn push(cache: &Cache, side: Side, text: &str) -> u64 {
        let parts = [Part::Bytes(text.as_bytes())];
        let value = NewValue { head: &[], parts: &parts };
        cache.push(&QUEUE, side, value, &ItemOptions::new()).unwrap().0
    }

    /// What a push does before it moves the ends.
    fn set_only(cache: &Cache, number: u64, text: &str) -> Version {
        let parts = [Part::Bytes(text.as_bytes())];
        let value = NewValue { head: &[], parts: &parts };
        cache.compare_and_set(key(number), None, value, &ItemOptions::new()).unwrap().unwrap()
    }

    fn pull(cache: &Cache, side: Side) -> Option<String> {
        let pulled = cache.pull(&QUEUE, side).unwrap();
        pulled.map(|(_, item)| String::from_utf8(item.bytes().to_vec()).unwrap())
    }

    #[test]
    fn a_late_push_into_a_hole_is_not_left_behind_by_whoever_saw_the_hole() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(dir.path());
        let inner = &*cache.inner;
        let before = inner.ends(&QUEUE).unwrap();
        for text in ["a", "b"] {
            push(&cache, Side::Back, text);
        }
        assert_eq!(pull(&cache, Side::Front).as_deref(), Some("a"));
        // Whoever passes over the hole has read the ends, and has seen the number empty.
        let passing =
            inner.without_holes(&QUEUE, inner.ends(&QUEUE).unwrap(), Side::Front).unwrap();
        assert_eq!(range(passing), (START + 1, START + 2));
        // A push that began when the queue was empty goes on only now.
        let version = set_only(&cache, START, "late");
        assert!(inner.join(&QUEUE, Side::Back, START, version, before.around(START)).unwrap());
        assert!(!inner.move_ends(&QUEUE, &passing).unwrap(), "the ends have been moved since");
        assert_eq!(pull(&cache, Side::Front).as_deref(), Some("late"));
        assert_eq!(pull(&cache, Side::Front).as_deref(), Some("b"));
    }

    #[test]
    fn a_late_push_behind_the_front_is_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(dir.path());
        let before = cache.inner.ends(&QUEUE).unwrap();
        let count = HOLES + 2;
        for at in 0..count {
            push(&cache, Side::Back, &at.to_string());
        }
        for at in 0..count - 1 {
            assert_eq!(pull(&cache, Side::Front), Some(at.to_string()));
        }
        let version = set_only(&cache, START, "late");
        assert!(
            !cache.inner.join(&QUEUE, Side::Back, START, version, before.around(START)).unwrap()
        );
        assert!(cache.get(key(START)).unwrap().is_none());
        assert_eq!(pull(&cache, Side::Front), Some((count - 1).to_string()));
        assert_eq!(pull(&cache, Side::Front), None);
    }

    #[test]
    fn what_a_dead_push_has_set_is_taken_in() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(dir.path());
        set_only(&cache, START, "of a dead one");
        assert_eq!(pull(&cache, Side::Back).as_deref(), Some("of a dead one"), "found when empty");
        assert_eq!(pull(&cache, Side::Back), None);
        set_only(&cache, START, "of a dead one");
        assert_eq!(push(&cache, Side::Back, "next"), START + 1);
        set_only(&cache, START - 1, "of another");
        assert_eq!(push(&cache, Side::Front, "front"), START - 2);
        let all: Vec<_> = std::iter::from_fn(|| pull(&cache, Side::Front)).collect();
        assert_eq!(all, ["front", "of another", "of a dead one", "next"]);
    }

    #[test]
    fn a_clearing_between_setting_and_moving_the_ends_loses_nothing_that_came_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(dir.path());
        for text in ["a", "b", "c"] {
            push(&cache, Side::Back, text);
        }
        let inner = &*cache.inner;
        let with = inner.ends(&QUEUE).unwrap().around(START + 3);
        cache.clear().unwrap();
        assert_eq!(cache.peek(&QUEUE, Side::Front).unwrap().map(|it| it.0), None);
        let version = set_only(&cache, START + 3, "after");
        assert!(inner.join(&QUEUE, Side::Back, START + 3, version, with).unwrap());
        assert_eq!(push(&cache, Side::Back, "next"), START + 4);
        let all: Vec<_> = std::iter::from_fn(|| pull(&cache, Side::Front)).collect();
        assert_eq!(all, ["after", "next"]);
        assert!(inner.queues.get(QUEUE.name).unwrap().is_none(), "an empty queue has no ref");
    }

    #[test]
    fn ends_come_back_as_they_were_written_and_others_are_empty() {
        let written = ends(3, 9).encode();
        assert_eq!(Ends::decode(&written), Some((Cleared(7), 3, 9)));
        (0..written.len()).for_each(|end| assert_eq!(Ends::decode(&written[..end]), None));
        for (first, end) in [(0, 5), (5, 5), (6, 5), (5, NUMBERS + 1)] {
            assert_eq!(Ends::decode(&ends(first, end).encode()), None);
        }
    }

    #[test]
    fn a_number_joins_at_its_side_or_where_it_is() {
        let both = [Side::Front, Side::Back];
        assert_eq!(both.map(|side| ends(5, 8).with(side, 6).map(range)), [Some((5, 8)); 2]);
        assert_eq!(both.map(|side| ends(5, 8).with(side, 8).map(range)), [None, Some((5, 9))]);
        assert_eq!(both.map(|side| ends(5, 8).with(side, 4).map(range)), [Some((4, 8)), None]);
        assert_eq!(both.map(|side| ends(5, 8).with(side, 12).map(range)), [None; 2]);
        assert_eq!(both.map(|side| ends(5, 5).with(side, 12).map(range)), [Some((12, 13)); 2]);
        assert_eq!(range(ends(5, 8).around(2)), (2, 8));
        assert_eq!(range(ends(5, 8).without(Side::Back, 3)), (5, 5));
    }
}
