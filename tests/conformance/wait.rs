//! Waiting for a ref: until it is there, until it is newer, until the time is out.
#![forbid(unsafe_code)]

use crate::support::{Scratch, each_hash};
use drystone::Store;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);

#[test]
fn what_is_there_is_not_waited_for() {
    each_hash(|store| {
        let refs = store.refs("names");
        let version = refs.set("k", "v").unwrap();
        assert_eq!(refs.wait("k", Duration::ZERO).unwrap().unwrap().version, version);
        assert_eq!(refs.wait("k", Duration::MAX).unwrap().unwrap().version, version);
        assert_eq!(refs.wait_newer("k", None, LONG).unwrap().unwrap().version, version);
    });
}

#[test]
fn the_time_runs_out() {
    each_hash(|store| {
        let refs = store.refs("names");
        let start = Instant::now();
        assert!(refs.wait("k", Duration::from_millis(120)).unwrap().is_none());
        assert!(start.elapsed() >= Duration::from_millis(120));
        assert!(refs.wait("k", Duration::ZERO).unwrap().is_none());
        let version = refs.set("k", "v").unwrap();
        assert!(refs.wait_newer("k", Some(version), Duration::from_millis(60)).unwrap().is_none());
    });
}

/// Waits in one thread while `act` is done in this one; how long the waiter went on after it.
fn woken_by(waiter: &Store, act: impl FnOnce()) -> Duration {
    let refs = waiter.refs("names");
    let than = refs.get("k").unwrap().map(|entry| entry.version);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let entry = refs.wait_newer("k", than, LONG).unwrap().expect("it will be set");
            (Instant::now(), entry)
        });
        std::thread::sleep(Duration::from_millis(100));
        let acted = Instant::now();
        act();
        let (woken, _) = waiting.join().unwrap();
        woken.saturating_duration_since(acted)
    })
}

#[test]
fn a_waiter_is_woken_by_another_opening_of_the_store() {
    let scratch = Scratch::new();
    let (waiter, setter) = (scratch.store(), scratch.store());
    let refs = setter.refs("names");
    let latest = |took: Duration| assert!(took < Duration::from_secs(5), "{took:?}");
    latest(woken_by(&waiter, || {
        refs.set("other", "v").unwrap();
        refs.set("k", "v").unwrap();
    }));
    let version = refs.get("k").unwrap().unwrap().version;
    latest(woken_by(&waiter, || {
        refs.compare_and_set("k", Some(version), "w").unwrap().expect("it is this version");
    }));
    latest(woken_by(&waiter, || {
        setter.reserve(100_000).unwrap().commit_as(&refs, "k").unwrap();
    }));
    latest(woken_by(&waiter, || {
        refs.remove("k").unwrap();
        refs.add("k", "again").unwrap().expect("it was removed");
    }));
}

#[test]
fn a_reader_waits_too() {
    let scratch = Scratch::new();
    let setter = scratch.store();
    let reader = scratch.open(Store::options().read_only(true));
    let took = woken_by(&reader, || {
        setter.refs("names").set("k", "v").unwrap();
    });
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_wait_is_mostly_sleep() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let ticks = || {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let before = ticks();
    assert!(store.refs("names").wait("k", Duration::from_secs(1)).unwrap().is_none());
    assert!(ticks() - before < 30, "a second of waiting took {} hundredths", ticks() - before);
}
