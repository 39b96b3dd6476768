//! All that was written and synced, and the images that a power loss at any moment may leave.
//!
//! I1  What an fsync that has returned stood for is in every image from then on: the bytes of the file,
//!     its length; the names in the directory.
//! I2  Of what came after, any part: see `survival`. The length of a file is any that it had since. A
//!     rename is in an image or is not.
#![forbid(unsafe_code)]

use super::image::{Bytes, Change, Content, Image, Tree};
use super::survival::{Dice, Granules, Mood, Survival};
use std::ops::Range;
use std::sync::Arc;

/// Sizes in which media take what they are given.
const GRANULES: [u64; 3] = [8, 512, 4096];

/// Something that was done.
#[derive(Clone, Debug)]
pub enum Op {
    /// Bytes were written, by a call or through a mapping.
    Write {
        /// To this file.
        file: usize,
        /// At this offset.
        offset: u64,
        /// These.
        bytes: Vec<u8>,
    },
    /// A file got this length.
    Len {
        /// The file.
        file: usize,
        /// The length.
        len: u64,
    },
    /// A file got these permission bits.
    Mode {
        /// The file.
        file: usize,
        /// The bits.
        mode: u32,
    },
    /// fdatasync of a file returned.
    Sync {
        /// The file.
        file: usize,
    },
    /// Names changed, all at once or not at all.
    Names(Vec<Change>),
    /// fsync of a directory returned.
    SyncDir {
        /// The directory.
        dir: usize,
    },
}

/// A file, by what was done to it.
#[derive(Debug, Default)]
struct Track {
    /// Indices of the writes, changes of length and of mode.
    ops: Vec<usize>,
    /// What was durable from an index on.
    durable: Vec<(usize, Arc<Bytes>)>,
    /// The modes that it has had.
    modes: Vec<(usize, u32)>,
}

/// What was done to a disk, from an image on.
#[derive(Debug)]
pub struct History {
    base: Image,
    ops: Vec<Op>,
    tracks: Vec<Track>,
    dirs: usize,
}

impl History {
    /// Of these operations upon this image.
    pub(super) fn new(base: Image, ops: Vec<Op>, files: usize, dirs: usize) -> Self {
        let mut tracks: Vec<Track> = Vec::new();
        tracks.resize_with(files, Track::default);
        let mut now: Vec<Vec<u8>> = vec![Vec::new(); files];
        for (file, content) in base.files.iter().enumerate() {
            now[file] = content.bytes.to_vec();
            tracks[file].durable.push((0, content.bytes.clone()));
            tracks[file].modes.push((0, content.mode));
        }
        for (file, track) in tracks.iter_mut().enumerate().skip(base.files.len()) {
            debug_assert!(now[file].is_empty());
            track.durable.push((0, Arc::default()));
            track.modes.push((0, 0o600));
        }
        for (index, op) in ops.iter().enumerate() {
            match op {
                Op::Write { file, .. } | Op::Len { file, .. } => {
                    play(op, &mut now[*file]);
                    tracks[*file].ops.push(index);
                }
                Op::Mode { file, mode } => tracks[*file].modes.push((index + 1, *mode)),
                Op::Sync { file } => {
                    let bytes = Bytes::new(now[*file].clone());
                    tracks[*file].durable.push((index + 1, bytes));
                }
                Op::Names(_) | Op::SyncDir { .. } => {}
            }
        }
        Self { base, ops, tracks, dirs }
    }

    /// How many operations there are: the power may go before the first, or after any.
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Whether nothing was done.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// What the medium holds when all has reached it.
    pub fn everything(&self) -> Image {
        let dice = &mut Dice::new(0);
        let (at, mood) = (self.ops.len(), Mood::Everything);
        let bytes = |file, dice: &mut Dice| self.bytes(file, at, (mood, false), GRANULES[0], dice);
        let mode = |file: usize| self.tracks[file].modes.last().map_or(0o600, |mode| mode.1);
        let files = (0..self.tracks.len())
            .map(|file| Content { bytes: bytes(file, dice), mode: mode(file) })
            .collect();
        Image { tree: self.tree(at, mood, false, dice), files }.pruned()
    }

    /// What the medium may hold when the power goes after the first `at` operations; another seed,
    /// another possibility.
    pub fn cut(&self, at: usize, seed: u64) -> Image {
        let mut dice = Dice::new(seed);
        let mood = Mood::any(&mut dice);
        let granule = GRANULES[dice.below(GRANULES.len())];
        let dirty: Vec<usize> =
            (0..self.tracks.len()).filter(|&file| !self.tail(file, at).1.is_empty()).collect();
        // One more for the names.
        let apart = dice.below(dirty.len() + 1);
        let tree = self.tree(at, mood, apart == dirty.len(), &mut dice);
        let mut files: Vec<Content> = Vec::with_capacity(self.tracks.len());
        for file in 0..self.tracks.len() {
            let is_apart = dirty.get(apart) == Some(&file);
            let bytes = self.bytes(file, at, (mood, is_apart), granule, &mut dice);
            files.push(Content { bytes, mode: self.mode(file, at, &mut dice) });
        }
        Image { tree, files }.pruned()
    }

