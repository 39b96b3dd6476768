//! Judging one key at a time, while others go on changing it.
//!
//! What is held against a word counts only if the word is still the same afterwards: words never take a
//! value twice, so nothing has happened to the key in between.
#![forbid(unsafe_code)]

use super::finding::{Cure, Finding, FindingKind};
use super::inspect::Doubt;
use super::join::{Suspect, is_same};
use super::records::described;
use super::site::Site;
use crate::blob::published_body;
use crate::disk::{Access, Map};
use crate::error::Result;
use crate::format::record::{Header, Kind, State};
use crate::format::refs::{PINS, RefBody};
use crate::format::word::{Location, Word, WordKind};
use crate::id::{BlobId, Key};
use crate::index::{Index, canonical};
use crate::recover::{Item, key_of};
use crate::run::Run;
use crate::segment::{Mapped, SegmentSet, map_all, pin_of};
use crate::sync::epoch::{Guard, Pinned};
use crate::whole::is_whole;

/// Times that a word may move while it is being judged; who moves it more often is alive.
const ATTEMPTS_MAX: u32 = 64;
/// Segments that are kept mapped.
const MAPPINGS_MAX: usize = 1024;

/// What a judge goes by.
pub struct Judge<'a> {
    site: &'a Site<'a>,
    run: &'a Run,
    segments: SegmentSet,
    /// Segments that are sealed, and nothing about them is damaged; in order.
    sound: Vec<u32>,
    guard: &'a Guard,
}

/// A ref, as far as it matters here.
pub struct Reading {
    /// Namespace and key.
    pub name: (String, Vec<u8>),
    /// Digest and held number of each blob that it names.
    pub blobs: Vec<([u8; 32], u64)>,
}

impl<'a> Judge<'a> {
    /// A judge for one run.
    pub fn new(site: &'a Site<'a>, run: &'a Run, mut sound: Vec<u32>, guard: &'a Guard) -> Self {
        sound.sort_unstable();
        let segments =
            SegmentSet::new(site.files.clone(), MAPPINGS_MAX, run.control.unlink_epoch());
        Self { site, run, segments, sound, guard }
    }

    fn word(&self, key: Key) -> Result<Word> {
        Ok(Index::new(self.run.tables(self.guard)).lookup(key)?.word)
    }

    /// Looks until the word has not moved meanwhile.
    fn at_rest(
        &self,
        key: Key,
        mut verdict: impl FnMut(Word) -> Result<Option<Finding>>,
    ) -> Result<Option<Finding>> {
        for _ in 0..ATTEMPTS_MAX {
            self.segments.note_unlinks(self.run.control.unlink_epoch(), self.guard);
            let word = self.word(key)?;
            let Some(finding) = verdict(word)? else { return Ok(None) };
            if is_same(self.word(key)?, word) {
                return Ok(Some(finding));
            }
        }
        Ok(None)
    }

    /// What is wrong with a key at which index and segments differ.
    pub fn judge(&self, suspect: &Suspect) -> Result<Option<Finding>> {
        if bug!("fsck-no-second-look") {
            let message = "index and segments differ";
            return Ok(Some(Finding::damage(FindingKind::Index, message, Cure::Rebuild)));
        }
        self.at_rest(suspect.key, |word| match word.kind() {
            WordKind::Live | WordKind::Tomb => self.named(suspect, word),
            WordKind::None | WordKind::Dead => self.unnamed(suspect),
        })
    }

    /// Whether the index names the record of a doubt.
    pub fn is_named(&self, doubt: &Doubt) -> Result<bool> {
        let word = self.word(doubt.key)?;
        let is_there = matches!(word.kind(), WordKind::Live | WordKind::Tomb);
        Ok(is_there && word.location() == doubt.location)
    }

