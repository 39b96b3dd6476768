//! The four steps of a collection, over whatever carries the words and the records.
//!
//! I1  In flight is listed after all is condemned, and the walk begins after that.
//! I2  A blob that a ref names, or is about to name, is not swept: its setter's exchange of the blob's
//!     word came before the condemning one, and then its record is pending in an open segment
//!     (acquitted in step 2), or the ref is live (acquitted in step 3), or it is over; or it came after,
//!     and has acquitted the blob itself.
//! I3  Only a word that is still exactly live and condemned is given up, by one exchange.
//! I4  There is one collector at a time. So a word that it finds acquitted stays so until it is done.
//! I5  Tombs are condemned and acquitted like blobs: what stays condemned, no ref names.
//!
//! Death: condemned words, which everybody reads as if they were not, and which the next collector
//! condemns again; words given up, whose records count as long as they are not unlinked.
#![forbid(unsafe_code)]

use crate::error::Result;
use crate::format::word::{Word, WordKind};
use crate::id::Key;
use crate::index::{Index, KeyRange, Seen, Tables};

/// What keeps blobs alive, as the collector gets at it.
pub trait Roots {
    /// Adds the keys of the blobs that the pending refs in the open segments name.
    fn in_flight(&self, named: &mut Vec<Key>) -> Result<()>;
    /// Adds the keys of the blobs that these refs name, whose words were live.
    fn named(&self, refs: &[(Key, Word)], named: &mut Vec<Key>) -> Result<()>;
}

/// Step 1: condemns every blob of a range, live or tomb.
pub fn condemn<T: Tables>(index: &Index<T>, range: KeyRange) -> Result<()> {
    index.for_each_batch(range, |batch| {
        for (key, word) in batch.iter().filter(|(_, word)| is_blob(*word)) {
            if !word.has(Word::CONDEMNED) {
                index.update_flags(*key, Word::CONDEMNED, 0)?;
            }
        }
        Ok(())
    })
}

/// Step 2: acquits what is about to be named.
pub fn acquit_in_flight<T: Tables>(index: &Index<T>, roots: &impl Roots) -> Result<()> {
    if bug!("in-flight-ignored") {
        return Ok(());
    }
    let mut named = Vec::new();
    roots.in_flight(&mut named)?;
    acquit(index, &named)
}

/// Step 3: acquits what the live refs of a range name.
pub fn walk<T: Tables>(index: &Index<T>, range: KeyRange, roots: &impl Roots) -> Result<()> {
    let (mut refs, mut named) = (Vec::new(), Vec::new());
    index.for_each_batch(range, |batch| {
        refs.clear();
        refs.extend(batch.iter().filter(|(_, word)| word.is_live() && word.is_ref()));
        named.clear();
        roots.named(&refs, &mut named)?;
        acquit(index, &named)
    })
}

/// Acquits blobs, live or tomb.
pub fn acquit<T: Tables>(index: &Index<T>, blobs: &[Key]) -> Result<()> {
    blobs.iter().for_each(|&key| index.prefetch(key));
    for &key in blobs {
        // One that is acquitted stays so (I4).
        if index.lookup(key)?.word.has(Word::CONDEMNED) {
            index.update_flags(key, 0, Word::CONDEMNED)?;
        }
    }
    Ok(())
}

/// What the sweep found a word to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swept {
    /// It names a record that stays.
    Kept,
    /// It named a blob that has been given up, or that would be.
    GivenUp,
}

/// Step 4: gives up the blobs of a range that nobody has acquitted, or only tells them if `dry`; `each`
/// is told of all words.
pub fn sweep<T: Tables>(
    index: &Index<T>,
    range: KeyRange,
    dry: bool,
    mut each: impl FnMut(Word, Swept),
) -> Result<()> {
    index.for_each_batch(range, |batch| {
        for &(key, word) in batch {
            let is_garbage = word.is_live() && is_blob(word) && word.has(Word::CONDEMNED);
            let is_given_up = is_garbage && (dry || give_up(index, key, word)?);
            each(word, if is_given_up { Swept::GivenUp } else { Swept::Kept });
        }
        Ok(())
    })
}

fn give_up<T: Tables>(index: &Index<T>, key: Key, word: Word) -> Result<bool> {
    match index.publish(key, Seen::exactly(word), word.dead())? {
        Err(met) if met.word.is_live() && bug!("swept-blindly") => {
            Ok(index.publish(key, met, met.word.dead())?.is_ok())
        }
        done => Ok(done.is_ok()),
    }
}

fn is_blob(word: Word) -> bool {
    !word.is_ref() && matches!(word.kind(), WordKind::Live | WordKind::Tomb)
}
