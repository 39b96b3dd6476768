"""`Cache.transact`: one at a time, and undone by an exception."""

import asyncio
import multiprocessing
import os
import signal
import threading
import time

import numpy as np
import pytest

import drystone
from drystone import Cache


class Stop(Exception):
    pass


def entries(cache):
    """All that a cache shows: keys in their order, values, expiries and tags."""
    return [(key, repr(told[0]), *told[1:]) for key in cache for told in [cache.get(key, expire_time=True, tag=True)]]


def filled(cache):
    array = np.arange(30_000)
    cache["number"], cache["text"], cache["array"] = 1, "granite", {"deep": [array, array[::2]]}
    cache.set("tagged", 2.5, expire=1000, tag=("a", 7))
    cache.set("also", None, tag="a")
    for at in range(20):
        cache.push(at, prefix="q", tag="a" if at % 2 else None)
    return cache


WRITES = {
    "set": lambda cache: cache.set("text", "basalt", expire=5),
    "set a new one": lambda cache: cache.set("new", np.ones(50_000), tag="a"),
    "setitem twice": lambda cache: (cache.__setitem__("number", 2), cache.__setitem__("number", [3])),
    "add": lambda cache: (cache.add("new", 1), cache.add("text", 1)),
    "touch": lambda cache: (cache.touch("tagged"), cache.touch("array", expire=0)),
    "incr": lambda cache: (cache.incr("number", 5), cache.incr("fresh"), cache.decr("tagged", 0.25)),
    "delete": lambda cache: (cache.delete("text"), cache.delete("none")),
    "del and set again": lambda cache: (cache.__delitem__("array"), cache.__setitem__("array", 1)),
    "pop": lambda cache: cache.pop("tagged"),
    "popitem": lambda cache: cache.popitem(),
    "setdefault": lambda cache: cache.setdefault("new", []),
    "update": lambda cache: cache.update({"text": 1, "new": 2}, more=3),
    "set_many": lambda cache: cache.set_many({"text": 1, "new": 2}, tag="b"),
    "delete_many": lambda cache: cache.delete_many(["text", "number", "none"]),
    "clear": lambda cache: cache.clear(),
    "clear and set": lambda cache: (cache.clear(), cache.set("text", 9)),
    "evict": lambda cache: cache.evict("a"),
    "evict a number": lambda cache: cache.evict(7, count=True),
    "push": lambda cache: [cache.push(at, prefix="q") for at in range(12)],
    "push to the front": lambda cache: [cache.push(at, prefix="q", side="front") for at in range(12)],
    "pull some": lambda cache: [cache.pull("q") for _ in range(12)],
    "pull all and push": lambda cache: ([cache.pull("q", side="back") for _ in range(21)], cache.push(1, prefix="q")),
    "memoize": lambda cache: cache.memoize(name="f")(area)(3),
}


def area(width):
    return width * width


@pytest.mark.parametrize("what", WRITES)
def test_an_exception_undoes(cache, what):
    filled(cache)
    before, volume = entries(cache), cache.volume()
    with pytest.raises(Stop), cache.transact():
        WRITES[what](cache)
        assert entries(cache) != before, "others see it at once"
        raise Stop
    assert entries(cache) == before
    assert (cache.volume(), len(cache)) == (volume, len(before))
    assert [cache.pull("q")[1] for _ in range(21)] == [*range(20), None]


@pytest.mark.parametrize("what", WRITES)
def test_without_one_it_stays_and_returns_what_it_does_outside(directory, what):
    inside, outside = (filled(Cache(directory / name, maintenance=None)) for name in "ab")
    with inside.transact():
        told = WRITES[what](inside)
    other = WRITES[what](outside)
    assert repr(told) == repr(other) or what.startswith("evict"), "evict counts in a transaction"
    keep = lambda cache: [(key, value, expires is None, tag) for key, value, expires, tag in entries(cache)]  # noqa: E731
    assert keep(inside) == keep(outside)
    assert [inside.pull("q") for _ in range(40)] == [outside.pull("q") for _ in range(40)]


def test_all_together_are_undone_in_reverse(cache):
    filled(cache)
    before = entries(cache)
    with pytest.raises(KeyboardInterrupt), cache.transact():
        for write in (*WRITES.values(), *WRITES.values()):
            try:
                write(cache)
            except (KeyError, TypeError):
                pass  # the key is another thing by now
        raise KeyboardInterrupt
    assert entries(cache) == before


def test_what_was_held_lasts_although_its_blobs_went_in_between(cache):
    array = np.random.default_rng(1).random(50_000)
    cache["array"] = array
    with pytest.raises(Stop), cache.transact():
        del cache["array"]
        cache.store().compact(all=True)
        raise Stop
    assert (cache["array"] == array).all() and cache.check() == []


def test_nested_ones_are_parts_of_the_outer(cache):
    cache["a"] = cache["b"] = 1
    with pytest.raises(Stop), cache.transact():
        cache["a"] = 2
        try:
            with cache.transact():
                cache["b"] = 2
                raise ValueError
        except ValueError:
            assert cache["b"] == 2, "the outer one decides"
        again = Cache(cache.directory, maintenance=None)
        with again.transact():
            again["c"] = 1
        raise Stop
    assert dict(cache.items()) == {"a": 1, "b": 1}
    with cache.transact(), cache.transact():
        cache["a"] = 3
    assert cache["a"] == 3 and "_set" not in vars(cache)