    fn mapped(&self, location: Location, end: u64) -> Result<Option<Pinned<'a, Mapped>>> {
        self.segments.get(location.segment(), end, self.guard)
    }

    fn named(&self, suspect: &Suspect, word: Word) -> Result<Option<Finding>> {
        let location = word.location();
        let (segment, offset) = (location.segment(), location.offset());
        let missing = || {
            let message = "a segment that the index names is missing";
            let finding = Finding::damage(FindingKind::Segment, message, Cure::Rebuild);
            finding.at(segment, offset).of_key(suspect.key).expected("the file").found("none")
        };
        let header = match self.mapped(location, offset + 64) {
            Ok(None) => return Ok(Some(missing())),
            Ok(Some(mapped)) => mapped.as_ref().header(offset),
            Err(error) if error.is_damage() => None,
            Err(error) => return Err(error),
        };
        let Some(header) = header else {
            let message = "the index names a record that is not there";
            let finding =
                Finding::damage(FindingKind::Header, message, self.cure(suspect, segment));
            let finding = finding.of_key(suspect.key);
            let expected = "the header of a record that checks";
            return Ok(Some(finding.at(segment, offset).expected(expected).found("other bytes")));
        };
        if let Some(finding) = self.cut_short(suspect, location, &header)? {
            return Ok(Some(finding));
        }
        Ok(self.misnamed(suspect, word, &header).or(self.outdated(suspect, location, &header)?))
    }

    /// The record ends beyond the end of the file.
    fn cut_short(
        &self,
        suspect: &Suspect,
        location: Location,
        header: &Header,
    ) -> Result<Option<Finding>> {
        let (segment, offset) = (location.segment(), location.offset());
        let end = offset + header.record_bytes(self.site.files.digest_bytes());
        match self.mapped(location, end) {
            // None: it is gone by now, and the word has moved.
            Ok(_) => Ok(None),
            Err(error) if error.is_damage() => {
                let message = "a record reaches beyond the end of its segment";
                let cure = self.cure(suspect, segment);
                let finding = Finding::damage(FindingKind::Header, message, cure);
                let finding = finding.at(segment, offset).of_key(suspect.key);
                let finding = finding.expected(described(header, self.site));
                Ok(Some(finding.found(error.found_text().unwrap_or("less"))))
            }
            Err(error) => Err(error),
        }
    }

    /// A record that is not there is the segment's fault, unless that is sound or the index could know
    /// better.
    fn cure(&self, suspect: &Suspect, segment: u32) -> Cure {
        let is_sound = self.sound.binary_search(&segment).is_ok();
        if is_sound || suspect.item.is_some() { Cure::Rebuild } else { Cure::Salvage(segment) }
    }

    /// The word says something else about the record than the record does.
    fn misnamed(&self, suspect: &Suspect, word: Word, header: &Header) -> Option<Finding> {
        let location = word.location();
        let right = if header.kind.is_tomb() {
            Word::tomb(location, header.kind.is_ref())
        } else {
            let bytes = header.record_bytes(self.site.files.digest_bytes());
            Word::live(location, header.kind.is_ref(), bytes)
        };
        let finding = |message| {
            let finding = Finding::damage(FindingKind::Index, message, Cure::Rebuild);
            finding.at(location.segment(), location.offset())
        };
        if canonical(key_of(&self.site.files, header)) != suspect.key {
            let finding = finding("a key of the index names the record of another");
            let key = format!("the key {:016x}{:016x}", suspect.key.hi, suspect.key.lo);
            return Some(finding.expected(key).found(described(header, self.site)));
        }
        let message = "a word of the index says something else than its record";
        (!is_same(word, right))
            .then(|| finding(message).expected(format!("{right:?}")).found(format!("{word:?}")))
    }

    /// The word names an older record than the newest that was published.
    fn outdated(
        &self,
        suspect: &Suspect,
        location: Location,
        header: &Header,
    ) -> Result<Option<Finding>> {
        let Some(item) = suspect.item.filter(|item| item.sequence > header.sequence) else {
            return Ok(None);
        };
        if !self.is_published(&item)? {
            return Ok(None);
        }
        let message = "the index names an older record than the newest one";
        let finding = Finding::damage(FindingKind::Index, message, Cure::Rebuild);
        let newest = item.word.location();
        let finding = finding.at(newest.segment(), newest.offset());
        let expected = format!("number {}", item.sequence);
        let found = format!("number {} at {location:?}", header.sequence);
        Ok(Some(finding.expected(expected).found(found)))
    }

    /// A ref has no word only if it never had one, or if nothing is left of it.
    fn unnamed(&self, suspect: &Suspect) -> Result<Option<Finding>> {
        let item = suspect.item.filter(|item| item.word.is_live() && item.word.is_ref());
        let Some(item) = item else { return Ok(None) };
        if !self.is_published(&item)? {
            return Ok(None);
        }
        let location = item.word.location();
        let message = "the index does not name a ref that was published";
        let finding = Finding::damage(FindingKind::Index, message, Cure::Rebuild);
        let mut finding = finding.at(location.segment(), location.offset());
        finding.names = self.read_ref(location)?.map(|read| read.name).into_iter().collect();
        Ok(Some(finding.expected(format!("{:?}", item.word)).found("no word")))
    }

    /// Whether a record is still there, published and whole.
    fn is_published(&self, item: &Item) -> Result<bool> {
        let location = item.word.location();
        let file = self.site.files.open(location.segment(), Access::Read);
        let file = match file {
            Ok(Some(file)) => file,
            Ok(None) => return Ok(false),
            Err(error) if error.is_damage() => return Ok(false),
            Err(error) => return Err(error),
        };
        let map = map_all(&*file)?;
        let Some(header) = self.header_in(&map, location) else { return Ok(false) };
        let body = published_body(&map, location.offset(), &header);
        let is_same = header.sequence == item.sequence && header.state == State::Published;
        Ok(is_same && body.is_some_and(|body| is_whole(&header, body, self.site.files.hash)))
    }

    fn header_in(&self, map: &Map, location: Location) -> Option<Header> {
        let place = self.site.files.place(location.segment());
        Header::decode(&map.read_block(location.offset())?, place, location.offset())
    }

    /// The ref whose record stands at a location; `None` if it cannot be read, or is not published.
    pub fn read_ref(&self, location: Location) -> Result<Option<Reading>> {
        let offset = location.offset();
        let mapped = match self.mapped(location, offset + 64) {
            Ok(Some(mapped)) => mapped,
            Ok(None) => return Ok(None),
            Err(error) if error.is_damage() => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(header) = mapped.as_ref().header(offset) else { return Ok(None) };
        let end = offset + 64 + header.body_len;
        let Ok(Some(mapped)) = self.mapped(location, end) else { return Ok(None) };
        Ok(reading(self.site, &mapped.as_ref().map, offset, &header))
    }

    /// What is wrong with the blobs of a ref that is live; the removal of one is no fault of the ref.
    pub fn judge_ref(&self, key: Key) -> Result<Option<Finding>> {
        self.at_rest(key, |word| {
            if !word.is_live() || !word.is_ref() {
                return Ok(None);
            }
            let Some(read) = self.read_ref(word.location())? else { return Ok(None) };
            for (digest, held) in &read.blobs {
                if let Some(finding) = self.judge_blob(digest, *held)? {
                    let location = word.location();
                    let id = BlobId::from_padded(self.site.files.hash, *digest);
                    let finding = finding.at(location.segment(), location.offset()).blob(id);
                    return Ok(Some(Finding { names: vec![read.name.clone()], ..finding }));
                }
            }
            Ok(None)
        })
    }

    fn judge_blob(&self, digest: &[u8; 32], held: u64) -> Result<Option<Finding>> {
        let key = Key::from_digest(digest);
        self.at_rest(key, |word| {
            let damage = |message| Finding::damage(FindingKind::Dangling, message, Cure::Rebuild);
            let expected = format!("a record of the blob with a number of at least {held}");
            match word.kind() {
                WordKind::Tomb => {
                    let message = "a ref names a blob that was removed: it reads as absent";
                    Ok(Some(Finding::notice(FindingKind::Dangling, message)))
                }
                WordKind::None | WordKind::Dead => {
                    let finding = damage("a ref names a blob that is not there");
                    Ok(Some(finding.expected(expected).found("none")))
                }
                WordKind::Live => {
                    let location = word.location();
                    let Ok(Some(mapped)) = self.mapped(location, location.offset() + 64) else {
                        return Ok(None);
                    };
                    let number = mapped.as_ref().header(location.offset()).map(|h| h.sequence);
                    let number = number.filter(|&number| number < held);
                    let message = "a ref relies on a later record of its blob than there is";
                    Ok(number.map(|number| damage(message).expected(expected).found(number)))
                }
            }
        })
    }
}

/// A published ref or pin in its mapping.
pub fn reading(site: &Site<'_>, map: &Map, offset: u64, header: &Header) -> Option<Reading> {
    let body = published_body(map, offset, header)?;
    match header.kind {
        Kind::Pin => {
            let id = BlobId::from_padded(site.files.hash, header.digest);
            let held = pin_of(body, &header.digest)?.held.get();
            let name = (PINS.into(), id.to_string().into_bytes());
            Some(Reading { name, blobs: vec![(header.digest, held)] })
        }
        Kind::Ref | Kind::RefTomb => {
            let body = RefBody::decode(body)?;
            Some(Reading { name: (body.namespace, body.key), blobs: body.blobs })
        }
        _ => None,
    }
}
