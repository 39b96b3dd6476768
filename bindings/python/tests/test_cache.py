"""`drystone.Cache`, method by method, and several processes on one."""

import collections
import multiprocessing
import os
import pickle
import signal
import threading
import time

import numpy as np
import pytest

import drystone
from drystone import Cache


def open_again(cache):
    return Cache(cache.directory, maintenance=None)


def test_it_is_a_mutable_mapping(cache):
    from collections.abc import MutableMapping

    assert isinstance(cache, MutableMapping)
    cache["a"], cache["b"], cache["c"] = 1, [2], "three"
    assert (cache["a"], len(cache), list(cache), "b" in cache, "z" in cache) == (1, 3, ["a", "b", "c"], True, False)
    assert dict(cache.items()) == {"a": 1, "b": [2], "c": "three"}
    assert list(cache.keys()) == ["a", "b", "c"] and list(cache.values()) == [1, [2], "three"]
    assert list(reversed(cache)) == ["c", "b", "a"]
    cache["a"] = 10
    assert list(cache) == ["a", "b", "c"], "a key that is set again keeps its place"
    del cache["b"]
    with pytest.raises(KeyError):
        del cache["b"]
    with pytest.raises(KeyError):
        cache["b"]
    assert cache.setdefault("b", 5) == 5 and cache.setdefault("b", 6) == 5
    cache.update({"d": 4}, e=5)
    assert cache.popitem() == ("e", 5)
    assert cache.get("nothing") is None and cache.get("nothing", 7) == 7
    assert cache.pop("nothing", 8) == 8 and cache.pop("d") == 4


def test_keys_that_are_equal_are_one(cache):
    cache[1] = "int"
    assert cache[1.0] == cache[True] == "int"
    cache[2.5], cache["1"], cache[b"1"], cache[(1, "a")], cache[None] = 1, 2, 3, 4, 5
    assert [cache[key] for key in (2.5, "1", b"1", (1.0, "a"), None)] == [1, 2, 3, 4, 5]
    assert cache[np.int64(1)] == "int" if np.int64(1) in cache else True
    for key in ([1], {1: 2}, object(), np.arange(3)):
        with pytest.raises(TypeError) as caught:
            cache[key] = 1
        assert isinstance(caught.value, drystone.Error)
    assert list(cache.iterkeys())[:2] == [1, 2.5]
    assert list(cache.iterkeys(reverse=True))[-1] == 1


def test_expiry_and_tags(cache):
    cache.set("soon", 1, expire=0.05, tag="t")
    cache.set("later", 2, expire=100, tag=("t", 7))
    cache.set("never", 3)
    value, when, tag = cache.get("soon", expire_time=True, tag=True)
    assert (value, tag) == (1, "t") and 0 < when - time.time() < 0.06
    assert cache.get("later", tag=True) == (2, ("t", 7))
    time.sleep(0.06)
    assert cache.get("soon") is None and "soon" not in cache
    assert cache.get("soon", default=9, expire_time=True, tag=True) == (9, None, None)
    assert cache.touch("later", expire=200) and not cache.touch("soon")
    assert cache.expire() == 1 and len(cache) == 2
    cache.evict(7)
    assert cache.get("later") is None and cache["never"] == 3
    assert cache.clear() >= 1
    assert len(cache) == 0 and cache.volume() == 0 and "never" not in cache


def test_what_was_evicted_by_its_tag_counts_until_it_is_taken_out(directory):
    def filled(name, maintenance):
        cache = Cache(directory / name, maintenance=maintenance)
        for at in range(20):
            cache.set(at, b"x" * 100, tag="red" if at % 2 else "blue")
        return cache, cache.volume()

    alone, volume = filled("alone", None)
    alone.evict("red")
    assert len(alone) == 20 and alone.volume() == volume and len(list(alone)) == 10 and 1 not in alone
    assert alone.expire() == 10 and len(alone) == 10 and alone.volume() == volume // 2
    assert alone.evict("blue", count=True) == 10 and len(alone) == alone.volume() == 0
    kept, volume = filled("kept", 3600)
    kept.evict("red")
    start = time.monotonic()
    while len(kept) != 10 and time.monotonic() - start < 20:
        time.sleep(0.01)
    assert len(kept) == 10 and kept.volume() == volume // 2, "its thread was called"


