//! What single calls cost, on the file system of the temporary directory. Beside other engines, and
//! with more bytes than fit a cache: `benches/peers`.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use drystone::{BlobId, Store};
use std::hint::black_box;

const BLOBS: usize = 1000;
const VALUE_BYTES: usize = 1024;

/// Numbers that differ (xorshift; Marsaglia 2003).
struct Values(u64);

impl Values {
    fn next(&mut self, len: usize) -> Vec<u8> {
        let mut value = Vec::with_capacity(len + 8);
        while value.len() < len {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            value.extend_from_slice(&self.0.to_le_bytes());
        }
        value.truncate(len);
        value
    }
}

fn get(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::create(dir.path().join("store")).expect("a store");
    let mut values = Values(1);
    let blobs: Vec<_> = (0..BLOBS).map(|_| values.next(VALUE_BYTES)).collect();
    let ids: Vec<BlobId> = store.put_many(&blobs).expect("put");
    let mut group = criterion.benchmark_group("get of 1000 blobs of 1 KiB");
    group.throughput(Throughput::Elements(BLOBS as u64));
    group.bench_function("guard", |bencher| {
        let guard = store.read_guard();
        bencher.iter(|| ids.iter().for_each(|id| drop(black_box(guard.get(id)))));
    });
    group.bench_function("owned", |bencher| {
        bencher.iter(|| ids.iter().for_each(|id| drop(black_box(store.get(id)))));
    });
    group.bench_function("get_many", |bencher| {
        let guard = store.read_guard();
        let mut found = Vec::with_capacity(BLOBS);
        bencher.iter(|| {
            found.clear();
            guard.get_many(&ids, &mut found).expect("get");
            black_box(&found);
        });
    });
    group.finish();
}

fn put(criterion: &mut Criterion) {
    let mut values = Values(2);
    for len in [100, 4096] {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::create(dir.path().join("store")).expect("a store");
        criterion.bench_function(&format!("put of {len} B"), |bencher| {
            let new = || values.next(len);
            bencher.iter_batched(
                new,
                |value| store.put(&value).expect("put"),
                BatchSize::SmallInput,
            );
        });
    }
}

criterion_group!(benches, get, put);
criterion_main!(benches);
