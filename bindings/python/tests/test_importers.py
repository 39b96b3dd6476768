"""Existing caches come over, and what does not is told."""

import asyncio
import importlib.util
import json
import os
import subprocess
import sys
import textwrap
import time
import warnings

import numpy as np
import pytest

import drystone
from drystone import Cache, import_diskcache, import_joblib


def test_diskcache(directory):
    diskcache = pytest.importorskip("diskcache")
    theirs = diskcache.Cache(str(directory / "theirs"))
    values = {"int": 1, "float": 2.5, "text": "granite", "bytes": b"x" * 100_000, b"key": b"small", 7: "t" * 50_000}
    for key, value in values.items():
        theirs[key] = value
    theirs.set("tagged", 1, expire=1000, tag="red")
    theirs["pickled"] = {"a": [1, 2]}
    theirs[("a", "tuple")] = 2
    theirs.set("old", 1, expire=0.02)
    theirs.close()
    time.sleep(0.03)
    plain = Cache(directory / "plain", maintenance=None)
    done = import_diskcache(directory / "theirs", plain)
    assert {key: plain[key] for key in values} == values and done.imported == 7
    assert plain.get("tagged", expire_time=True, tag=True)[1] is not None
    assert plain.get("tagged", tag=True) == (1, "red")
    reasons = " ".join(reason for _, reason in done.skipped)
    assert len(done.skipped) == 3 and "expired" in reasons and reasons.count("pickle=True") == 2
    trusting = Cache(directory / "trusting", pickle=True, maintenance=None)
    done = import_diskcache(directory / "theirs", trusting)
    assert trusting["pickled"] == {"a": [1, 2]} and trusting[("a", "tuple")] == 2 and done.imported == 9
    fanout = diskcache.FanoutCache(str(directory / "fanout"), shards=4)
    for at in range(100):
        fanout[at] = at
    fanout.close()
    assert import_diskcache(directory / "fanout", directory / "from fanout").imported == 100
    with pytest.raises(drystone.InvalidInput):
        import_diskcache(directory, plain)


def test_joblib(directory):
    joblib = pytest.importorskip("joblib")
    memory = joblib.Memory(str(directory / "theirs"), verbose=0)

    def area(width, height):
        return np.full((width, height), 3.0)

    kept = memory.cache(area)
    kept(3, 4), kept(500, 500)
    with pytest.raises(ValueError):
        import_joblib(directory / "theirs", directory / "refused")
    cache = Cache(directory / "ours", pickle=True, maintenance=None)
    done = import_joblib(directory / "theirs", cache)
    assert done.imported == 2 and done.skipped == []
    [mark], results = [key for key in cache if len(key) == 2], [key for key in cache if len(key) == 4]
    assert all(key[:2] == mark and key[1].endswith("test_joblib.<locals>.area") for key in results)
    assert sorted(cache[key][0].shape for key in results) == [(3, 4), (500, 500)]
    assert any("width=500, height=500" in cache.get(key, tag=True)[1] for key in results)
    assert all(time.time() - 60 < cache[key][1] < time.time() for key in results)
    cache.evict(mark[1])
    assert list(cache) == []


HEAD = """
import drystone, joblib, numpy as np

calls = []
"""


@pytest.fixture(autouse=True)
def _modules():
    yield
    for name in ("moving", "other", "without"):
        sys.modules.pop(name, None)


class Moving:
    """A module of functions that joblib keeps, and then drystone."""

    def __init__(self, directory, **memory):
        pytest.importorskip("joblib")
        self.directory, self.memory = directory, memory
        self.cache = Cache(directory / "ours", pickle=True, maintenance=None)

    def module(self, text, name="moving"):
        path = self.directory / f"{name}.py"
        path.write_text(HEAD + textwrap.dedent(text), encoding="utf-8")
        spec = importlib.util.spec_from_file_location(name, path)
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        module.memory = __import__("joblib").Memory(str(self.directory / "theirs"), verbose=0, **self.memory)
        module.cache = self.cache
        spec.loader.exec_module(module)
        return module

    def bring(self):
        return import_joblib(self.directory / "theirs", self.cache)

    def left(self):
        return [key for key in self.cache if key[0] == "joblib" and len(key) == 4]


WITH_OPTIONS = """
    @decorator
    # How large it is.
    def area(width, height=1, *rest, verbose=False, **more):
        calls.append(width)
        return width * height + sum(rest) + sum(more.values())
"""