def test_add_incr_and_pop_are_single_steps(cache):
    assert cache.add("k", 1) and not cache.add("k", 2)
    assert cache.incr("n") == 1 and cache.incr("n", 10) == 11 and cache.decr("n", 5) == 6
    assert cache.incr("m", default=100) == 101
    with pytest.raises(KeyError):
        cache.incr("absent", default=None)
    cache["text"] = "granite"
    with pytest.raises(TypeError):
        cache.incr("text")
    cache["n"] = 2**63 - 1
    with pytest.raises(ValueError):
        cache.incr("n")
    assert cache["n"] == 2**63 - 1
    threads = [threading.Thread(target=lambda: [cache.incr("sum") for _ in range(200)]) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert cache["sum"] == 800


def test_arrays_are_views_however_deep(cache):
    array = np.arange(200_000, dtype="f8").reshape(400, 500)
    cache["k"] = {"deep": [(array, array[::2, ::3]), {"fortran": np.asfortranarray(array)}]}
    (whole, strided), fortran = cache["k"]["deep"][0], cache["k"]["deep"][1]["fortran"]
    for found, wanted in ((whole, array), (strided, array[::2, ::3]), (fortran, array)):
        np.testing.assert_array_equal(found, wanted)
        assert not found.flags.writeable and not found.flags.owndata
        assert found.__array_interface__["data"][0] % 64 == 0
    assert fortran.flags.f_contiguous
    # The same memory, not a copy, in every reading of this process.
    again = cache["k"]["deep"][0][0]
    assert again.__array_interface__["data"] == whole.__array_interface__["data"]
    with pytest.raises(ValueError):
        whole[0, 0] = 1
    cache.clear()
    cache.cull()
    cache.store().compact(all=True)
    np.testing.assert_array_equal(whole, array)


def test_one_array_is_stored_once(cache):
    array = np.random.default_rng(3).random(100_000)
    for at in range(10):
        cache[at] = array
    cache["deep"] = {"a": [array]}
    store = cache.store()
    id = store.put_array(array)
    assert id in store
    assert [store.stat(it)["length"] for it in store.blobs()].count(array.nbytes + 128) == 1
    assert cache.volume() > 11 * array.nbytes, "sizes count for each key"


def test_limits_hold_and_are_shared(directory):
    cache = Cache(directory / "c", size_limit=100_000, maintenance=None)
    for at in range(200):
        cache[at] = b"x" * 2000
        assert cache.volume() <= 100_000
    assert 20 < len(cache) < 50
    with pytest.raises(ValueError) as caught:
        cache["large"] = b"x" * 100_001
    assert isinstance(caught.value, drystone.TooLarge) and len(cache) > 20
    assert Cache(directory / "c", maintenance=None).size_limit == 100_000
    assert cache.reset("size_limit", 20_000) == 20_000
    assert cache.cull() > 0 and cache.volume() <= 20_000
    assert Cache(directory / "d", maintenance=None).size_limit == 1 << 30
    assert Cache(directory / "e", eviction_policy="none", maintenance=None).size_limit is None
    full = Cache(directory / "f", eviction_policy="none", size_limit=100, maintenance=None)
    full["k"] = b"x" * 50
    with pytest.raises(drystone.NoSpace):
        full["l"] = b"x" * 50
    assert full["k"] == b"x" * 50


def test_bad_input_is_told_and_loses_nothing(cache, directory):
    cache["k"] = 1
    for options, kind in (
        ({"eviction_policy": "least-loved"}, ValueError),
        ({"size_limit": -7}, ValueError),
        ({"no_such_setting": 1}, ValueError),
        ({"disk": object()}, TypeError),
    ):
        with pytest.raises(kind):
            Cache(cache.directory, **options)
    for value in (object(), np.array([object()]), lambda: 1, {"deep": [object()]}):
        with pytest.raises(TypeError) as caught:
            cache["k"] = value
        assert "pickle=True" in str(caught.value)
    itself = []
    itself.append(itself)
    with pytest.raises(TypeError):
        cache["k"] = itself
    with pytest.raises(ValueError):
        cache.reset("no_such_setting")
    (directory / "other").mkdir()
    (directory / "other" / "file").write_text("something else")
    with pytest.raises(FileNotFoundError) as caught:
        Cache(directory / "other")
    assert isinstance(caught.value, drystone.NotAStore)
    assert cache["k"] == 1


def test_pickles_are_read_only_where_they_are_allowed(directory):
    trusting = Cache(directory / "c", pickle=True, maintenance=None)
    from collections import Counter

    trusting["k"] = Counter("granite")
    assert trusting["k"] == Counter("granite")
    with pytest.raises(TypeError) as caught:
        Cache(directory / "c", maintenance=None)["k"]
    assert "pickle=True" in str(caught.value)


def test_files_in_and_out(cache):
    import io

    data = os.urandom(300_000)
    cache.set("k", io.BytesIO(data), read=True)
    assert cache["k"] == data
    with cache.read("k") as file:
        assert file.read(10) == data[:10]
        file.seek(-5, 2)
        assert file.read() == data[-5:]
    assert cache.get("k", read=True).read() == data
    with pytest.raises(KeyError):
        cache.read("absent")


def test_queues(cache):
    assert cache.pull() == (None, None)
    first = cache.push("a")
    assert cache.push("b") == first + 1 and cache.push("front", side="front") == first - 1
    assert cache.peek() == (first - 1, "front") and cache.peek(side="back") == (first + 1, "b")
    assert [cache.pull()[1] for _ in range(3)] == ["front", "a", "b"]
    assert cache.push("x", prefix="jobs").startswith("jobs-")
    assert cache.pull(prefix="jobs")[1] == "x" and cache.pull(prefix="jobs", default=0) == 0


def test_transactions_exclude_each_other(cache):
    other, order = open_again(cache), []

    def second():
        with other.transact():
            order.append("second")

    with cache.transact(), cache.transact():
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.1)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_it_is_pickled_by_its_path_and_checks_itself(cache):
    cache["k"] = [1, 2]
    again = pickle.loads(pickle.dumps(cache))
    assert again["k"] == [1, 2] and again.directory == cache.directory
    assert cache.check() == []
    assert "entries" in cache.report()._repr_html_() and "entries" in str(cache.report())
    assert cache["k"] == [1, 2] and "absent" not in cache and cache.get("absent") is None
    hits, misses = cache.stats(reset=True)
    assert hits >= 1 and misses >= 1 and cache.stats() == (0, 0)


