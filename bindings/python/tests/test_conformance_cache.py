"""The conformance suite of Rust (`tests/cache`), asked again of `drystone.Cache`, with `memoize` for get_or_compute.

Each test has the name of the one in Rust, with `test_` before it; what has no meaning here stands in NOT_MIRRORED.
Sizes are those of Rust and of the few bytes that say what kind a key and a value are. A case in which this package does
not do what Rust does, so far, is said to fail, and must.
"""

import collections
import itertools
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from conformance import KIB, MIB, array, at_once, content, hold_against, rebooted, refused, saved

import drystone
from drystone import Cache, InvalidInput

BY_THE_THREAD = "what the thread does is asked of evictions"
NOT_MIRRORED = {
    "another_process": "no test of its own: what the other processes do is OTHER",
    "a_setting_ends_while_all_is_being_read": "a call of Python cannot be held up in the middle",
    "what_had_a_tag_that_was_evicted_leaves_the_disk_soon": BY_THE_THREAD,
    "what_is_cleared_leaves_the_disk_soon": BY_THE_THREAD,
    "what_is_replaced_or_removed_leaves_the_disk_soon": BY_THE_THREAD,
    "what_was_only_deleted_leaves_the_disk_in_the_next_interval": BY_THE_THREAD,
}

POLICIES = ["least-recently-stored", "s3-fifo", "least-recently-used"]


@pytest.fixture
def opened(directory):
    """Opens caches of one store, with other settings or names."""
    return lambda **settings: Cache(directory / "cache", **{"maintenance": None} | settings)


def there(cache, keys):
    return [at for at in keys if at in cache]


# Limits


def size_of(opened, key, value):
    """Bytes that a key and its value count for."""
    scale = opened(name="scale", size_limit=None)
    scale[key] = value
    size = scale.volume()
    assert scale.delete(key) and scale.volume() == 0
    return size


def test_a_value_that_is_too_large_is_refused_and_empties_nothing(opened):
    cache, size = opened(size_limit=1000), size_of(opened, "k", b"1")
    cache["k"] = b"1"
    [error] = refused(drystone.TooLarge, lambda: cache.set("large", bytes(1000)))
    assert "at most 1000" in str(error)
    assert (cache["k"], cache.volume(), len(cache)) == (b"1", size, 1)
    most = 1000 - size_of(opened, "large", bytes(900)) + 900
    refused(drystone.TooLarge, lambda: cache.set("large", bytes(most + 1)))
    cache["large"] = bytes(most)
    assert (cache.volume(), list(cache)) == (1000, ["large"]), "the other one went"


def test_without_a_policy_what_does_not_fit_is_refused(opened):
    size = size_of(opened, "0000", b"\7" * 6)
    cache = opened(size_limit=10 * size, eviction_policy="none")
    for at in range(10):
        cache[f"{at:04}"] = b"\7" * 6
    refused(drystone.NoSpace, lambda: cache.set("0010", b""))
    assert (cache.volume(), len(cache)) == (10 * size, 10)
    cache["0003"] = b"\x08" * 6
    assert cache.delete("0004")
    cache["0010"] = b"\x09" * 6
    assert (cache.volume(), len(cache)) == (10 * size, 10) and cache["0003"] == b"\x08" * 6


def test_the_limits_hold_whatever_many_set_at_a_time(opened):
    caches, done = [opened(size_limit=20_000, item_limit=60) for _ in range(4)], threading.Event()

    def use(thread, cache):
        for at in range(400):
            cache.set((at * 31 + thread * 7) % 200, bytes([at % 256]) * (at * 37 % 900))
            if at % 5 == 0:
                cache.delete(at % 200)

    def look():
        looks = 0
        while not done.is_set() or looks < 2:
            values = [value for value in caches[0].get_many(list(caches[0])) if value is not None]
            # Four that were read may have been replaced or evicted while they were added up.
            assert sum(map(len, values)) <= 20_000 + 4 * 900 and len(values) <= 60 + 4
            assert caches[0].volume() <= 20_000 and len(caches[0]) <= 60
            looks += 1

    def use_all():
        try:
            at_once(*(lambda it=it: use(*it) for it in enumerate(caches)))
        finally:
            done.set()

    at_once(use_all, look)
    count, volume = len(caches[0]), caches[0].volume()
    assert 0 < volume <= 20_000 and 0 < count <= 60
    sizes = [size_of(opened, key, caches[1][key]) for key in caches[1]]
    assert (sum(sizes), len(sizes)) == (volume, count), "what is counted is what is there"