def test_functions_that_are_memoized_find_what_joblib_kept(directory):
    moving = Moving(directory)
    theirs = moving.module(WITH_OPTIONS.replace("decorator", 'memory.cache(ignore=["verbose"])'))
    sums = theirs.area(2), theirs.area(3, height=4), theirs.area(5, 6, 7, more=8), theirs.area(1.5, verbose=True)
    assert len(theirs.calls) == 4 and moving.bring().imported == 4
    ours = moving.module(WITH_OPTIONS.replace("decorator", 'cache.memoize(ignore=("verbose",))'))
    area = ours.area
    assert area.contains(2) and not area.contains(20)
    assert (area(2, 1), area(width=3, height=4), area(5, 6, 7, more=8), area(1.5)) == sums and ours.calls == []
    assert area.cache_info()["hits"] == 4 and moving.left() == [], "they are the function's own now"
    before = area.cache_info()
    assert area(2, verbose=True) == 2 and area.cache_info()["hits"] == before["hits"] + 1
    assert area(4) == 4 and ours.calls == [4] and area.cache_info()["misses"] == 1
    assert area.invalidate(2) and area(2) == 2 and ours.calls == [4, 2], "it is not found a second time"


def test_ignoring_something_else_is_another_call(directory):
    moving = Moving(directory)
    theirs = moving.module(WITH_OPTIONS.replace("decorator", 'memory.cache(ignore=["verbose", "*", "**"])'))
    theirs.area(2, 1, 5, key=6)
    moving.bring()
    for at, (ignore, found) in enumerate(
        [("", False), ("'verbose'", False), ("'verbose', 'rest', 'more', 'none'", False), ("3, 2, 4, 9", True)]
    ):
        said = f"cache.memoize(ignore=[{ignore}])"
        ours = moving.module(WITH_OPTIONS.replace("decorator", said), "moving")
        assert ours.area(2, 1, 7, key=8) == (13 if found else 17) and ours.calls == ([] if found else [2]), at
        ours.area.invalidate(2, 1, 7, key=8)


SIMPLE = """
    @decorator
    def double(x):
        calls.append(x)
        return 2 * x
"""


