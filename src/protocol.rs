//! The one way to publish (spec/CONCURRENCY.md, section "Publishing"), over whatever carries the words
//! and the records: the store's files, or the model checker's bed.
//!
//! Every change of a key is a record: load the word, draw a number, append the record pending, move
//! the word from exactly what was loaded, set the state byte.
//!
//! I1  The number is drawn after the load, so along one key's history the numbers grow.
//! I2  `published` implies that the index named the record.
//! I3  A ref's pending record is in the log before the word of a blob that it names is touched, and
//!     holds the number of the blob record that it relies on.
//! I4  An operation is acknowledged on its own record, or on one that it has relied on: then that
//!     one's state byte is set, too, and under `Synced` both last.
//! I5  Whoever relies on a ref relies on the blobs that it names. So one write may set the state bytes
//!     of a ref and of its blob, after both exchanges.
//!
//! Death: before an exchange, a pending record that nobody names; after it, a record that counts and
//! whose byte whoever relies on it sets.
#![forbid(unsafe_code)]

use crate::error::{Error, ErrorKind, Result};
use crate::format::word::{Location, Word, WordKind};
use crate::id::Key;
use crate::index::{Index, Seen, Tables};

/// Most times that one operation begins again. Each time somebody else's operation has succeeded; the
/// bound is there for shared memory that somebody scribbles on.
const ATTEMPTS_MAX: u32 = 1 << 16;

/// What all participants share, as an operation gets at it.
pub trait Shared {
    /// The tables of the index.
    type Tables: Tables;

    /// The index.
    fn index(&self) -> &Index<Self::Tables>;
    /// Draws `count` sequence numbers; the first of them.
    fn draw(&self, count: u64) -> u64;
    /// Whether a word names a live record to build on.
    fn is_held(&self, word: Word) -> bool;
    /// Whether what is acknowledged must survive a power loss.
    fn is_synced(&self) -> bool;
    /// Sees to it that the record that `word` names counts: sets its state byte (and those of the blobs
    /// that it names, before), and makes it last if [`is_synced`](Self::is_synced). Its number, or
    /// `None` if it is not there any more because the word has moved on.
    fn vouch(&self, key: Key, word: Word) -> Result<Option<u64>>;
}

/// The log of an operation on blobs that come with a ref each.
pub trait PairLog: Shared {
    /// Whether the ref of a pair may be set over what `word` names; `None` if that has moved.
    fn accepts(&self, pair: usize, word: Word) -> Result<Option<bool>>;
    /// Appends two pending records a pair by one write: of the pair at `i` the ref with the number
    /// `first + 2i + 1`, which holds the other, and behind it the blob with `first + 2i`.
    fn append(&mut self, first: u64, pairs: &[Pair]) -> Result<()>;
    /// The words that will name the blob and the ref of a pair.
    fn words(&self, pair: usize) -> Result<(Word, Word)>;
    /// Sets the state bytes of the records that were named.
    fn publish(&mut self, pairs: &[Pair]) -> Result<()>;
}

/// The log of an operation that appends one record at a time: a ref or a tombstone.
pub trait RecordLog: Shared {
    /// Appends the record, pending; the word that will name it. A ref relies on blob records with the
    /// numbers `held`.
    fn append(&mut self, sequence: u64, held: &[u64]) -> Result<Word>;
    /// Sets the state byte of the record appended last.
    fn publish(&mut self) -> Result<()>;
}

/// The log of an operation that sets a ref to blobs.
pub trait RefLog: RecordLog {
    /// Whether the ref may be set over what `word` names; `None` if that has moved.
    fn accepts(&self, word: Word) -> Result<Option<bool>>;
    /// Number of the blobs.
    fn blobs(&self) -> usize;
    /// The key of a blob.
    fn blob(&self, at: usize) -> Key;
    /// The number of a blob's live record; `None` if there is none.
    fn peek(&self, at: usize) -> Result<Option<u64>>;
}

/// How an attempt to name blobs ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// The ref is set; its number.
    Done(u64),
    /// The condition of the ref does not hold.
    Declined,
    /// This one of the blobs is not there.
    Missing(usize),
}

/// What became of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing: the blob is there already, or its word has moved, or the ref is not to be set.
    Void,
    /// The blob is published, and the ref's word has moved.
    Unnamed,
    /// Both are published; the ref's number.
    Named(u64),
}

/// A blob that is put together with a ref to it, and their words as they were loaded.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    name: Key,
    blob: Key,
    name_seen: Seen,
    blob_seen: Seen,
    is_open: bool,
    fate: Fate,
}

