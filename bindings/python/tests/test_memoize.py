"""Memoized functions: computed once, told apart by what they are given and by what they do."""

import asyncio
import functools
import inspect
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import types

import numpy as np
import pytest

import drystone
from drystone import Cache, memoize


def counted(cache, **options):
    calls = []

    @cache.memoize(**options)
    def function(x, y=1, *rest, z=2, **more):
        calls.append((x, y, z))
        return x

    return function, calls


def test_arguments_are_bound_before_they_are_looked_up(cache):
    function, calls = counted(cache)
    for call in (lambda: function(1), lambda: function(x=1), lambda: function(1, 1), lambda: function(1, y=1, z=2)):
        assert call() == 1
    assert len(calls) == 1
    function(1, 2), function(1, 1, 3), function(1, w=4), function(1, z=5)
    assert len(calls) == 5
    assert function.cache_info()["hits"] == 3 and function.cache_info()["misses"] == 5
    with pytest.raises(TypeError):
        function()


def test_arrays_are_what_they_hold(cache):
    function, calls = counted(cache)
    array = np.arange(250_000, dtype="f8").reshape(500, 500)
    np.testing.assert_array_equal(function(array), array)
    for same in (array.copy(), np.asfortranarray(array), np.repeat(array, 2, axis=1)[:, ::2]):
        function(same)
    assert len(calls) == 1
    for other in (array.T, array.astype("f4"), array.reshape(250, 1000), array + 1, {"a": array}, [array], (array,)):
        function(other)
    assert len(calls) == 8
    assert not function(array).flags.owndata


def test_types_matter_when_they_are_asked_for(cache):
    loose, calls = counted(cache)
    loose(1), loose(1.0), loose(True)
    assert len(calls) == 1
    strict, calls = counted(cache, typed=True, name="strict")
    strict(1), strict(1.0), strict(True)
    assert len(calls) == 3


def test_ignored_parameters_do_not_matter(cache):
    function, calls = counted(cache, ignore=("y",))
    function(1, y=object()), function(1, y=2)
    assert len(calls) == 1
    function, calls = counted(cache, ignore=("verbose", "y"))
    function(1, 5, verbose=1), function(1, 6, verbose=2), function(1)
    assert len(calls) == 1
    with pytest.raises(ValueError):
        cache.memoize(ignore=("no_such",))(lambda x: x)


def test_other_ways_to_keep_results_do_not_meet(cache):
    def f(a, b):
        return (a, b)

    one, two = (cache.memoize(name="f", version=1, ignore=it)(f) for it in ("a", "b"))
    assert one(1, 2) == (1, 2) and two(2, 1) == (2, 1)
    dated = cache.memoize(name="f", version=1, ignore="a", expire=100, stale_while_revalidate=100)(f)
    assert dated(1, 2) == (1, 2) == one(1, 2)


def test_what_a_function_closes_over_makes_it_another(cache):
    def adder(n):
        @cache.memoize()
        def add(x):
            return x + n

        return add

    assert (adder(1)(1), adder(2)(1), adder(1)(1)) == (2, 3, 2)
    assert adder(1).key(1) == adder(1).key(1) != adder(2).key(1)
    lock = threading.Lock()

    @cache.memoize()
    def guarded(x):
        with lock:
            return x

    assert guarded(1) == 1 and guarded.contains(1)


def test_what_cannot_be_kept_is_not_lost(directory):
    cache = Cache(directory / "c", maintenance=None, size_limit=100_000)

    @cache.memoize()
    def large(n):
        return b"x" * n if n else object()

    @cache.memoize()
    async def large_later(n):
        return b"x" * n if n else object()

    def later(of):
        return lambda n: asyncio.run(of(n))

    for n, kind, why in ((200_000, bytes, "larger|limit"), (0, object, "not stored")):
        for call in (large, large.refresh, later(large_later), later(large_later.refresh)):
            with pytest.warns(RuntimeWarning, match=f"large.*is not kept: .*({why})"):
                result = call(n)
            assert type(result) is kind and (kind is object or result == b"x" * n)
        assert not large.contains(n) and not large_later.contains(n)
    assert large(10) == b"x" * 10

    def full(*said, **more):
        raise drystone.NoSpace("the disk is full")

    cache.set = full
    with pytest.warns(RuntimeWarning, match="the disk is full"):
        assert large(11) == b"x" * 11