def test_what_was_stored_first_goes_first(opened):
    cache = opened(item_limit=5, eviction_policy="least-recently-stored")
    for at in range(12):
        cache[at] = b""
        cache.get(0)
    assert there(cache, range(12)) == [7, 8, 9, 10, 11] and cache.info()["evictions"] == 7


def test_what_was_used_longest_ago_goes_first(opened):
    cache = opened(item_limit=5, eviction_policy="least-recently-used")
    for at in range(5):
        cache[at] = b""
    for at in (3, 1, 0, 4, 2):
        assert cache[at] == b""
    cache[5] = cache[6] = b""
    assert there(cache, range(7)) == [0, 2, 4, 5, 6]


def test_what_was_used_least_often_goes_first(opened):
    cache = opened(item_limit=4, eviction_policy="least-frequently-used")
    for at, often in enumerate((5, 1, 3, 2)):
        cache[at] = b""
        assert [cache[at] for _ in range(often)] == [b""] * often
    cache[4] = b""
    assert there(cache, range(5)) == [0, 2, 3, 4]


def test_s3_fifo_keeps_what_is_asked_for_again(opened):
    # Zipf by rank, from a fixed sequence; every second request is for a key that never comes again.
    state, trace = 88_172_645_463_325_252, []
    for at in range(8000):
        state ^= state << 13 & (1 << 64) - 1
        state ^= state >> 7
        state ^= state << 17 & (1 << 64) - 1
        trace.append(int(1000 ** ((state >> 11) / (1 << 53))) if at % 2 == 0 else 100_000 + at)

    def hits(policy):
        cache, count = opened(name=policy, item_limit=100, eviction_policy=policy), 0
        for key in trace:
            if cache.get(key) is None:
                cache[key] = b"v"
            else:
                count += 1
        return count

    fifo, plain = collections.deque(maxlen=100), 0
    for key in trace:
        plain += key in fifo
        if key not in fifo:
            fifo.append(key)
    stored, s3, lru = map(hits, POLICIES)
    assert stored == plain, "stored first is first in, first out"
    assert s3 > 1.3 * plain and s3 > 1.15 * lru, (s3, plain, lru)


def test_what_was_read_since_it_came_stays(opened):
    cache = opened(item_limit=40)
    for at in range(40):
        cache[at] = b""
    assert cache.get_many([0, 3, 7]) == [b""] * 3
    for at in range(40, 60):
        cache[at] = b""
    assert there(cache, range(12)) == [0, 3, 7], "what is read is kept, and what was not goes in its order"


def test_limits_that_are_lowered_hold_for_all_at_once(opened):
    one, two = opened(), opened()
    for at in range(100):
        one[at] = bytes(6)
    assert two.reset("item_limit", 10) == 10 and one.item_limit == 10
    assert two.cull() == 90
    one[100] = b""
    assert len(one) == 10
    assert two.reset("item_limit", None) is None
    one[101] = b""
    assert len(one) == 11


def test_a_count_that_is_put_right_beside_a_setting_keeps_what_is_on_its_way(opened):
    cache, value = opened(size_limit=1 << 30), bytes(64 * MIB)
    size = size_of(opened, "k", value)
    setter = threading.Thread(target=cache.set, args=("k", value))
    setter.start()
    # It is counted, and takes its time to be written.
    while cache.volume() == 0:
        pass
    cache.expire()
    setter.join()
    assert (cache.volume(), len(cache)) == (size, 1)


# Computing


def test_of_many_threads_one_computes_and_all_get_it(cache):
    computed, start = [], threading.Barrier(8)

    @cache.memoize()
    def slow(key):
        computed.append(key)
        time.sleep(0.06)
        return b"value"

    def call():
        start.wait()
        return slow("k")

    assert at_once(*[call] * 8) == [b"value"] * 8 and computed == ["k"]


def test_an_error_is_the_callers_and_the_next_computes(cache):
    luck = [ValueError("no luck")]

    @cache.memoize()
    def draw(key):
        if luck:
            raise luck.pop()
        return b"1"

    with pytest.raises(ValueError, match="^no luck$") as caught:
        draw("k")
    assert type(caught.value) is ValueError and not draw.contains("k")
    assert draw("k") == b"1" and draw.contains("k")


