//! Which of the writes that were not synced a power loss leaves.
//!
//! A medium takes granules of 8, 512 or 4096 bytes at a time. The page cache gives it the newest
//! version of a granule whenever it likes, so each granule holds what it held after some number of the
//! writes: that number is drawn apart for every granule, or for all in one of the ways below, which
//! reach what chance rarely would.
#![forbid(unsafe_code)]

use std::ops::Range;

/// A sequence of numbers that a seed decides (SplitMix64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mixed(self.0)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

fn mixed(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// What of `count` writes survives.
#[derive(Clone, Copy, Debug)]
pub enum Survival {
    /// So many from the first on, everywhere.
    Prefix(usize),
    /// All but this one, and what came later to its granules.
    Without(usize),
    /// Nothing but this one, and what came earlier to its granules.
    Only(usize),
    /// Of each granule all or nothing; so many of 256 granules all.
    Torn(u8),
    /// Of each granule any number.
    Any,
}

/// How the power loss treats the whole disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Each file and directory in a way of its own.
    Mixed,
    /// What was not synced is gone.
    Nothing,
    /// All has reached the medium.
    Everything,
    /// All, but for one file or directory.
    AllButOne,
    /// Nothing, but for one file or directory.
    OnlyOne,
}

impl Mood {
    /// Any.
    pub fn any(dice: &mut Dice) -> Self {
        match dice.below(16) {
            0 => Self::Nothing,
            1 => Self::Everything,
            2..=4 => Self::AllButOne,
            5..=7 => Self::OnlyOne,
            _ => Self::Mixed,
        }
    }

    /// What of `count` writes survives in a file, which is the one that is treated apart or is not.
    pub fn survival(self, is_apart: bool, count: usize, dice: &mut Dice) -> Survival {
        match (self, is_apart) {
            (Self::Nothing, _) | (Self::OnlyOne, false) => Survival::Prefix(0),
            (Self::Everything, _) | (Self::AllButOne, false) => Survival::Prefix(count),
            _ => Survival::any(count, dice),
        }
    }
}

impl Survival {
    /// Any, of so many writes.
    pub fn any(count: usize, dice: &mut Dice) -> Self {
        match dice.below(10) {
            0 => Self::Prefix(0),
            1 => Self::Prefix(count),
            2 | 3 => Self::Prefix(dice.below(count + 1)),
            4 => Self::Without(dice.below(count)),
            5 => Self::Only(dice.below(count)),
            6 | 7 => Self::Torn([32, 128, 240][dice.below(3)]),
            _ => Self::Any,
        }
    }

    /// Whether the write at `index` of `count` survives as a whole, where nothing is torn.
    pub fn keeps(self, index: usize, count: usize, salt: u64) -> bool {
        match self {
            Self::Prefix(len) => index < len,
            Self::Without(out) => index != out,
            Self::Only(only) => index == only,
            Self::Torn(odds) => (mixed(salt ^ index as u64) as u8) < odds,
            Self::Any => mixed(salt ^ index as u64) as usize % (count + 1) > index / 2,
        }
    }
}

/// Granules of one file.
pub struct Granules<'a> {
    /// Bytes of a granule.
    pub bytes: u64,
    /// What survives.
    pub survival: Survival,
    /// The bytes that each write has touched.
    pub touched: &'a [Range<u64>],
    /// Another one for every file.
    pub salt: u64,
}

impl Granules<'_> {
    /// How many of the writes, from the first on, have reached a granule.
    fn reached(&self, granule: u64) -> usize {
        let touches = |write: usize| {
            let Range { start, end } = self.touched[write];
            start < (granule + 1) * self.bytes && granule * self.bytes < end
        };
        let (all, chance) = (self.touched.len(), || mixed(self.salt ^ granule.rotate_left(32)));
        match self.survival {
            Survival::Prefix(len) => len,
            Survival::Without(out) if touches(out) => out,
            Survival::Only(only) if !touches(only) => 0,
            Survival::Without(_) => all,
            Survival::Only(only) => only + 1,
            Survival::Torn(odds) => all * usize::from((chance() as u8) < odds),
            Survival::Any => chance() as usize % (all + 1),
        }
    }

    /// The parts of a write that survive.
    pub fn surviving(&self, write: usize) -> Vec<Range<u64>> {
        let Range { start, end } = self.touched[write];
        if let Survival::Prefix(len) = self.survival {
            return (write < len).then_some(start..end).into_iter().collect();
        }
        let mut parts: Vec<Range<u64>> = Vec::new();
        for granule in start / self.bytes..end.div_ceil(self.bytes) {
            if self.reached(granule) <= write {
                continue;
            }
            let part = start.max(granule * self.bytes)..end.min((granule + 1) * self.bytes);
            match parts.last_mut() {
                Some(last) if last.end == part.start => last.end = part.end,
                _ => parts.push(part),
            }
        }
        parts
    }
}