    /// What is durable of a file, and the indices of what came after.
    fn tail(&self, file: usize, at: usize) -> (&Arc<Bytes>, &[usize]) {
        let track = &self.tracks[file];
        let durable = track.durable.partition_point(|(index, _)| *index <= at) - 1;
        let (since, bytes) = &track.durable[durable];
        let from = track.ops.partition_point(|index| index < since);
        let to = track.ops.partition_point(|index| *index < at);
        (bytes, &track.ops[from.min(to)..to])
    }

    fn mode(&self, file: usize, at: usize, dice: &mut Dice) -> u32 {
        let modes = &self.tracks[file].modes;
        let had = modes.partition_point(|(index, _)| *index <= at);
        if had == 1 { modes[0].1 } else { modes[dice.below(had)].1 }
    }

    fn bytes(
        &self,
        file: usize,
        at: usize,
        (mood, is_apart): (Mood, bool),
        granule: u64,
        dice: &mut Dice,
    ) -> Arc<Bytes> {
        let (durable, tail) = self.tail(file, at);
        if tail.is_empty() {
            return durable.clone();
        }
        let survival = mood.survival(is_apart, tail.len(), dice);
        if matches!(survival, Survival::Prefix(0)) {
            return durable.clone();
        }
        let (touched, lens) = self.extents(tail, durable.len() as u64);
        let longest = lens.iter().copied().max().unwrap_or(0);
        let mut bytes = durable.to_vec();
        bytes.resize(longest as usize, 0);
        let granules = Granules { bytes: granule, survival, touched: &touched, salt: dice.next() };
        for (write, &index) in tail.iter().enumerate() {
            for part in granules.surviving(write) {
                let place = &mut bytes[part.start as usize..part.end as usize];
                match &self.ops[index] {
                    Op::Write { offset, bytes: written, .. } => place.copy_from_slice(
                        &written[(part.start - offset) as usize..(part.end - offset) as usize],
                    ),
                    _ => place.fill(0),
                }
            }
        }
        bytes.truncate(surviving_len(&lens, survival, dice) as usize);
        Bytes::new(bytes)
    }

    /// The bytes that each of these has touched, and the lengths that the file had before the first
    /// and after each.
    fn extents(&self, tail: &[usize], len: u64) -> (Vec<Range<u64>>, Vec<u64>) {
        let (mut touched, mut lens) = (Vec::new(), vec![len]);
        for &index in tail {
            let len = *lens.last().unwrap_or(&0);
            let (range, len) = match &self.ops[index] {
                Op::Write { offset, bytes, .. } => {
                    let end = offset + bytes.len() as u64;
                    (*offset..end, len.max(end))
                }
                // What is cut off reads as zero, should the file grow again.
                Op::Len { len: cut, .. } => (*cut.min(&len)..len, *cut),
                _ => (0..0, len),
            };
            touched.push(range);
            lens.push(len);
        }
        (touched, lens)
    }

    /// The names that survive.
    fn tree(&self, at: usize, mood: Mood, is_apart: bool, dice: &mut Dice) -> Tree {
        let mut tree = self.base.tree.clone();
        tree.grow(self.dirs);
        let names = || {
            self.ops[..at].iter().enumerate().filter_map(|(index, op)| match op {
                Op::Names(changes) => Some((index, changes)),
                _ => None,
            })
        };
        let synced = |dir: usize| {
            let is_sync = |op: &Op| matches!(op, Op::SyncDir { dir: synced } if *synced == dir);
            self.ops[..at].iter().rposition(is_sync)
        };
        let last_syncs: Vec<Option<usize>> = (0..self.dirs).map(synced).collect();
        // A rename lasts with the directory that it leads to.
        let is_durable = |index: usize, changes: &[Change]| {
            let leads_to = changes.iter().find(|change| change.node.is_some()).or(changes.first());
            leads_to.is_some_and(|change| last_syncs[change.dir] > Some(index))
        };
        let count = names().filter(|(index, changes)| !is_durable(*index, changes)).count();
        let (survival, salt) = (mood.survival(is_apart, count, dice), dice.next());
        let mut nth = 0;
        for (index, changes) in names() {
            let keeps = is_durable(index, changes) || {
                nth += 1;
                survival.keeps(nth - 1, count, salt)
            };
            if keeps {
                changes.iter().for_each(|change| tree.apply(change));
            }
        }
        tree
    }
}

/// Does to bytes what was done to a file.
fn play(op: &Op, bytes: &mut Vec<u8>) {
    match op {
        Op::Write { offset, bytes: written, .. } => {
            let end = *offset as usize + written.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[*offset as usize..end].copy_from_slice(written);
        }
        Op::Len { len, .. } => bytes.resize(*len as usize, 0),
        _ => {}
    }
}

/// The length that a power loss leaves, of those that the file has had.
fn surviving_len(lens: &[u64], survival: Survival, dice: &mut Dice) -> u64 {
    let last = lens.len() - 1;
    let at = match survival {
        Survival::Prefix(len) => len.min(last),
        _ => [last, last, 0, dice.below(lens.len())][dice.below(4)],
    };
    lens[at]
}