def test_who_would_wait_for_itself_is_told(cache, opened):
    again = opened()

    def outer(key):
        return inner(key)

    outer = cache.memoize(name="f", version=1)(outer)
    inner = again.memoize(name="f", version=1)(lambda key: b"inner")
    # It is the same function of the same cache, by another handle.
    refused(drystone.Reentered, lambda: outer("k"))
    assert not outer.contains("k")

    @cache.memoize()
    def factorial(n):
        return n * factorial(n - 1) if n else 1

    assert factorial(5) == 120 and factorial.contains(3), "another key is no matter"


def test_who_waits_long_enough_computes_too_and_who_may_takes_the_old_value(cache):
    begun, go_on, value = threading.Event(), threading.Event(), [b"old"]
    holder = threading.get_ident

    def compute(key):
        if threading.get_ident() in stopped:
            begun.set()
            assert go_on.wait(60)
        return value[0]

    stopped = set()
    patient = cache.memoize(name="f", version=1, wait=0.12)(compute)

    def stop():
        stopped.add(holder())
        return patient("k")

    thread = threading.Thread(target=stop)
    thread.start()
    try:
        assert begun.wait(60)
        value[0], start = b"new", time.monotonic()
        assert patient("k") == b"new" and time.monotonic() - start >= 0.12
    finally:
        go_on.set()
        thread.join()

    # Who may takes the old value at once, while another computes.
    begun, go_on, calls = threading.Event(), threading.Event(), []

    @cache.memoize(expire=0.01, stale_while_revalidate=60)
    def stale(key):
        calls.append(key)
        if len(calls) > 1:
            begun.set()
            assert go_on.wait(60)
        return b"old" if len(calls) == 1 else b"new"

    assert stale("k") == b"old"
    time.sleep(0.02)
    try:
        assert stale("k") == b"old" and begun.wait(60)
        assert [stale("k") for _ in range(5)] == [b"old"] * 5 and len(calls) == 2, "one computes anew"
    finally:
        go_on.set()
    end = time.monotonic() + 60
    while cache[stale.key("k")][0] != b"new":
        assert time.monotonic() < end
        time.sleep(0.01)


# Methods


@pytest.mark.parametrize(
    "filed",
    [
        (0, 1, 100, 4096, 4097, 65_536, 3 * MIB),
        # Their encoding is as long as a part of its own.
        (65_531, 65_535),
    ],
)
def test_values_of_any_size_come_back_and_large_ones_as_views(cache, filed):
    volumes = [0]
    for length in (0, 1, 100, 4096, 4097, 65_535, 65_536, 3 * MIB):
        body, numbers = content(length), array(length)
        cache[f"k{length}"] = body
        volumes.append(cache.volume())
        assert cache[f"k{length}"] == body and type(cache[f"k{length}"]) is bytes and f"k{length}" in cache
        assert volumes[-1] - volumes[-2] >= length + len(f"k{length}")
        assert volumes[-1] - volumes[-2] <= length + len(f"k{length}") + 64
        # Bytes are copied to whoever asks; arrays are not.
        cache["array"] = numbers
        found = cache["array"]
        np.testing.assert_array_equal(found, numbers)
        assert not found.flags.writeable and (length < 65_536 or not found.flags.owndata)
        again = cache["array"].__array_interface__["data"][0]
        assert length < 65_536 or found.__array_interface__["data"][0] == again
        assert cache.delete("array")
        assert length not in filed or cache.read(f"k{length}").read() == body
    assert (cache.volume(), len(cache)) == (volumes[-1], 8)
    assert cache.get("other") is None and "other" not in cache
    before = cache.volume()
    assert cache.delete("k100") is True and cache.delete("k100") is False and cache.get("k100") is None
    assert before - cache.volume() == volumes[3] - volumes[2] and len(cache) == 7


