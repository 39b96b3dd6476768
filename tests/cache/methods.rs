//! Each method does what it says.
#![forbid(unsafe_code)]

use super::{cache, options, text};
use drystone::cache::{Cache, CacheBytes, CacheOptions, ItemOptions, NewValue, Part};
use drystone::{ErrorKind, Racy};
use std::time::{Duration, SystemTime};

fn value<'a>(part: &'a [Part<'a>]) -> NewValue<'a> {
    NewValue { head: &[], parts: part }
}

#[test]
fn values_of_any_size_come_back_and_large_ones_as_views() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    let mut bytes = 0;
    for len in [0, 1, 100, 4096, 4097, 65_535, 65_536, 3 << 20] {
        let body: Vec<u8> = (0..len).map(|at| (at * 7 + len) as u8).collect();
        let key = format!("k{len}");
        cache.set(&key, &body).unwrap();
        let item = cache.get(&key).unwrap().expect("it was set");
        assert!(item.bytes() == body, "{len}");
        assert_eq!(matches!(item.parts[0], CacheBytes::View(_)), len >= 65_536, "{len}");
        assert_eq!(item.size, (len + key.len()) as u64);
        bytes += item.size;
        assert!(cache.contains(&key).unwrap());
    }
    assert_eq!(cache.volume(), (bytes, 8));
    assert!(cache.get("other").unwrap().is_none() && !cache.contains("other").unwrap());
    assert!(cache.delete("k100").unwrap() && !cache.delete("k100").unwrap());
    assert_eq!(text(&cache, "k100"), None);
    assert_eq!(cache.volume(), (bytes - 104, 7));
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.sets), (8, 2, 8));
}

#[test]
fn a_value_has_a_head_and_any_number_of_parts() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    let (small, large) = (vec![1; 10], vec![2; 200_000]);
    let shared = cache.store().put(b"a blob of the store").unwrap();
    let parts = [Part::Bytes(&small), Part::Bytes(&large), Part::Blob(shared), Part::Bytes(&[])];
    let new = NewValue { head: b"head", parts: &parts };
    cache.set_value("many", new, &ItemOptions::new()).unwrap();
    let item = cache.get("many").unwrap().expect("it was set");
    assert_eq!(item.head, b"head");
    assert!(item.parts[0][..] == small && item.parts[1][..] == large);
    assert_eq!((&item.parts[2][..], item.parts[3].len()), (&b"a blob of the store"[..], 0));
    assert_eq!(item.size, 4 + 4 + 10 + 200_000 + 19);
    let none = NewValue { head: b"only a head", parts: &[] };
    cache.set_value("none", none, &ItemOptions::new()).unwrap();
    let item = cache.get("none").unwrap().expect("it was set");
    assert_eq!((&item.head[..], item.parts.len()), (&b"only a head"[..], 0));
    // The entry keeps the parts.
    cache.store().unpin(&shared).unwrap();
    cache.store().compact(&Default::default()).unwrap();
    assert_eq!(cache.get("many").unwrap().expect("it is there").parts.len(), 4);
    // A part that is the same is stored once.
    let before = cache.store().blobs().count();
    cache.set_value("again", NewValue { head: b"", parts: &parts }, &ItemOptions::new()).unwrap();
    assert_eq!(cache.store().blobs().count(), before);
}

#[test]
fn a_header_and_racy_bytes_are_one_part() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    for (head, len) in [(0, 0), (3, 5), (128, 70_000), (128, 2 << 20), (64, 5 << 20), (1, 4096)] {
        let header = vec![9; head];
        let body: Vec<u8> = (0..len).map(|at: usize| (at / 3) as u8).collect();
        let racy = Racy::from(&body[..]);
        let parts = [Part::Headed(&header, racy)];
        cache.set_value("array", value(&parts), &ItemOptions::new()).unwrap();
        let item = cache.get("array").unwrap().expect("it was set");
        assert!(item.bytes() == [header.clone(), body.clone()].concat(), "{head} and {len}");
        let id = cache.store().put(&[header.clone(), body.clone()].concat()).unwrap();
        let racy = cache.store().put_racy(&header, racy, &Default::default()).unwrap();
        assert_eq!(id, racy, "{head} and {len}");
    }
}

