//! A value is computed once, whoever dies or stops.
#![forbid(unsafe_code)]

use super::cache;
use drystone::cache::{Cache, ComputeOptions, ItemOptions, NewValue, Part};
use drystone::{Error, ErrorKind};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn of_many_threads_one_computes_and_all_get_it() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    let (computed, start) = (AtomicUsize::new(0), Barrier::new(8));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                start.wait();
                let item = cache.get_or_compute("k", &ComputeOptions::new(), || {
                    computed.fetch_add(1, Ordering::Relaxed);
                    thread::sleep(Duration::from_millis(60));
                    Ok::<_, Error>(b"value".to_vec())
                });
                assert_eq!(item.unwrap().bytes(), b"value");
            });
        }
    });
    assert_eq!(computed.into_inner(), 1);
}

#[test]
fn an_error_is_the_callers_and_the_next_computes() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    let failed = cache.get_or_compute("k", &ComputeOptions::new(), || {
        Err::<Vec<u8>, Box<dyn std::error::Error>>("no luck".into())
    });
    assert_eq!(failed.unwrap_err().to_string(), "no luck");
    let item = cache.get_or_compute("k", &ComputeOptions::new(), || Ok::<_, Error>(b"1".to_vec()));
    assert_eq!(item.unwrap().bytes(), b"1");
}

#[test]
fn who_would_wait_for_itself_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    let again = Cache::on(cache.store(), &Cache::options()).unwrap();
    let error = cache.get_or_compute("k", &ComputeOptions::new(), || {
        let inner = again.get_or_compute("k", &ComputeOptions::new(), || Ok::<_, Error>(vec![]));
        inner.map(|item| item.bytes().to_vec())
    });
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Reentered);
    let nested = cache.get_or_compute("a", &ComputeOptions::new(), || {
        cache.get_or_compute("b", &ComputeOptions::new(), || Ok::<_, Error>(b"b".to_vec()))?;
        Ok::<_, Error>(b"a".to_vec())
    });
    assert_eq!(nested.unwrap().bytes(), b"a", "another key is no matter");
}

#[test]
fn who_waits_long_enough_computes_too_and_who_may_takes_the_old_value() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    let expired = ItemOptions::new().expires_in(Duration::from_millis(1));
    let old = NewValue { head: &[], parts: &[Part::Bytes(b"old")] };
    cache.set_value("k", old, &expired).unwrap();
    thread::sleep(Duration::from_millis(5));
    let claim = cache.claim(b"k", 77).unwrap().expect("nobody computes");
    assert!(cache.claim(b"k", 78).unwrap().is_none());
    let unwanted = || -> Result<Vec<u8>, Error> { unreachable!("the old value serves") };
    let stale = cache.get_or_compute("k", &ComputeOptions::new().stale(true), unwanted).unwrap();
    assert_eq!(stale.bytes(), b"old");
    let start = Instant::now();
    let wait = ComputeOptions::new().wait(Duration::from_millis(120));
    let own = cache.get_or_compute("k", &wait, || Ok::<_, Error>(b"new".to_vec())).unwrap();
    assert_eq!(own.bytes(), b"new");
    assert!(start.elapsed() >= Duration::from_millis(120));
    drop(claim);
    assert!(cache.claim(b"k", 78).unwrap().is_some());
}