def test_a_value_has_a_head_and_any_number_of_parts(cache):
    store, shared = cache.store(), array(200_000, 3)
    id = store.put_array(shared)
    value = {"small": b"\1" * 10, "large": content(200_000), "shared": [shared, {"again": shared}], "empty": b""}
    cache["many"] = value
    found = cache["many"]
    assert (found["small"], found["large"], found["empty"]) == (value["small"], value["large"], b"")
    assert (found["shared"][0] == shared).all() and (found["shared"][1]["again"] == shared).all()
    cache["none"] = "only a head"
    assert cache["none"] == "only a head"
    # The entry keeps the parts.
    assert store.unpin(id) and store.compact(all=True)["complete"]
    assert id in store and (cache["many"]["shared"][0] == shared).all()
    # A part that is the same is stored once.
    before = sorted(store.blobs())
    cache["again"] = dict(value)
    assert sorted(store.blobs()) == before


def test_a_header_and_racy_bytes_are_one_part(cache):
    store = cache.store()
    for length in (0, 5, 4096, 70_000, 2 * MIB, 5 * MIB):
        numbers = array(length)
        cache["array"] = numbers
        np.testing.assert_array_equal(cache["array"], numbers)
        before = len(store.blobs())
        id = store.put(saved(numbers))
        assert id == store.put_array(numbers)
        assert length < 64 * KIB or len(store.blobs()) == before, "it was this blob already"


def test_add_and_compare_and_set_change_only_what_they_expect(cache):
    assert cache.add("k", b"1") is True and cache.add("k", b"2") is False and cache["k"] == b"1"
    size = cache.volume()

    def compare_and_set(expected, value):
        with cache.transact():
            return cache.get("k") == expected and cache.set("k", value)

    assert not compare_and_set(None, b"22") and compare_and_set(b"1", b"22") and not compare_and_set(b"1", b"22")
    assert (cache["k"], cache.volume(), len(cache)) == (b"22", size + 1, 1)
    assert (cache.pop("k"), cache.pop("k")) == (b"22", None) and (cache.volume(), len(cache)) == (0, 0)


def test_numbers_are_added_to_and_stay_in_their_bounds(cache):
    most = 2**63 - 1
    assert cache.incr("n", 5, 10) == 15 and cache.decr("n", 20) == -5 and cache.incr("n", most) == most - 5
    refused(InvalidInput, lambda: cache.incr("n", 6))
    assert cache.incr("n", 0) == most - 5, "nothing was lost"
    cache["text"] = b"granite"
    with pytest.raises(TypeError) as caught:
        cache.incr("text")
    assert isinstance(caught.value, drystone.Error) and cache["text"] == b"granite"


def test_what_expires_is_absent_and_is_removed_in_the_end(cache):
    # Long enough for a machine that has much to do.
    cache.set("soon", b"1", expire=0.3)
    cache.set("later", b"2", expire=60)
    cache.set("past", b"3", expire=-1)
    assert cache["soon"] == b"1" and cache.get("past") is None and "past" not in cache
    assert cache.touch("later") is True and cache.touch("past") is False
    assert cache.get("later", expire_time=True) == (b"2", None)
    time.sleep(0.32)
    assert cache.get("soon") is None and len(cache) == 3, "they are still counted"
    assert cache.expire() == 2 and list(cache) == ["later"] and len(cache) == 1
    assert cache.add("soon", b"4"), "what has expired is no value"


def test_clearing_and_evicting_a_tag_hide_what_was_set_before_and_nothing_else(cache):
    cache.set("a", b"1", tag="red")
    cache.set("b", b"2", tag=("red", "blue"))
    cache.set("c", b"3", tag="green")
    cache.set("d", b"4")
    cache.evict("blue")
    assert there(cache, "abcd") == [*"acd"]
    cache.evict("red")
    assert there(cache, "abcd") == [*"cd"]
    cache.set("b", b"5", tag=("red", "blue"))
    assert there(cache, "abcd") == [*"bcd"], "what is set under the tag afterwards is there"
    assert cache.expire() == 1 and len(cache) == 3 and cache.touch("c")
    for _ in range(20):
        cache.clear()
        assert (there(cache, "abcd"), list(cache), cache.volume(), len(cache)) == ([], [], 0, 0)
        assert cache.touch("c") is False, "nothing that was cleared comes back"
        cache["e"] = b"6"
        assert there(cache, "abcde") == ["e"] and len(cache) == 1
    volume = cache.volume()
    assert cache.expire() == 3 and (cache.volume(), list(cache)) == (volume, ["e"])