#[test]
fn add_and_compare_and_set_change_only_what_they_expect() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    let none = ItemOptions::new();
    assert!(cache.add("k", value(&[Part::Bytes(b"1")]), &none).unwrap());
    assert!(!cache.add("k", value(&[Part::Bytes(b"2")]), &none).unwrap());
    let version = cache.get("k").unwrap().expect("it").version;
    let two = value(&[Part::Bytes(b"22")]);
    assert!(cache.compare_and_set("k", None, two, &none).unwrap().is_none());
    let next = cache.compare_and_set("k", Some(version), two, &none).unwrap().expect("it is");
    assert!(cache.compare_and_set("k", Some(version), two, &none).unwrap().is_none());
    assert!(next > version);
    assert_eq!((text(&cache, "k").as_deref(), cache.volume()), (Some("22"), (3, 1)));
    let popped = cache.pop("k").unwrap().expect("it was there");
    assert_eq!((popped.bytes(), cache.pop("k").unwrap().is_none()), (&b"22"[..], true));
    assert_eq!(cache.volume(), (0, 0));
}

#[test]
fn numbers_are_added_to_and_stay_in_their_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    assert_eq!(cache.incr("n", 5, 10).unwrap(), 15);
    assert_eq!(cache.decr("n", 20, 0).unwrap(), -5);
    assert_eq!(cache.incr("n", i64::MAX, 0).unwrap(), i64::MAX - 5);
    assert_eq!(cache.incr("n", 6, 0).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(cache.incr("n", 0, 0).unwrap(), i64::MAX - 5, "nothing was lost");
    cache.set("text", b"granite").unwrap();
    assert_eq!(cache.incr("text", 1, 0).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(text(&cache, "text").as_deref(), Some("granite"));
}

#[test]
fn what_expires_is_absent_and_is_removed_in_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    let soon = ItemOptions::new().expires_in(Duration::from_millis(30));
    cache.set_with("soon", b"1", &soon).unwrap();
    cache.set_with("later", b"2", &ItemOptions::new().expires_in(Duration::from_secs(60))).unwrap();
    cache.set_with("past", b"3", &ItemOptions::new().expires_at(SystemTime::UNIX_EPOCH)).unwrap();
    assert!(text(&cache, "soon").is_some() && text(&cache, "past").is_none());
    assert!(cache.touch("later", None).unwrap() && !cache.touch("past", None).unwrap());
    assert!(cache.get("later").unwrap().expect("it").expires.is_none());
    std::thread::sleep(Duration::from_millis(40));
    assert_eq!(text(&cache, "soon"), None);
    assert_eq!(cache.volume().1, 3, "they are still counted");
    assert_eq!(cache.expire().unwrap(), 2);
    assert_eq!(cache.volume(), (6, 1));
    let add = cache.add("soon", value(&[Part::Bytes(b"4")]), &ItemOptions::new());
    assert!(add.unwrap(), "what has expired is no value");
}

#[test]
fn clearing_and_evicting_a_tag_hide_what_was_set_before_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    let tagged = |tags: &[&str]| tags.iter().fold(ItemOptions::new(), |it, &tag| it.tag(tag));
    cache.set_with("a", b"1", &tagged(&["red"])).unwrap();
    cache.set_with("b", b"2", &tagged(&["red", "blue"])).unwrap();
    cache.set_with("c", b"3", &tagged(&["green"])).unwrap();
    cache.set("d", b"4").unwrap();
    cache.evict("blue").unwrap();
    let there = |keys: &str| {
        keys.chars().filter(|key| text(&cache, &key.to_string()).is_some()).collect::<String>()
    };
    assert_eq!(there("abcd"), "acd");
    cache.evict("red").unwrap();
    assert_eq!(there("abcd"), "cd");
    cache.set_with("b", b"5", &tagged(&["red", "blue"])).unwrap();
    assert_eq!(there("abcd"), "bcd", "what is set under the tag afterwards is there");
    assert_eq!(cache.expire().unwrap(), 1);
    assert_eq!(cache.volume(), (6, 3));
    assert!(cache.touch("c", None).unwrap());
    for _ in 0..20 {
        cache.clear().unwrap();
        assert_eq!((there("abcd").as_str(), cache.volume()), ("", (0, 0)));
        assert!(!cache.touch("c", None).unwrap(), "nothing that was cleared comes back");
        cache.set("e", b"6").unwrap();
        assert_eq!((there("abcde").as_str(), cache.volume()), ("e", (2, 1)));
    }
    assert_eq!(cache.expire().unwrap(), 3);
    assert_eq!(cache.volume(), (2, 1));
}

