"""What Arrow reads in place is verified before: bits that changed on the disk are an error, and nothing crashes."""

import subprocess
import sys

import numpy as np
import pytest

import drystone
from drystone._drystone import encode

pytest.importorskip("pyarrow")

#: Flips bits of one value's part in the segments, one at a time, and reads it after each: prints how many were errors.
SCRIPT = """
import mmap, os, pathlib, random, sys
import drystone
directory, kind, flips = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
sys.path.insert(0, sys.argv[4])
import test_damage
value = test_damage.VALUES[kind]()
part = max(drystone._drystone.encode(value)[1], key=len)
cache = drystone.Cache(directory, maintenance=None)
[(path, start)] = [(it, at) for it in (directory / "segments").glob("*.seg") if (at := it.read_bytes().find(part)) >= 0]
expected, random = test_damage.told(value), random.Random(1)
# All of the description of the table, and anything behind it.
places = [*random.sample(range(2000), flips // 2), *random.choices(range(len(part)), k=flips // 2)]
errors = 0
for place in places:
    with open(path, "r+b") as file:
        file.seek(start + place)
        flipped = bytes([part[place] ^ 1 << random.randrange(8)])
        file.write(flipped)
        file.flush()
        try:
            assert test_damage.told(cache[kind]) == expected, place
        except drystone.Error:
            errors += 1
        file.seek(start + place)
        file.write(part[place : place + 1])
assert test_damage.told(cache[kind]) == expected
print(errors)
"""


def frame():
    pandas = pytest.importorskip("pandas")
    texts = [f"text {at}" for at in range(20_000)]
    return pandas.DataFrame({"a": pandas.array(texts, dtype="string[pyarrow]")})


def polars():
    return pytest.importorskip("polars").DataFrame({"a": [f"a text that is not short {at}" for at in range(9000)], "b": range(9000)})


def table():
    import pyarrow

    words = pyarrow.array([f"word {at % 7}" for at in range(90_000)]).dictionary_encode()
    return pyarrow.table({"a": words, "b": [[at] * (at % 3) for at in range(90_000)]})


def numbers():
    import pyarrow

    return pyarrow.array(np.arange(50_000))


VALUES = {it.__name__: it for it in (frame, polars, table, numbers)}


def told(value):
    """All that it says, as one text."""
    if type(value).__module__.startswith("pyarrow"):
        return repr(value.to_pylist())
    return repr(value.to_dict("list") if "pandas" in type(value).__module__ else value.to_dict(as_series=False))


@pytest.mark.parametrize("kind", VALUES)
def test_damage_in_a_stream_of_arrow_is_an_error_and_no_crash(kind, directory, tmp_path):
    value = VALUES[kind]()
    assert max(map(len, encode(value)[1])) >= 64 << 10
    drystone.Cache(directory, maintenance=None)[kind] = value
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, script, directory, kind, "40", __file__.rpartition("/")[0]]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert ran.returncode == 0, (ran.returncode, ran.stderr[-2000:])
    assert int(ran.stdout) == 40


def test_a_stream_is_hashed_once_in_a_process(cache):
    cache["x"] = numbers()
    assert cache["x"].equals(numbers())
    store = cache.store()
    [id] = store.blobs()
    offset = store.stat(id)["offset"] + 64 + 40_000
    [path] = [it for it in (store.path / "segments").glob("*.seg") if store.get(id)._verify() is None]
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 1]))
    # Not looked at again here; whoever reads it anew finds it.
    assert not cache["x"].equals(numbers())
    script = "import sys, drystone; drystone.Cache(sys.argv[1], maintenance=None)['x']"
    ran = subprocess.run([sys.executable, "-c", script, cache.directory], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 1 and "drystone.Damaged" in ran.stderr
    assert cache.check()
