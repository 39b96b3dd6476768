"""A demonstration: `python -m drystone`. A function of a large array is computed once, by one of two processes that ask
for it at the same time, and both read the one result, without a copy."""

import argparse
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from drystone.cache import Cache


def smoothed(signal, width):
    """The mean of every `width` neighbours: large, and slow enough to be worth keeping."""
    import numpy as np

    result = np.zeros_like(signal)
    for shift in range(width):
        result += np.roll(signal, shift)
    result /= width
    return np.sin(result) * np.exp(-np.abs(result))


def _timed(call):
    begin = time.perf_counter()
    result = call()
    return result, time.perf_counter() - begin


def _mapped(directory):
    """Bytes of the store that this process has in memory, and its share of them, as Linux counts both."""
    sums, is_ours = {"Rss": 0, "Pss": 0}, False
    with open("/proc/self/smaps", encoding="utf-8") as lines:
        for line in lines:
            name, _, rest = line.partition(":")
            if name in sums and is_ours:
                sums[name] += int(rest.split()[0]) << 10
            elif "-" in line.split(" ")[0]:
                is_ours = directory in line
    return sums["Rss"], sums["Pss"]


def _reader(directory, width):
    """What each of the two processes does. It says when it is ready, asks when it is told to, and ends when it is."""
    import numpy  # noqa: F401  so that what is timed is not its import

    cache = Cache(directory, maintenance=None)
    keep = cache.memoize(name="demo.smoothed")(smoothed)
    signal, seconds_to_read = _timed(lambda: cache["signal"])
    print("ready", flush=True)
    sys.stdin.readline()
    result, seconds = _timed(lambda: keep(signal, width))
    again, seconds_again = _timed(lambda: keep(signal, width))
    total = float(result.sum())  # touches every page
    told = {
        "read": seconds_to_read,
        "first": seconds,
        "again": seconds_again,
        "computed": keep.cache_info()["misses"],
        "copied": bool(signal.flags.owndata or again.flags.owndata),
        "sum": total + float(again.sum()),
    }
    print(json.dumps(told), flush=True)
    sys.stdin.readline()
    print(json.dumps(_mapped(os.path.realpath(directory))), flush=True)
    sys.stdin.readline()


def _show(directory, mebibytes, say):
    import numpy as np

    cache = Cache(directory, size_limit=None, maintenance=None)
    keep = cache.memoize(name="demo.smoothed")(smoothed)
    signal = np.linspace(0, 1000, mebibytes << 17)
    say(f"an array of {mebibytes} MiB, and a function of it that returns as much")
    say("\nalone")
    result, first = _timed(lambda: keep(signal, 4))
    _, again = _timed(lambda: keep(signal, 4))
    say(f"  the first time   {first * 1e3:9.1f} ms   computed, and kept")
    say(f"  again            {again * 1e3:9.1f} ms   the argument is hashed, the result is a view")
    _, seconds = _timed(lambda: cache.__setitem__("signal", signal))
    say(f"  set as a value   {seconds * 1e3:9.1f} ms")
    say("\ntwo processes that ask for another result at the same time")
    command = [sys.executable, "-m", "drystone", "--reader", directory, "5"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(subprocess.Popen(command, **pipes)) for _ in range(2)]

        def hear():
            lines = [reader.stdout.readline() for reader in readers]
            if not all(lines):
                raise SystemExit("a process of the demonstration has died")
            return lines

        def tell():
            for reader in readers:
                reader.stdin.write("go on\n")
                reader.stdin.flush()

        hear()
        tell()
        told = [json.loads(line) for line in hear()]
        tell()
        mapped = [json.loads(line) for line in hear()]
        tell()
    for at, one in enumerate(told):
        what = "computed it" if one["computed"] else "waited for the other"
        say(
            f"  process {at + 1}: read the array in {one['read'] * 1e3:.2f} ms, had the result after"
            f" {one['first'] * 1e3:.1f} ms ({what}), again after {one['again'] * 1e3:.1f} ms"
        )
    resident, share = (sum(one[at] for one in mapped) / 2**20 for at in (0, 1))
    say(f"  computed {sum(one['computed'] for one in told)} time(s); copies: {sum(one['copied'] for one in told)}")
    say(f"  the store in their memory: {resident:.0f} MiB for both, of which {share:.0f} MiB are there")
    if told[0]["sum"] != told[1]["sum"] or sum(one["computed"] for one in told) != 1 or any(o["copied"] for o in told):
        raise SystemExit("the demonstration has failed: see above")
    say("\nthe cache")
    say("\n".join(f"  {line}" for line in str(cache.report()).splitlines()))
    del result


def main(arguments=None):
    """Runs the demonstration; its text goes to standard output."""
    parser = argparse.ArgumentParser(prog="python -m drystone", description=__doc__)
    parser.add_argument("--mebibytes", type=int, default=64, help="size of the array (64)")
    parser.add_argument("--directory", type=pathlib.Path, help="an empty directory; a temporary one otherwise")
    parser.add_argument("--reader", nargs=2, metavar=("DIRECTORY", "WIDTH"), help=argparse.SUPPRESS)
    said = parser.parse_args(arguments)
    if said.reader:
        _reader(said.reader[0], int(said.reader[1]))
    elif said.mebibytes < 1:
        parser.error("--mebibytes is a number from 1 on")
    elif said.directory is not None:
        _show(str(said.directory), said.mebibytes, print)
    else:
        shared = "/dev/shm" if os.path.isdir("/dev/shm") else None
        with tempfile.TemporaryDirectory(prefix="drystone-demo-", dir=shared) as directory:
            _show(os.path.join(directory, "cache"), said.mebibytes, print)
