//! Setting and removing entries: counted first, then published in the place of exactly the version that was seen.
//!
//! - I1 What a setting adds is counted before it is published (ledger.rs, I1), and entries are evicted until the
//!   sum is within the limits: so they hold at every moment, whoever dies.
//! - I2 Who replaces or removes an entry has taken the place of exactly the record whose bytes it gives back.
//! - I3 The parts of a value of several parts are kept by refs of their own, which expire, until the entry
//!   names them.
//!
//! Death: bytes that are counted and nowhere; refs that expire.
#![forbid(unsafe_code)]

use super::cache::Inner;
use super::item::{NewValue, Part};
use super::ledger::{Cleared, Count};
use super::look::Live;
use super::options::{EvictionPolicy, ItemOptions};
use crate::clock::{now_ns, to_ns};
use crate::engine::Durability;
use crate::entry::{INLINE_BYTES, SetOptions, Version, check_limits};
use crate::error::{Error, ErrorKind, Result};
use crate::format::cache::{EntryHead, HEAD_BYTES_MAX, entry_metadata};
use crate::format::refs::RefBody;
use crate::format::word::Word;
use crate::id::BlobId;
use crate::naming::{Expect, Naming};
use crate::publish::Removal;
use crate::sync::epoch::{Guard, pin};
use crate::sync::machine::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// So long refs keep the parts of a value that is being set.
const HOLD: Duration = Duration::from_secs(3600);
/// Times that one setting is tried while others set the same key.
const ATTEMPTS_MAX: u32 = 1 << 16;

static HOLDS: AtomicU64 = AtomicU64::new(0);

/// How a setting ended.
pub enum Written {
    /// It is done.
    Set(Version),
    /// The value that was there did not please.
    Declined,
}

/// What is replaced.
struct Old {
    /// Under which condition it is.
    expect: Expect,
    /// Bytes that are counted for it now.
    bytes: u64,
    /// Whether it is counted at all.
    is_counted: bool,
    /// The number under which the key came, if it has a value.
    born: u64,
    /// Whether it has been read again before.
    is_hot: bool,
}

impl Old {
    /// What stands there, if the store shows it, and if it counts.
    fn of(
        found: Option<&Live<'_>>,
        shown: Option<&Live<'_>>,
        counting: Option<&Live<'_>>,
        cleared: Cleared,
    ) -> Self {
        let counted = found.filter(|live| live.cleared() == cleared.0);
        let born = counting.filter(|_| !bug!("born-lost")).map_or(0, Live::born);
        Self {
            expect: shown.map_or(Expect::Absent, |live| Expect::Version(live.sequence)),
            bytes: counted.map_or(0, Live::bytes),
            is_counted: counted.is_some(),
            born,
            is_hot: counting.is_some_and(|live| live.seen.word.has(Word::HOT)),
        }
    }
}