def test_keys_come_in_the_order_in_which_they_came_or_sorted(cache):
    for key in ("pear", "apple", "quince", "plum"):
        cache[key] = key
    cache["apple"] = b"again"
    cache.touch("pear")
    cache.delete("quince")
    cache["quince"] = b"new"
    came = ["pear", "apple", "plum", "quince"]
    assert list(cache) == list(cache.keys()) == came and list(reversed(cache)) == came[::-1]
    assert list(cache.iterkeys()) == sorted(came) and list(cache.iterkeys(reverse=True)) == sorted(came)[::-1]
    assert cache.peekitem() == ("quince", b"new") and cache.peekitem(last=False) == ("pear", "pear")


def test_caches_of_one_store_do_not_see_each_other(opened):
    one, two = opened(name="one"), opened(name="two")
    one["k"], two["k"] = b"1", b"2"
    volume = two.volume()
    one.clear()
    assert (one.get("k"), two["k"]) == (None, b"2") and (opened(name="two").volume(), len(two)) == (volume, 1)


def test_a_cache_lasts_as_its_store_does_and_is_counted_again_after_a_reboot(opened, directory):
    cache = opened()
    cache["old"] = b"1"
    cache.clear()
    cache.set("tagged", b"2", tag="t")
    cache.evict("t")
    cache.set("k", b"333", tag="t")
    cache.reset("size_limit", 1 << 20)
    cache.store().sync()
    del cache
    rebooted(directory / "cache").close()
    cache = opened()
    assert cache.get("k", tag=True) == (b"333", "t") and cache.get("old") is cache.get("tagged") is None
    assert cache.expire() == 2 and (cache.volume(), len(cache)) == (size_of(opened, "k", b"333"), 1)
    assert cache.size_limit == 1 << 20


def test_many_keys_at_a_time(cache):
    pairs = {f"k{at}": f"v{at}" for at in range(50)}
    cache.set_many(pairs)
    assert cache.get_many([*pairs, "other"]) == [*pairs.values(), None]
    assert cache.get_many(["other"], default=7) == [7]
    assert cache.delete_many([*pairs, "other"]) == 50 and len(cache) == 0 and not list(cache)


def test_what_cannot_be_is_refused_and_nothing_is_lost(cache, opened):
    cache["k"] = b"1"
    before = cache.volume()
    refused(
        InvalidInput, lambda: cache.set(bytes(65_537), b""), lambda: cache.set("k", b"2", tag="t" * 256),
        lambda: opened(name="n" * 201), lambda: cache.set("k", b"2", tag=("t",) * 65),
    )  # fmt: skip
    with pytest.raises(TypeError) as caught:
        cache["k"] = object()
    assert isinstance(caught.value, drystone.UnsupportedType)
    assert (cache["k"], cache.volume(), len(cache)) == (b"1", before, 1)


# Queues


def test_of_many_threads_each_pulls_another_value_and_none_is_lost(cache):
    sides = [("front", "front"), ("back", "back"), ("back", "front"), ("back", "front")]

    def use(seed):
        push_to, pull_from = sides[seed % 4]
        mine = []
        for at in range(200):
            cache.push((seed, at), prefix="q", side=push_to)
            # There are never fewer values than threads that are to pull one.
            mine.append(cache.pull(prefix="q", side=pull_from)[1])
        return mine

    pulled = at_once(*(lambda seed=seed: use(seed) for seed in range(8)))
    assert sorted(itertools.chain(*pulled)) == [(seed, at) for seed in range(8) for at in range(200)]
    assert cache.pull(prefix="q") == (None, None) and len(cache) == 0


def test_what_has_gone_in_between_is_passed_over_and_numbers_are_used_again(cache):
    def key(number):
        return f"q-{500_000_000_000_000 + number:015}"

    def push(value, **how):
        return cache.push(value, prefix="q", **how)

    assert push(b"0") == key(0)
    push(b"1", tag="t")
    push(b"2", expire=1e-9)
    # The one that has expired already stands in nobody's way.
    assert push(b"3") == key(2) and push(b"4") == key(3)
    assert cache.delete(key(3))
    cache.evict("t")
    assert push(b"5") == key(3)
    assert cache.peek(prefix="q", side="back") == (key(3), b"5")
    assert [cache.pull(prefix="q")[1] for _ in range(4)] == [b"0", b"3", b"5", None]
    assert push(b"anew", side="front") == key(0)
    cache.clear()
    assert cache.pull(prefix="q") == (None, None)