def test_a_relative_directory_of_the_environment_is_found_from_elsewhere(directory, monkeypatch):
    monkeypatch.chdir(directory)
    monkeypatch.setenv("DRYSTONE_STORE", "here")
    cache = Cache(maintenance=None)
    cache["x"] = 1
    kept = cache.memoize()(abs_).shelve(-2)
    (directory / "elsewhere").mkdir()
    monkeypatch.chdir(directory / "elsewhere")
    monkeypatch.delenv("DRYSTONE_STORE")
    assert os.path.isabs(cache.directory) and pickle.loads(pickle.dumps(cache))["x"] == 1
    assert pickle.loads(pickle.dumps(kept)).get() == 2
    assert not list((directory / "elsewhere").iterdir())


def abs_(x):
    return abs(x)


def test_a_relative_directory_is_found_from_elsewhere(directory, monkeypatch):
    monkeypatch.chdir(directory)
    cache = Cache("here", maintenance=None)
    cache["k"] = 1
    data = pickle.dumps((cache, drystone.Store("there")))
    (directory / "elsewhere").mkdir()
    monkeypatch.chdir(directory / "elsewhere")
    again, store = pickle.loads(data)
    assert again["k"] == 1 and os.path.samefile(store.path, directory / "there")


def _child(directory, queue):
    cache = Cache(directory, maintenance=None)
    array = cache["array"]
    cache["from child"] = float(array.sum())
    queue.put(array.flags.owndata)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_share_it(cache, method):
    cache["array"] = np.ones(50_000)
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    process = context.Process(target=_child, args=(cache.directory, queue))
    process.start()
    assert queue.get(timeout=60) is False
    process.join()
    assert cache["from child"] == 50_000.0


