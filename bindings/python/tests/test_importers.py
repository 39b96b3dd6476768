"""Existing caches come over, and what does not is told."""

import time

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
    shapes = sorted(cache[key].shape for key in cache)
    assert shapes == [(3, 4), (500, 500)] and all(key[1].endswith("area") for key in cache)
    assert any("width=500" in cache.get(key, tag=True)[1] for key in cache)