def test_a_queue_lasts_as_its_store_does(opened):
    for at in range(30):
        opened().push(at)
    cache = opened()
    cache.store().sync()
    assert [cache.pull()[1] for _ in range(31)] == [*range(30), None]


def test_an_eviction_that_is_counted_takes_out_what_it_counts(cache):
    for at in range(10):
        cache.set(f"a{at}", b"x", tag="a")
        cache.set(f"ab{at}", b"x", tag=("b", "a"))
        cache.set(f"none{at}", b"x")
    cache.set("expired", b"x", expire=1e-9, tag="a")
    assert [cache.evict(tag, count=True) for tag in ("a", "a", "b")] == [20, 0, 0]
    assert (len(list(cache)), len(cache)) == (10, 11), "what has expired is counted"
    cache.set("a0", b"new", tag="a")
    assert cache.evict("a", count=True) == 1 and cache.evict("a") is None


def test_what_will_have_expired_goes_at_a_later_time(cache):
    for seconds in (100, 200, 300):
        cache.set(seconds, b"x", expire=seconds)
    cache["never"] = b"x"
    assert cache.expire() == 0 and cache.expire(now=time.time() + 250) == 2
    assert list(cache.iterkeys()) == [300, "never"]


def test_what_was_read_is_put_back_as_it_was_if_nobody_has_changed_it(cache, opened):
    value = [array(300_000), b"\x08" * 10_000]
    cache.set("k", value, expire=1000, tag="t")
    cache["later"] = b"x"
    _, expires, tag = cache.get("k", expire_time=True, tag=True)
    before = cache.info()["hits"], cache.info()["misses"]
    with pytest.raises(ZeroDivisionError), cache.transact():
        assert cache.delete("k") and cache.delete("later")
        # Another sets one of them meanwhile; the large part of the other goes from the store, and is still held.
        opened()["later"] = b"other"
        assert cache.store().compact(all=True)["complete"]
        1 / 0
    assert (cache.info()["hits"], cache.info()["misses"]) == before, "what is kept to be put back is no lookup"
    found, *rest = cache.get("k", expire_time=True, tag=True)
    assert (found[0] == value[0]).all() and found[1] == value[1] and rest == [expires, tag] == [expires, "t"]
    assert list(cache) == ["k", "later"], "it has its old place"
    assert cache["later"] == b"other", "it has a value"


# Several processes

OTHER = """
import itertools, sys, time
import drystone

role, place = sys.argv[1:]
cache = drystone.Cache(place, maintenance=None)

def say(line):
    print(line, flush=True)

def slow(key):
    say("begun")
    time.sleep(600)

if role == "compute":
    cache.memoize(name="slow", version=1)(slow)("k")
elif role == "count":
    for _ in range(500):
        cache.incr("sum")
else:
    for at in itertools.count():
        cache.set(at % 97, bytes([at % 256]) * (at % 3000))
        cache.incr("sum")
        if at == 20:
            say("begun")
"""


class Other:
    """Another process, which is killed in the end."""

    def __init__(self, role, cache):
        command = [sys.executable, "-c", OTHER, role, cache.directory]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def begun(self):
        assert self.process.stdout.readline() == "begun\n"

    def kill(self):
        self.process.kill()
        return self.end()

    def end(self):
        code = self.process.wait()
        self.process.stdout.close()
        return code


def test_what_a_killed_process_was_computing_another_computes_at_once(cache):
    other, died, begun = Other("compute", cache), [], []

    def kill():
        time.sleep(0.2)
        other.kill()
        died.append(time.monotonic())

    def compute(key):
        begun.append(time.monotonic())
        return b"mine"

    try:
        other.begun()
        # It computes, and who will not wait for long does so too.
        assert cache.memoize(name="slow", version=1, wait=0.0)(lambda key: b"not kept")("k") == b"not kept"
        assert cache.delete(cache.memoize(name="slow", version=1)(compute).key("k")) and not begun
        killer = threading.Thread(target=kill)
        killer.start()
        assert cache.memoize(name="slow", version=1)(compute)("k") == b"mine"
        killer.join()
    finally:
        other.kill()
    assert other.process.returncode == -9 and len(begun) == 1
    assert begun[0] - died[0] < 5, "at once"


