//! The cache, method by method, and several at a time.
#![forbid(unsafe_code)]

mod bounded;
mod flights;
mod methods;
mod queues;
mod shared;
mod space;

use drystone::cache::{Cache, CacheOptions};
use drystone::{Options, Store};
use std::path::Path;

/// A store for a test: its own threads, and no more.
fn options() -> Options {
    Store::options().create(true).threads(1)
}

fn store(dir: &Path) -> Store {
    options().open(dir.join("store")).expect("a store")
}

/// A cache in a store, without a thread.
fn cache(dir: &Path) -> Cache {
    Cache::on(&store(dir), &CacheOptions::new()).expect("a cache")
}

/// What a value says.
fn text(cache: &Cache, key: &str) -> Option<String> {
    let item = cache.get(key).expect("an answer");
    item.map(|item| String::from_utf8(item.bytes().to_vec()).expect("a text"))
}