/// The value of an entry, its parts stored as far as they are not set with it.
enum Stored<'a> {
    /// In the ref.
    Inline(Option<&'a [u8]>),
    /// A blob that is put in and named in one step.
    Single(Part<'a>),
    /// Blobs that are there.
    Blobs(Vec<BlobId>),
}

impl Inner {
    /// Sets a key, if `accept` says so of the entry that counts.
    pub fn write(
        &self,
        key: &[u8],
        value: NewValue<'_>,
        options: &ItemOptions,
        accept: impl Fn(Option<&Live<'_>>) -> Result<bool>,
    ) -> Result<Written> {
        let size = self.check_value(key, &value)?;
        let (stored, holds) = self.store_parts(&value)?;
        let written = self.write_stored(key, value.head, &stored, size, options, accept);
        for hold in holds {
            // What stays expires.
            let _ = self.holds.remove(hold);
        }
        written
    }

    fn write_stored(
        &self,
        key: &[u8],
        head: &[u8],
        stored: &Stored<'_>,
        size: u64,
        options: &ItemOptions,
        accept: impl Fn(Option<&Live<'_>>) -> Result<bool>,
    ) -> Result<Written> {
        let mut was_full = false;
        for _ in 0..ATTEMPTS_MAX {
            let guard = self.enter_writing()?;
            let found = self.find_to_replace(key, &guard)?;
            // What the store does not show as a ref is absent for it, too.
            let shown = match &found {
                Some(live) if !live.has_expired() && self.is_whole(live, &guard)? => Some(live),
                _ => None,
            };
            let counting = match shown {
                Some(live) if self.counts(live)? => Some(live),
                _ => None,
            };
            if !accept(counting)? {
                return Ok(Written::Declined);
            }
            let cleared = self.cleared();
            let old = Old::of(found.as_ref(), shown, counting, cleared);
            let body = self.body(key, head, stored, size, options, &old, cleared)?;
            drop(guard);
            let (bytes, items) = (size as i64 - old.bytes as i64, i64::from(!old.is_counted));
            let change = self.begin_change()?;
            if !self.make_room(cleared, bytes.max(0), items)? {
                drop(change);
                if was_full {
                    return Err(self.full()?);
                }
                // The counters may have too much, of processes that have died, or of what has expired.
                was_full = true;
                self.expire()?;
                continue;
            }
            match self.publish(&body, stored, old.expect, options.durability) {
                Ok(Some(version)) => {
                    self.ledger.add(cleared, bytes.min(0), 0);
                    self.note_given_up(old.bytes);
                    self.note_set(key, old.is_hot)?;
                    return Ok(Written::Set(version));
                }
                // It may have been published: what is counted too much is found out.
                Err(error) if may_be_published(&error) => return Err(error),
                failed => {
                    self.ledger.add(cleared, -bytes.max(0), -items);
                    failed?;
                }
            }
        }
        Err(Error::new(ErrorKind::Busy, "others set the key again and again").advice("try again"))
    }

    /// What stands under a key; nothing where it is damaged.
    pub fn find_to_replace<'g>(&self, key: &[u8], guard: &'g Guard) -> Result<Option<Live<'g>>> {
        match self.find(key, guard) {
            Err(error) if error.is_damage() => Ok(None),
            found => found,
        }
    }

    fn check_value(&self, key: &[u8], value: &NewValue<'_>) -> Result<u64> {
        if value.head.len() > HEAD_BYTES_MAX {
            return Err(Error::new(ErrorKind::InvalidInput, "the head of a value is too long")
                .expected(format!("at most {HEAD_BYTES_MAX} bytes"))
                .found(format!("{} bytes", value.head.len())));
        }
        let mut size = (key.len() + value.head.len()) as u64;
        for part in value.parts {
            size += match part.body() {
                Some(body) => body.len() as u64,
                None => self.blob_len(part)?,
            };
        }
        let limit = self.settings()?.size_limit.unwrap_or(u64::MAX);
        if size <= limit {
            return Ok(size);
        }
        Err(Error::new(ErrorKind::TooLarge, "the value is larger than the cache may be")
            .expected(format!("at most {limit} bytes of key and value"))
            .found(format!("{size} bytes"))
            .advice("raise the size limit of the cache, or keep the value in the store itself"))
    }

    fn blob_len(&self, part: &Part<'_>) -> Result<u64> {
        let Part::Blob(id) = part else { return Ok(0) };
        let stat = self.store.stat(id)?;
        stat.map(|stat| stat.len).ok_or_else(|| crate::publish::blob_not_found(id))
    }

    /// Stores what is not set together with the entry, and says what keeps it meanwhile (I3).
    fn store_parts<'a>(&self, value: &NewValue<'a>) -> Result<(Stored<'a>, Vec<[u8; 16]>)> {
        match *value.parts {
            [] => return Ok((Stored::Inline(None), Vec::new())),
            [Part::Bytes(bytes)] if bytes.len() <= INLINE_BYTES => {
                return Ok((Stored::Inline(Some(bytes)), Vec::new()));
            }
            [Part::Blob(id)] => return Ok((Stored::Blobs(vec![id]), Vec::new())),
            [part] => return Ok((Stored::Single(part), Vec::new())),
            _ => {}
        }
        let (mut ids, mut holds) = (Vec::new(), Vec::new());
        for part in value.parts {
            let id = match (part, part.body()) {
                (Part::Blob(id), _) => *id,
                (_, Some(body)) => {
                    let hold = hold_name();
                    let options = SetOptions::new().expires_in(HOLD);
                    let body_of = self.holds.body_of(&hold, &options);
                    let named = RefBody { is_single: true, ..body_of };
                    let naming = Naming::Ref(&named, Expect::Any);
                    let put = self.engine().put(&pin(), body, &naming, Durability::Buffered)?;
                    put.named.into_set(&[put.id])?;
                    holds.push(hold);
                    put.id
                }
                _ => continue,
            };
            ids.push(id);
        }
        Ok((Stored::Blobs(ids), holds))
    }

    #[allow(clippy::too_many_arguments)]
    fn body(
        &self,
        key: &[u8],
        head: &[u8],
        stored: &Stored<'_>,
        size: u64,
        options: &ItemOptions,
        old: &Old,
        cleared: Cleared,
    ) -> Result<RefBody> {
        let generations: Vec<u64> = match &options.tags[..] {
            [] => Vec::new(),
            tags => tags.iter().map(|tag| self.tag_generation(tag)).collect::<Result<_>>()?,
        };
        let inline = match stored {
            Stored::Inline(bytes) => Some(bytes.unwrap_or_default().to_vec()),
            _ => None,
        };
        let has_part = matches!(stored, Stored::Inline(Some(_)));
        let born = if options.born != 0 { options.born } else { old.born };
        let fixed = EntryHead::new(size, cleared.0, born, generations.len(), has_part);
        let body = RefBody {
            namespace: self.namespace.clone(),
            key: key.to_vec(),
            blobs: Vec::new(),
            inline,
            tags: options.tags.clone(),
            metadata: entry_metadata(&fixed, &generations, head),
            created_ns: now_ns(),
            expires_ns: options.expires.map_or(0, |time| to_ns(time).max(1)),
            is_single: matches!(stored, Stored::Single(_)),
        };
        check_limits(&body, 0)?;
        Ok(body)
    }

    /// Publishes an entry; `None` if something else stands there by now.
    fn publish(
        &self,
        body: &RefBody,
        stored: &Stored<'_>,
        expect: Expect,
        durability: Option<Durability>,
    ) -> Result<Option<Version>> {
        let engine = self.engine();
        let durability = durability.unwrap_or(engine.settings.durability);
        let guard = self.enter_writing()?;
        let set = match stored {
            Stored::Inline(_) => engine.set_ref(&guard, body, &[], expect, durability)?,
            Stored::Blobs(ids) => engine.set_ref(&guard, body, ids, expect, durability)?,
            Stored::Single(part) => {
                let Some(bytes) = part.body() else { return Ok(None) };
                let put = engine.put(&guard, bytes, &Naming::Ref(body, expect), durability)?;
                put.named.into_set(&[put.id])?
            }
        };
        if set.is_some() {
            engine.run.control.announce_change();
        }
        Ok(set.map(Version::from_number))
    }

    /// After a setting, which is a use: what was evicted lately, or read again before, is worth keeping.
    fn note_set(&self, key: &[u8], was_hot: bool) -> Result<()> {
        self.ledger.tally(Count::Sets, 1);
        let policy = self.known.policy();
        if policy.counts_uses() {
            self.note_word(self.key_of(key), policy);
        } else if policy == EvictionPolicy::S3Fifo {
            let at = self.key_of(key);
            if was_hot || self.ledger.recall(at.hi, at.lo) {
                self.engine().index(&pin()).update_flags(at, Word::HOT, 0)?;
            }
        }
        Ok(())
    }

    /// Puts a tombstone in the place of exactly this record, and gives back what it counted for; `false` if
    /// something else stands there by now.
    pub fn remove_seen(&self, live: &Live<'_>, guard: &Guard) -> Result<bool> {
        let engine = self.engine();
        let name = RefBody {
            namespace: self.namespace.clone(),
            key: live.view.key.to_vec(),
            ..RefBody::default()
        };
        let name = name.encode();
        let removal = Removal::of_ref(live.at, &name);
        let durability = engine.settings.durability;
        let _change = self.begin_change()?;
        let removed = engine.with_removal_appender(
            guard,
            removal.record_bytes(),
            durability,
            |appender| engine.remove_version(appender, guard, &removal, live.seen.word),
        )?;
        if removed {
            if live.cleared() == self.cleared().0 {
                self.ledger.add(Cleared(live.cleared()), -(live.bytes() as i64), -1);
            }
            self.note_given_up(live.bytes());
            engine.run.control.announce_change();
        }
        Ok(removed)
    }

    /// Gives an entry another expiry.
    pub fn touch(&self, key: &[u8], expires: Option<SystemTime>) -> Result<bool> {
        for _ in 0..ATTEMPTS_MAX {
            let guard = self.enter_writing()?;
            let Some(live) = self.find(key, &guard)? else { return Ok(false) };
            if !self.counts(&live)? || !self.is_whole(&live, &guard)? {
                return Ok(false);
            }
            let Some(entry) = live.entry else { return Ok(false) };
            let hash = self.engine().superblock.hash;
            let ids: Vec<BlobId> = live
                .view
                .blobs
                .iter()
                .map(|named| BlobId::from_padded(hash, named.digest))
                .collect();
            let tags: Vec<String> = live.view.tags().map(Into::into).collect();
            let generations: Vec<u64> = entry.tags.iter().map(|tag| tag.get()).collect();
            let fixed = EntryHead::new(
                live.bytes(),
                live.cleared(),
                live.born(),
                generations.len(),
                entry.fixed.inline_parts != 0,
            );
            let body = RefBody {
                namespace: self.namespace.clone(),
                key: key.to_vec(),
                inline: ids.is_empty().then(|| live.view.inline.to_vec()),
                tags,
                metadata: entry_metadata(&fixed, &generations, entry.head),
                created_ns: now_ns(),
                expires_ns: expires.map_or(0, |time| to_ns(time).max(1)),
                ..RefBody::default()
            };
            let (expect, was_hot) = (Expect::Version(live.sequence), live.seen.word.has(Word::HOT));
            let stored = if ids.is_empty() { Stored::Inline(None) } else { Stored::Blobs(ids) };
            drop(guard);
            if self.publish(&body, &stored, expect, None)?.is_some() {
                self.note_set(key, was_hot)?;
                return Ok(true);
            }
        }
        Err(Error::new(ErrorKind::Busy, "others set the key again and again").advice("try again"))
    }
}

/// Whether an error may have come after the index named what was set.
fn may_be_published(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::SyncFailed | ErrorKind::Io)
}

/// A name that nobody else takes: made of the time, the process and a count.
fn hold_name() -> [u8; 16] {
    let mut name = [0; 16];
    name[..8].copy_from_slice(&now_ns().to_le_bytes());
    name[8..12].copy_from_slice(&std::process::id().to_le_bytes());
    let count = HOLDS.fetch_add(1, Ordering::Relaxed) as u32;
    name[12..].copy_from_slice(&count.to_le_bytes());
    name
}
