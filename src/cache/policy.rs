//! Making room: which entries go when a cache is full.
//!
//! Each process keeps a queue of those that go next, made by one walk over the index and used up before it is
//! made again, so that an eviction costs a constant time in the long run and a read costs nothing. An entry
//! that has changed since, or that was used since where uses are what counts, is passed over: it is younger than
//! all in the queue. Where more than so many walks in a row found nothing that was not used meanwhile, what stands
//! first goes all the same.
//!
//! S3-FIFO (Yang, Zhang, Qiu, Yue, Vinayak: "FIFO queues are all you need for cache eviction", SOSP 2023): what is
//! new is young, and goes unless it was read since it came; what was read is moved to the main queue, which is
//! a clock. The bits are those of the index (VISITED: read since; HOT: main), so all processes see the same; what
//! was evicted while young and is set again soon is hot from the start. The main queue is kept in the order in
//! which its entries were stored, not in which they were moved there.
//!
//! Death: nothing; a queue is this process's own.
#![forbid(unsafe_code)]

use super::cache::{Inner, evicts};
use super::ledger::{Cleared, Count};
use super::options::{EvictionPolicy, Settings};
use crate::error::{Error, ErrorKind, Result};
use crate::format::word::Word;
use crate::id::Key;
use crate::index::Seen;
use crate::sync::epoch::{Guard, pin};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Entries that a queue holds at most: those that go first.
const QUEUE_MAX: usize = 1 << 17;
/// A queue of S3-FIFO that holds the whole cache is made again when one in so many has been looked at: what came
/// since is young, and is to go before what is in the main queue.
const LOOKED_AT: usize = 8;
const LOOKED_AT_MIN: usize = 16;
/// After so many walks without an eviction uses are not asked about again: whoever reads faster than a walk would
/// keep an eviction from ever ending.
const FILLS_MAX: u32 = 2;
/// Of a full cache the young ones take so many hundredths before they go.
const YOUNG_PERCENT: u64 = 10;

/// An entry that may go.
#[derive(Clone, Copy)]
struct Candidate {
    /// How much it was used; when it was stored, where uses do not count.
    order: u64,
    /// The number of its record: those that were used as much go in the order in which they were stored.
    sequence: u64,
    at: Key,
    word: Word,
    bytes: u64,
}

impl Candidate {
    fn turn(&self) -> (u64, u64) {
        (self.order, self.sequence)
    }
}

/// Entries in the order in which they go.
#[derive(Default)]
pub struct Queue {
    young: VecDeque<Candidate>,
    main: VecDeque<Candidate>,
    young_bytes: u64,
    main_bytes: u64,
    policy: EvictionPolicy,
    /// Entries that may still be looked at before it is made again.
    left: usize,
    /// How often it was made since one of its entries was evicted.
    fills: u32,
}

/// What became of an attempt to evict one.
enum Evicted {
    One,
    PassedOver,
    NoneLeft,
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.left == 0 || (self.young.is_empty() && self.main.is_empty())
    }

    /// The next one, and whether it is young.
    fn pop(&mut self) -> Option<(Candidate, bool)> {
        let sum = self.young_bytes.saturating_add(self.main_bytes);
        let has_many_young = self.young_bytes >= sum / 100 * YOUNG_PERCENT;
        let is_young = !self.young.is_empty() && (has_many_young || self.main.is_empty());
        let (queue, bytes) = match is_young {
            true => (&mut self.young, &mut self.young_bytes),
            false => (&mut self.main, &mut self.main_bytes),
        };
        let next = queue.pop_front()?;
        *bytes = bytes.saturating_sub(next.bytes);
        self.left = self.left.saturating_sub(1);
        Some((next, is_young))
    }

    fn push_main(&mut self, candidate: Candidate) {
        self.main_bytes += candidate.bytes;
        self.main.push_back(candidate);
    }

    fn fill(&mut self, mut found: Vec<Candidate>, policy: EvictionPolicy) {
        found.sort_unstable_by_key(Candidate::turn);
        let has_all = found.len() < QUEUE_MAX;
        let left = match policy {
            EvictionPolicy::S3Fifo if has_all => (found.len() / LOOKED_AT).max(LOOKED_AT_MIN),
            // What comes later has been used as little as those that were used least, and goes after them, but
            // before the others.
            EvictionPolicy::LeastFrequentlyUsed => {
                let least = found.first().map_or(0, |first| first.order);
                found.partition_point(|it| it.order == least).max(found.len() / LOOKED_AT)
            }
            _ => found.len(),
        };
        *self = Self { policy, left, fills: self.fills + 1, ..Self::default() };
        for candidate in found {
            let is_main = policy != EvictionPolicy::S3Fifo || candidate.word.has(Word::HOT);
            match is_main {
                true => self.push_main(candidate),
                false => {
                    self.young_bytes += candidate.bytes;
                    self.young.push_back(candidate);
                }
            }
        }
    }
}

