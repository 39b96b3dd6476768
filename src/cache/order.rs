//! Going through the keys of a cache. Each costs one pass over the whole index; in an order, memory for all keys
//! and a sort besides.
#![forbid(unsafe_code)]

use super::cache::{Cache, Inner};
use crate::error::Result;

impl Cache {
    /// All keys, in no order.
    pub fn keys(&self) -> Result<Vec<Vec<u8>>> {
        let keys = self.inner.born_keys()?;
        Ok(keys.into_iter().map(|(_, key)| key).collect())
    }

    /// All keys in the order in which they came. A key that is set again while it has a value keeps its place.
    pub fn keys_by_insertion(&self) -> Result<Vec<Vec<u8>>> {
        let mut keys = self.inner.born_keys()?;
        keys.sort_unstable();
        Ok(keys.into_iter().map(|(_, key)| key).collect())
    }

    /// All keys in the order of their bytes.
    pub fn keys_sorted(&self) -> Result<Vec<Vec<u8>>> {
        let mut keys = self.keys()?;
        keys.sort_unstable();
        Ok(keys)
    }

    /// The first or the last key in the order in which they came.
    pub fn end_by_insertion(&self, last: bool) -> Result<Option<Vec<u8>>> {
        let keys = self.inner.born_keys()?;
        let end = if last { keys.into_iter().max() } else { keys.into_iter().min() };
        Ok(end.map(|(_, key)| key))
    }
}

impl Inner {
    /// Every key that has a value, and the number under which it came.
    fn born_keys(&self) -> Result<Vec<(u64, Vec<u8>)>> {
        let mut keys = Vec::new();
        let mut guard = self.enter();
        self.for_each(&mut guard, |live, guard| {
            if self.counts(live)? && self.is_whole(live, guard)? {
                keys.push((live.born(), live.view.key.to_vec()));
            }
            Ok(())
        })?;
        // A key whose word moved during the walk may have come twice.
        keys.sort_unstable_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(&a.0)));
        keys.dedup_by(|a, b| a.1 == b.1);
        Ok(keys)
    }
}
