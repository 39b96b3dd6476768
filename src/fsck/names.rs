//! Which refs a check is about: those whose blobs are gone, and those that name a damaged blob.
#![forbid(unsafe_code)]

use super::finding::{Finding, FindingKind};
use super::inspect::Doubt;
use super::judge::{Reading, reading};
use super::site::Site;
use crate::disk::Access;
use crate::error::Result;
use crate::format::record::Header;
use crate::format::refs::{PINS, pin_key};
use crate::format::word::Location;
use crate::id::{BlobId, Key};
use crate::recover::{Item, Reliance, key_of, winner};
use crate::segment::map_all;
use rayon::prelude::*;
use std::collections::{HashMap, HashSet};

/// Names that are told of one finding: a segment that is missing may have held the blobs of any number.
const NAMES_MAX: usize = 1000;

/// The published records of a check.
pub struct Records<'a> {
    /// The store.
    pub site: &'a Site<'a>,
    /// All of them, in order.
    pub sorted: &'a [Vec<Item>],
    /// What refs rely on, where it does not stand right behind.
    pub reliances: &'a [Reliance],
}

impl Records<'_> {
    /// The header at a location, and the ref if it is one.
    fn read(&self, location: Location) -> Result<Option<(Header, Option<Reading>)>> {
        let file = match self.site.files.open(location.segment(), Access::Read) {
            Ok(Some(file)) => file,
            Ok(None) => return Ok(None),
            Err(error) if error.is_damage() => return Ok(None),
            Err(error) => return Err(error),
        };
        let map = map_all(&*file)?;
        let place = self.site.files.place(location.segment());
        let block = map.read_block(location.offset());
        let header = block.and_then(|block| Header::decode(&block, place, location.offset()));
        Ok(header.map(|h| (h, reading(self.site, &map, location.offset(), &h))))
    }

    /// The keys of live refs whose blobs were removed, collected or never found. `unnamed` are the
    /// blobs that no word names. Also how many pins hold a blob that was removed.
    pub fn dangling(&self, unnamed: &[Item]) -> Result<(Vec<Key>, u64)> {
        let unnamed: HashMap<Key, Location> =
            unnamed.iter().map(|item| (item.key, item.word.location())).collect();
        let is_gone = |on: Key| match winner(self.sorted, on) {
            Some(item) => !item.word.is_live() || unnamed.contains_key(&on),
            None => true,
        };
        let is_broken = |reliance: &&Reliance| {
            let newest = winner(self.sorted, reliance.on).map(|item| item.sequence);
            is_gone(reliance.on) || newest < Some(reliance.held)
        };
        let by: HashSet<Location> =
            self.reliances.par_iter().filter(is_broken).map(|reliance| reliance.by).collect();
        let mut keys = HashSet::new();
        if !by.is_empty() {
            let live = self.newest().filter(|item| item.word.is_live() && item.word.is_ref());
            keys.extend(live.filter(|item| by.contains(&item.word.location())).map(|i| i.key));
        }
        let mut removed = 0;
        let tombs = self.newest().filter(|item| !item.word.is_live() && !item.word.is_ref());
        for location in tombs.map(|item| item.word.location()).collect::<Vec<_>>() {
            if let Some(key) = self.pin_of(location)? {
                keys.remove(&key);
                removed += 1;
            }
        }
        for &location in unnamed.values() {
            keys.extend(self.pin_of(location)?);
        }
        Ok((keys.into_iter().collect(), removed))
    }

    /// What doubts come to where no index says which records count: a loss if nothing whole counts
    /// instead. A blob that nobody names is none.
    pub fn weighed(&self, doubts: Vec<Doubt>) -> Result<Vec<Finding>> {
        let mut needed: HashMap<Key, bool> =
            doubts.iter().filter(|doubt| doubt.is_blob).map(|doubt| (doubt.key, false)).collect();
        for reliance in self.reliances {
            if let Some(is_needed) = needed.get_mut(&reliance.on)
                && !*is_needed
                && let Some((header, _)) = self.read(reliance.by)?
            {
                let newest = winner(self.sorted, key_of(&self.site.files, &header));
                *is_needed = newest.is_some_and(|item| item.word.location() == reliance.by);
            }
        }
        Ok(doubts.into_iter().map(|doubt| self.weigh(doubt, &needed)).collect())
    }

    fn weigh(&self, doubt: Doubt, needed: &HashMap<Key, bool>) -> Finding {
        let newest = winner(self.sorted, doubt.key).map(|item| item.sequence);
        let pin = doubt.finding.blob.map(|id| pin_key(&self.site.files.uuid, &id));
        let is_pinned = || {
            let pin = pin.and_then(|pin| winner(self.sorted, pin));
            pin.is_some_and(|item| item.word.is_live())
        };
        let is_needed = !doubt.is_blob || needed.get(&doubt.key) == Some(&true) || is_pinned();
        if newest < Some(doubt.sequence) && is_needed {
            doubt.finding.lost()
        } else {
            doubt.finding.excused()
        }
    }

    /// Refs that the next recovery will pass over, because a blob of theirs is not there.
    pub fn passed_over(&self) -> Result<Vec<Finding>> {
        let (keys, _) = self.dangling(&[])?;
        let mut findings = Vec::new();
        for item in keys.into_iter().filter_map(|key| winner(self.sorted, key)) {
            let location = item.word.location();
            let Some((_, Some(read))) = self.read(location)? else { continue };
            let is_met = |(digest, held): &([u8; 32], u64)| {
                let newest = winner(self.sorted, Key::from_digest(digest));
                newest.is_some_and(|item| item.sequence >= *held)
            };
            if read.blobs.iter().all(is_met) {
                continue;
            }
            let message =
                "a ref names a blob that is not there: an older version of it counts, or none";
            let finding = Finding::notice(FindingKind::Dangling, message).lost();
            let finding = finding.at(location.segment(), location.offset());
            let digest = read.blobs.iter().find(|blob| !is_met(blob)).map(|blob| blob.0);
            let id = digest.map(|digest| BlobId::from_padded(self.site.files.hash, digest));
            findings.push(Finding { names: vec![read.name], blob: id, ..finding });
        }
        Ok(findings)
    }

    fn newest(&self) -> impl Iterator<Item = &Item> {
        let versions = self.sorted.iter().flat_map(|items| items.chunk_by(|a, b| a.key == b.key));
        versions.map(|versions| &versions[0])
    }

    /// The key of the live pin of the blob whose record stands at a location.
    fn pin_of(&self, location: Location) -> Result<Option<Key>> {
        let Some((header, _)) = self.read(location)? else { return Ok(None) };
        let id = BlobId::from_padded(self.site.files.hash, header.digest);
        let key = pin_key(&self.site.files.uuid, &id);
        Ok(winner(self.sorted, key).filter(|item| item.word.is_live()).map(|_| key))
    }

    /// Adds to each piece of damage, and each loss, the names of the blobs that it is about.
    pub fn attribute(&self, findings: &mut [Finding]) -> Result<()> {
        let mut concerned: HashMap<Key, Vec<usize>> = HashMap::new();
        for (at, finding) in findings.iter().enumerate().filter(|(_, f)| !f.is_notice()) {
            if !finding.names.is_empty() {
                continue;
            }
            let of_blob = finding.blob.map(|id| id.key());
            let keys = finding.keys.iter().filter(|_| !bug!("missing-unnamed"));
            for &key in keys.chain(&of_blob) {
                concerned.entry(key).or_default().push(at);
            }
        }
        if concerned.is_empty() {
            return Ok(());
        }
        for (key, at) in &concerned {
            let id = at.iter().find_map(|&at| findings[at].blob);
            let Some(id) = id.filter(|id| id.key() == *key) else { continue };
            let pin = winner(self.sorted, pin_key(&self.site.files.uuid, &id));
            if pin.is_some_and(|pin| pin.word.is_live()) {
                let name = (PINS.to_owned(), id.to_string().into_bytes());
                at.iter().for_each(|&at| findings[at].names.push(name.clone()));
            }
        }
        for reliance in self.reliances {
            let Some(at) = concerned.get(&reliance.on) else { continue };
            let is_room = |&&at: &&usize| findings[at].names.len() < NAMES_MAX;
            let at: Vec<usize> = at.iter().filter(is_room).copied().collect();
            if at.is_empty() {
                continue;
            }
            let Some((header, Some(read))) = self.read(reliance.by)? else { continue };
            let newest = winner(self.sorted, key_of(&self.site.files, &header));
            if newest.is_some_and(|item| item.word.location() == reliance.by) {
                for at in at {
                    if !findings[at].names.contains(&read.name) {
                        findings[at].names.push(read.name.clone());
                    }
                }
            }
        }
        Ok(())
    }
}