impl Pair {
    /// Loads the words of a blob and of the ref that is to name it.
    pub fn look<T: Tables>(index: &Index<T>, blob: Key, name: Key) -> Result<Self> {
        let (blob_seen, name_seen) = (index.lookup(blob)?, index.lookup(name)?);
        Ok(Self { name, blob, name_seen, blob_seen, is_open: false, fate: Fate::Void })
    }

    /// The key of the ref.
    pub fn name(&self) -> Key {
        self.name
    }

    /// What became of it.
    pub fn fate(&self) -> Fate {
        self.fate
    }

    /// Moves the two words.
    fn exchange<L: PairLog>(&mut self, log: &L, at: usize, sequence: u64) -> Result<()> {
        let (blob, name) = log.words(at)?;
        if log.index().publish(self.blob, self.blob_seen, blob)?.is_err() {
            return Ok(());
        }
        self.fate = Fate::Unnamed;
        if log.index().publish(self.name, self.name_seen, name)?.is_ok() {
            self.fate = Fate::Named(sequence + 1);
        }
        Ok(())
    }
}

/// Publishes blobs that are not there, each together with a ref to it. What others interfered with
/// stays pending for ever: there the blob is to be named anew ([`set`]).
pub fn put<L: PairLog>(log: &mut L, pairs: &mut [Pair]) -> Result<()> {
    let mut is_any_open = false;
    for (at, pair) in pairs.iter_mut().enumerate() {
        pair.is_open = !log.is_held(pair.blob_seen.word)
            && log.accepts(at, pair.name_seen.word)? == Some(true);
        is_any_open |= pair.is_open;
    }
    if !is_any_open {
        return Ok(());
    }
    let first = log.draw(2 * pairs.len() as u64);
    if bug!("number-before-load") {
        look_again(log, pairs)?;
    }
    log.append(first, pairs)?;
    if bug!("state-before-exchange") {
        pairs.iter_mut().for_each(|pair| pair.fate = Fate::Named(0));
        log.publish(pairs)?;
        pairs.iter_mut().for_each(|pair| pair.fate = Fate::Void);
    }
    let exchanged = exchange_all(log, pairs, first);
    // In any case: an error in between undoes no exchange.
    log.publish(pairs)?;
    exchanged
}

fn exchange_all<L: PairLog>(log: &L, pairs: &mut [Pair], first: u64) -> Result<()> {
    for (at, pair) in pairs.iter_mut().enumerate().filter(|(_, pair)| pair.is_open) {
        pair.exchange(log, at, first + 2 * at as u64)?;
    }
    Ok(())
}

/// Only for a planted bug.
fn look_again<L: PairLog>(log: &L, pairs: &mut [Pair]) -> Result<()> {
    for pair in pairs.iter_mut().filter(|pair| pair.is_open) {
        let again = Pair::look(log.index(), pair.blob, pair.name)?;
        *pair = Pair { is_open: !log.is_held(again.blob_seen.word), ..again };
    }
    Ok(())
}

/// Sets a ref to blobs that are there.
pub fn set<L: RefLog>(log: &mut L, name: Key) -> Result<Named> {
    let mut held = Vec::new();
    for _ in 0..ATTEMPTS_MAX {
        let seen = log.index().lookup(name)?;
        match log.accepts(seen.word)? {
            Some(true) => {}
            Some(false) if is_settled(log, name, seen.word)? => return Ok(Named::Declined),
            _ => continue,
        }
        if let Some(missing) = peek(log, &mut held)? {
            return Ok(Named::Missing(missing));
        }
        let acquitted_early = bug!("ref-after-blob").then(|| acquit(log, &held));
        let sequence = log.draw(1);
        let word = log.append(sequence, &held)?;
        match acquitted_early.unwrap_or_else(|| acquit(log, &held))? {
            Acquitted::All => {}
            Acquitted::Changed => continue,
            Acquitted::Missing(blob) => return Ok(Named::Missing(blob)),
        }
        let seen = if bug!("accepted-before") { log.index().lookup(name)? } else { seen };
        if log.index().publish(name, seen, word)?.is_ok() {
            log.publish()?;
            return Ok(Named::Done(sequence));
        }
    }
    Err(restless())
}

/// The numbers of the blobs' records, or which blob is not there.
fn peek<L: RefLog>(log: &L, held: &mut Vec<u64>) -> Result<Option<usize>> {
    held.clear();
    for at in 0..log.blobs() {
        match log.peek(at)? {
            Some(number) => held.push(number),
            None => return Ok(Some(at)),
        }
    }
    Ok(None)
}

