"""The Python figures beside their peers, in the same run: python bench.py --dir /dev/shm --dir /tmp [--quick] [--write RESULTS.md].

Needs numpy, diskcache, joblib and xxhash beside drystone. The sides take turns; figures are medians, with the least
and the greatest in brackets.
"""

import argparse
import multiprocessing
import os
import pathlib
import shutil
import statistics
import tempfile
import time

import diskcache
import joblib
import numpy as np
import xxhash

import drystone

COMMAND = (
    "`python benches/python/bench.py --dir /dev/shm --dir /tmp --write benches/RESULTS.md`, with numpy, diskcache, joblib and "
    "xxhash beside the package; `cargo xtask bench` writes all but this section, which then is written again. "
)
BEGIN, END = "<!-- python: begin -->", "<!-- python: end -->"


def spread(values, scale=1.0, digits=2):
    low, mid, high = min(values), statistics.median(values), max(values)
    return f"{mid * scale:.{digits}f} [{low * scale:.{digits}f} .. {high * scale:.{digits}f}]"


def timed(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def each(call, count):
    """Times of single calls, in seconds."""
    times = []
    for at in range(count):
        start = time.perf_counter_ns()
        call(at)
        times.append((time.perf_counter_ns() - start) / 1e9)
    return times


class Bench:
    def __init__(self, place, quick, kind):
        self.kind = kind
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="drystone-bench-", dir=place))
        self.mib = 128 if quick else 1024
        self.rounds = 3 if quick else 5
        self.rows = []

    def row(self, figure, target, ours, peers, met):
        verdict = "" if met is None else "met" if met else "**missed**"
        self.rows.append(f"| {figure} | {target} | {ours} | {peers} | {verdict} |")
        print(self.rows[-1], flush=True)

    def cache(self, name, **options):
        return drystone.Cache(self.place / name, maintenance=None, size_limit=None, **options)

    def run(self):
        try:
            self.small()
            self.queued()
            self.large()
            self.memoized()
            self.hammered()
            self.shared_memory()
        finally:
            shutil.rmtree(self.place, ignore_errors=True)
        return self.rows

    def small(self):
        ours, theirs = self.cache("small"), diskcache.Cache(str(self.place / "small dc"), size_limit=1 << 40)
        value, count = b"x" * 100, 2000
        gets, sets, their_gets, their_sets = [], [], [], []
        for at in range(self.rounds):
            keys = [f"key {at} {it}" for it in range(count)]
            sets.append(statistics.median(each(lambda it: ours.set(keys[it], value), count)))
            their_sets.append(statistics.median(each(lambda it: theirs.set(keys[it], value), count)))
            gets.append(statistics.median(each(lambda it: ours.get(keys[it]), count)))
            their_gets.append(statistics.median(each(lambda it: theirs.get(keys[it]), count)))
        theirs.close()
        met = statistics.median(gets) <= 1.5e-6
        self.row("get of 100 B, median", "1.5 us", spread(gets, 1e6) + " us", f"DiskCache {spread(their_gets, 1e6)} us", met)
        met = statistics.median(sets) <= 5e-6
        self.row("set of 100 B, median", "5 us", spread(sets, 1e6) + " us", f"DiskCache {spread(their_sets, 1e6)} us", met)

    def queued(self):
        """Pushes and pulls of queues that hold as many values as are pushed before."""
        count = 10_000 if self.rounds == 3 else 100_000
        caches = {
            "drystone": self.cache("queue", eviction_policy="none"),
            "diskcache": diskcache.Cache(str(self.place / "queue dc"), size_limit=1 << 40, eviction_policy="none"),
        }
        times = {name: ([], []) for name in caches}
        for cache in caches.values():
            for at in range(count):
                cache.push(at, prefix="q")
        for at in range(self.rounds):
            for name, cache in caches.items():
                pushes, pulls = times[name]
                pushes.append(statistics.median(each(lambda it: cache.push(it, prefix="q"), 2000)))
                pulls.append(statistics.median(each(lambda it: cache.pull("q"), 2000)))
        caches["diskcache"].close()
        for at, what in enumerate(("push", "pull")):
            ours, theirs = (spread(times[name][at], 1e6, 1) + " us" for name in caches)
            self.row(f"{what} of a queue of {count:,} values, median", "", ours, f"DiskCache {theirs}", None)

    def large(self):
        array = np.random.default_rng(7).random(self.mib << 17)
        cache, path = self.cache("large"), self.place / "peer.npy"
        sets, saves, gets, first, memory, maps = [], [], [], [], [], []
        for at in range(self.rounds):
            array[0] = at
            sets.append(timed(lambda: cache.set("array", array)))
            path.unlink(missing_ok=True)
            saves.append(timed(lambda: np.save(path, array)))
            gets += each(lambda _: cache.get("array"), 50)
            maps += each(lambda _: np.load(path, mmap_mode="r"), 20)
            found = cache.get("array")
            first.append(timed(found.sum))
            memory.append(timed(array.sum))
            del found
            cache.clear()
            cache.cull()
            cache.store().compact(all=True)
        rate = [save / set for save, set in zip(saves, sets)]
        peer = f"np.save {spread(saves)} s"
        self.row(f"set of an array of {self.mib} MiB, beside np.save", "0.8 of its rate", f"{spread(sets)} s", f"{peer}; ratio {spread(rate)}", statistics.median(rate) >= 0.8)
        self.row(f"get of an array of {self.mib} MiB", "10 us", f"{spread(gets, 1e6, 1)} us", f"np.load(mmap) {spread(maps, 1e6, 1)} us", statistics.median(gets) <= 10e-6)
        ratio = [a / b for a, b in zip(first, memory)]
        is_disk = self.kind != "tmpfs"
        self.row("its first full sum, beside one in memory", "1.3 times" if is_disk else "reported", f"{spread(first)} s", f"in memory {spread(memory)} s; ratio {spread(ratio)}", statistics.median(ratio) <= 1.3 if is_disk else None)
        theirs = diskcache.Cache(str(self.place / "large dc"), size_limit=1 << 40)
        their_set, their_get = timed(lambda: theirs.set("array", array)), timed(lambda: theirs.get("array"))
        theirs.close()
        self.row("the same by DiskCache, once", "", "", f"set {their_set:.2f} s, get {their_get:.2f} s", None)

    def memoized(self):
        array = np.random.default_rng(7).random(self.mib << 17)
        cache = self.cache("memo")

        @cache.memoize()
        def total(x):
            return float(x.sum())

        kept = joblib.Memory(str(self.place / "joblib"), verbose=0).cache(_total)
        total(array), kept(array)
        hits, passes, theirs = [], [], []
        for _ in range(self.rounds):
            hits.append(timed(lambda: total(array)))
            passes.append(timed(lambda: xxhash.xxh3_128_digest(array)))
        theirs.append(timed(lambda: kept(array)))
        ratio = [a / b for a, b in zip(hits, passes)]
        self.row(f"memoized hit with an array of {self.mib} MiB, beside a pass of xxh3", "1.5 times", f"{spread(hits, 1, 3)} s", f"xxh3 {spread(passes, 1, 3)} s; ratio {spread(ratio)}; joblib {spread(theirs)} s", statistics.median(ratio) <= 1.5)
        double = cache.memoize(version=1)(_double)
        double(1)
        small = [statistics.median(each(lambda _: double(1), 500)) for _ in range(self.rounds)]
        self.row("memoized hit with a number", "", f"{spread(small, 1e6, 1)} us", "", None)

    def hammered(self):
        seconds = 2.0 if self.rounds == 3 else 5.0
        ours = _eight(_hammer_ours, self.place / "hammered", seconds)
        theirs = _eight(_hammer_theirs, self.place / "hammered dc", seconds)
        ratio = ours[0] / max(theirs[0], 1)
        self.row("8 processes, 90 % gets: operations a second", "10 times DiskCache", f"{ours[0]:,.0f}", f"DiskCache {theirs[0]:,.0f}; ratio {ratio:.1f}", ratio >= 10)
        # As many processes as want a core at once wait for one, whatever they do.
        idle = _eight(_hammer_nothing, self.place / "hammered nothing", seconds)
        peers = f"DiskCache {theirs[1] * 1e3:.0f} ms; a call that does nothing {idle[1] * 1e3:.2f} ms (99.9 %: {idle[2] * 1e3:.3f} ms)"
        cores = len(os.sched_getaffinity(0))
        self.row(f"their slowest set, on {cores} cores", "5 ms", f"{ours[1] * 1e3:.2f} ms (99.9 %: {ours[2] * 1e3:.2f} ms)", peers, ours[1] <= 5e-3)
        self.row("the longest that a set itself ran, not counting what it waited for a core", "5 ms", f"{ours[3] * 1e3:.2f} ms", f"DiskCache {theirs[3] * 1e3:.2f} ms, beside its waiting for locks; a call that does nothing {idle[3] * 1e3:.2f} ms", ours[3] <= 5e-3)

    def shared_memory(self):
        cache = self.cache("shared")
        size = (self.mib // 4) << 20
        cache["array"] = np.ones(size // 8)
        context = multiprocessing.get_context("spawn")
        ready, go = context.Queue(), context.Event()
        processes = [context.Process(target=_hold, args=(cache.directory, ready, go)) for _ in range(4)]
        [process.start() for process in processes]
        # All hold it before any looks at its share.
        [ready.get(timeout=60) for _ in processes]
        go.set()
        held = sum(ready.get(timeout=60) for _ in processes)
        [process.join() for process in processes]
        self.row(f"proportional memory of 4 processes on one array of {size >> 20} MiB, summed", "one copy", f"{held / size:.2f} copies", "", held <= 1.1 * size)


def _total(x):
    return float(x.sum())


def _double(x):
    return 2 * x


def _hold(directory, ready, go):
    array = drystone.Cache(directory, maintenance=None)["array"]
    array.sum()
    ready.put(0)
    go.wait()
    time.sleep(0.5)
    pss, inside = 0, False
    with open("/proc/self/smaps", encoding="utf-8", errors="replace") as maps:
        for line in maps:
            if "-" in line.split(" ")[0] and ":" not in line.split(" ")[0]:
                inside = ".seg" in line
            elif inside and line.startswith("Pss:"):
                pss += int(line.split()[1]) << 10
    ready.put(pss)
    time.sleep(1)


def _hammer(cache, seed, seconds, queue):
    random = np.random.default_rng(seed)
    choices = random.integers(0, 1000, 100_000)
    value, count, slow, own = b"x" * 100, 0, [], 0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for key in choices[count % 90_000 : count % 90_000 + 100]:
            key = int(key)
            if key % 10 == 0:
                start, begun = time.perf_counter(), time.thread_time()
                cache.set(key, value)
                own = max(own, time.thread_time() - begun)
                slow.append(time.perf_counter() - start)
            else:
                cache.get(key)
        count += 100
    slow.sort()
    queue.put((count / seconds, slow[-1], slow[int(len(slow) * 0.999)], own))


def _hammer_ours(directory, seed, seconds, queue):
    _hammer(drystone.Cache(directory, maintenance=None, size_limit=None), seed, seconds, queue)


def _hammer_theirs(directory, seed, seconds, queue):
    _hammer(diskcache.Cache(str(directory), size_limit=1 << 40), seed, seconds, queue)


class _Nothing(dict):
    """Takes as long as a set of the cache, and does nothing meanwhile."""

    def set(self, key, value):
        end = time.perf_counter() + 5e-6
        while time.perf_counter() < end:
            pass


def _hammer_nothing(directory, seed, seconds, queue):
    _hammer(_Nothing(), seed, seconds, queue)


def _eight(hammer, directory, seconds):
    # What earlier rows have written is taken by the medium meanwhile, else, on the time of whoever runs then.
    os.sync()
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    processes = [context.Process(target=hammer, args=(directory, seed, seconds, queue)) for seed in range(8)]
    [process.start() for process in processes]
    told = [queue.get(timeout=120) for _ in processes]
    [process.join() for process in processes]
    return (sum(it[0] for it in told), *(max(it[at] for it in told) for at in range(1, 4)))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", action="append", required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--write")
    asked = parser.parse_args()
    text = [f"{COMMAND}NumPy {np.__version__}, DiskCache {diskcache.__version__}, joblib {joblib.__version__}."]
    for place in asked.dir:
        kind = drystone.store._file_system(place)
        text += ["", f"### {kind}", "", "| figure | target | Drystone | peer | |", "|---|---|---|---|---|"]
        print("\n".join(text[-5:]))
        text += Bench(place, asked.quick, kind).run()
    if asked.write:
        path = pathlib.Path(asked.write)
        page = path.read_text(encoding="utf-8")
        section = "\n".join([BEGIN, *text, END])
        if BEGIN in page:
            page = page[: page.index(BEGIN)] + section + page[page.index(END) + len(END) :]
        else:
            page = page.rstrip() + "\n\n## Python\n\n" + section + "\n"
        path.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    os.environ.pop("OPENBLAS_CORETYPE", None)
    main()