def test_results_of_another_version_are_not_found(directory):
    moving = Moving(directory)
    theirs = moving.module(SIMPLE.replace("decorator", "memory.cache"))
    theirs.double(1), theirs.double(2)
    moving.bring()
    changed = SIMPLE.replace("2 * x", "x + x")
    ours = moving.module(changed.replace("decorator", "cache.memoize()"))
    assert ours.double(1) == 2 and ours.calls == [1] and len(moving.left()) == 2
    # What runs is another version than what stands in the file since.
    ours = moving.module(changed.replace("decorator", "cache.memoize(version=2)"))
    (directory / "moving.py").write_text(HEAD + textwrap.dedent(SIMPLE).replace("decorator", "cache.memoize()"))
    assert ours.double(1) == 2 and ours.calls == [1] and len(moving.left()) == 2
    # joblib has another version now, and both are there.
    theirs = moving.module(changed.replace("decorator", "memory.cache"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs.double(3)
    assert moving.bring().imported == 1 and len(moving.left()) == 3
    ours = moving.module("    # a line in front" + SIMPLE.replace("decorator", "cache.memoize(version=3)"))
    assert (ours.double(1), ours.double(2)) == (2, 4) and ours.calls == []
    assert ours.double(3) == 6 and ours.calls == [3]
    ours = moving.module(changed.replace("decorator", "cache.memoize(version=4)"))
    assert ours.double(3) == 6 and ours.calls == [] and moving.left() == []


def test_a_function_that_has_moved_finds_what_was_kept_under_its_old_name(directory):
    moving = Moving(directory)
    moving.module(SIMPLE.replace("decorator", "memory.cache")).double(1)
    moving.bring()
    ours = moving.module(SIMPLE.replace("decorator", "cache.memoize()"), "other")
    assert ours.double(1) == 2 and ours.calls == [1]
    ours = moving.module(SIMPLE.replace("decorator", "cache.memoize(name='moving.double')"), "other")
    assert ours.double(1) == 2 and ours.calls == []


def test_results_whose_source_joblib_does_not_say_are_not_found(directory):
    moving = Moving(directory)
    moving.module(SIMPLE.replace("decorator", "memory.cache")).double(1)
    for code in (directory / "theirs").rglob("func_code.py"):
        code.unlink()
    assert moving.bring().imported == 1
    ours = moving.module(SIMPLE.replace("decorator", "cache.memoize()"))
    assert ours.double(1) == 2 and ours.calls == [1]


def test_they_expire_as_if_they_had_been_kept_when_they_were_computed(directory):
    moving = Moving(directory)
    theirs = moving.module(SIMPLE.replace("decorator", "memory.cache"))
    [theirs.double(x) for x in range(4)]
    for about in (directory / "theirs").rglob("metadata.json"):
        said = json.loads(about.read_text())
        said["time"] -= 1000 * int(said["input_args"]["x"])
        about.write_text("no metadata" if said["input_args"]["x"] == "3" else json.dumps(said))
        os.utime(about.parent / "output.pkl", (time.time() - 3000, time.time() - 3000))
    moving.bring()
    ours = moving.module(SIMPLE.replace("decorator", "cache.memoize(expire=1500, tag='doubled')"))
    assert [ours.double.contains(x) for x in range(4)] == [True, True, False, False]
    assert [ours.double(x) for x in range(4)] == [0, 2, 4, 6] and ours.calls == [2, 3]
    left = [ours.cache.get(ours.double.key(x), expire_time=True, tag=True)[1:] for x in range(3)]
    assert [round((at - time.time()) / 100) for at, _ in left] == [15, 5, 15] and {tag for _, tag in left} == {"doubled"}
    stale = SIMPLE.replace("decorator", "cache.memoize(expire=1500, stale_while_revalidate=10, version=2)")
    moving.bring()
    ours = moving.module(stale)
    assert [ours.double(x) for x in (0, 0, 2)] == [0, 0, 4] and ours.calls == [2]


def test_what_has_not_been_asked_for_is_forgotten_by_its_function(directory):
    moving = Moving(directory)
    theirs = moving.module(SIMPLE.replace("decorator", "memory.cache"))
    theirs.double(1), theirs.double(2), theirs.double(3)
    moving.bring()
    ours = moving.module(SIMPLE.replace("decorator", "cache.memoize()"))
    assert ours.double.invalidate(1) and not ours.double.invalidate(1) and ours.double(1) == 2 and ours.calls == [1]
    ours.double(2)
    moving.cache.evict("moving.double")
    assert moving.left() == [] and ours.double(2) == 4 and ours.double(3) == 6 and ours.calls == [1, 3]


KINDS = """
    @decorator
    async def later(x):
        calls.append(x)
        return x + 1

    class Rock:
        def __init__(self, weight):
            self.weight = weight

        DECORATOR
        def heavier(self, by):
            calls.append(by)
            return self.weight + by

    def around():
        @decorator
        def within(x):
            calls.append(x)
            return [x]
        return within
"""


def test_coroutine_functions_methods_and_inner_functions_find_theirs(directory):
    moving = Moving(directory)
    text = KINDS.replace("DECORATOR", "")
    theirs = moving.module(text.replace("decorator", "memory.cache"))
    assert asyncio.run(theirs.later(1)) == 2
    assert theirs.memory.cache(theirs.Rock(3).heavier)(2) == 5 and theirs.around()(4) == [4]
    assert moving.bring().imported == 3 and len(theirs.calls) == 3
    text = KINDS.replace("DECORATOR", "@decorator")
    ours = moving.module(text.replace("decorator", "cache.memoize()"))
    assert asyncio.run(ours.later(1)) == 2 and ours.Rock(3).heavier(2) == 5 and ours.around()(4) == [4]
    assert ours.calls == [] and moving.left() == []


ARRAYS = """
    @decorator
    def field(n, of):
        calls.append(n)
        return {"x": np.full((n, 100), 3.0), "y": [np.arange(n), n], "like": of[::2]}
"""


@pytest.mark.parametrize("memory", [{}, {"compress": 3}, {"compress": ("lzma", 1)}, {"mmap_mode": "r"}], ids=str)
@pytest.mark.parametrize("mapped_from", [1, 64 << 20])
def test_arrays_are_brought_over_whatever_joblib_does_with_them(directory, monkeypatch, memory, mapped_from):
    monkeypatch.setattr("drystone.importers._MAPPED_FROM", mapped_from)
    moving = Moving(directory, **memory)
    np.save(directory / "given.npy", np.arange(3000.0))
    given, mapped = np.arange(1000.0).reshape(20, 50), np.load(directory / "given.npy", mmap_mode="r")
    theirs = moving.module(ARRAYS.replace("decorator", "memory.cache"))
    wanted = theirs.field(500, given), theirs.field(7, mapped)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert moving.bring().imported == 2
    ours = moving.module(ARRAYS.replace("decorator", "cache.memoize()"))
    for _ in range(2):
        for one, other in zip((ours.field(500, given.copy()), ours.field(7, mapped)), wanted):
            np.testing.assert_array_equal(one["x"], other["x"])
            np.testing.assert_array_equal(one["y"][0], other["y"][0])
            np.testing.assert_array_equal(one["like"], other["like"])
            assert type(one["x"]) is np.ndarray
    assert ours.calls == [] and not ours.field(500, given)["x"].flags.owndata, "it is a view"


SCRIPT = """
import sys, drystone, joblib
cache = drystone.Cache(sys.argv[2] + "/ours", pickle=True, maintenance=None)
memory = joblib.Memory(sys.argv[2] + "/theirs", verbose=0)

def heavy(x):
    print("computed", x, file=sys.stderr)
    return x ** 2

if __name__ == "__main__":
    if sys.argv[1] == "theirs":
        memory.cache(heavy)(12)
        print(drystone.import_joblib(sys.argv[2] + "/theirs", cache).imported)
    elif sys.argv[1] == "ours":
        print(cache.memoize()(heavy)(12))
    else:
        heavy = cache.memoize()(heavy)
        print(*joblib.Parallel(n_jobs=2)(joblib.delayed(heavy)(x) for x in [12, 12]))
"""


@pytest.mark.parametrize("how", ["ours", "workers"])
def test_functions_of_a_script_find_theirs(directory, how):
    pytest.importorskip("joblib")
    script = directory / "a script.of.mine.py"
    script.write_text(SCRIPT)
    run = lambda what: subprocess.run(
        [sys.executable, script, what, directory], capture_output=True, text=True, check=True, timeout=120
    )
    theirs = run("theirs")
    assert theirs.stdout == "1\n" and theirs.stderr == "computed 12\n"
    ours = run(how)
    assert ours.stdout == ("144\n" if how == "ours" else "144 144\n") and "computed" not in ours.stderr, ours.stderr


WITHOUT = """
import sys, drystone
cache = drystone.Cache(sys.argv[1] + "/ours", pickle=True, maintenance=None)
sys.path.insert(0, sys.argv[1])
if sys.argv[2] == "missing":
    sys.modules["joblib"] = None
import without
assert without.double(1) == 2
assert without.calls == [1], without.calls
assert sys.argv[2] == "missing" or "joblib" not in sys.modules
"""


@pytest.mark.parametrize("case", ["missing", "unasked"])
def test_without_joblib_or_without_imports_a_miss_is_a_miss(directory, case):
    moving = Moving(directory)
    moving.module(SIMPLE.replace("decorator", "memory.cache"), "without" if case == "missing" else "other").double(1)
    moving.bring()
    text = f"import drystone\ncalls = []\ncache = drystone.Cache({str(directory / 'ours')!r}, maintenance=None)\n"
    (directory / "without.py").write_text(text + textwrap.dedent(SIMPLE).replace("decorator", "cache.memoize()"))
    (directory / "main.py").write_text(WITHOUT)
    command = [sys.executable, directory / "main.py", directory, case]
    assert subprocess.run(command, timeout=60).returncode == 0


def test_what_cannot_be_read_or_hashed_is_computed(directory):
    moving = Moving(directory)
    theirs = moving.module(SIMPLE.replace("decorator", "memory.cache"))
    theirs.double(1)
    theirs.double({1, 2} and 3j)
    moving.bring()
    [one] = [key for key in moving.left() if "x=1" in moving.cache.get(key, tag=True)[1]]
    moving.cache.set(one, (np.dtype("f8").newbyteorder, 0.0))
    plain = Cache(directory / "ours", maintenance=None)
    ours = moving.module(SIMPLE.replace("decorator", "cache.memoize()"))
    ours.double.cache = plain
    with pytest.warns(RuntimeWarning, match="imported from joblib cannot be read"):
        assert ours.double(1) == 2
    assert ours.calls == [1] and ours.double(3j) == 6j and ours.calls == [1]


def test_keys_that_are_one_here_are_told_of(directory):
    diskcache = pytest.importorskip("diskcache")
    with diskcache.Cache(str(directory / "dc")) as old:
        old[True], old[1], old[(1, 2)], old[(True, 2)] = "true", "one", "a", "b"
    cache = drystone.Cache(directory / "cache", pickle=True, maintenance=None)
    done = drystone.import_diskcache(directory / "dc", cache)
    assert (done.imported, len(done.skipped)) == (2, 2) and len(cache) == 2
    assert all("the same key" in why for _, why in done.skipped)


class Scaled:
    def __init__(self, factor, keep, **how):
        self.factor = factor
        self.times = keep(**how)(self.times)

    def times(self, x):
        return self.factor * x


def test_methods_that_joblib_kept_without_their_objects_are_found(directory):
    joblib = pytest.importorskip("joblib")
    memory = joblib.Memory(str(directory / "joblib"), verbose=0)
    assert Scaled(2, memory.cache, ignore=["self"]).times(3) == 6
    cache = drystone.Cache(directory / "cache", maintenance=None)
    drystone.import_joblib(directory / "joblib", cache, pickle=True)
    # As there: whose factor it is does not matter.
    assert Scaled(5, cache.memoize, ignore=["self"]).times(3) == 6
    assert Scaled(5, cache.memoize, ignore=["self"]).times(4) == 20
    assert Scaled(7, cache.memoize, ignore=["self"]).times(4) == 20
    assert Scaled(7, cache.memoize).times(4) == 28
