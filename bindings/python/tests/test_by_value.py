"""Memoized functions of scripts, in workers that cannot import them."""

import copy
import gc
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import weakref

import pytest

from drystone import Cache, by_value, memoize

LOKY = """
    import os, sys
    from drystone import memoize
    from joblib import Parallel, delayed

    FACTOR = 3

    @memoize({directory!r})
    def slow(x):
        with open({log!r}, "a") as log:
            print(x, os.getpid(), file=log)
        return helper(x) * FACTOR

    def helper(x):
        return x + 1

    @memoize({directory!r})
    def factorial(n):
        return n * factorial(n - 1) if n else 1

    @memoize({directory!r})
    def even(n):
        return odd(n - 1) if n else True

    @memoize({directory!r})
    def odd(n):
        return even(n - 1) if n else False

    def local(by):
        @memoize({directory!r}, version=1)
        def times(x):
            return x * by
        return times

    def recursive():
        @memoize({directory!r})
        def local_factorial(n):
            return n * local_factorial(n - 1) if n else 1
        return local_factorial

    class Held:
        @memoize({directory!r})
        def method(self, x):
            return x - 1

    if __name__ == "__main__":
        for _ in range(2):
            with Parallel(n_jobs=2, backend={backend!r}) as parallel:
                assert parallel(delayed(slow)(x % 4) for x in range(16)) == [(x % 4 + 1) * 3 for x in range(16)]
                assert parallel(delayed(factorial)(n) for n in range(6)) == [1, 1, 2, 6, 24, 120]
                assert parallel(delayed(even)(n) for n in range(6)) == [True, False] * 3
                if {backend!r} == "loky":
                    assert parallel(delayed(local(7))(x) for x in range(3)) == [0, 7, 14]
                    assert parallel(delayed(recursive())(n) for n in range(6)) == [1, 1, 2, 6, 24, 120]
                    assert parallel(delayed(Held().method)(x) for x in range(3)) == [-1, 0, 1]
        assert slow(2) == 9 and slow.cache_info()["misses"] == 0, "the workers' results are ours"
        assert factorial(5) == 120 and factorial.cache_info()["misses"] == 0
"""


@pytest.mark.parametrize("backend", ["loky", "multiprocessing"])
def test_joblib_runs_functions_of_a_script(directory, backend):
    pytest.importorskip("joblib")
    directory.mkdir(exist_ok=True)
    log, script = directory / "log", directory / "script.py"
    said = {"directory": str(directory / "cache"), "log": str(log), "backend": backend}
    script.write_text(textwrap.dedent(LOKY).format(**said))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    computed = [line.split()[0] for line in log.read_text().splitlines()]
    assert sorted(computed) == ["0", "1", "2", "3"], "each once, by whichever process"


def test_what_is_sent_again_is_the_same_function_where_it_arrives(directory):
    cloudpickle = pytest.importorskip("cloudpickle")

    def local(x):
        return x + 1

    memoized = memoize(directory)(local)
    first, again = (pickle.loads(cloudpickle.dumps(memoized)) for _ in range(2))
    assert first is again and first is not memoized
    assert first(1) == memoized(1) == 2 and first.cache_info()["misses"] == 1 and memoized.cache_info()["hits"] == 1
    assert (first.name, first.version, first.key(1)) == (memoized.name, memoized.version, memoized.key(1))


def test_a_function_that_holds_what_cannot_be_sent_is_refused(directory):
    pytest.importorskip("cloudpickle")
    held = threading.Lock()

    @Cache(directory).memoize()
    def local():
        return held.locked()

    with pytest.raises(TypeError, match="lock"):
        pickle.dumps(local)


def sent(memoized):
    return pickle.loads(pickle.dumps(memoized))


