//! Getting blobs: the store beside LMDB and a `HashMap` of this process, at several sizes.

use crate::bytes::Random;
use crate::lmdb::{Commit, Lmdb};
use crate::report::{Line, NS};
use crate::samples::{Samples, in_turn};
use crate::{Bench, place::Scratch};
use anyhow::{Context, Result};
use drystone::{BlobId, Store};
use std::collections::HashMap;
use std::hint::black_box;
use std::time::Instant;

const VALUE_BYTES: usize = 1024;
const MANY: usize = 1000;

/// Getting 10^6 blobs of 1 KiB in random order.
pub fn million(bench: &Bench) -> Result<Vec<Line>> {
    let count = if bench.quick { 100_000 } else { 1_000_000 };
    let sides = Sides::new(bench, count)?;
    let [guard, map, lmdb, owned, many] = sides.measure(bench, 1)?;
    let name = format!("get, {count} blobs of 1 KiB, random order");
    let faster = lmdb.over(&guard);
    let (to_map, to_guard, batched) = (guard.over(&map), owned.over(&guard), many.over(&guard));
    Ok(vec![
        Line::new(format!("{name}: `ReadGuard`"))
            .measured(&guard, NS)
            .peer("LMDB", &lmdb, NS)
            .ratio(&faster)
            .target("5x faster than LMDB", faster.median() >= 5.0),
        Line::new(format!("{name}: `ReadGuard`"))
            .measured(&guard, NS)
            .peer("`HashMap`", &map, NS)
            .ratio(&to_map)
            .target("at most 1.0 of `HashMap`", to_map.median() <= 1.0),
        Line::new(format!("{name}: owned `Blob`"))
            .measured(&owned, NS)
            .peer("`ReadGuard`", &guard, NS)
            .ratio(&to_guard)
            .target("at most 1.5 of `ReadGuard`", to_guard.median() <= 1.5),
        Line::new(format!("{name}: `get_many` of {MANY}"))
            .measured(&many, NS)
            .peer("`ReadGuard`", &guard, NS)
            .ratio(&batched)
            .target("at most 0.5 of `ReadGuard`", batched.median() <= 0.5),
    ])
}

/// Getting 10^3 blobs of 1 KiB in random order.
pub fn thousand(bench: &Bench) -> Result<Vec<Line>> {
    let sides = Sides::new(bench, 1000)?;
    let passes = if bench.quick { 200 } else { 2000 };
    let [guard, map, lmdb, owned, many] = sides.measure(bench, passes)?;
    let faster = lmdb.over(&guard);
    let name = "get, 1000 blobs of 1 KiB, random order";
    Ok(vec![
        Line::new(format!("{name}: `ReadGuard`"))
            .measured(&guard, NS)
            .peer("LMDB", &lmdb, NS)
            .ratio(&faster)
            .target(
                "at most 20 ns, faster than LMDB",
                guard.median() <= 20.0 && faster.median() > 1.0,
            ),
        Line::new(format!("{name}: `ReadGuard`"))
            .measured(&guard, NS)
            .peer("`HashMap`", &map, NS)
            .ratio(&guard.over(&map)),
        Line::new(format!("{name}: owned `Blob`")).measured(&owned, NS).ratio(&owned.over(&guard)),
        Line::new(format!("{name}: `get_many`")).measured(&many, NS).ratio(&many.over(&guard)),
    ])
}

/// The same blobs in the three.
struct Sides {
    store: Store,
    lmdb: Lmdb,
    map: HashMap<u128, Box<[u8]>>,
    ids: Vec<BlobId>,
    keys: Vec<u128>,
    _scratch: Scratch,
}

impl Sides {
    fn new(bench: &Bench, count: usize) -> Result<Self> {
        let scratch = bench.place.scratch()?;
        let store = Store::create(scratch.join("store"))?;
        let lmdb = Lmdb::create(&scratch.join("lmdb"), Commit::Buffered)?;
        let mut map = HashMap::with_capacity(count);
        let mut ids = Vec::with_capacity(count);
        let mut random = Random::new(1);
        while ids.len() < count {
            let batch = 10_000.min(count - ids.len());
            let values: Vec<_> = (0..batch).map(|_| random.bytes(VALUE_BYTES)).collect();
            let new = store.put_many(&values)?;
            lmdb.put_all(new.iter().zip(&values).map(|(id, value)| (id.digest(), &value[..])))?;
            map.extend(new.iter().map(key_of).zip(values.into_iter().map(Vec::into_boxed_slice)));
            ids.extend(new);
        }
        random.shuffle(&mut ids);
        let keys = ids.iter().map(key_of).collect();
        Ok(Self { store, lmdb, map, ids, keys, _scratch: scratch })
    }

    fn measure(&self, bench: &Bench, passes: usize) -> Result<[Samples; 5]> {
        in_turn(bench.rounds, |side| {
            let start = Instant::now();
            for _ in 0..passes {
                match side {
                    0 => self.guard()?,
                    1 => self.map()?,
                    2 => self.lmdb()?,
                    3 => self.owned()?,
                    _ => self.many()?,
                }
            }
            Ok(start.elapsed().as_secs_f64() * 1e9 / (passes * self.ids.len()) as f64)
        })
    }

    fn guard(&self) -> Result<()> {
        let guard = self.store.read_guard();
        for id in &self.ids {
            black_box(guard.get(id)?.context("a blob is missing")?);
        }
        Ok(())
    }

    fn owned(&self) -> Result<()> {
        for id in &self.ids {
            black_box(self.store.get(id)?.context("a blob is missing")?);
        }
        Ok(())
    }

    fn many(&self) -> Result<()> {
        let guard = self.store.read_guard();
        let mut found = Vec::with_capacity(MANY);
        for ids in self.ids.chunks(MANY) {
            found.clear();
            guard.get_many(ids, &mut found)?;
            anyhow::ensure!(black_box(&found).iter().all(Option::is_some), "a blob is missing");
        }
        Ok(())
    }

    fn map(&self) -> Result<()> {
        for key in &self.keys {
            black_box(self.map.get(key).context("a value is missing")?);
        }
        Ok(())
    }

    fn lmdb(&self) -> Result<()> {
        let txn = self.lmdb.env.read_txn()?;
        for key in &self.keys {
            let key = key.to_be_bytes();
            black_box(self.lmdb.db.get(&txn, &key)?.context("a value is missing")?);
        }
        Ok(())
    }
}

fn key_of(id: &BlobId) -> u128 {
    let digest = id.digest();
    u128::from_be_bytes(std::array::from_fn(|i| digest[i]))
}