def test_sums_of_several_processes_are_right(cache):
    others = [Other("count", cache) for _ in range(3)]
    for _ in range(500):
        cache.incr("sum")
    assert [other.end() for other in others] == [0, 0, 0]
    assert cache.incr("sum", 0) == cache["sum"] == 2000


def test_killed_in_the_middle_of_setting_they_leave_limits_that_hold_and_a_count_that_comes_right(opened):
    limit = 60_000
    cache = opened(size_limit=limit)
    for number in range(4):
        others = [Other("hammer", cache) for _ in range(2)]
        try:
            [other.begun() for other in others]
            time.sleep(0.02 + 0.014 * number)
        finally:
            [other.kill() for other in others]
        assert cache.volume() <= limit
        found = [(key, value) for key, value in cache.items() if value is not None]
        counted = cache.volume()
        assert sum(len(value) for key, value in found if key != "sum") <= counted, "a count that is too low"
        cache.expire()
        assert cache.volume() <= limit
        sizes = [size_of(opened, key, value) for key, value in found]
        assert sum(sizes) == cache.volume() <= counted, (number, "the count has come right")
        assert cache.check() == []


def test_what_is_told_is_never_above_the_limits_while_several_processes_set(opened):
    limit, items = 60_000, 40
    cache = opened(size_limit=limit, item_limit=items)
    others = [Other("hammer", cache) for _ in range(3)]
    try:
        [other.begun() for other in others]
        looks = full = 0
        end = time.monotonic() + 1
        while time.monotonic() < end:
            info, volume, count = cache.info(), cache.volume(), len(cache)
            assert max(volume, info["bytes"]) <= limit and max(count, info["items"]) <= items, looks
            full += volume > limit - 3100 or count == items
            looks += 1
        assert full > looks / 10, (full, looks)
    finally:
        [other.kill() for other in others]
    cache.clear()
    for key in range(20):
        cache[key] = bytes(1500)
    cache.expire()
    before = cache.volume(), len(cache)
    assert before[0] > limit / 4 and before[1] > items / 4
    # A limit that comes down is passed until there is room.
    assert cache.reset("size_limit", limit // 8) == limit // 8
    assert (cache.volume(), len(cache)) == before
    cache.cull()
    assert cache.volume() <= limit // 8 and len(cache) < before[1]


def test_what_one_handle_clears_evicts_or_sets_the_other_sees(opened):
    one, two = opened(), opened()
    one.set("a", b"1", tag="t")
    one["b"] = b"2"
    assert two["a"] == b"1"
    two.evict("t")
    assert (one.get("a"), one["b"]) == (None, b"2")
    one.clear()
    assert (two.get("b"), two.volume(), len(two)) == (None, 0, 0)


def test_each_test_of_rust_is_mirrored_or_listed():
    hold_against("cache", globals(), NOT_MIRRORED, "test_each_test_of_rust_is_mirrored_or_listed")


@pytest.mark.parametrize("policy", ["least-recently-used", "least-frequently-used"])
@pytest.mark.parametrize("hot", [1, 20])
def test_what_is_used_again_and_again_stays(opened, policy, hot):
    cache = opened(item_limit=100, eviction_policy=policy)
    for key in range(100):
        cache[key] = 0
    for key in range(100, 200):
        assert all(cache.get(used) == 0 for used in range(hot))
        cache[key] = 0
    assert all(used in cache for used in range(hot))


@pytest.mark.parametrize("policy", ["least-recently-used", "least-frequently-used"])
def test_what_was_only_set_goes_in_the_order_in_which_it_came(opened, policy):
    cache = opened(item_limit=10, eviction_policy=policy)
    for key in range(25):
        cache[key] = 0
    assert sorted(cache) == list(range(15, 25))


def test_what_is_evicted_leaves_the_disk_soon(tmp_path):
    limit = 20_000_000
    with Cache(tmp_path / "cache", size_limit=limit, maintenance=3600.0) as cache:
        for seed in range(100):
            cache["array", seed] = array(2_000_000, seed)
        segments = tmp_path / "cache" / "segments"
        end = time.monotonic() + 30
        while sum(path.stat().st_blocks * 512 for path in segments.glob("*.seg")) > 3 * limit:
            assert time.monotonic() < end, "the disk holds more than three times the limit"
            time.sleep(0.05)