def test_an_edited_function_is_another_wherever_its_partner_is_known(directory):
    cloudpickle = pytest.importorskip("cloudpickle")
    cache = Cache(directory)
    base = None

    @cache.memoize()
    def helper(n):
        return base(n - 1)

    for k in range(50):
        base = None

        def edited(n, k=k):
            return k if n <= 0 else helper(n)

        base = cache.memoize(version=k)(edited)
        # The one before is gone, and this one may stand where that stood.
        cache.clear()
        again = pickle.loads(cloudpickle.dumps(base))
        assert again is not base and again(1) == k
        again.cache.clear()


def full(x, units="m"):
    return x, units


def test_a_function_is_not_taken_for_one_with_other_settings(directory, monkeypatch):
    pytest.importorskip("cloudpickle")
    cache, other = Cache(directory / "one"), Cache(directory / "other")
    module, raw = sys.modules[__name__], full
    named = cache.memoize()(raw)
    monkeypatch.setattr(module, "full", named)
    assert sent(named) is named
    deaf = cache.memoize(ignore=("units",))(raw)
    assert sent(deaf) is not named and [sent(deaf)("a", it) for it in ("m", "ft")] == [("a", "m")] * 2
    assert [named("a", it) for it in ("m", "ft")] == [("a", "m"), ("a", "ft")]
    elsewhere = sent(other.memoize(expire=5, tag="t")(raw))
    assert elsewhere.cache._directory == other._directory and elsewhere(1) == (1, "m")
    assert other.get(elsewhere.key(1), tag=True) == ((1, "m"), "t") and named.key(1) not in cache
    for how in ({"typed": True}, {"expire": 3}, {"tag": "x"}, {"wait": 3}, {"stale_while_revalidate": 3}):
        assert sent(cache.memoize(**how)(raw)) is not named, how
    assert copy.copy(deaf) is copy.deepcopy(deaf) is deaf


def test_many_functions_that_are_sent_share_a_cache_and_are_forgotten(directory):
    cloudpickle = pytest.importorskip("cloudpickle")
    cache = Cache(directory)

    def scaled(k):
        @cache.memoize()
        def times(x):
            return k * x

        return times

    arrived = [pickle.loads(cloudpickle.dumps(scaled(k))) for k in range(100)]
    assert [it(2) for it in arrived] == [2 * k for k in range(100)]
    assert len({id(it.cache) for it in arrived}) == 1
    gone = weakref.ref(arrived[0].function)
    large = pickle.loads(cloudpickle.dumps(scaled(b"x" * (2 << 20))))
    assert large(2) == b"x" * (4 << 20)
    large_gone = weakref.ref(large.function)
    del arrived, large
    gc.collect()
    assert gone() is None and large_gone() is None


def test_a_child_that_is_forked_while_another_thread_loads_one_is_not_held_up(directory):
    cloudpickle = pytest.importorskip("cloudpickle")

    @Cache(directory).memoize()
    def double(x):
        return 2 * x

    data = cloudpickle.dumps(double)
    with by_value._lock:
        child = os.fork()
        if not child:
            signal.alarm(20)
            os._exit(0 if pickle.loads(data)(2) == 4 else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_what_cannot_be_sent_is_named_where_it_is_missed(directory, monkeypatch):
    pytest.importorskip("cloudpickle")
    lock = threading.Lock()

    @Cache(directory).memoize()
    def holder():
        return lock.locked()

    main = sys.modules["__main__"]
    holder.__module__, holder.__qualname__ = "__main__", "holder_of_a_lock"
    monkeypatch.setattr(main, "holder_of_a_lock", holder, raising=False)
    data = pickle.dumps(holder)
    assert pickle.loads(data) is holder, "as in a process that was forked"
    monkeypatch.delattr(main, "holder_of_a_lock")
    with pytest.raises(pickle.PicklingError, match="could not be sent.*lock"):
        pickle.loads(data)


def test_without_cloudpickle_only_what_has_a_name_is_pickled(directory, monkeypatch):
    for name in ("cloudpickle", "joblib.externals.cloudpickle"):
        monkeypatch.delitem(sys.modules, name, raising=False)

    @Cache(directory).memoize()
    def local(x):
        return x

    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(local)