def test_a_handle_works_in_a_forked_child(cache):
    cache["k"] = 1
    pid = os.fork()
    if pid == 0:
        try:
            cache["child"] = cache["k"] + 1
            with cache.transact():
                pass
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert cache["child"] == 2
    cache["k"] = 3
    assert cache["k"] == 3


def _hammer(directory, seed, seconds):
    cache = Cache(directory, maintenance=None)
    random = np.random.default_rng(seed)
    end = time.time() + seconds
    while time.time() < end:
        key = int(random.integers(50))
        value = cache.get(key)
        if value is not None:
            assert (value == value[0]).all()
        cache[key] = np.full(int(random.integers(1, 20_000)), key * 1000 + seed % 7, dtype="i8")
    os._exit(0)


def test_eight_processes_on_one_cache_two_of_them_killed(directory):
    cache = Cache(directory / "c", size_limit=4_000_000, maintenance=None)
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_hammer, args=(cache.directory, seed, 3.0)) for seed in range(8)]
    [process.start() for process in processes]
    time.sleep(2)
    for process in processes[:2]:
        os.kill(process.pid, signal.SIGKILL)
    while any(process.is_alive() for process in processes):
        assert cache.volume() <= 4_000_000 + 2 * 160_200
        time.sleep(0.01)
    assert [process.exitcode for process in processes[2:]] == [0] * 6
    cache.cull()
    assert cache.volume() <= 4_000_000
    sizes = [cache[key].nbytes for key in cache]
    assert sum(sizes) < cache.volume() < sum(sizes) + 300 * len(sizes), "what is counted is what is there"
    assert cache.check() == []


def test_a_thread_keeps_it_in_order(directory):
    cache = Cache(directory / "c", maintenance=0.05)
    cache.set("k", b"x" * 100_000, expire=0.01)
    end = time.time() + 10
    while len(cache) and time.time() < end:
        time.sleep(0.02)
    assert len(cache) == 0


def test_a_cache_of_another_user_or_version_is_refused(directory):
    cache = Cache(directory / "c", maintenance=None)
    cache["k"] = 1
    path = cache.directory
    del cache
    os.chmod(path, 0o777)
    with pytest.raises(PermissionError) as caught:
        Cache(path)
    assert isinstance(caught.value, drystone.Permission)
    os.chmod(path, 0o700)
    with open(os.path.join(path, "STORE"), "r+b") as store:
        whole = store.read()
        store.seek(8)
        store.write(b"\x63")
        store.seek(4096 + 8)
        store.write(b"\x63")
    with pytest.raises(drystone.Error):
        Cache(path)
    with open(os.path.join(path, "STORE"), "r+b") as store:
        store.write(whole)
    assert Cache(path, maintenance=None)["k"] == 1


def test_what_cannot_be_read_is_not_removed(directory):
    trusting = Cache(directory / "c", pickle=True, maintenance=None)
    cache = Cache(directory / "c", maintenance=None)
    value = collections.Counter("granite")

    def all_refused():
        removals = [lambda: cache.pop("counter"), lambda: cache.pop("counter", 1, expire_time=True, tag=True)]
        removals += [lambda side=side: cache.pull("jobs", side=side) for side in ("front", "back")]
        for remove in (*removals, cache.popitem):
            with pytest.raises(drystone.UnsupportedType, match="pickle"):
                remove()

    trusting.set("counter", value, expire=1000, tag="t")
    job = trusting.push(value, prefix="jobs", expire=1000, tag="t")
    before = cache._snapshot("counter").version, cache._snapshot(job).version
    all_refused()
    with cache.transact():
        all_refused()
    with pytest.raises(InterruptedError), cache.transact():
        all_refused()
        raise InterruptedError
    assert (cache._snapshot("counter").version, cache._snapshot(job).version) == before
    assert trusting.pull("jobs", tag=True) == ((job, value), "t")
    assert cache.pull("jobs") == (None, None)
    assert trusting.popitem() == ("counter", value) and len(cache) == 0