def test_what_cannot_be_memoized_is_told_when_it_is_decorated(cache):
    def numbers(x):
        yield x

    async def stream(x):
        yield x

    for wrong in (numbers, stream, staticmethod(len), classmethod(numbers)):
        with pytest.raises(TypeError):
            cache.memoize()(wrong)


def test_versions_live_side_by_side(cache):
    def make(source):
        space = {"__name__": "test"}
        exec(f"def f(x):\n    {source}\n", space)
        return cache.memoize(name="f")(space["f"])

    one, two, again = make("return x + 1"), make("return x + 2"), make("\n    return x + 1")
    assert (one(1), two(1), again(1)) == (2, 3, 2)
    assert (one.cache_info()["misses"], two.cache_info()["misses"], again.cache_info()["misses"]) == (1, 1, 0)
    assert one.key(1) == again.key(1) != two.key(1)
    with pytest.raises(TypeError) as caught:
        cache.memoize()(len)
    assert isinstance(caught.value, drystone.Unhashable) and "version=" in str(caught.value)
    assert cache.memoize(version=1)(len)([1, 2]) == 2


def test_an_argument_without_content_is_refused_by_name(cache):
    function, calls = counted(cache)
    with pytest.raises(TypeError) as caught:
        function(threading.Lock())
    assert isinstance(caught.value, drystone.Unhashable) and "ignore=" in str(caught.value) and not calls


def test_call_refresh_invalidate_and_none(cache):
    calls = []

    @cache.memoize()
    def nothing(x):
        calls.append(x)

    assert nothing(1) is None and nothing(1) is None and len(calls) == 1
    nothing.call(1), nothing.refresh(1)
    assert len(calls) == 3 and nothing.contains(1)
    assert nothing.invalidate(1) and not nothing.invalidate(1) and not nothing.contains(1)
    nothing(1)
    assert len(calls) == 4


def test_methods(cache):
    class Model:
        def __init__(self, weight):
            self.weight, self.calls = weight, 0

        @cache.memoize(ignore=("self",))
        def same(self, x):
            self.calls += 1
            return x

        @cache.memoize()
        def own(self, x):
            return self.weight * x

        def __reduce__(self):
            return Model, (self.weight,)

    one, two = Model(1), Model(2)
    assert one.same(3) == two.same(3) == 3 and (one.calls, two.calls) == (1, 0)
    assert two.same.invalidate(3) and two.same(3) == 3 and two.calls == 1
    del Model.__reduce__
    assert one.same.__name__ == "same"


class Counter:
    def __init__(self, start):
        self.start = start

    def count(self, x):
        return self.start + x


def test_bound_methods_are_values(cache):
    Counter.count = cache.memoize()(Counter.__dict__["count"])
    try:
        counter = Counter(1)
        assert pickle.loads(pickle.dumps(counter.count))(2) == counter.count(2) == 3
        assert counter.count == counter.count != Counter(1).count and len({counter.count, counter.count}) == 1
        assert pickle.loads(pickle.dumps(Counter.count)) is Counter.count
        asked = cache.memoize(name="asked", version=1)(lambda method: method(1))
        assert asked(counter.count) == 2 and asked(Counter(5).count) == 6
        assert counter.count.__cache_key__(2) == counter.count.key(2) == Counter(1).count.key(2) != counter.count.key(3)
    finally:
        Counter.count = Counter.count.function