#[test]
fn keys_come_in_the_order_in_which_they_came_or_sorted() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    for key in ["pear", "apple", "quince", "plum"] {
        cache.set(key, key).unwrap();
    }
    cache.set("apple", b"again").unwrap();
    cache.touch("pear", None).unwrap();
    cache.delete("quince").unwrap();
    cache.set("quince", b"new").unwrap();
    let texts = |keys: Vec<Vec<u8>>| {
        keys.into_iter().map(|key| String::from_utf8(key).unwrap()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(texts(cache.keys_by_insertion().unwrap()), "pear apple plum quince");
    assert_eq!(texts(cache.keys_sorted().unwrap()), "apple pear plum quince");
    assert_eq!(cache.end_by_insertion(true).unwrap().as_deref(), Some(&b"quince"[..]));
    assert_eq!(cache.end_by_insertion(false).unwrap().as_deref(), Some(&b"pear"[..]));
}

#[test]
fn caches_of_one_store_do_not_see_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let store = super::store(dir.path());
    let open = |name: &str| Cache::on(&store, &CacheOptions::new().name(name)).unwrap();
    let (one, two) = (open("one"), open("two"));
    one.set("k", b"1").unwrap();
    two.set("k", b"2").unwrap();
    one.clear().unwrap();
    assert_eq!((text(&one, "k"), text(&two, "k").as_deref()), (None, Some("2")));
    assert_eq!(open("two").volume(), (2, 1));
}

#[test]
fn a_cache_lasts_as_its_store_does_and_is_counted_again_after_a_reboot() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let at = |boot: &str| {
        let store = options().boot_id(boot).open(&path).unwrap();
        Cache::on(&store, &CacheOptions::new()).unwrap()
    };
    let cache = at("first");
    cache.set("old", b"1").unwrap();
    cache.clear().unwrap();
    cache.set_with("tagged", b"2", &ItemOptions::new().tag("t")).unwrap();
    cache.evict("t").unwrap();
    cache.set_with("k", b"333", &ItemOptions::new().tag("t")).unwrap();
    cache.change_settings(&CacheOptions::new().size_limit(1 << 20)).unwrap();
    cache.store().sync().unwrap();
    drop(cache);
    let cache = at("second");
    assert_eq!(text(&cache, "k").as_deref(), Some("333"));
    assert!(text(&cache, "old").is_none() && text(&cache, "tagged").is_none());
    assert_eq!(cache.expire().unwrap(), 2);
    assert_eq!(cache.volume(), (4, 1));
    assert_eq!(cache.settings().unwrap().size_limit, Some(1 << 20));
}

#[test]
fn many_keys_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    let pairs: Vec<(String, String)> =
        (0..50).map(|at| (format!("k{at}"), format!("v{at}"))).collect();
    cache.set_many(&pairs, &ItemOptions::new()).unwrap();
    let keys: Vec<&str> = pairs.iter().map(|(key, _)| key.as_str()).chain(["other"]).collect();
    let items = cache.get_many(&keys).unwrap();
    assert!(items[50].is_none());
    for ((_, value), item) in pairs.iter().zip(&items) {
        assert_eq!(item.as_ref().expect("it was set").bytes(), value.as_bytes());
    }
    assert_eq!(cache.delete_many(&keys).unwrap(), 50);
    assert!(cache.is_empty());
}

#[test]
fn what_cannot_be_is_refused_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(dir.path());
    cache.set("k", b"1").unwrap();
    let long = vec![0; 65_537];
    assert_eq!(cache.set(&long, b"").unwrap_err().kind(), ErrorKind::InvalidInput);
    let head = NewValue { head: &long, parts: &[] };
    let refused = cache.set_value("k", head, &ItemOptions::new()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    let tag = ItemOptions::new().tag("t".repeat(256));
    assert_eq!(cache.set_with("k", b"2", &tag).unwrap_err().kind(), ErrorKind::InvalidInput);
    let other = drystone::BlobId::from_digest(cache.store().hash_algorithm(), &[7; 16]).unwrap();
    let gone = [Part::Blob(other)];
    let gone = value(&gone);
    let refused = cache.set_value("k", gone, &ItemOptions::new()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound);
    let name = CacheOptions::new().name("n".repeat(201));
    assert_eq!(Cache::on(cache.store(), &name).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!((text(&cache, "k").as_deref(), cache.volume()), (Some("1"), (2, 1)));
}
