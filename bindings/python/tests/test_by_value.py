"""Memoized functions of scripts, in workers that cannot import them."""

import pickle
import subprocess
import sys
import textwrap
import threading

import pytest

from drystone import Cache, memoize

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

    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(local)


def test_without_cloudpickle_only_what_has_a_name_is_pickled(directory, monkeypatch):
    for name in ("cloudpickle", "joblib.externals.cloudpickle"):
        monkeypatch.delitem(sys.modules, name, raising=False)

    @Cache(directory).memoize()
    def local(x):
        return x

    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(local)