def test_coroutines(cache):
    calls = []

    @cache.memoize()
    async def slow(x):
        calls.append(x)
        await asyncio.sleep(0.05)
        return x * 2

    async def main():
        assert await asyncio.gather(*(slow(3) for _ in range(10))) == [6] * 10
        return await slow(3)

    assert asyncio.run(main()) == 6 and calls == [3]
    assert inspect.iscoroutinefunction(slow) and not inspect.iscoroutinefunction(cache.memoize()(lambda: 1))


METHODS = """
def helper(x):
    return x + 100

named = cache.memoize()(helper)

class Rock:
    def __init__(self, weight):
        self.weight = weight

    @cache.memoize()
    def __private(self, x):
        return self.weight + x

    @cache.memoize()
    async def later(self, x, y=1):
        return self.weight + x

    def _plain(self, x):
        return self.weight * x

    bound = cache.memoize()(_plain)
    other = bound

    @cache.memoize()
    def common(self, x):
        return ("rock", self.weight, x)

    @classmethod
    @cache.memoize(ignore=("cls",))
    def of_class(cls, x):
        return -x

    also_of_class = of_class

    @staticmethod
    @cache.memoize()
    def __of_none(x):
        return x / 2

    def all(self):
        return [self.__private, self.bound, self.other, self.common, self.of_class, self.__of_none]

class Ore(Rock):
    @cache.memoize()
    def common(self, x):
        return ("ore", self.weight, x)

    def above(self):
        return super().common
"""


@pytest.fixture
def methods(cache):
    module = sys.modules["methods_of_rocks"] = types.ModuleType("methods_of_rocks")
    module.cache = cache
    exec(compile(METHODS, "methods_of_rocks", "exec"), vars(module))
    yield module
    del sys.modules["methods_of_rocks"]


def test_methods_and_functions_are_pickled_by_the_names_that_they_are_found_by(methods):
    rock, ore = methods.Rock(3), methods.Ore(3)
    for of in (rock, ore):
        back = [pickle.loads(pickle.dumps(method)) for method in of.all()]
        assert [method(2) for method in back] == [method(2) for method in of.all()]
        assert [type(method) for method in back] == [type(method) for method in of.all()]
    assert [method(2) for method in rock.all()] == [5, 6, 6, ("rock", 3, 2), -2, 1.0]
    assert pickle.loads(pickle.dumps(ore.above()))(2) == ("rock", 3, 2) != ore.common(2), "what it was, and not what is above it"
    for function in (methods.named, methods.Rock._Rock__private, methods.Rock.other, methods.Rock._Rock__of_none):
        assert pickle.loads(pickle.dumps(function)) is function
    # From 3.13 on one of these is a method of Python's, which pickles it by the function's name.
    assert pickle.loads(pickle.dumps(rock.also_of_class))(2) == -2
    free = methods.named.__get__(5)
    assert pickle.loads(pickle.dumps(free))() == 105, "bound to what has no such method"


def test_bound_methods_say_what_they_are(methods):
    rock = methods.Rock(3)
    for method in (rock.later, methods.Rock.later, methods.Ore(2).later):
        assert inspect.iscoroutinefunction(method) and str(inspect.signature(method)).endswith("x, y=1)")
    assert str(inspect.signature(rock.later)) == "(x, y=1)" and str(inspect.signature(rock.bound)) == "(x)"
    assert not any(inspect.iscoroutinefunction(method) for method in rock.all())
    assert asyncio.run(rock.later(4)) == 7