enum Acquitted {
    All,
    /// A blob has another record than the one held.
    Changed,
    /// This one is gone.
    Missing(usize),
}

/// For each blob a successful read-modify-write of its word that clears CONDEMNED, in any case, and
/// then reliance on its record: the collector's condemning came before it, and is undone, or comes
/// after it, and then finds the ref's pending record.
fn acquit<L: RefLog>(log: &L, held: &[u64]) -> Result<Acquitted> {
    for (at, &held) in held.iter().enumerate() {
        let key = log.blob(at);
        let word = log.index().update_flags(key, 0, Word::CONDEMNED)?.word;
        if !word.is_live() {
            return Ok(Acquitted::Missing(at));
        }
        let found = rely(log, key, word)?;
        let is_other = found != Some(held) && !bug!("no-second-ref");
        if found.is_none() || is_other {
            return Ok(Acquitted::Changed);
        }
    }
    Ok(Acquitted::All)
}

/// Publishes a tombstone for a key; `false` if there is nothing to remove, or nothing that could be
/// seen, which is what `is_visible` says of the record that the word names.
pub fn remove<L: RecordLog>(
    log: &mut L,
    key: Key,
    is_visible: impl Fn(Word) -> Result<bool>,
) -> Result<bool> {
    for _ in 0..ATTEMPTS_MAX {
        let mut seen = log.index().lookup(key)?;
        if !seen.word.is_live() {
            if is_settled(log, key, seen.word)? {
                return Ok(false);
            }
            continue;
        }
        let sequence = log.draw(1);
        if bug!("tomb-number-before-load") {
            seen = log.index().lookup(key)?;
        }
        let word = log.append(sequence, &[])?;
        // Asked as late as can be, so that it holds when the word moves.
        let was_visible = is_visible(seen.word)?;
        if log.index().publish(key, seen, word)?.is_ok() {
            log.publish()?;
            return Ok(was_visible);
        }
    }
    Err(restless())
}

/// Publishes a tombstone in the place of exactly the record that was seen; `false` if it has changed.
pub fn remove_seen<L: RecordLog>(log: &mut L, key: Key, seen: Word) -> Result<bool> {
    let sequence = log.draw(1);
    let word = log.append(sequence, &[])?;
    let is_removed = log.index().publish(key, Seen::exactly(seen), word)?.is_ok();
    if is_removed {
        log.publish()?;
    }
    Ok(is_removed)
}

/// Relies on the record that `word`, which was `key`'s, names; its number. `None`: the word has moved
/// on, start over.
pub fn rely<S: Shared>(shared: &S, key: Key, word: Word) -> Result<Option<u64>> {
    let Some(number) = shared.vouch(key, word)? else { return Ok(None) };
    if !shared.is_synced() || bug!("no-second-look") {
        return Ok(Some(number));
    }
    // What is known to last was made so with the bytes of the records that were named then. A record
    // that has been superseded since may have got its byte, just now, too late for that.
    let now = shared.index().lookup(key)?.word;
    Ok(now.is_same_record(word).then_some(number))
}

/// Relies on what a key's word shows, be it a live record, a tombstone or nothing; `false`: it has
/// moved on.
pub fn is_settled<S: Shared>(shared: &S, key: Key, word: Word) -> Result<bool> {
    match word.kind() {
        WordKind::Live | WordKind::Tomb => Ok(rely(shared, key, word)?.is_some()),
        // What was swept promises nothing.
        WordKind::None | WordKind::Dead => Ok(true),
    }
}

/// Moves a key's word from one place of its record to a copy of it, whatever its flags; `false` if
/// the word names something else. The copy's state byte is the caller's to set.
pub fn relocate<T: Tables>(
    index: &Index<T>,
    key: Key,
    from: Location,
    to: Location,
) -> Result<bool> {
    for _ in 0..ATTEMPTS_MAX {
        let seen = index.lookup(key)?;
        if !matches!(seen.word.kind(), WordKind::Live | WordKind::Tomb)
            || seen.word.location() != from
        {
            return Ok(false);
        }
        if index.publish(key, seen, seen.word.moved(to))?.is_ok() {
            return Ok(true);
        }
    }
    Err(restless())
}

#[cold]
fn restless() -> Error {
    Error::new(ErrorKind::Damaged, "a key of the index does not come to rest")
        .advice(crate::error::REMOVE_RUN)
}

#[cfg(test)]
mod tests;