fn is_within(settings: &Settings, (bytes, items): (u64, u64)) -> bool {
    bytes <= settings.size_limit.unwrap_or(u64::MAX)
        && items <= settings.item_limit.unwrap_or(u64::MAX)
}

impl Inner {
    /// Counts what is going to be set, and evicts until all fits; `false`, and nothing counted, if it does not.
    pub fn make_room(&self, cleared: Cleared, bytes: i64, items: i64) -> Result<bool> {
        let now = self.ledger.add(cleared, bytes, items);
        // Not before (ledger.rs, I4).
        let fits = self.limits().and_then(|(version, settings)| {
            let fits = is_within(&settings, now) || bug!("limit-ignored");
            let fits = fits || (evicts(settings.policy) && self.evict_until(&settings)?);
            if fits {
                self.look_within(version, &settings);
            }
            Ok(fits)
        });
        if !matches!(fits, Ok(true)) {
            self.ledger.add(cleared, -bytes, -items);
        }
        fits
    }

    /// The settings, and the version that they have at least.
    fn limits(&self) -> Result<(u64, Settings)> {
        let version = self.ledger.settings_version();
        Ok((version, self.settings()?))
    }

    /// Looks whether all that is counted is within the limits, unless that was seen before.
    fn look_within(&self, version: u64, settings: &Settings) -> bool {
        let was_within = self.ledger.was_within(version);
        let is_within = was_within || is_within(settings, self.ledger.volume());
        if is_within && !was_within {
            self.ledger.note_within(version);
        }
        is_within
    }

    /// Bytes and items of what is there, or waits to be published: what waits for room is not told of.
    pub fn volume(&self) -> (u64, u64) {
        let (bytes, items) = self.ledger.volume();
        match self.limits() {
            // Settings that have changed since may be lower than what is there.
            Ok((version, settings))
                if self.look_within(version, &settings)
                    && self.ledger.settings_version() == version
                    && !bug!("waiting-told") =>
            {
                let most = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
                (bytes.min(most(settings.size_limit)), items.min(most(settings.item_limit)))
            }
            _ => (bytes, items),
        }
    }

    /// The error where what is to be set does not fit.
    pub fn full(&self) -> Result<Error> {
        let settings = self.settings()?;
        let (bytes, items) = self.volume();
        let limit =
            |limit: Option<u64>| limit.map_or("any number of".to_owned(), |it| it.to_string());
        let full = Error::new(ErrorKind::NoSpace, "the cache is full, and nothing can be evicted");
        Ok(full
            .expected(format!(
                "at most {} bytes and {} entries",
                limit(settings.size_limit),
                limit(settings.item_limit)
            ))
            .found(format!("{bytes} bytes and {items} entries"))
            .advice("delete what is not needed, raise the limit, or choose a policy that evicts"))
    }