def test_threads_compute_once_and_an_error_is_not_kept(cache):
    calls, start = [], threading.Barrier(6)

    @cache.memoize()
    def slow(x):
        calls.append(x)
        time.sleep(0.1)
        if len(calls) == 1:
            raise RuntimeError("no luck")
        return x

    def ask(results):
        start.wait()
        try:
            results.append(slow(1))
        except RuntimeError as error:
            results.append(str(error))

    results = []
    threads = [threading.Thread(target=ask, args=(results,)) for _ in range(6)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sorted(map(str, results)) == ["1"] * 5 + ["no luck"] and len(calls) == 2


def test_asking_for_itself_is_an_error(cache):
    @cache.memoize()
    def itself(x):
        return itself(x)

    @cache.memoize()
    def down(x):
        return 0 if x == 0 else down(x - 1) + 1

    with pytest.raises(drystone.Reentered):
        itself(1)
    assert down(20) == 20


def _compute(directory, said, seconds):
    cache = Cache(directory, maintenance=None)

    @cache.memoize(name="shared", version=1)
    def slow(x):
        said.put(os.getpid())
        time.sleep(seconds)
        return np.full(10_000, x)

    slow(7)


def test_processes_compute_once_and_a_killed_one_is_followed_at_once(cache):
    context = multiprocessing.get_context("spawn")
    said = context.Queue()
    first = context.Process(target=_compute, args=(cache.directory, said, 600))
    first.start()
    assert said.get(timeout=60) == first.pid
    others = [context.Process(target=_compute, args=(cache.directory, said, 0.2)) for _ in range(3)]
    [process.start() for process in others]
    time.sleep(2)
    assert said.empty(), "they wait for the first"
    os.kill(first.pid, signal.SIGKILL)
    start = time.time()
    follower = said.get(timeout=60)
    assert time.time() - start < 5 and follower in [process.pid for process in others]
    [process.join(60) for process in others]
    assert [process.exitcode for process in others] == [0, 0, 0] and said.empty()


def test_who_waits_long_enough_computes_too(cache):
    calls = []

    @cache.memoize(wait=0.2)
    def function(x):
        calls.append(x)
        return x

    claim = cache._claim(function.key(1), 12345)
    start = time.time()
    assert function(1) == 1 and 0.2 <= time.time() - start < 10
    claim.release()


def test_old_results_serve_while_new_ones_are_computed(cache):
    calls = []

    @cache.memoize(expire=0.1, stale_while_revalidate=100)
    def function(x):
        calls.append(x)
        return len(calls)

    assert function(1) == 1 and function(1) == 1
    time.sleep(0.15)
    assert function(1) == 1, "the old one, at once"
    end = time.time() + 10
    while function(1) == 1 and time.time() < end:
        time.sleep(0.01)
    assert function(1) >= 2


def test_an_old_result_serves_again_while_its_caller_computes(cache):
    going, calls = threading.Event(), []

    @cache.memoize(name="sync", version=1, expire=0.01, stale_while_revalidate=100)
    def function(x):
        calls.append(x)
        if len(calls) > 1:
            going.wait(30)
        return len(calls)

    assert function(1) == 1
    time.sleep(0.05)
    assert [function(1) for _ in range(5)] == [1] * 5
    going.set()

    @cache.memoize(name="async", version=1, expire=0.01, stale_while_revalidate=100)
    async def slow(x):
        calls.append(x)
        await asyncio.sleep(0.1)
        return len(calls)

    async def main():
        first = await slow(1)
        await asyncio.sleep(0.05)
        assert [await slow(1) for _ in range(5)] == [first] * 5
        end = time.time() + 10
        while await slow(1) == first and time.time() < end:
            await asyncio.sleep(0.01)
        assert await slow(1) > first

    asyncio.run(main())


def test_a_shelved_result_is_a_few_bytes(cache):
    @cache.memoize()
    def big(n):
        return np.arange(n)

    shelved = big.shelve(300_000)
    data = pickle.dumps(shelved)
    assert len(data) < 500
    found = pickle.loads(data).get()
    np.testing.assert_array_equal(found, np.arange(300_000))
    assert not found.flags.owndata
    big.invalidate(300_000)
    with pytest.raises(KeyError):
        pickle.loads(data).get()
    assert pickle.loads(data).get(None) is None


def test_what_takes_long_says_so(cache):
    told = []

    @cache.memoize(progress=told.append)
    def slow(x):
        time.sleep(2.3)
        return x

    assert slow(1) == 1
    assert [it["what"] for it in told] == ["computing"] * 2 and told[0]["function"].endswith("slow")
    told.clear()
    slow(1)
    assert told == []


def test_a_directory_serves(directory):
    @memoize(directory / "c")
    def function(x):
        return x + 1

    assert function(1) == 2 and function.cache_info()["misses"] == 1
    with pytest.raises(TypeError):
        Cache(directory / "c", maintenance=None).memoize(lambda x: x)


def test_a_refresh_looks_at_its_arguments_before_the_function_does(cache):
    calls = []

    @cache.memoize()
    def drained(items):
        calls.append(1)
        return [items.pop() for _ in range(len(items))]

    assert drained.refresh([1, 2]) == [2, 1]
    assert drained.contains([1, 2]) and not drained.contains([])
    with pytest.raises(drystone.Unhashable):
        drained.refresh([threading.Lock()])
    assert len(calls) == 1


class Scale:
    def __init__(self, by):
        self.by = by

    def __call__(self, x):
        return x * self.by

    times = __call__


def power(base, exponent, *, calls=None):
    return base**exponent


async def power_later(base, exponent):
    return base**exponent


def test_partials_and_bound_methods_are_told_apart_by_what_they_hold(cache):
    square, cube = (cache.memoize()(functools.partial(power, exponent=it)) for it in (2, 3))
    of_two = cache.memoize()(functools.partial(power, 2))
    plain = cache.memoize()(power)
    for _ in range(2):
        assert (square(5), cube(5), of_two(5), of_two(exponent=6), plain(5, 2)) == (25, 125, 32, 64, 25)
    assert [it.cache_info()["misses"] for it in (square, cube, of_two, plain)] == [1, 1, 2, 1]
    assert cache.memoize()(functools.partial(power, exponent=2)).contains(5) and not square.contains(6)
    assert square.key(5) != plain.key((), {"exponent": 2}) and list(inspect.signature(square).parameters)[0] == "base"
    nested = cache.memoize()(functools.partial(functools.partial(power, 2), 10))
    assert nested() == nested() == 1024 and nested.__name__ == "power" and "power" in nested.name

    double, triple = (cache.memoize()(Scale(by).times) for by in (2, 3))
    assert [double(5), triple(5), double(5), triple(5)] == [10, 15, 10, 15]
    assert [it.cache_info()["misses"] for it in (double, triple)] == [1, 1]
    assert cache.memoize()(Scale(2).times).contains(5) and not cache.memoize()(Scale(4).times).contains(5)
    assert cache.memoize()(functools.partial(Scale(7).times, 2))() == 14

    @cache.memoize()
    def apply(function, x):
        return function(x)

    assert [apply(square, 5), apply(cube, 5), apply(square, 5)] == [25, 125, 25]

    later = cache.memoize()(functools.partial(power_later, exponent=2))
    assert inspect.iscoroutinefunction(later.function) and asyncio.run(later(5)) == asyncio.run(later(5)) == 25
    assert later.cache_info()["misses"] == 1


def test_objects_that_can_be_called_are_refused_with_a_way_out(cache):
    for wrong in (Scale(2), functools.partial(Scale(2), 3), 5):
        for options in ({}, {"name": "n"}, {"version": 1}):
            with pytest.raises(drystone.UnsupportedType, match="call"):
                cache.memoize(**options)(wrong)
    assert cache.memoize(name="n", version=1)(Scale(2))(4) == 8


def test_typed_tells_sets_from_frozen_ones(cache):
    typed = cache.memoize(typed=True, version=1)(repr)
    plain = cache.memoize(name="plain", version=1)(repr)
    assert typed({1}) == "{1}" and typed(frozenset([1])) == "frozenset({1})"
    assert plain({1}) == plain(frozenset([1])) == "{1}"