def test_what_others_have_set_since_stays(cache):
    other = Cache(cache.directory, maintenance=None)
    cache["a"] = cache["b"] = cache["c"] = 1
    cache.push("first", prefix="q")
    with pytest.raises(Stop), cache.transact():
        cache["a"] = cache["b"] = 2
        del cache["c"]
        other["a"] = 3
        other["c"] = 3
        other["b"] = 3
        cache["b"] = 4
        assert cache.pull("q")[1] == "first"
        other.push("of another", prefix="q")
        raise Stop
    assert (cache["a"], cache["b"], cache["c"]) == (3, 3, 3)
    assert {cache.pull("q")[1], cache.pull("q")[1]} == {"first", "of another"}
    assert cache.pull("q") == (None, None)


def test_other_threads_that_use_the_cache_meanwhile_are_not_undone(cache):
    with pytest.raises(Stop), cache.transact():
        cache["mine"] = 1
        thread = threading.Thread(target=lambda: cache.set_many({"theirs": 2, "more": 3}))
        thread.start()
        thread.join()
        raise Stop
    assert dict(cache.items()) == {"theirs": 2, "more": 3}


def test_what_cannot_be_put_back_is_told(directory):
    cache = Cache(directory / "c", size_limit=100_000, eviction_policy="none", maintenance=None)
    cache["large"], cache["small"] = b"x" * 90_000, 1
    with pytest.raises(Stop) as caught, cache.transact():
        cache["small"] = 2
        del cache["large"]
        Cache(cache.directory, maintenance=None)["theirs"] = b"y" * 90_000
        raise Stop
    assert cache["small"] == 1 and "large" not in cache
    assert any("'large' could not be put back" in note for note in caught.value.__notes__)


def test_threads_exclude_each_other(cache):
    other = Cache(cache.directory, maintenance=None)
    cache["sum"] = 0

    def add(cache):
        for _ in range(50):
            with cache.transact():
                value = cache["sum"]
                time.sleep(0)
                cache["sum"] = value + 1

    threads = [threading.Thread(target=add, args=(it,)) for it in (cache, cache, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache["sum"] == 150


def _add(directory, count):
    cache = Cache(directory, maintenance=None)
    for _ in range(count):
        with cache.transact():
            cache["sum"] = cache["sum"] + 1


def _hold(directory, told):
    cache = Cache(directory, maintenance=None)
    with cache.transact():
        cache["half"] = "written"
        told.set()
        time.sleep(600)


def test_processes_exclude_each_other_and_one_that_is_killed_holds_nobody(cache):
    context = multiprocessing.get_context("spawn")
    cache["sum"] = 0
    workers = [context.Process(target=_add, args=(cache.directory, 100)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert cache["sum"] == 300
    told = context.Event()
    holder = context.Process(target=_hold, args=(cache.directory, told))
    holder.start()
    assert told.wait(60)
    patient = Cache(cache.directory, timeout=0.2, maintenance=None)
    with pytest.raises(drystone.TimedOut) as caught, patient.transact():
        pass
    assert isinstance(caught.value, TimeoutError)
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    begin = time.monotonic()
    with cache.transact():
        assert cache["half"] == "written", "what a dead one has written stays"
    assert time.monotonic() - begin < 5


def test_a_child_that_was_forked_in_one_holds_nobody_and_undoes_nothing(cache):
    read, write = os.pipe()
    with pytest.raises(Stop), cache.transact():
        cache["a"] = 1
        child = os.fork()
        if child == 0:
            try:
                cache["child"] = 1
                try:
                    raise KeyboardInterrupt
                finally:
                    os.close(write)
                    os.read(read, 1)
            except KeyboardInterrupt:
                pass
            finally:
                os._exit(0)
        raise Stop
    assert "a" not in cache
    begin = time.monotonic()
    with Cache(cache.directory, timeout=5, maintenance=None).transact():
        pass
    assert time.monotonic() - begin < 2, "the child has the same open file, and is still there"
    os.close(write)
    os.waitpid(child, 0)
    assert cache["child"] == 1


def test_a_forked_child_waits_for_the_transaction_of_its_parent(cache):
    cache["a"] = 0
    with cache.transact():
        cache["a"] = 1
        child = os.fork()
        if child == 0:
            code = 1
            try:
                with cache.transact():
                    os._exit(9)
            finally:
                os._exit(code)
        try:
            # It would never go on if it held the lock, which it has inherited, itself.
            time.sleep(0.1)
            assert os.waitpid(child, os.WNOHANG) == (0, 0)
        finally:
            assert cache["a"] == 1
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def test_another_task_of_the_same_thread_is_told_instead_of_waiting_for_itself(cache):
    async def main():
        async def other():
            with cache.transact():
                pass

        with cache.transact():
            with pytest.raises(drystone.Reentered):
                await asyncio.create_task(other())
            cache["a"] = 1

    asyncio.run(main())
    assert cache["a"] == 1