    /// Evicts what is above the limits; how many entries.
    pub fn shrink(&self) -> Result<u64> {
        let (version, settings) = self.limits()?;
        let before = self.ledger.tallied(Count::Evictions);
        if evicts(settings.policy) && self.evict_until(&settings)? {
            self.look_within(version, &settings);
        }
        Ok(self.ledger.tallied(Count::Evictions) - before)
    }

    /// Evicts entries until the counters are within the limits; `false` if there is none left before.
    fn evict_until(&self, settings: &Settings) -> Result<bool> {
        let guard = pin();
        let queue = self.queue.get(&guard, || Mutex::new(Queue::default()));
        let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
        while !is_within(settings, self.ledger.volume()) {
            // Another thread may just have made enough room, and more may have to go.
            if let Evicted::NoneLeft = self.evict_one(&mut queue, settings.policy)? {
                return Ok(is_within(settings, self.ledger.volume()));
            }
        }
        Ok(true)
    }

    fn evict_one(&self, queue: &mut Queue, policy: EvictionPolicy) -> Result<Evicted> {
        if queue.is_empty() || queue.policy != policy {
            let found = self.candidates(policy)?;
            queue.fill(found, policy);
        }
        let Some((candidate, is_young)) = queue.pop() else { return Ok(Evicted::NoneLeft) };
        let guard = self.enter_writing()?;
        let index = self.engine().index(&guard);
        let word = index.lookup(candidate.at)?.word;
        if !word.is_same_record(candidate.word) {
            return Ok(Evicted::PassedOver);
        }
        let asks = policy.counts_uses() && queue.fills <= FILLS_MAX && !bug!("use-unasked");
        if asks && self.uses_of(candidate.at)? != candidate.order {
            return Ok(Evicted::PassedOver);
        }
        if policy == EvictionPolicy::S3Fifo && word.has(Word::VISITED) && !bug!("visited-ignored") {
            let word = index.update_flags(candidate.at, Word::HOT, Word::VISITED)?.word;
            queue.push_main(Candidate { word, ..candidate });
            return Ok(Evicted::PassedOver);
        }
        if !self.remove_candidate(candidate.at, word, &guard)? {
            return Ok(Evicted::PassedOver);
        }
        if is_young {
            self.ledger.remember(candidate.at.hi, candidate.at.lo);
        }
        queue.fills = 0;
        self.ledger.tally(Count::Evictions, 1);
        Ok(Evicted::One)
    }

    fn remove_candidate(&self, at: Key, word: Word, guard: &Guard) -> Result<bool> {
        let Some(found) = self.engine().read(word.location(), guard)? else { return Ok(false) };
        let live = self.parse(at, Seen::exactly(word), &found, guard)?;
        self.remove_seen(&live, guard)
    }

    /// The entries that go first; what does not count any more is removed at once.
    fn candidates(&self, policy: EvictionPolicy) -> Result<Vec<Candidate>> {
        let mut found: Vec<Candidate> = Vec::new();
        let mut expired = 0;
        let mut guard = self.enter_writing()?;
        self.for_each(&mut guard, |live, guard| {
            if !self.counts(live)? {
                expired += u64::from(live.entry.is_some() && self.remove_seen(live, guard)?);
                return Ok(());
            }
            let order = match policy {
                EvictionPolicy::LeastRecentlyUsed | EvictionPolicy::LeastFrequentlyUsed => {
                    self.uses_of(live.at)?
                }
                _ => live.sequence,
            };
            found.push(Candidate {
                order,
                sequence: live.sequence,
                at: live.at,
                word: live.seen.word,
                bytes: live.bytes(),
            });
            if found.len() >= 2 * QUEUE_MAX {
                found.select_nth_unstable_by_key(QUEUE_MAX, Candidate::turn);
                found.truncate(QUEUE_MAX);
            }
            Ok(())
        })?;
        self.ledger.tally(Count::Expirations, expired);
        if found.len() > QUEUE_MAX {
            found.select_nth_unstable_by_key(QUEUE_MAX, Candidate::turn);
            found.truncate(QUEUE_MAX);
        }
        Ok(found)
    }
}
